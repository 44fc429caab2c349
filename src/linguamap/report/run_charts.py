"""The charts of a run: frames from its files, given to :mod:`linguamap.charts`.

One place says which chart draws which file; the page, the comparison and ``linguamap figures`` take
their charts from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from linguamap.charts.chart import FORMATS, Chart, Control
from linguamap.charts.curve_panel import LayerMarks
from linguamap.charts.dots import change
from linguamap.charts.layer_maps import language_map, token_grid
from linguamap.charts.naming import language_name, scenario_name
from linguamap.charts.outcome_map import outcome_map, outcomes
from linguamap.charts.probe_charts import handover, lens, similarity, token_set_probability
from linguamap.charts.training_charts import layer_change, loss
from linguamap.records import OUTCOMES, UserError
from linguamap.report.rates import cases, is_number
from linguamap.report.run_values import Json, RunData, Table, list_at, object_at, read_run
from linguamap.report.tables import map_cells
from linguamap.run.files import replacing

GRID_CELLS = 24_000
"""Cells of texts in depth that a page holds, about a megabyte; the rest stays in the run folder."""
MAX_TEXT = 6000
"""Characters of a prompt and its text that are kept."""
MAX_CELL = 40
"""Characters of a cell's text that are kept."""


def marks_of(data: RunData) -> LayerMarks:
    """What is drawn on the axis of a run's layers."""
    late = object_at(data.layers, "phases").get("late_start")
    interval = list_at(data.layers, "late_start_interval")
    whole = len(interval) == 2 and all(map(is_number, interval))
    return LayerMarks(
        n_layers(data),
        float(late) if is_number(late) else None,
        (float(interval[0]), float(interval[1])) if whole else None,
        data.tuned_layers,
        data.tuning is not None,
    )


def n_layers(data: RunData) -> int | None:
    """Number of blocks of the model, from layers.json or from the curves."""
    stated = (data.layers or {}).get("n_layers")
    if is_number(stated):
        return int(stated)
    rows = data.lens + data.similarity
    return max((int(row["layer"]) for row in rows if row.get("layer") is not None), default=None)


def both_phases(before: Table, after: Table) -> Table:
    """Rows of two probes as one frame with the column ``phase``."""
    return [
        {"phase": phase, **row}
        for phase, rows in (("before", before), ("after", after))
        for row in rows
    ]


def pivot_of(data: RunData) -> str:
    """The language that every other is compared with."""
    return "en" if "en" in data.languages else (data.languages or ["en"])[0]


def lens_chart(data: RunData) -> Chart | None:
    if not data.lens:
        return None
    pivot = pivot_of(data)
    noise = object_at(data.probe, "noise", "shares").get(pivot)
    return lens(
        both_phases(data.lens, data.lens_after), languages=data.languages, pivot=pivot,
        marks=marks_of(data), ceilings=ceilings(data), noise=noise if is_number(noise) else None,
        overtakes=object_at(data.layers, "overtakes_english"),
    )  # fmt: skip


def ceilings(data: RunData) -> dict[str, float]:
    """Language -> share of its own genuine words that the identifier places right."""
    values = {
        code: entry.get("value") if isinstance(entry, dict) else entry
        for code, entry in object_at(data.probe, "ceilings").items()
    }
    return {code: float(value) for code, value in values.items() if is_number(value)}


def map_chart(data: RunData, *, compact: bool = False, after: bool = True) -> Chart | None:
    """The language map, before and (where ``after``) after tuning."""
    if not data.lens:
        return None
    frame = both_phases(data.lens, data.lens_after if after else [])
    return language_map(frame, languages=data.languages, pivot=pivot_of(data),
                               marks=marks_of(data), compact=compact)  # fmt: skip


def probability_chart(data: RunData) -> Chart | None:
    if not data.mass:
        return None
    rows = [
        {**row, "probability": row.get("mass")} for row in both_phases(data.mass, data.mass_after)
    ]
    coverage = object_at(data.probe, "mass", "coverage")
    return token_set_probability(
        rows, languages=data.languages, pivot=pivot_of(data), marks=marks_of(data),
        coverage={code: float(one) for code, one in coverage.items() if is_number(one)},
    )  # fmt: skip


def similarity_chart(data: RunData) -> Chart | None:
    if not data.similarity:
        return None
    rows = both_phases(data.similarity, data.similarity_after)
    return similarity(rows, languages=data.languages, pivot=pivot_of(data),
                             marks=marks_of(data))  # fmt: skip


READ_OF_INTERVENTION = {"to_english": "english", "from_english": "target", "skip": "target"}
"""Intervention -> the language whose share among the first words tells what it did."""


