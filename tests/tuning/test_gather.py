"""Where training examples come from, and that none of them is tested on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tuning_cases import tiny_lm

from linguamap.benchmarks import load_benchmark
from linguamap.benchmarks.sums import load_gsm_symbolic, worked_steps
from linguamap.config import RunConfig
from linguamap.models.language_model import LanguageModel
from linguamap.prompts.sampling import split_items
from linguamap.prompts.scenarios import render
from linguamap.records import Benchmark, Item, Prompt, UserError
from linguamap.run.settings import load_config
from linguamap.tuning.data.gather import HeldOut, TuningData, gather, without_tasks

ROWS = {
    "eng": [
        (265, 0, "Lee has 3 pens and buys 4. How many?", "3+4 = <<3+4=7>>7 pens\n#### 7", "7"),
        (265, 1, "Lee has 5 pens and buys 4. How many?", "5+4 = <<5+4=9>>9 pens.\n#### 9", "9"),
        (300, 0, "A book costs $1.5. How much do 2 cost?", "It is $<<2*1.5=3>>3.\n#### 3", "3"),
    ],
    "hin": [
        (265, 0, "ली के पास ३ कलम हैं, ४ और। कितने?", "३+४ = <<३+४=७>>७\nकुल ७\n#### ७", "7"),
        (265, 1, "ली के पास ५ कलम हैं, ४ और। कितने?", "५+४ = <<५+४=९>>९ कलम।\n#### ९", "9"),
        (300, 0, "एक किताब १.५ की है। २ कितने की?", "यह <<२*१.५=३>>३ है।\n#### ३", "3"),
    ],
    "deu": [(265, 0, "Lee hat 3 Stifte und kauft 4. Wie viele?", "3+4 = 7.\n#### 7", "7")],
    "zho": [(265, 0, "李有3支筆,再買4支。共幾支?", "3+4=7\n#### 7", "7")],
}


def _write(folder: Path) -> Path:
    for code, rows in ROWS.items():
        path = folder / "gsm_symbolic" / code / "synthetic.jsonl"
        path.parent.mkdir(parents=True)
        keys = ("source_id", "variant", "question", "answer", "target")
        lines = [json.dumps({**dict(zip(keys, row)), "language": code}) for row in rows]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def _no_model() -> LanguageModel:
    raise AssertionError("no model is needed")


def _gather(
    settings: Sequence[str], own: Sequence[Benchmark] = (), test: Sequence[Benchmark] = ()
) -> TuningData:
    config = load_config(None, list(settings))
    return gather(config, lambda: list(own), test, _no_model, _no_model)  # type: ignore[arg-type]


def _load(name: str, split: Any, languages: Sequence[str] = ("en", "es")) -> Benchmark:
    return load_benchmark(name, languages, split)


def test_gsm_symbolic_is_aligned_by_template_and_variant(tmp_path: Path) -> None:
    found = load_gsm_symbolic(_write(tmp_path), ["hi", "en"])
    assert [item.item_id for item in found.items["hi"]] == ["gsm-265-0", "gsm-265-1", "gsm-300-0"]
    assert [item.item_id for item in found.items["en"]] == [i.item_id for i in found.items["hi"]]
    first = found.items["hi"][0]
    assert (first.gold, first.group, first.kind, first.split) == (
        ("7",),
        "gsm-265",
        "sums",
        "train",
    )
    assert first.explanation == "३+४ = ७। कुल ७।"
    assert found.items["en"][0].explanation == "3+4 = 7 pens."


@pytest.mark.parametrize(
    ("answer", "language", "expected"),
    [
        ("1+1=<<1+1=2>>2\nSo 2.\n#### 2", "en", "1+1=2. So 2."),
        ("球:60*3/5=<<60*3/5=36>>36個。\n黄色:9個\n#### 9", "ja", "球:60*3/5=36個。黄色:9個。"),
        ("ลูกบอล 12\nรวม 9 ลูก\n#### 9", "th", "ลูกบอล 12 รวม 9 ลูก"),
    ],
)
def test_steps_stand_on_one_line_without_marks(answer: str, language: str, expected: str) -> None:
    assert worked_steps(answer, language) == expected


def test_languages_without_usable_files_are_named(tmp_path: Path) -> None:
    found = load_gsm_symbolic(_write(tmp_path) / "gsm_symbolic", ["en", "zh", "es"])
    assert found.missing_languages["es"] == "no file"
    assert "traditional Chinese" in found.missing_languages["zh"]
    assert list(found.items) == ["en"]
    with pytest.raises(UserError, match="none of zh is there; it has de, en, hi"):
        load_gsm_symbolic(tmp_path, ["zh"])
    with pytest.raises(UserError, match="has no GSM-Symbolic files"):
        load_gsm_symbolic(tmp_path / "gsm_symbolic" / "eng", ["en"])


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path) / "gsm_symbolic" / "deu" / "synthetic.jsonl"
    path.write_text('{"source_id": 1, "variant": 0, "question": "x", "answer": "y"}\n')
    with pytest.raises(UserError, match=r"synthetic.jsonl line 1: target: Field required"):
        load_gsm_symbolic(tmp_path, ["de"])


def test_a_template_validates_whole_in_every_language(tmp_path: Path) -> None:
    _write(tmp_path)
    data = _gather(
        ["languages=[en, hi]", "tune.data=gsm_symbolic", f"data.folder={str(tmp_path)!r}"]
    )
    assert {p.benchmark for p in data.prompts} == {"gsm_symbolic"}
    halves = split_items(data.prompts, 0.5, seed=0)
    templates = [{prompt.group for prompt in half} for half in halves]
    assert sorted(len(groups) for groups in templates) == [1, 1]
    assert not templates[0] & templates[1]
    assert all({p.language for p in half} == {"en", "hi"} for half in halves)
    assert data.facts["examples"] == len(data.prompts)


def test_steering_needs_every_language_of_the_run(tmp_path: Path) -> None:
    settings = ["tune.data=gsm_symbolic", f"data.folder={str(_write(tmp_path))!r}"]
    assert _gather([*settings, "languages=[en, hi]", "tune.method=steer"]).prompts
    with pytest.raises(UserError, match="no training example in es, zh, and steering needs some"):
        _gather([*settings, "languages=[en, hi, es, zh]", "tune.method=steer"])


def _told(settings: Sequence[str]) -> list[str]:
    """What gathering says on the screen."""
    told: list[str] = []

    def note(label: str, done: int, total: int, text: str = "") -> None:
        told.append(f"{label}{text}")

    config = load_config(None, list(settings))
    gather(config, lambda: [], [], _no_model, _no_model, note)  # type: ignore[arg-type]
    return told


def test_languages_without_training_examples_are_told(tmp_path: Path) -> None:
    settings = ["tune.data=gsm_symbolic", f"data.folder={str(_write(tmp_path))!r}"]
    assert _told([*settings, "languages=[en, hi]"]) == []
    (line,) = _told([*settings, "languages=[en, hi, es, zh]"])
    assert line.startswith("warning: no training example in es, zh; ")
    assert _told([*settings, "languages=[en]"]) == []


def test_english_texts_alone_do_not_train_for_another_language(tmp_path: Path) -> None:
    """They did, with nothing said, where the other languages had no file."""
    settings = ["tune.data=gsm_symbolic", f"data.folder={str(_write(tmp_path))!r}"]
    with pytest.raises(UserError, match="in English only, and the run asks for es"):
        _told([*settings, "languages=[en, es]"])


def test_a_users_file_may_leave_languages_unsaid(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "m", "llama")
    told: list[str] = []

    def gathered(rows: list[dict[str, Any]]) -> TuningData:
        told.clear()
        path = _file(tmp_path / "a.jsonl", rows)
        config = load_config(None, ["languages=[en, es]", f"tune.data={path!r}"])
        return gather(
            config,
            lambda: [],
            [],
            lambda: lm,
            _no_model,
            lambda *what: told.append(what[3]),
        )  # type: ignore[arg-type, misc]

    english = {"Q": "Two?", "A": " 2", "language": "en"}
    with pytest.raises(UserError, match="in English only"):
        gathered([english])
    assert len(gathered([english, {"Q": "¿Dos?", "A": " 2"}]).examples) == 2
    assert told == []
    gathered([{"Q": "¿Dos?", "A": " 2", "language": "es"}])
    assert told[0].startswith("warning: no training example in en; ")


def test_unknown_data_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"'gsm' is neither gsm_symbolic, nor a folder, nor a .jsonl"
    ):
        _gather(["tune.data=gsm"])
    with pytest.raises(UserError, match=r"read from data.folder, which is not set"):
        _gather(["tune.data=gsm_symbolic"])


def test_the_runs_own_items_are_the_default() -> None:
    own = [_load("sums", "train")]
    data = _gather(["languages=[en, es]", "tune.examples=20"], own, [_load("sums", "test")])
    assert len(data.prompts) == 20
    assert data.facts["left_out"] == {"n": 0, "first": []}
    assert all(prompt.reference for prompt in data.prompts)


@pytest.mark.parametrize("name", ["sums", "choice", "passage"])
def test_no_starter_item_leaks(name: str) -> None:
    """The package's own training and test items have no question in common."""
    tested = HeldOut.of([_load(name, "test")])
    train = _load(name, "train")
    for language, items in train.items.items():
        for item in items:
            assert tested.reason(render(train, "monolingual", language, item)) is None


