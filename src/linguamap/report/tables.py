"""The page's tables, cells already written out for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linguamap.charts.naming import (
    STAGE_NAMES,
    benchmark_name,
    change_figures,
    count,
    duration,
    language_name,
    p_value,
    percent_exact,
    points,
    scenario_name,
    size,
    spans,
)
from linguamap.records import OUTCOMES, Rate
from linguamap.report.rates import cases, grouped, is_number, rate_of, tally
from linguamap.report.run_values import Json, RunData, Table, list_at, object_at


@dataclass(frozen=True)
class ChangeRow:
    """One line of the before/after table.

    Attributes:
        cells: for each measure: before, after, difference, interval, p and n as text.
        clear: for each measure: 1 or -1 where the interval excludes 0, else 0.
    """

    group: str
    name: str
    cells: list[list[str]]
    clear: list[int]


MEASURES = ("language_consistency", "task_accuracy")
NO_FIGURE = "\N{EN DASH}"


def change_rows(data: RunData) -> list[ChangeRow]:
    """Before against after: over all, then by scenario, language and benchmark."""
    comparison = data.comparison or {}
    rows = []
    overall = object_at(comparison, "overall")
    if overall:
        rows.append(_change_row("", "All answers", overall))
    for group, label, name_of in (
        ("scenarios", "Scenario", scenario_name),
        ("languages", "Language", language_name),
        ("benchmarks", "Benchmark", benchmark_name),
    ):
        for name, entry in object_at(comparison, group).items():
            if isinstance(entry, dict):
                rows.append(_change_row(label, name_of(name), entry))
    return rows


def cell_rows(data: RunData) -> list[ChangeRow]:
    """Before against after in every cell; p corrected for many cells, or why it can say nothing."""
    return [
        _change_row(
            f"{benchmark_name(str(entry.get('benchmark')))}, {scenario_name(str(entry.get('scenario')))}",
            language_name(str(entry.get("language"))),
            entry,
            "holm_p",
        )
        for entry in list_at(data.comparison, "cells")
        if isinstance(entry, dict)
    ]


def _change_row(group: str, name: str, entry: Json, p: str = "p_value") -> ChangeRow:
    cells, clear = [], []
    for measure in MEASURES:
        texts, sign = _change_cells(object_at(entry, measure), p)
        cells.append(texts)
        clear.append(sign)
    return ChangeRow(group, name, cells, clear)


def _change_cells(found: Json, p_name: str) -> tuple[list[str], int]:
    before, after = found.get("before"), found.get("after")
    if not is_number(before) or not is_number(after):
        return [NO_FIGURE] * 6, 0
    low, high, n = found.get("low"), found.get("high"), found.get("n")
    p = found.get(p_name)
    interval, sign = NO_FIGURE, 0
    if is_number(low) and is_number(high):
        interval = f"{points(low)} to {points(high)}"
        sign = 1 if low > 0 else -1 if high < 0 else 0
    return [
        *change_figures(before, after),
        interval,
        p_value(float(p)).removeprefix("p ").removeprefix("= ")
        if is_number(p)
        else str(found.get("reason") or NO_FIGURE),
        count(int(n)) if is_number(n) else NO_FIGURE,
    ], sign


def map_cells(data: RunData) -> list[Json]:
    """Every cell of the outcome map: counts of the outcomes and the two rates, before and after.

    From ``summary.json``; a run stopped before it wrote one is counted from its answers.
    """
    keys = ("benchmark", "scenario", "language")
    merged: dict[tuple[str, ...], Json] = {}
    for when, rows, summary in (
        ("before", data.before, data.summary_before),
        ("after", data.after, data.summary_after),
    ):
        counted = grouped(rows, keys)
        stated = {
            tuple(str(cell.get(name)) for name in keys): cell
            for cell in list_at(summary, "cells")
            if isinstance(cell, dict)
        }
        for key in dict.fromkeys([*stated, *counted]):
            group = counted.get(key, [])
            cell = merged.setdefault(
                key,
                dict(zip(keys, key, strict=True))
                | {"coincides": _coincides(group), "before": None, "after": None},
            )
            cell[when] = _summary_cell(stated[key]) if key in stated else _counted_cell(group)
    return list(merged.values())


def _coincides(rows: Table) -> str | None:
    names = {row.get("coincides_with") for row in rows}
    return str(names.pop()) if len(names) == 1 and names != {None} else None


def _summary_cell(cell: Json) -> Json:
    outcomes = object_at(cell, "outcomes")
    n = int(cell["n"]) if is_number(cell.get("n")) else 0
    return {
        "n": n,
        "outcomes": [_whole(outcomes.get(name)) for name in OUTCOMES],
        "language": _triple(rate_of(cell.get("language_consistency"))),
        "task": _triple(rate_of(cell.get("task_accuracy"))),
    }


def _whole(value: Any) -> int:
    return int(value) if is_number(value) else 0


def _counted_cell(rows: Table) -> Json:
    counted = tally(rows)
    return {
        "n": counted.n,
        "outcomes": [counted.outcomes[name] for name in OUTCOMES],
        "language": _triple(counted.language),
        "task": _triple(counted.task),
    }


def _triple(rate: Rate | None) -> list[float | int | None] | None:
    if rate is None or rate.value is None:
        return None
    return [
        round(rate.value, 4),
        None if rate.low is None else round(rate.low, 4),
        None if rate.high is None else round(rate.high, 4),
        rate.n,
    ]


def case_cells(data: RunData) -> list[Json]:
    """Language under scenario over all benchmarks, for the before-after picture."""
    return [
        {
            "language": case.language,
            "scenario": case.scenario,
            "before": [_triple(case.before.language), _triple(case.before.task)],
            "after": [_triple(case.after.language), _triple(case.after.task)]
            if case.after
            else None,
        }
        for case in cases(data)
    ]


def stage_rows(data: RunData) -> list[list[str]]:
    """Stage, seconds, peak memory and when it ended, as text; then the sum."""
    rows = []
    total = 0.0
    for name, entry in data.stages.items():
        if not isinstance(entry, dict):
            continue
        seconds, memory = entry.get("seconds"), entry.get("peak_memory_bytes")
        total += float(seconds) if is_number(seconds) else 0.0
        rows.append(
            [
                STAGE_NAMES.get(name, name),
                duration(float(seconds)) if is_number(seconds) else NO_FIGURE,
                size(float(memory)) if is_number(memory) else NO_FIGURE,
                str(entry.get("finished") or NO_FIGURE),
            ]
        )
    if rows:
        rows.append(["Together", duration(total), "", ""])
    return rows


def tuning_rows(data: RunData) -> list[list[str]]:
    """What was trained, as name and value."""
    tuning = data.tuning or {}
    rows: list[list[str]] = []

    def add(name: str, value: Any, text: str) -> None:
        if value is not None:
            rows.append([name, text])

    add("Method", tuning.get("method"), str(tuning.get("method")))
    add("Blocks", data.tuned_layers or None, spans(data.tuned_layers))
    trained, total = tuning.get("trainable_parameters"), tuning.get("total_parameters")
    if is_number(trained) and is_number(total):
        rows.append(["Parameters trained", f"{count(int(trained))} of {count(int(total))}"])
    if is_number(tuning.get("trainable_share")):
        rows.append(["Share of the weights", percent_exact(tuning["trainable_share"])])
    seconds = [one for one in list_at(tuning, "seconds_per_epoch") if is_number(one)]
    if seconds:
        rows.append(["Time for each epoch", ", ".join(duration(one) for one in seconds)])
    if is_number(tuning.get("build_seconds")) and tuning.get("cached_examples"):
        rows.append(["Frozen part run once", duration(tuning["build_seconds"])])
    for name, key in (
        ("Training examples", "training_examples"),
        ("Target tokens", "target_tokens"),
    ):
        if is_number(tuning.get(key)):
            rows.append([name, count(int(tuning[key]))])
    add("Learning rate", tuning.get("learning_rate"), str(tuning.get("learning_rate")))
    add("Precision", tuning.get("precision"), str(tuning.get("precision")))
    if is_number(tuning.get("peak_memory_bytes")):
        rows.append(["Peak memory", size(tuning["peak_memory_bytes"])])
    if is_number(tuning.get("delta_bytes")):
        rows.append(["Size of the delta", size(tuning["delta_bytes"])])
    add("Seed", tuning.get("seed"), str(tuning.get("seed")))
    return rows


def version_rows(data: RunData) -> list[list[str]]:
    """Versions and machine, as name and value; empty before the manifest is written."""
    manifest = data.manifest or {}
    rows: list[list[str]] = []
    for name in ("linguamap", "python"):
        if manifest.get(name):
            rows.append([name, str(manifest[name])])
    for group, prefix in (("versions", ""), ("machine", ""), ("model", "model ")):
        rows += [[prefix + k, str(v)] for k, v in object_at(manifest, group).items() if v]
    if manifest.get("seed") is not None:
        rows.append(["seed", str(manifest["seed"])])
    return rows


EVIDENCE_CURVES = ("lens", "retrieval", "centred")


def evidence_rows(data: RunData) -> list[list[str]]:
    """Language, its boundary, and where each curve turns with the turn's interval; reasons last."""
    languages = object_at(data.layers, "evidence", "languages")
    rows = []
    for code in languages:
        entry = object_at(languages, code)
        boundary, curves = entry.get("boundary"), object_at(entry, "curves")
        reasons = [entry.get("reason")] + [object_at(curves, k).get("reason") for k in curves]
        rows.append(
            [
                language_name(code),
                f"{boundary:.1f}" if is_number(boundary) else NO_FIGURE,
                *(_turn(object_at(curves, name)) for name in EVIDENCE_CURVES),
                "; ".join(dict.fromkeys(str(one) for one in reasons if one)),
            ]
        )
    return rows


def _turn(curve: Json) -> str:
    turn, interval = curve.get("turn"), curve.get("turn_interval")
    if not is_number(turn):
        return NO_FIGURE
    text = f"{turn:.1f}"
    if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
        text += f" ({interval[0]:.1f}{NO_FIGURE}{interval[1]:.1f})"
    return text if curve.get("counts", True) else f"[{text}]"