def handover_frame(rows: Table) -> Table:
    """Handover as ``intervention``, ``language``, ``layer``, ``share``, ``low``, ``high``, ``n``.

    The probe's table has a share of English and one of the target for each intervention; what is
    read is the language that the swapped-in state would bring, or, where a block is left out, the
    target.
    """
    frame = []
    for row in rows:
        read = READ_OF_INTERVENTION.get(str(row.get("intervention")), "english")
        kept = {key: row.get(key) for key in ("phase", "intervention", "language", "layer", "n")}
        kept["phase"] = kept["phase"] or "before"
        frame.append(kept | {"share": row.get(read), "low": row.get(f"{read}_low"),
                             "high": row.get(f"{read}_high")})  # fmt: skip
    return frame


def handover_chart(data: RunData) -> Chart | None:
    if not data.handover:
        return None
    rows = handover_frame(both_phases(data.handover, data.handover_after))
    return handover(rows, languages=data.languages, marks=marks_of(data))


def cell_frame(data: RunData) -> Table:
    """Every cell of the outcome map as rows for :func:`linguamap.charts.outcome_map`."""
    rows = []
    for cell in map_cells(data):
        for phase in ("before", "after"):
            side = cell[phase]
            if side is None:
                continue
            row = {"phase": phase, **{k: cell[k] for k in ("benchmark", "language", "scenario")},
                   "coincides_with": cell["coincides"]}  # fmt: skip
            row |= dict(zip(OUTCOMES, side["outcomes"], strict=True))
            for name in ("language", "task"):
                keys = [f"{name}_{key}" for key in ("rate", "low", "high", "n")]
                row |= dict(zip(keys, side[name] or [None] * 4, strict=True))
            rows.append(row)
    return rows


def outcome_map_chart(data: RunData, links: Mapping[str, str] | None = None) -> Chart | None:
    rows = cell_frame(data)
    if not rows:
        return None
    return outcome_map(rows, languages=data.languages, scenarios=data.scenarios,
                              benchmarks=data.benchmarks, links=links)  # fmt: skip


def outcomes_chart(data: RunData) -> Chart | None:
    rows = [
        {"phase": phase, "scenario": case.scenario, "language": case.language, **tally.outcomes}
        for case in cases(data)
        for phase, tally in (("before", case.before), ("after", case.after))
        if tally is not None
    ]
    if not rows:
        return None
    return outcomes(rows, languages=data.languages, scenarios=data.scenarios)


def change_frame(data: RunData, phases: tuple[str, ...] = ("before", "after")) -> Table:
    """Both rates of each language under each scenario, for :func:`linguamap.charts.change`."""
    rows = []
    for case in cases(data):
        for phase in phases:
            tally = case.before if phase == "before" else case.after
            for measure in ("language", "task") if tally is not None else ():
                rate = getattr(tally, measure)
                rows.append({"phase": phase, "scenario": case.scenario, "language": case.language,
                             "measure": measure, "value": rate.value, "low": rate.low,
                             "high": rate.high, "n": rate.n})  # fmt: skip
    return rows


def change_chart(data: RunData) -> Chart | None:
    rows = change_frame(data)
    if not rows:
        return None
    return change(rows, languages=data.languages, scenarios=data.scenarios)


def loss_chart(data: RunData) -> Chart | None:
    rows = [
        {"curve": name, "epoch": epoch, "loss": float(value) if is_number(value) else None}
        for name, key in (("training", "train_loss"), ("validation", "validation_loss"))
        for epoch, value in enumerate(list_at(data.tuning, key), 1)
    ]
    if not any(row["loss"] is not None for row in rows):
        return None
    return loss(rows, kept_epoch=(data.tuning or {}).get("best_epoch"))


def layer_change_chart(data: RunData) -> Chart | None:
    by_layer = object_at(data.change, "curves", "lens", "by_layer")
    rows = [{"layer": int(k), "change": v} for k, v in by_layer.items() if k.isdigit() and is_number(v)]  # fmt: skip
    return layer_change(rows, marks=marks_of(data)) if rows else None


def grid_prompts(data: RunData) -> list[Json]:
    """The texts in depth: ``about`` one text, and its ``rows`` before and after tuning."""
    prompts: dict[str, Json] = {}
    for phase, grid in (("before", data.grid), ("after", data.grid_after)):
        layers = [one for one in list_at(grid, "layers") if isinstance(one, int)]
        for entry in list_at(grid, "prompts"):
            if isinstance(entry, dict) and _is_whole(entry, len(layers)):
                prompt = prompts.setdefault(
                    str(entry.get("prompt_id")), {"about": entry, "rows": []}
                )
                prompt["rows"] += _grid_rows(entry, layers, phase)
    return list(prompts.values())


