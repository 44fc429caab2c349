"""What a terminal shows of scores: the Language Confusion table, identifiers, runs compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from linguamap.charts.naming import (
    EN_DASH,
    benchmark_name,
    points,
    scenario_name,
)
from linguamap.languages import language_name
from linguamap.records import Change, Changes

if TYPE_CHECKING:
    from linguamap.scoring.compare import RunComparison, RunsCompared

Row = Mapping[str, Any]

SIGNIFICANT = 0.05
MEASURES = {"language_consistency": "in the language", "task_accuracy": "right task"}
P_VALUES = "p: sign-flip test over items for pooled rows, exact McNemar test for cells."


def lcb_tables(rows: Sequence[Row], averages: Sequence[Row]) -> list[RenderableType]:
    """LPR, WPR and LCPR in percent by model, task, source and language, then the averages."""
    return [_lcb_table(rows), Text("Averages", style="bold"), _lcb_table(averages)]


def _lcb_table(rows: Sequence[Row]) -> Table:
    table = _table(4, "model", "task", "source", "language", "n", "LPR", "WPR", "LCPR")
    for row in rows:
        names = (Text(row[name]) for name in ("model", "task", "source", "language"))
        rates = (_percent(row[name]) for name in ("lpr", "wpr", "lcpr"))
        table.add_row(*names, str(row["n"]), *rates)
    return table


def identifier_tables(rows: Sequence[Row]) -> list[RenderableType]:
    """Accuracy in percent with its interval by language, a column for each identifier."""
    parts: list[RenderableType] = []
    for unit in dict.fromkeys(row["unit"] for row in rows):
        own = [row for row in rows if row["unit"] == unit]
        names = list(dict.fromkeys(row["identifier"] for row in own))
        found = {(row["language"], row["identifier"]): row for row in own}
        table = _table(1, str(unit), "n", *names)
        for code in dict.fromkeys(row["language"] for row in own):
            cells = [found[code, name] for name in names]
            n = "" if code == "all" else str(max(cell["n"] for cell in cells))
            shown = "all" if code == "all" else language_name(code)
            table.add_row(shown, n, *map(_accuracy, cells))
        parts.append(table)
    return parts


def _accuracy(row: Row) -> str:
    if row["accuracy"] is None:
        return EN_DASH
    low, high = (f"{100 * row[name]:.1f}" for name in ("low", "high"))
    return f"{100 * row['accuracy']:.1f} ({low}{EN_DASH}{high})"


def comparison_tables(runs: RunsCompared, comparison: RunComparison) -> list[RenderableType]:
    """One run against another: all answers, by scenario, by benchmark, and the cells that differ."""
    parts: list[RenderableType] = [
        Text(
            f"{comparison.run} against {runs.reference}, answers {runs.phase} tuning, "
            f"{comparison.n_prompts} prompts",
            style="bold",
        ),
        *_left_out(comparison),
    ]
    table = _table(
        1, "", *[head for name in MEASURES.values() for head in (name, "points (95%)", "p")]
    )
    groups = [("all answers", comparison.overall)]
    groups += [(scenario_name(k), v) for k, v in comparison.scenarios.items()]
    groups += [(benchmark_name(k), v) for k, v in comparison.benchmarks.items()]
    for name, entry in groups:
        changes = (getattr(entry, measure) for measure in MEASURES)
        table.add_row(Text(name), *[cell for one in changes for cell in _change(one, one.p_value)])
    return [*parts, table, Text(P_VALUES, style="dim"), *_cells(comparison.cells)]


def _left_out(comparison: RunComparison) -> list[RenderableType]:
    only = (("first", comparison.only_first), ("second", comparison.only_second))
    said = [f"{n} only in the {which} run" for which, n in only if n]
    if comparison.n_other_text:
        said.append(f"{comparison.n_other_text} common ones ask in other words")
    return [Text(f"Prompts: {'; '.join(said)}.", style="dim")] if said else []


def _cells(cells: Sequence[Changes]) -> list[RenderableType]:
    """The cells whose Holm-corrected p is below 0.05, measure by measure."""
    parts: list[RenderableType] = []
    for measure, name in MEASURES.items():
        changes: list[Change] = [getattr(cell, measure) for cell in cells]
        known = [(cell, one) for cell, one in zip(cells, changes) if one.holm_p is not None]
        reasons = Counter(one.reason for one in changes if one.reason)
        differing = [(cell, one) for cell, one in known if (one.holm_p or 0.0) < SIGNIFICANT]
        parts.append(
            Text(f"Cells that differ in '{name}' (Holm p < 0.05): {len(differing)} of {len(known)}")
        )
        parts += [Text(f"  {n} more {why}", style="dim") for why, n in reasons.items()]
        if not differing:
            continue
        table = _table(3, "benchmark", "language", "scenario", name, "points (95%)", "Holm p")
        for cell, one in differing:
            names = (
                benchmark_name(cell.benchmark or ""),
                language_name(cell.language or ""),
                scenario_name(cell.scenario or ""),
            )
            table.add_row(*map(Text, names), *_change(one, one.holm_p))
        parts.append(table)
    return parts


def _change(change: Change, p_value: float | None) -> list[RenderableType]:
    """Both rates, their difference with its interval, and a p value."""
    low, high = change.low, change.high
    if change.difference is None or low is None or high is None or p_value is None:
        return [EN_DASH] * 3
    style = "green" if low > 0 else "red" if high < 0 else ""
    difference = f"{points(change.difference)} ({points(low)} to {points(high)})"
    rates = f"{_percent(change.before)} to {_percent(change.after)}"
    return [rates, Text(difference, style=style), f"{p_value:.2g}"]


def _percent(share: float | None) -> str:
    return EN_DASH if share is None else f"{100 * share:.1f}"


def _table(n_left: int, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < n_left else "right", no_wrap=True)
    return table
