"""``compare.html``: several runs side by side, one file that needs neither network nor script."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from linguamap.charts.naming import EN_DASH, STAGE_NAMES, duration, model_title, size
from linguamap.records import Change, UserError
from linguamap.report import tables
from linguamap.report.frame import write_page
from linguamap.report.run_charts import RunView, compared_charts, differ_in_depth
from linguamap.report.words import Words, is_clear
from linguamap.run.read_run import read_run
from linguamap.run.settings import dump_config, flatten

if TYPE_CHECKING:
    from linguamap.scoring.compare import RunComparison, RunsCompared

SCRIPTS = ("chart.js", "frame.js", "compare.js")
STYLES = ("style.css", "chart.css", "figures.css", "compare.css")
MEASURES = ("language_consistency", "task_accuracy")


class Difference(NamedTuple):
    """A run against the first one in one measure, over all answers."""

    letter: str
    measure: str
    change: Change


def write_compare(folders: Sequence[Path], comparison: RunsCompared, path: Path) -> Path:
    """Draw a page of two runs or more.

    Args:
        folders: the run folders, in the order of the comparison, its reference first.
        comparison: what :func:`linguamap.scoring.compare.compare_runs` gives for them.
        path: the file to write.
    Raises:
        UserError: a folder is not a run, or ``path`` is a folder or lies in none.
    """
    if path.is_dir() or not path.resolve().parent.is_dir():
        fault = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
        raise UserError(f"compare: {path} {fault}; name an HTML file for --to")
    views = [_view(place, Path(folder), path) for place, folder in enumerate(folders)]
    languages = list(dict.fromkeys(code for view in views for code in view.run.languages))
    pairs = list(zip(views[1:], comparison.comparisons, strict=True))
    context = _context(views, pairs, comparison.phase, languages)
    return write_page(path, "compare.html", SCRIPTS, STYLES, languages, **context)


def _view(place: int, folder: Path, page: Path) -> RunView:
    run = read_run(folder)
    letter = string.ascii_uppercase[place] if place < 26 else str(place + 1)
    title = model_title(run.config.model.name) + (f", {run.tuning.method}" if run.tuning else "")
    report = None
    if (folder / "report.html").is_file():
        report = quote(Path(os.path.relpath(folder.resolve(), page.resolve().parent)).as_posix())
        report += "/report.html"
    return RunView(letter, title, folder.resolve().name, report, run)


def _context(
    views: Sequence[RunView], pairs: Sequence[tuple[RunView, RunComparison]], phase: str,
    languages: list[str],
) -> dict[str, Any]:  # fmt: skip
    known, largest = differences(pairs)
    words = Words(html=True, views=views, pairs=pairs)
    charts = compared_charts(views, languages, phase)
    probed = [view for view in views if view.run.before.lens]
    texts = [words.one("texts_read", view.run) for view in probed]
    if len(set(texts)) > 1:
        texts = [f"{view.letter}: {text}" for view, text in zip(probed, texts, strict=True)]
    return {
        "views": views,
        "pairs": pairs,
        "phase": phase,
        "title": words.one("compared_title", largest),
        "sentences": words("compared"),
        "cautions": words("compared_cautions", len(known), largest, phase),
        "charts": {name: chart.html(languages) if chart else "" for name, chart in charts.items()},
        "by_depth": differ_in_depth(views),
        "texts_read": "; ".join(dict.fromkeys(texts)),
        "cost_rows": _cost_rows(views),
        "setting_rows": _setting_rows(views),
        "faults": [f"{view.letter}: {fault}" for view in views for fault in view.run.faults],
        "repeat": [
            command
            for view in views
            for command in tables.commands(view.run, f"{view.letter}.yaml", f"again-{view.letter}")
        ],
        "configs": [(view.letter, dump_config(view.run.config)) for view in views],
    }


def differences(
    pairs: Iterable[tuple[RunView, RunComparison]],
) -> tuple[list[Difference], Difference | None]:
    """The differences over all answers that are known, and the largest whose interval excludes 0."""
    known = [
        Difference(view.letter, measure, change)
        for view, found in pairs
        for measure in MEASURES
        if (change := getattr(found.overall, measure)).low is not None
    ]
    clear = [one for one in known if is_clear(one.change)]
    return known, max(clear, key=lambda one: abs(one.change.difference or 0.0), default=None)


def _cost_rows(views: Sequence[RunView]) -> list[list[str]]:
    """What each run took: stages, together, peak memory, size of the delta, machine."""
    runs = [view.run for view in views]
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.stages):
        took = [
            duration(run.stages[name].seconds) if name in run.stages else EN_DASH for run in runs
        ]
        rows.append([STAGE_NAMES.get(name, name), *took])
    sums = [sum(entry.seconds for entry in run.stages.values()) for run in runs]
    rows.append(["Together", *[duration(one) if one else EN_DASH for one in sums]])
    peaks = [max((e.peak_memory_bytes for e in run.stages.values()), default=0) for run in runs]
    rows.append(["Peak memory", *[size(one) if one else EN_DASH for one in peaks]])
    deltas = [run.tuning.delta_bytes if run.tuning else None for run in runs]
    if any(deltas):
        rows.append(["Size of the delta", *[size(one) if one else EN_DASH for one in deltas]])
    machines = [run.manifest.machine if run.manifest else {} for run in runs]
    named = [str(one.get("accelerator") or one.get("processor") or EN_DASH) for one in machines]
    return [*rows, ["Machine", *named]]


def _setting_rows(views: Sequence[RunView]) -> list[list[str]]:
    """Settings in which the runs differ, a column for each run."""
    flat = [flatten(view.run.config.model_dump()) for view in views]
    texts = [{k: EN_DASH if v is None else str(v) for k, v in one.items()} for one in flat]
    names = dict.fromkeys(name for one in texts for name in one)
    rows = [[name, *(one.get(name, EN_DASH) for one in texts)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]
