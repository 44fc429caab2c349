"""``report.html``: one file that opens from disk, asks the network for nothing and runs no text.

Model output is untrusted. It travels as JSON in a data block whose markup characters are escaped, and
scripts put it on the page as text only. A content security policy forbids every request and every
script but the page's own, which it names by their hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from linguamap.charts.naming import (
    LANGUAGE_NAMES,
    OUTCOME_NAMES,
    benchmark_name,
    scenario_name,
    shown_outcome,
)
from linguamap.languages import language_name, native_name
from linguamap.records import OUTCOMES, Answer
from linguamap.report import tables
from linguamap.report.answer_table import answer_table, embed_json, one_of_each
from linguamap.report.frame import write_page
from linguamap.report.run_charts import (
    FIGURES,
    grids_chart,
    map_chart,
    outcome_map_chart,
    write_figures,
)
from linguamap.report.words import Words, largest_move, missing_stages
from linguamap.run.folder import Run
from linguamap.run.manifest import write_manifest
from linguamap.run.read_run import RunContents, read_run
from linguamap.run.settings import dump_config

SCRIPTS = ("chart.js", "base.js", "text.js", "prompt.js", "answers.js", "frame.js", "start.js")
STYLES = ("style.css", "chart.css", "figures.css", "answers.css")
SAME_TO_THE_EYE = 0.10
"""Maps before and after whose shares nowhere differ by more than this are not drawn twice at the top."""


def write_all(run: Run) -> None:
    """The manifest, the page, and the figures where vl-convert is there."""
    write_manifest(run)
    write_report(run.folder)
    if find_spec("vl_convert") is not None:
        write_figures(run.folder)


def write_report(run_dir: Path) -> Path:
    """Draw ``report.html`` into a run folder from the files that are there.

    Raises:
        UserError: the folder is not a run.
    """
    run = read_run(run_dir)
    return write_page(run.folder / "report.html", "page.html", SCRIPTS, STYLES, run.languages,
                      **_context(run))  # fmt: skip


def payload(run: RunContents) -> dict[str, Any]:
    """What the page's scripts list the answers from."""
    answers = answer_table(_shown(run, run.before.answers), _shown(run, run.after.answers))
    names = OUTCOME_NAMES if run.has_tasks else LANGUAGE_NAMES
    return {
        "languages": [
            {"code": code, "name": language_name(code), "native": native_name(code)}
            for code in run.languages
        ],
        "scenarios": [{"id": name, "name": scenario_name(name)} for name in run.scenarios],
        "benchmarks": [{"id": name, "name": benchmark_name(name)} for name in run.benchmarks],
        "outcomes": [{"id": name, "name": names.get(name, "")} for name in OUTCOMES],
        "outcome_order": [OUTCOMES.index(name) for name in OUTCOME_NAMES if name in names],
        "answers": answers,
        "examples": one_of_each(
            [
                (OUTCOMES[row[7][0]] if row[7] and row[6] < 0 else "", row[2])
                for row in answers["rows"]
            ],
            str(run.config.seed),
        ),
    }


def _shown(run: RunContents, answers: Sequence[Answer]) -> list[Answer]:
    """Answers as they are shown: without any task in the run, under what their language is."""
    if run.has_tasks:
        return list(answers)
    return [replace(one, outcome=shown_outcome(one)[0]) for one in answers]


def _context(run: RunContents) -> dict[str, Any]:
    words = Words(html=True, run=run)
    move = largest_move(run)
    drawn = {name: chart_of(run) for name, chart_of in FIGURES.items()}
    drawn["hero"] = map_chart(run, compact=True, after=(move or 0.0) > SAME_TO_THE_EYE)
    cells = outcome_map_chart(run, {"": ""})
    drawn["outcome_map"] = cells.with_(keys=[]) if cells else None  # the legend says more
    drawn["token_grid"], grids_left_out = grids_chart(run)
    summaries = [one.summary for one in (run.before, run.after) if one.summary]
    return {
        "run": run,
        "words": words,
        "paragraphs": [
            (title, sentences)
            for title, name in (
                ("What it does", "behaviour"), ("Where", "where"), ("What tuning changed", "change")
            )
            if (sentences := words(name))
        ],
        "missing": missing_stages(run),
        "finished": max((entry.finished for entry in run.stages.values()), default="")[:10],
        "n_answers": sum(one.over_all.n for one in summaries),
        "sizes": sorted({cell.n for one in summaries for cell in one.cells}),
        "largest_move": move,
        "two_maps": (move or 0.0) > SAME_TO_THE_EYE,
        "charts": {
            name: chart.html(run.languages, "hero-" if name == "hero" else "") if chart else ""
            for name, chart in drawn.items()
        },
        "grids_left_out": grids_left_out,
        "tables": tables,
        "config_text": dump_config(run.config),
        "payload": Markup(embed_json(payload(run))),
    }  # fmt: skip
