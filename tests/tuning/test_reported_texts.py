"""Training files as public reports show them: read, or refused by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from linguamap.records import UserError
from linguamap.tuning.data.user_texts import TrainingText, read_training_texts

QUESTION, ANSWER = "Où est le chat ?", "Sous la table."


def read(folder: Path, text: str) -> list[TrainingText]:
    path = folder / "texts.jsonl"
    path.write_text(text, encoding="utf-8")
    return read_training_texts(path)


def said(text: TrainingText) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in text.messages]


def test_a_tool_call_is_the_models_turn(tmp_path: Path) -> None:
    turns = [("human", QUESTION), ("function_call", "{}"), ("observation", "ok"), ("gpt", ANSWER)]
    row = {"conversations": [{"from": who, "value": what} for who, what in turns]}
    (text,) = read(tmp_path, json.dumps(row))
    assert [role for role, _ in said(text)] == ["user", "assistant", "tool", "assistant"]


def test_earlier_turns_of_alpaca_lines_are_kept(tmp_path: Path) -> None:
    row = {"instruction": "Et lui ?", "output": ANSWER, "system": "S", "history": [["Où ?", "Là."]]}
    (text,) = read(tmp_path, json.dumps(row))
    assert said(text) == [
        ("system", "S"), ("user", "Où ?"), ("assistant", "Là."), ("user", "Et lui ?"),
        ("assistant", ANSWER),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"line 1: history must be a list of \[question, answer\]"):
        read(tmp_path, json.dumps({**row, "history": "Où ?"}))


@pytest.mark.parametrize("number", [{"0": "a"}, ["a"], None])
def test_an_id_that_is_no_name_is_the_line(tmp_path: Path, number: Any) -> None:
    (text,) = read(tmp_path, json.dumps({"prompt": QUESTION, "completion": ANSWER, "id": number}))
    assert text.name == "line 1"


def test_one_list_of_objects_is_read_like_lines(tmp_path: Path) -> None:
    rows = [{"instruction": QUESTION, "input": "", "output": ANSWER}] * 2
    texts = read(tmp_path, json.dumps(rows, indent=2))
    assert [text.name for text in texts] == ["line 1", "line 2"]
    with pytest.raises(UserError, match="is not JSON"):
        read(tmp_path, json.dumps(rows, indent=2)[:-5] + "]")
