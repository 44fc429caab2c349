"""``report.html``: one file that opens from disk, asks the network for nothing and runs no text.

Model output is untrusted. It travels as JSON in a data block whose markup characters are escaped, and
scripts put it on the page as text only. A content security policy forbids every request and every
script but the page's own, which it names by their hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from linguamap import __version__
from linguamap.charts.naming import (
    OUTCOME_NAMES,
    OUTCOME_NOTES,
    SCENARIO_NAMES,
    SCENARIO_NOTES,
    benchmark_name,
    count,
    language_name,
    model_title,
    native_name,
    points,
    scenario_name,
)
from linguamap.records import OUTCOMES
from linguamap.report import tables
from linguamap.report.answer_table import answer_table, embed_json
from linguamap.report.benchmark_rows import benchmark_rows
from linguamap.report.findings import find
from linguamap.report.frame import digest, environment, script_of, style_of
from linguamap.report.lens_words import SAME_TO_THE_EYE, largest_move, texts_read
from linguamap.report.measure_rows import measure_rows
from linguamap.report.repeat import commands
from linguamap.report.run_charts import FIGURES, grids_chart, map_chart, outcome_map_chart
from linguamap.report.run_values import Json, RunData, object_at, read_run
from linguamap.report.sentences import Number
from linguamap.run.files import replacing
from linguamap.seeding import shuffled

SCRIPTS = ("chart.js", "base.js", "text.js", "prompt.js", "answers.js", "frame.js", "start.js")

STYLES = ("style.css", "chart.css", "figures.css", "answers.css")


def write_report(run_dir: Path) -> Path:
    """Draw ``report.html`` into a run folder from the files that are there.

    Returns:
        The path of the page.
    Raises:
        UserError: the folder is not a run.
    """
    data = read_run(Path(run_dir))
    path = data.folder / "report.html"
    with replacing(path) as temporary:
        temporary.write_bytes(render(data).encode("utf-8", errors="replace"))
    return path


def render(data: RunData) -> str:
    """The page of a run as text."""
    script = script_of(SCRIPTS)
    style = style_of(STYLES, _named(data))
    return (
        environment()
        .get_template("page.html")
        .render(
            **_context(data),
            script=Markup(script),
            style=Markup(style),
            script_hash=digest(script),
            style_hash=digest(style),
            payload=Markup(embed_json(payload(data))),
        )
    )


def payload(data: RunData) -> Json:
    """What the page's scripts list the answers from."""
    answers = answer_table(data)
    named = list(dict.fromkeys([*data.languages, *answers["languages"]]))
    return {
        "languages": [
            {"code": code, "name": language_name(code), "native": native_name(code)}
            for code in named
        ],
        "scenarios": [{"id": name, "name": scenario_name(name)} for name in data.scenarios],
        "benchmarks": [{"id": name, "name": benchmark_name(name)} for name in data.benchmarks],
        "outcomes": [{"id": name, "name": OUTCOME_NAMES[name]} for name in OUTCOMES],
        "outcome_order": [OUTCOMES.index(name) for name in OUTCOME_NAMES],
        "answers": answers,
        "examples": examples(answers, str(data.config.get("seed", 0))),
    }


def examples(answers: Json, seed: str) -> list[int]:
    """Row numbers of one answer for each outcome before tuning, drawn by lot from the seed.

    Languages that no example has yet come first, so that the four show different ones.
    """
    chosen: list[int] = []
    seen: set[int] = set()
    for outcome in OUTCOME_NAMES:
        rows = [
            number
            for number, row in enumerate(answers["rows"])
            if row[7] and row[7][0] == OUTCOMES.index(outcome) and row[6] < 0
        ]
        drawn = shuffled(rows, "examples", seed, outcome)
        drawn.sort(key=lambda number: answers["rows"][number][2] in seen)
        if drawn:
            chosen.append(drawn[0])
            seen.add(answers["rows"][drawn[0]][2])
    return chosen


def _two_maps(data: RunData) -> bool:
    """Whether the first screen draws the language map before and after tuning, not only before."""
    return (largest_move(data) or 0.0) > SAME_TO_THE_EYE


def _charts(data: RunData) -> dict[str, Any]:
    """Every chart of the page by name, as markup; empty where there is nothing to draw."""
    named = _named(data)
    drawn = {name: chart_of(data) for name, chart_of in FIGURES.items()}
    drawn["hero"] = map_chart(data, compact=True, after=_two_maps(data))
    cells = outcome_map_chart(data, {"": ""})
    drawn["outcome_map"] = cells.with_(keys=[]) if cells else None  # the legend says more
    grids, left_out = grids_chart(data)
    drawn["token_grid"] = grids
    markup = {
        name: chart.html(named, "hero-" if name == "hero" else "") if chart else ""
        for name, chart in drawn.items()
    }
    return {"charts": markup, "grids_left_out": left_out}


def _cell_sizes(data: RunData) -> str:
    """How many answers a cell of the outcome map has, in words."""
    sizes = sorted({cell["before"]["n"] for cell in tables.map_cells(data) if cell["before"]})
    if not sizes:
        return ""
    span = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f", {span} per cell"


def _context(data: RunData) -> dict[str, Any]:
    finding = find(data)
    finished = [
        str(e["finished"]) for e in data.stages.values() if isinstance(e, dict) and "finished" in e
    ]
    own = sum(not row.get("coincides_with") for row in data.before)
    return {
        "finding": finding,
        "language_name": language_name,
        "points_of": lambda share: points(share).lstrip("+"),
        "is_number": lambda piece: isinstance(piece, Number),
        "title": f"{model_title(data.model_name)}: linguamap report",
        "model": model_title(data.model_name),
        "model_name": data.model_name,
        "finished": max(finished, default="")[:10],
        "n_languages": len(data.languages),
        "n_answers": count(own + sum(not row.get("coincides_with") for row in data.after)),
        "data": data,
        "faults": data.faults,
        "scenarios": [
            (name, SCENARIO_NAMES[name], SCENARIO_NOTES[name])
            for name in (data.scenarios or list(SCENARIO_NAMES))
            if name in SCENARIO_NAMES
        ],
        "outcomes": [(name, OUTCOME_NAMES[name], OUTCOME_NOTES[name]) for name in OUTCOME_NAMES],
        "change_rows": tables.change_rows(data),
        "cell_rows": tables.cell_rows(data),
        "measure_rows": measure_rows(data),
        "map_cells": tables.map_cells(data),
        "cell_sizes": _cell_sizes(data),
        "repeats": any(cell["coincides"] for cell in tables.map_cells(data)),
        "kept_epoch": (data.tuning or {}).get("best_epoch"),
        **_charts(data),
        "stage_rows": tables.stage_rows(data),
        "tuning_rows": tables.tuning_rows(data),
        "version_rows": tables.version_rows(data),
        "not_probed": object_at(data.probe, "missing"),
        "evidence": object_at(data.layers, "evidence"),
        "evidence_rows": tables.evidence_rows(data),
        "config_text": yaml.safe_dump(data.config, sort_keys=False, allow_unicode=True),
        "commands": commands(data),
        "benchmark_rows": benchmark_rows(data),
        "texts_read": texts_read(data),
        "largest_move": largest_move(data),
        "two_maps": _two_maps(data),
        "version": (data.manifest or {}).get("linguamap") or __version__,
    }


def _named(data: RunData) -> list[str]:
    """The languages in the order of the payload, which numbers their colours."""
    seen = [str(row.get("language")) for row in data.before + data.after]
    return list(dict.fromkeys([*data.languages, *seen]))