def _changed(benchmark: Benchmark, place: int, **changes: Any) -> Benchmark:
    items = {
        code: tuple(
            dataclasses.replace(item, **changes) if index == place else item
            for index, item in enumerate(found)
        )
        for code, found in benchmark.items.items()
    }
    return dataclasses.replace(benchmark, items=items)


def test_test_items_and_their_questions_are_left_out_by_name() -> None:
    test, train = _load("sums", "test"), _load("sums", "train")
    stolen = test.items["es"][3]
    train = _changed(train, 0, item_id=stolen.item_id)
    train = _changed(train, 1, question=f" {stolen.question.replace(' ', '  ')}")
    data = _gather(
        ["languages=[es]", "scenarios=[monolingual]", "tune.examples=null"], [train], [test]
    )
    reasons = {one["example"]: one["reason"] for one in data.facts["left_out"]["first"]}
    assert reasons == {
        f"sums/monolingual/es/{stolen.item_id}": "its item is a test item",
        f"sums/monolingual/es/{train.items['es'][1].item_id}": "its question is a test item's",
    }
    assert data.facts["left_out"]["n"] == 2
    assert len(data.prompts) == len(train.items["es"]) - 2
    with pytest.raises(UserError, match=r"no training example is left; \d+ left out, e.g. sums/"):
        _gather(["languages=[en, es]"], [_changed(test, 0)], [test])


