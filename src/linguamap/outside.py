"""The one door for files that somebody else wrote: size, depth, digits and types are bounded here.

Whatever the bytes are, a reader gives values or one :class:`UserError` that names file and line or row.
Lines end at ``\\n`` or ``\\r\\n`` only: U+2028 and U+0085 occur inside questions, so nothing here uses
``str.splitlines``. A byte order mark is read over in every format.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import difflib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from linguamap.records import UserError

LARGEST_FILE = 2_000_000_000
"""Bytes of a data file."""
LARGEST_SETTINGS = 1_000_000
"""Bytes of a YAML file, and values that its anchors may unfold to."""
DEEPEST = 64
"""Levels of lists and tables in one another."""
MOST_DIGITS = 400
"""Of one number; Python itself stops at 4,300."""
MOST_ROWS = 20_000_000
"""Of a Parquet file, whose few bytes may claim any number of rows."""
LONGEST_TEXT = 1_000_000
"""Characters of one cell."""
LONGEST_WORD = 100_000
"""Characters without a blank; scripts that write no blanks between words stay far below it."""
LONGEST_SHOWN = 80
"""Characters of a value that a message quotes."""

Row = Mapping[str, Any]


def nearest(path: Path) -> str:
    """What to say of a path that does not exist: the nearest name in its folder, or nothing."""
    try:
        names = sorted(one.name for one in path.parent.iterdir())
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """The text of a UTF-8 file.

    Raises:
        UserError: it cannot be opened, is too large, or is in another encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give an existing file{nearest(path)}") from None
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise UserError(
            f"{path}: {reason}; check the path and its rights, or name another"
        ) from None
    if len(data) > largest:
        raise UserError(f"{path} holds more than {largest} bytes; divide it, or give another file")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is not UTF-8: it begins like UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8"
        ) from None


def parse_json(text: str, place: object) -> Any:
    """The value of a JSON text; NaN, as pandas writes a missing cell, is None.

    Args:
        place: what the message calls the text, e.g. file and line.
    Raises:
        UserError: no JSON, nested too deep, or a number of too many digits.
    """
    try:
        value = _DECODER.decode(text)
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(value)
    except RecursionError:
        raise UserError(f"{place} is refused: {_TOO_DEEP}") from None
    except ValueError as error:
        raise UserError(f"{place} is not JSON: {error}") from None
    return value


def read_json(path: Path) -> Any:
    """The value of a JSON file, see :func:`parse_json`."""
    return parse_json(read_text(path), path)


def json_rows(path: Path) -> list[tuple[str, Row]]:
    """The objects of a JSON-lines file, each with its place; empty lines are read over.

    One list of objects, as programs export it under any name, is read, too: its items are its lines.

    Raises:
        UserError: a line is not JSON, or no object.
    """
    rows: list[tuple[str, Row]] = []
    text = read_text(path).strip()
    if text[:1] == "[" and text[-1:] == "]" and text[1:].lstrip()[:1] == "{":
        values = [(f"{path} line {n}", row) for n, row in enumerate(parse_json(text, path), 1)]
        if odd := next((place for place, row in values if not isinstance(row, dict)), None):
            raise UserError(f"{odd} holds no object with keys")
        return values
    for number, line in lines(path, gaps=True):
        place = f"{path} line {number}"
        row = parse_json(line, place)
        if not isinstance(row, dict):
            raise UserError(f"{place} holds a {_kind(row)}, not an object with keys")
        rows.append((place, row))
    return rows


def lines(path: Path, *, gaps: bool = False) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; an empty last line is no line.

    Args:
        gaps: read over empty lines.
    Raises:
        UserError: the file is not UTF-8, or a line before the last is empty and may not be.
    """
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() and gaps:
            continue
        if not line.strip():
            raise UserError(f"{path} line {number} is empty; remove it or fill it in")
        yield number, line


def csv_rows(
    path: Path, *, delimiter: str = ",", strict: bool = True, any_line_end: bool = False
) -> list[tuple[int, list[str]]]:
    """Rows of a CSV file, each with the number of its last line; wholly empty rows are skipped.

    Args:
        strict: refuse a quote that is never closed or follows a closed one.
        any_line_end: read ``\\r`` and ``\\r\\n`` inside cells as ``\\n``.
    """
    text = read_text(path)
    if any_line_end:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(io.StringIO(text, newline=""), strict=strict, delimiter=delimiter)
    limit = csv.field_size_limit(2**31 - 1)  # Python's own is 131,072 characters
    try:
        return [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num} is not CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)


def csv_table(path: Path, needed: Sequence[str], **form: Any) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV file with a header, each with its place.

    Args:
        needed: columns that must be there.
        form: as :func:`csv_rows` takes it.
    Raises:
        UserError: a column is missing, or a row is shorter or longer than the header.
    """
    (_, header), *rows = csv_rows(path, **form) or [(1, [])]
    if missing := [name for name in needed if name not in header]:
        raise UserError(
            f"{path}: the columns {', '.join(missing)} are missing; found "
            f"{shown(', '.join(header)) or 'none'}, needed are {', '.join(needed)}"
        )
    table = []
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(
                f"{path} line {number}: found {len(cells)} cells, the header has {len(header)}; "
                "restore the row"
            )
        table.append((f"{path} line {number}", dict(zip(header, cells))))
    return table


