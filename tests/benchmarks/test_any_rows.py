"""Whatever the cells of a benchmark file hold: items, rows dropped by name, or one UserError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linguamap.benchmarks import load_benchmark
from linguamap.prompts.scenarios import render_all
from linguamap.records import PAPER_SCENARIOS, Benchmark, UserError

CELLS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
    | st.sampled_from(["A", "B", "a", "4", "1,000", "sums", "choice", "en", "fr-FR", "\ud800", "\0"])
)  # fmt: skip
VALUES = CELLS.filter(lambda cell: not isinstance(cell, bytes)) | st.lists(
    st.text(max_size=4) | st.integers(), max_size=5
)
MANY = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _used(name: str, folder: Path | None = None) -> Benchmark | None:
    try:
        found = load_benchmark(name, ["en", "fr"], "test", folder=folder)
        render_all(found, ["en", "fr"], PAPER_SCENARIOS)
    except UserError:
        return None
    for items in found.items.values():
        for item in items:
            texts = (item.question, *item.gold, *item.options, item.passage or "x")
            assert all(isinstance(text, str) and text.strip() for text in texts)
    return found


OWN = {
    "item_id": "q", "kind": "sums", "language": "en", "question": "Two and two?", "gold": 4,
    "options": ["x", "y"], "passage": "Two ducks.", "explanation": "e", "wrong": [5], "split": "test",
}  # fmt: skip


@MANY
@given(changes=st.dictionaries(st.sampled_from([*OWN, "subject", "group", "other"]), VALUES))
def test_any_own_row(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({**OWN, **changes}) + "\n", encoding="utf-8")
    _used(str(path))


MMLU = {
    "sample_id": "marketing/test/0", "subject": "marketing", "question": "Which?", "answer": "A",
    "option_a": "one", "option_b": "two", "option_c": "three", "option_d": "four",
}  # fmt: skip


@MANY
@given(name=st.sampled_from(list(MMLU)), cell=CELLS)
def test_any_cell_of_global_mmlu(tmp_path: Path, name: str, cell: Any) -> None:
    folder = tmp_path / "global_mmlu" / "en"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        table = pyarrow.Table.from_pylist([{**MMLU, name: cell}])
    except (pyarrow.ArrowException, UnicodeError, OverflowError):
        return  # Parquet cannot hold it
    pyarrow.parquet.write_table(table, folder / "test-0.parquet")
    _used("mmlu:global_mmlu", tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": None}, "the answer is empty"),
        ({"subject": None}, "the subject is missing"),
        ({"question": None}, "the question is empty"),
        ({"option_b": float("nan")}, "option B is empty"),
        ({"option_b": ["two"]}, "option B is no text"),
        ({"answer": "E"}, "the answer is no option"),
        ({"answer": -1}, "the answer is no option"),
        ({"question": "x" * 1_000_001}, "the question is too long"),
        ({"question": "a\x00b"}, "the question is no text"),
        ({"question": "x" * 100_001}, "the question is no text"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_by_name(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = tmp_path / "global_mmlu" / "en"
    folder.mkdir(parents=True)
    rows = [{**MMLU, **change}, {**MMLU, "sample_id": "marketing/test/1"}]
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = load_benchmark("mmlu:global_mmlu", ["en"], "test", folder=tmp_path)
    assert [item.item_id for item in found.items["en"]] == ["marketing/test/1"]
    (dropped,) = found.dropped
    assert dropped.item_id == "marketing/test/0"
    assert dropped.reason.startswith(reason)


def test_options_that_are_numbers_are_read_as_their_text(tmp_path: Path) -> None:
    folder = tmp_path / "global_mmlu" / "en"
    folder.mkdir(parents=True)
    numbers = {"option_a": 7, "option_b": 7.5, "option_c": True, "option_d": 8.0}
    path = folder / "test.jsonl"
    path.write_text(json.dumps({**MMLU, **numbers, "answer": 1.0}) + "\n", encoding="utf-8")
    (item,) = load_benchmark("mmlu:global_mmlu", ["en"], "test", folder=tmp_path).items["en"]
    assert item.options == ("7", "7.5", "True", "8")
    assert item.gold == ("B",)


SQUAD = {
    "data": [{"title": "D", "paragraphs": [{"context": "Two ducks.", "qas": [
        {"id": "q1", "question": "What?", "answers": [{"text": "ducks", "answer_start": 4}]}]}]}],
}  # fmt: skip


@MANY
@given(
    place=st.sampled_from(["id", "question", "answers", "context", "title", "data"]), cell=VALUES
)
def test_any_cell_of_xquad(tmp_path: Path, place: str, cell: Any) -> None:
    table = json.loads(json.dumps(SQUAD))
    paragraph = table["data"][0]["paragraphs"][0]
    for owner in (paragraph["qas"][0], paragraph, table["data"][0], table):
        if place in owner:
            owner[place] = cell
            break
    (tmp_path / "xquad.en.json").write_text("\ufeff" + json.dumps(table), encoding="utf-8")
    _used("xquad", tmp_path)


@MANY
@given(
    line=st.text(max_size=30) | st.sampled_from(["q\t4", "q\t" + "9" * 5000, "q\t4\tr\tx", "\t"])
)
def test_any_line_of_mgsm(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mgsm_en.tsv"
    path.write_bytes(line.encode("utf-8", "replace") + b"\nTwo and two?\t4\n")
    _used("mgsm", tmp_path)


@pytest.mark.parametrize(
    ("language", "code"),
    [("fr-FR", "fr"), ("French", "fr"), ("FR", "fr"), ("fra", "fr"), ("français", "fr")],
)
def test_usual_names_of_a_language_are_understood(tmp_path: Path, language: str, code: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({**OWN, "language": language}) + "\n", encoding="utf-8")
    found = load_benchmark(str(path), ["fr"], "test")
    assert found.languages == (code,)


def test_an_unknown_language_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [OWN, {**OWN, "item_id": 2, "language": "Klingon"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.jsonl line 2: languages: 'Klingon' is unknown"):
        load_benchmark(str(path), ["en"], "test")