def test_the_same_question_about_another_passage_is_no_leak() -> None:
    test, train = _load("passage", "test"), _load("passage", "train")
    asked = test.items["en"][0]
    tested = HeldOut.of([test])
    other = dataclasses.replace(train.items["en"][0], question=asked.question)
    assert tested.reason(render(train, "monolingual", "en", other)) is None
    same = dataclasses.replace(other, passage=asked.passage, gold=asked.gold)
    assert (
        tested.reason(render(train, "monolingual", "en", same)) == "its question is a test item's"
    )


def _file(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return str(path)


def test_a_users_file_is_guarded_too(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "m", "llama")
    test = _load("sums", "test")
    item = test.items["es"][0]
    rows = [
        {"Q": "Hola, ¿qué tal?", "A": " Bien.", "language": "es"},
        {"Q": f"Por favor: {item.question}", "A": " 3"},
        {"id": item.item_id, "Q": "Otra cosa", "A": " 4"},
    ]
    config = load_config(None, [f"tune.data={_file(tmp_path / 'a.jsonl', rows)!r}"])
    data = gather(config, lambda: [], [test], lambda: lm, _no_model)  # type: ignore[arg-type]
    assert [prompt.item_id for prompt in data.prompts] == ["line 1"]
    assert [one["reason"] for one in data.facts["left_out"]["first"]] == [
        "it holds a test item's question",
        "its id is a test item's",
    ]
    assert data.facts["left_out"]["first"][0]["example"] == "jsonl/monolingual//line 2"


def test_a_users_conversations_are_guarded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm(tmp_path / "m", "llama")
    template = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}"
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    monkeypatch.setattr(lm, "is_chat", True)
    test = _load("sums", "test")
    said = [{"role": "user", "content": test.items["es"][0].question}]
    rows = [
        {"messages": [*said, {"role": "assistant", "content": "3"}]},
        {"id": 5, "messages": [{"role": "assistant", "content": "Hola"}]},
    ]
    config = load_config(None, [f"tune.data={_file(tmp_path / 'a.jsonl', rows)!r}"])
    data = gather(config, lambda: [], [test], lambda: lm, _no_model)  # type: ignore[arg-type]
    assert [one.example_id for one in data.examples if not isinstance(one, Prompt)] == ["jsonl/5"]
    assert data.facts["left_out"]["first"][0]["example"] == "jsonl/line 1"