def _is_whole(entry: Json, n_layers: int) -> bool:
    """Whether there is a row of cells for each layer and a cell for each token."""
    tokens, cells = list_at(entry, "tokens"), list_at(entry, "cells")
    return (
        len(tokens) > 0
        and len(cells) == n_layers > 0
        and all(isinstance(row, list) and len(row) == len(tokens) for row in cells)
        and all(isinstance(cell, dict) for row in cells for cell in row)
    )


def _grid_rows(entry: Json, layers: list[int], phase: str) -> Table:
    return [
        {
            "phase": phase, "layer": layer, "position": position,
            "text_there": _short(entry["tokens"][position - 1]),
            "word": _short(cell.get("w") or cell.get("t")), "token": _short(cell.get("t")),
            "language": cell.get("l"),
            "probability": float(cell["p"]) if is_number(cell.get("p")) else None,
        }
        for layer, row in zip(layers, entry["cells"], strict=True)
        for position, cell in enumerate(row, 1)
    ]  # fmt: skip


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def grid_chart(data: RunData, prompt: Json) -> Chart:
    """One text in depth."""
    language = str(prompt["about"].get("language") or "")
    return token_grid(prompt["rows"], language=language, languages=data.languages,
                             marks=marks_of(data))  # fmt: skip


def grids_chart(data: RunData) -> tuple[Chart | None, int]:
    """The texts in depth that fit into a page, one shown at a time; and how many did not fit."""
    prompts = grid_prompts(data)
    kept: list[Json] = []
    for prompt in prompts:
        if kept and sum(len(one["rows"]) for one in [*kept, prompt]) > GRID_CELLS:
            break
        kept.append(prompt)
    if not kept:
        return None, 0
    panels, options = [], []
    for place, prompt in enumerate(kept):
        about = prompt["about"]
        options.append((str(place), _prompt_name(about)))
        text = ("The prompt, and the text read after it",
                f"{about.get('prompt') or ''}\n→ {about.get('answer') or ''}"[:MAX_TEXT].split("\n"))  # fmt: skip
        for later, panel in enumerate(grid_chart(data, prompt).panels):
            when = {**panel.when, "prompt": str(place)}
            panels.append(
                replace(panel, when=when, more=panel.more if later else [text, *panel.more])
            )
    chart = grid_chart(
        data, {"about": kept[0]["about"], "rows": [r for p in kept for r in p["rows"]]}
    )
    chosen = next((place for place, one in enumerate(kept) if one["about"].get("language") != "en"
                   and one["about"].get("scenario") == "code_mixed"), 0)  # fmt: skip
    controls = [Control("prompt", "Prompt", options, str(chosen)), *chart.controls]
    return chart.with_(panels=panels, controls=controls), len(prompts) - len(kept)


def _prompt_name(about: Json) -> str:
    parts = (language_name(str(about.get("language"))), scenario_name(str(about.get("scenario"))).lower(),
             _short(about.get("kind")), _short(about.get("item_id")))  # fmt: skip
    return ", ".join(part for part in parts if part)


def chosen_grid_chart(data: RunData) -> Chart | None:
    """The text that a paper shows: the first under an English instruction in another language."""
    prompts = grid_prompts(data)
    others = [one for one in prompts if one["about"].get("language") != "en"]
    chosen = next(iter(others or prompts), None)
    return grid_chart(data, chosen) if chosen else None


FIGURES = {
    "outcomes": outcomes_chart, "outcome_map": outcome_map_chart, "change": change_chart,
    "loss": loss_chart, "lens": lens_chart, "language_map": map_chart,
    "token_set_probability": probability_chart, "token_grid": chosen_grid_chart,
    "similarity": similarity_chart, "handover": handover_chart, "layer_change": layer_change_chart,
}  # fmt: skip


def write_figures(run_dir: Path, style: str = "paper") -> list[Path]:
    """Write every chart that the run has the data for into its folder ``figures``.

    Args:
        run_dir: the run folder.
        style: ``paper`` (column 3.3 in, page 6.9 in, 7.5 pt) or ``slides`` (larger type, wider).
    Returns:
        The files written: for each chart SVG, PDF, PNG and CSV.
    Raises:
        UserError: the folder is not a run or has no results, the style is unknown, or the library
            for PDF and PNG is not installed.
    """
    data = read_run(Path(run_dir))
    written = []
    for name, chart_of in FIGURES.items():
        chart = chart_of(data)
        for kind in FORMATS if chart is not None else ():
            path = data.folder / "figures" / f"{name}.{kind}"
            content = chart.encoded(kind, style)  # type: ignore[union-attr]
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            written.append(path)
    if not written:
        raise UserError(
            f"figures: {data.folder} holds no results to draw yet; "
            f"run: linguamap run --out {data.folder}"
        )
    return written
