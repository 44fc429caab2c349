"""The door for outside data: bounds, places, and that any bytes give values or one UserError."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linguamap.outside import (
    DEEPEST,
    LONGEST_TEXT,
    LONGEST_WORD,
    as_text,
    csv_rows,
    csv_table,
    json_rows,
    lines,
    nearest,
    parquet_rows,
    parse_json,
    parse_yaml,
    read_json,
    read_text,
    shown,
    text_fault,
)
from linguamap.records import UserError
from linguamap.run.settings import load_config

MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""A folder of the test serves all its examples."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10_000 + "]" * 10_000, "a.jsonl line 1 is refused: nested more than 64 deep"),
        ("[" * 10_000, "nested more than 64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested more than 64 deep"),
        ("9" * 5000, "is not JSON: an integer of 5000 digits, at most 400"),
        ("1e999", "the number 1e999 is too large"),
        ("-Infinity", "-Infinity is no number"),
        ("{'a': 1}", r"is not JSON: .* line 1 column 2"),
        ("", "is not JSON: Expecting value"),
    ],
)
def test_json_that_no_file_can_mean_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_json(text, "a.jsonl line 1")


def test_json_up_to_the_bounds_is_read() -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST, "x") is not None
    assert parse_json("9" * 400, "x") == int("9" * 400)
    assert parse_json('{"a": NaN}', "x") == {"a": None}
    assert parse_json('["[[[[' + "[" * 100 + '"]', "x") == ["[[[[" + "[" * 100]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("languages: " + "[" * 5000 + "]" * 5000, "nested more than 64 deep"),
        ("seed: " + "9" * 5000, "is refused: Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "an integer is larger than 2"),
        ("seed: 2026-02-30", "is refused: day is out of range for month"),
        ('model: "\\0"', "a text holds NUL or half a character"),
        ('model: "\\ud800"', "a text holds NUL or half a character"),
        ('"\\ud800": 1', "a text holds NUL or half a character"),
        ("a: &a [*a, *a]", "its anchors unfold to too much"),
        ("a: [1", "is not valid YAML"),
        ("!!python/object/apply:os.system [ls]", "is not valid YAML"),
    ],
)
def test_yaml_that_no_settings_can_mean_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_yaml(text, "config: c.yaml")


def test_unfolding_anchors_end_soon() -> None:
    text = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n"
    text += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(UserError, match="its anchors unfold to too much"):
        parse_yaml(text, "config: c.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"seed={2**64}", "larger than 2"),
        (f"seed={2**63}", "seed: Input should be less than or equal to 9223372036854775807"),
        ("tune.epochs=1.0e+12", "tune.epochs: Input should be less than or equal to 10000"),
        ("evaluate.temperature=1.0e-300", r"must be 0 \(greedy\) or at least 0.001"),
        ("evaluate.timeout=.inf", "evaluate.timeout: Input should be a finite number"),
        ("probe.bootstrap=1000000000", "probe.bootstrap: Input should be less than or equal to"),
        ("1=2", "1: unknown key"),
    ],
)
def test_settings_out_of_bounds_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(None, [override])


def test_a_long_value_is_not_quoted_whole() -> None:
    with pytest.raises(UserError) as error:
        load_config(None, [f"evaluate.items={'x' * 100_000}"])
    assert len(str(error.value)) < 400


def test_files_in_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffcafé".encode())
    assert read_text(path) == "café"
    path.write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt is not UTF-8: .* at byte 3; save it as UTF-8"):
        read_text(path)
    path.write_bytes("café".encode("utf-16"))
    with pytest.raises(UserError, match="it begins like UTF-16"):
        read_text(path)
    with pytest.raises(UserError, match="holds more than 4 bytes"):
        read_text(path, largest=4)
    with pytest.raises(UserError, match="none does not exist"):
        read_text(tmp_path / "none")
    with pytest.raises(UserError, match="is a directory; check the path"):
        read_text(tmp_path)


def test_short_and_long_csv_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufefflanguage,prompt\nes,hola\n\nes\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 4: found 1 cells, the header has 2"):
        csv_table(path, ("prompt",))
    path.write_text('language,prompt\nes,"a, b"\n', encoding="utf-8")
    assert csv_table(path, ("prompt",)) == [
        (f"{path} line 2", {"language": "es", "prompt": "a, b"})
    ]
    with pytest.raises(UserError, match="the columns answer are missing; found language, prompt"):
        csv_table(path, ("answer",))
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="are missing; found none, needed are answer"):
        csv_table(path, ("answer",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (7, "7"),
        (7.0, "7"),
        (0.25, "0.25"),
        (True, "True"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2026, 3, 1), "2026-03-01"),
        (None, None),
        (math.nan, None),
    ],
)
def test_cells_are_read_as_one_writes_them(value: object, expected: str | None) -> None:
    assert as_text(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a"], "no text: a list"),
        ({"a": 1}, "no text: a table of keys"),
        (b"a", "no text: a row of bytes"),
        ("a\ud800", "half a character"),
        ("a\0", "it holds NUL"),
        ("x" * (LONGEST_WORD + 1), "a word of more than"),
        ("x " * LONGEST_TEXT, "too long: 2000000 characters"),
    ],
)
def test_cells_that_are_no_text_say_why(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_text(value)


def test_long_texts_without_long_words_are_read() -> None:
    assert text_fault("word " * 100_000) is None
    assert shown("\ud800") == "\\ud800"


def test_a_broken_parquet_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"q": ["one", "two"] * 50}), path)
    assert parquet_rows(path)[1] == (f"{path} row 1", {"q": "two"})
    data = bytearray(path.read_bytes())
    data[30:60] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(UserError, match="is not a Parquet file, or it is broken"):
        parquet_rows(path)


READERS: list[Callable[[Path], Any]] = [
    lambda path: list(lines(path)), json_rows, read_json, csv_rows,
    lambda path: csv_table(path, ("a",)), parquet_rows, load_config,
]  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@MANY
@given(
    data=st.binary(max_size=300) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_give_values_or_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    for read in READERS:
        with contextlib.suppress(UserError):
            read(path)


@MANY
@given(value=JSON)
def test_any_json_gives_values_or_one_error(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    for read in READERS:
        with contextlib.suppress(UserError):
            read(path)


@MANY
@given(place=st.integers(0, 2000), new=st.binary(min_size=1, max_size=40))
def test_any_damage_of_parquet_gives_rows_or_one_error(
    tmp_path: Path, place: int, new: bytes
) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"q": ["one", None, "two"], "n": [1, 2, 3]}), path)
    data = bytearray(path.read_bytes())
    data[place % len(data) : place % len(data) + len(new)] = new
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        parquet_rows(path)


def test_the_nearest_name_of_a_folder_is_offered(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("uno\n", "utf-8")
    assert nearest(tmp_path / "promts.txt") == f"; did you mean {tmp_path / 'prompts.txt'}?"
    assert nearest(tmp_path / "other") == nearest(tmp_path / "no" / "such") == ""
    with pytest.raises(UserError, match=r"give an existing file; did you mean .*prompts\.txt\?"):
        read_text(tmp_path / "promts.txt")