def parquet_rows(path: Path) -> list[tuple[str, Row]]:
    """The rows of a Parquet file, each with its place.

    Raises:
        UserError: no Parquet, a broken page, or more rows than can be meant.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise UserError(f"{path} claims {file.metadata.num_rows} rows; divide the file")
            rows = file.read().to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{path}: {str(error.strerror).lower()}; check the path") from None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} is not a Parquet file, or it is broken: {shown(reason)}; get it again"
        ) from None
    return [(f"{path} row {number}", row) for number, row in enumerate(rows)]


def parse_yaml(text: str, place: object) -> Any:
    """The value of a YAML text.

    Raises:
        UserError: no YAML; nested too deep, numbers of too many digits, dates that are none, texts with
            NUL or half a character, or anchors that unfold to too much.
    """
    try:
        value = yaml.safe_load(text)
        _check_settings(value)
    except RecursionError:
        raise UserError(f"{place} is refused: {_TOO_DEEP}") from None
    except (ValueError, OverflowError) as error:
        reason = str(error).partition(";")[0]  # Python's advice on digits is not for users
        raise UserError(f"{place} is refused: {reason}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{place} is not valid YAML ({' '.join(str(error).split())})") from None
    return value


def as_text(value: object) -> str | None:
    """A cell as text: numbers as one writes them, True and False by name; None where it is missing.

    Raises:
        ValueError: it is no text (a list, a table, bytes), or a text that cannot be used; the message
            goes on after "is".
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | datetime.date):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int | decimal.Decimal):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"no text: a {_kind(value)}")
    if fault := text_fault(value):
        raise ValueError(fault)
    return value


def text_fault(text: str) -> str | None:
    """Why a text cannot be used, or None; it goes on after "is"."""
    if len(text) > LONGEST_TEXT:
        return f"too long: {len(text)} characters, at most {LONGEST_TEXT}"
    if _BROKEN.search(text):
        return "no text: it holds NUL or half a character (a lone surrogate)"
    if len(text) > LONGEST_WORD and any(len(word) > LONGEST_WORD for word in text.split()):
        return f"no text: a word of more than {LONGEST_WORD} characters"
    return None


def shown(value: object) -> str:
    """A value for a message: a text as it stands, others as Python writes them, cut where long."""
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    else:
        text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ..."


_TOO_DEEP = f"nested more than {DEEPEST} deep"
_BROKEN = re.compile("[\x00\ud800-\udfff]")
_KINDS = {
    dict: "table of keys",
    list: "list",
    type(None): "null",
    str: "text",
    bytes: "row of bytes",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits, at most {MOST_DIGITS} are read")
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > MOST_DIGITS or not math.isfinite(value := float(digits)):
        raise ValueError(f"the number {shown(digits)} is too large")
    return value


def _missing(constant: str) -> None:
    """NaN; infinity is refused."""
    if constant != "NaN":
        raise ValueError(f"{constant} is no number")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_missing)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise RecursionError


def _inside(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in values if isinstance(one, dict | list)]


def _check_settings(value: Any) -> None:
    """Raise ValueError or RecursionError for what no setting can be."""
    level, seen = [value], 0
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for one in level:
            seen += 1
            if isinstance(one, str) and _BROKEN.search(one):
                raise ValueError("a text holds NUL or half a character (a lone surrogate)")
            if isinstance(one, int) and one.bit_length() > 64:
                raise ValueError("an integer is larger than 2^64")
            if isinstance(one, dict):
                inner += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple | set):
                inner += one
            if seen + len(inner) > LARGEST_SETTINGS:
                raise ValueError("its anchors unfold to too much")
        if not inner:
            return
        level = inner
    raise RecursionError
