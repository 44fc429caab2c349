"""Users' prompt files in the forms in which people keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from linguamap.config import RunConfig
from linguamap.generation.encoding import render_chat
from linguamap.prompts.own_prompts import in_halves, read_prompts
from linguamap.prompts.run_prompts import RunItems
from linguamap.records import UserError


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_a_line_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Wo schläft die Katze?\n\nWas isst sie?\n", "utf-8")
    prompts = read_prompts(tmp_path / "p.txt", "German")
    assert [prompt.text for prompt in prompts] == ["Wo schläft die Katze?\n", "Was isst sie?\n"]
    assert {(prompt.language, prompt.kind) for prompt in prompts} == {("de", "open")}


def test_columns_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        'id,prompt,language\na,"¿Qué, y qué?",es\nb,Quoi ?,fr\n', "utf-8"
    )
    prompts = read_prompts(tmp_path / "p.csv", "hi")
    assert [(p.item_id, p.language, p.question) for p in prompts] == [
        ("a", "es", "¿Qué, y qué?"), ("b", "fr", "Quoi ?"),
    ]  # fmt: skip


def test_forms_of_chats_and_of_instructions_are_one_conversation(tmp_path: Path) -> None:
    system, asked = "Sé breve.", "¿Dónde duerme el gato?"
    path = written(
        tmp_path / "p.jsonl",
        {"messages": [{"role": "system", "content": system}, {"role": "user", "content": asked}]},
        {"conversations": [{"from": "system", "value": system}, {"from": "human", "value": asked},
                           {"from": "gpt", "value": "not read"}]},
        {"system": system, "instruction": asked, "output": "not read"},
        {"prompt": [{"role": "system", "content": system},
                    {"role": "user", "content": [{"type": "text", "text": asked}]}]},
    )  # fmt: skip
    expected = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
    assert [render_chat(prompt) for prompt in read_prompts(path, "es")] == [expected] * 4


def test_earlier_turns_stand_before_the_last_words(tmp_path: Path) -> None:
    turns = [("user", "¿Quién?"), ("assistant", "Ana."), ("user", "¿Dónde?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    path = written(tmp_path / "p.jsonl", {"messages": messages})
    assert render_chat(read_prompts(path, "es")[0]) == messages


def test_an_instruction_and_its_input_are_one_question(tmp_path: Path) -> None:
    path = written(tmp_path / "p.jsonl", {"instruction": "Traduce:", "input": "cat"})
    assert read_prompts(path, "es")[0].text == "Traduce:\n\ncat\n"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"answer": "x"}, "line 1: has no prompt but .*'?answer'?; a row has one of prompt"),
        ({"prompt": "  "}, "has no prompt"),
        ({"prompt": "x", "language": "xx"}, "xx"),
        ({"prompt": "x", "options": ["a", "b"]}, "so it is an item; run: linguamap evaluate"),
        ({"messages": []}, "has no prompt|must be a list"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "must take turns"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "message 1 must have a text and a role"),
    ],
)
def test_what_is_no_prompt_is_named_with_its_line(tmp_path: Path, row: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_prompts(written(tmp_path / "p.jsonl", row), "es")


def test_a_prompt_needs_a_language_an_own_id_and_a_known_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no language; add one, or give --language"):
        read_prompts(written(tmp_path / "p.jsonl", {"prompt": "x"}))
    twice = written(tmp_path / "p.jsonl", {"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"})
    with pytest.raises(UserError, match="line 2: the id a is there already"):
        read_prompts(twice, "es")
    with pytest.raises(UserError, match=r"is no .jsonl, .csv, .txt file"):
        read_prompts(tmp_path / "p.parquet", "es")
    (tmp_path / "p.txt").write_text("\n")
    with pytest.raises(UserError, match="there is none"):
        read_prompts(tmp_path / "p.txt", "es")


def test_halves_keep_an_id_in_all_languages_on_one_side(tmp_path: Path) -> None:
    rows = [{"id": str(n), "prompt": f"{code} {n}", "language": code}
            for n in range(10) for code in ("es", "hi")]  # fmt: skip
    path = written(tmp_path / "p.jsonl", *rows)
    config = RunConfig.model_validate(
        {"languages": ["en", "es", "hi"], "data": {"prompts": str(path)}}
    )
    train, asked = in_halves(path, config)
    sides = [{one.item_id for one in side} for side in (train, asked)]
    assert [len(side) for side in (train, asked)] == [10, 10]
    assert not sides[0] & sides[1]
    items = RunItems(config)
    assert len(items.test_prompts) == 10  # eight a language are asked by default, five are there
    assert {item.item_id for item in items.benchmarks("train")[0].items["es"]} == sides[0]
    few = RunItems(RunConfig.model_validate({**config.model_dump(), "evaluate": {"items": 2}}))
    assert sorted(one.language for one in few.test_prompts) == ["es", "es", "hi", "hi"]


def test_a_run_takes_more_than_a_few_prompts(tmp_path: Path) -> None:
    path = written(tmp_path / "p.jsonl", *[{"prompt": f"p{n}", "language": "es"} for n in range(7)])
    with pytest.raises(UserError, match="has 7, and a run takes 8 at least"):
        in_halves(path, RunConfig())