def _item(question: str, language: str = "en", **changes: Any) -> Item:
    values: dict[str, Any] = {
        "item_id": "i", "benchmark": "b", "kind": "sums", "language": language, "split": "train",
        "question": question, "gold": ("1",), "explanation": "One.",
    }  # fmt: skip
    return Item(**{**values, **changes})


def test_without_tasks_texts_are_continued() -> None:
    """First sentence asked, the rest to be written; no gold, no options, no worked answer."""
    items = (
        _item("Ana has one. She buys two. How many?", item_id="a", group="g"),
        _item("How many?", item_id="b"),
        _item("?", item_id="c", kind="passage", passage="It rained. We stayed in.\nAll day."),
    )
    found = without_tasks(Benchmark("b", "sums", "train", {"en": items}))
    assert [(i.question, i.explanation, i.gold, i.kind) for i in found.items["en"]] == [
        ("Ana has one.", "She buys two. How many?", (), "open"),
        ("It rained.", "We stayed in. All day.", (), "open"),
    ]
    prompt = render(found, "monolingual", "en", found.items["en"][0])
    assert [(part.role, part.text) for part in prompt.reference] == [
        ("R", " She buys two. How many?")
    ]
    assert (prompt.benchmark, prompt.group) == ("b-texts", "g")


def test_without_tasks_nothing_of_the_task_is_left_in_a_run() -> None:
    own = [_load(name, "train") for name in ("sums", "choice", "passage")]
    golds = {prompt.text for prompt in _gather(["languages=[en, es]"], own).prompts}
    data = _gather(["languages=[en, es]", "tune.tasks=false"], own)
    assert data.prompts
    assert {prompt.kind for prompt in data.prompts} == {"open"}
    assert {prompt.scenario for prompt in data.prompts} == {"monolingual", "code_mixed"}
    assert not any(prompt.gold or prompt.options for prompt in data.prompts)
    assert not any(part.role == "A" for prompt in data.prompts for part in prompt.reference)
    assert not golds & {prompt.text for prompt in data.prompts}
    with pytest.raises(UserError, match="no text of two sentences or more"):
        without_tasks(Benchmark("b", "sums", "train", {"en": (_item("How many?"),)}))


def test_defaults_are_as_before() -> None:
    tune = RunConfig().tune
    assert (tune.data, tune.teacher, tune.tasks, tune.method) == (None, None, True, "selective")
