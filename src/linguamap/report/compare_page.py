"""``compare.html``: several runs side by side, one file that needs neither network nor script."""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from markupsafe import Markup

from linguamap import __version__
from linguamap.charts.naming import (
    OUTCOME_NAMES,
    OUTCOME_NOTES,
    benchmark_name,
    language_name,
    model_title,
    percent_exact,
    scenario_name,
    spans,
)
from linguamap.records import UserError
from linguamap.report import tables
from linguamap.report.compare_charts import RunView, differ_in_depth, lenses, outcome_maps, rates
from linguamap.report.compare_tables import cost_rows, setting_rows
from linguamap.report.compare_words import cautions, sentences, title
from linguamap.report.frame import digest, environment, script_of, style_of
from linguamap.report.lens_words import texts_read
from linguamap.report.rates import headline_rates, is_number
from linguamap.report.repeat import commands
from linguamap.report.run_charts import n_layers
from linguamap.report.run_values import Json, RunData, read_run
from linguamap.report.sentences import Number, figure
from linguamap.run.contents import as_json
from linguamap.run.files import replacing
from linguamap.scoring.compare import RunsCompared

SCRIPTS = ("chart.js", "frame.js", "compare.js")
STYLES = ("style.css", "chart.css", "figures.css", "compare.css")
NO_FIGURE = "\N{EN DASH}"


def write_compare(folders: Sequence[Path], comparison: RunsCompared, path: Path) -> Path:
    """Draw a page of two runs or more.

    Args:
        folders: the run folders, in the order of the comparison, its reference first.
        comparison: what :func:`linguamap.scoring.compare.compare_runs` gives for them.
        path: the file to write.
    Returns:
        ``path``.
    Raises:
        UserError: a folder is not a run, or ``path`` is a folder or lies in none.
    """
    if path.is_dir() or not path.resolve().parent.is_dir():
        fault = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise UserError(f"compare: {path} {fault}; name an HTML file for --to")
    runs = [_view(place, Path(folder), path) for place, folder in enumerate(folders)]
    with replacing(path) as temporary:
        temporary.write_bytes(
            render_compare(runs, as_json(comparison)).encode("utf-8", errors="replace")
        )
    return path


def render_compare(runs: Sequence[RunView], comparison: Json) -> str:
    """The page as text."""
    script = script_of(SCRIPTS)
    languages = list(dict.fromkeys(code for run in runs for code in run.data.languages))
    style = style_of(STYLES, languages)
    return (
        environment()
        .get_template("compare.html")
        .render(
            **_context(runs, comparison, languages),
            script=Markup(script),
            style=Markup(style),
            script_hash=digest(script),
            style_hash=digest(style),
        )
    )


def _view(place: int, folder: Path, page: Path) -> RunView:
    data = read_run(folder)
    letter = string.ascii_uppercase[place] if place < 26 else str(place + 1)
    title = model_title(data.model_name)
    if data.tuning is not None:
        title += f", {data.tuning.get('method') or 'tuned'}"
    report = None
    if (folder / "report.html").is_file():
        report = quote(Path(os.path.relpath(folder.resolve(), page.resolve().parent)).as_posix())
        report += "/report.html"
    return RunView(letter, title, folder.resolve().name, report, data)


def _context(runs: Sequence[RunView], comparison: Json, languages: list[str]) -> dict[str, Any]:
    where = str(comparison["phase"])
    return {
        "runs": runs,
        "where": where,
        "languages": languages,
        "language_name": language_name,
        "scenario_name": scenario_name,
        "benchmark_name": benchmark_name,
        "is_number": lambda piece: isinstance(piece, Number),
        "headline": title(runs, comparison),
        "sentences": sentences(runs, comparison),
        "cautions": cautions(runs, comparison),
        "headlines": [_headline(run) for run in runs],
        "outcomes": [(name, OUTCOME_NAMES[name], OUTCOME_NOTES[name]) for name in OUTCOME_NAMES],
        "charts": {
            name: chart.html(languages) if chart else ""
            for name, chart in (
                ("outcome_map", outcome_maps(runs, languages)),
                ("rates", rates(runs, languages, where)),
                ("lens", lenses(runs, languages)),
            )
        },
        "repeats": any(one["coincides"] for run in runs for one in tables.map_cells(run.data)),
        "both_sides": any(run.data.after or run.data.summary_after for run in runs),
        "pairs": [
            (run, tables.change_rows(wrapped), tables.cell_rows(wrapped))
            for run, found in zip(runs[1:], comparison["comparisons"], strict=True)
            for wrapped in [RunData(run.data.folder, comparison=found)]
        ],
        "by_depth": differ_in_depth(runs),
        "after_curves": any(run.data.lens_after for run in runs),
        "texts_read": _texts_read(runs),
        "cost_rows": cost_rows(runs),
        "setting_rows": setting_rows(runs),
        "faults": [f"{run.letter}: {fault}" for run in runs for fault in run.data.faults],
        "repeat": [
            command
            for run in runs
            for command in commands(run.data, f"{run.letter}.yaml", f"again-{run.letter}")
        ],
        "again": " ".join(f"again-{run.letter}" for run in runs),
        "configs": [(run, _config_text(run)) for run in runs],
        "version": __version__,
    }


def _texts_read(runs: Sequence[RunView]) -> str:
    """What the curves were read on, run by run where it is not the same."""
    probed = [(run.letter, texts_read(run.data)) for run in runs if run.data.lens]
    if len({text for _, text in probed}) == 1:
        return probed[0][1]
    return "; ".join(f"{letter}: {text}" for letter, text in probed)


def _config_text(run: RunView) -> str:
    return yaml.safe_dump(run.data.config, sort_keys=False, allow_unicode=True)


def _headline(run: RunView) -> dict[str, Any]:
    data = run.data
    rates = {when: headline_rates(data, when) for when in ("before", "after")}
    tuning, total = data.tuning or {}, n_layers(data)
    share = tuning.get("trainable_share")
    return {
        "run": run,
        "model": model_title(data.model_name),
        "blocks": str(total) if total else NO_FIGURE,
        "method": str(tuning.get("method") or NO_FIGURE)
        if data.tuning is not None
        else "not tuned",
        "tuned": spans(data.tuned_layers) if data.tuning is not None else NO_FIGURE,
        "share": percent_exact(share) if is_number(share) else NO_FIGURE,
        "rates": [
            figure(found[place]) if found else None
            for place in (0, 1)
            for found in (rates["before"], rates["after"])
        ],
    }
