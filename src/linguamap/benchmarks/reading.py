"""Lines, CSV rows, JSON lines and Parquet rows of a file, each with its place for messages.

Lines end at ``\\n`` or ``\\r\\n`` only: U+2028 and U+0085 occur inside questions, so nothing here
uses ``str.splitlines``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linguamap.records import UserError


def json_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a JSON-lines file, each with its place.

    Raises:
        UserError: a line is not JSON, or no object.
    """
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in lines(path):
        place = f"{path} line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{place} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{place} holds a {type(row).__name__}, not an object with keys")
        rows.append((place, row))
    return rows


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; an empty last line is no line.

    Raises:
        UserError: the file is not UTF-8, or a line before the last is empty.
    """
    lines = _text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip():
            raise UserError(f"{path} line {number} is empty; remove it or fill it in")
        yield number, line


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file, each with the number of its last line; wholly empty rows are skipped.

    Raises:
        UserError: a quote is never closed, or follows a closed one.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num} is not CSV: {error}") from None


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None


def parquet_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None
    return [(f"{path} row {number}", row) for number, row in enumerate(rows)]
