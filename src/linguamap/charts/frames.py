"""Frames as chart functions take them, and curves read from their rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linguamap.records import UserError

Row = dict[str, Any]
Frame = Any
"""A pandas data frame, an Arrow table, columns (name -> values) or rows (mappings)."""


def rows_of(chart: str, frame: Frame, *needed: str) -> list[Row]:
    """The rows of a frame; not-a-number is ``None``.

    Raises:
        UserError: the frame is of another kind or lacks a column.
    """
    if hasattr(frame, "to_pylist"):
        rows = frame.to_pylist()
    elif hasattr(frame, "to_dict") and hasattr(frame, "columns"):
        rows = frame.to_dict("records")
    elif isinstance(frame, Mapping):
        rows = [dict(zip(frame, values)) for values in zip(*frame.values(), strict=True)]
    elif isinstance(frame, Iterable) and not isinstance(frame, str | bytes):
        rows = [dict(row) for row in frame]
    else:
        raise UserError(
            f"charts.{chart}: {type(frame).__name__} is no frame; give a pandas data frame, columns or rows"
        )
    for missing in (name for name in needed if rows and name not in rows[0]):
        raise UserError(
            f"charts.{chart}: the frame has no column '{missing}'; it has: {', '.join(map(str, rows[0]))}; "
            f"needed: {', '.join(needed)}"
        )
    return [{name: _known(value) for name, value in row.items()} for row in rows]


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by a key, in order of appearance."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def ordered(seen: Iterable[str], usual: Sequence[str]) -> list[str]:
    """Those of the usual order that were seen, then the others as they came."""
    found = dict.fromkeys(seen)
    return [one for one in usual if one in found] + [one for one in found if one not in usual]


PHASE_TITLES = {"before": "Before tuning", "after": "After tuning"}


def phase_of(row: Row) -> str:
    """``before`` or ``after`` tuning; a frame without the column is of the model as it is."""
    return str(row.get("phase") or "before")


@dataclass(frozen=True)
class Points:
    """A curve in the order of its layers; ``None`` where nothing was measured."""

    x: list[float]
    y: list[float | None]
    low: list[float | None]
    high: list[float | None]

    @property
    def last(self) -> float | None:
        return next((value for value in reversed(self.y) if value is not None), None)

    def at(self, x: float) -> float | None:
        return self.y[self.x.index(x)] if x in self.x else None


def points_of(rows: Iterable[Row], value: str = "share", x: str = "layer") -> Points:
    """The curve of a column over layers with its band in ``low`` and ``high``."""
    done = sorted((row for row in rows if row.get(x) is not None), key=lambda row: float(row[x]))
    return Points(
        [float(row[x]) for row in done],
        [row.get(value) for row in done],
        [row.get("low") for row in done],
        [row.get("high") for row in done],
    )
