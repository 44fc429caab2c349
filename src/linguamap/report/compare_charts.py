"""The charts of several runs side by side; runs go by their letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from linguamap.charts.chart import Chart
from linguamap.charts.dots import change
from linguamap.charts.outcome_map import outcome_map
from linguamap.charts.probe_charts import lens
from linguamap.report.run_charts import both_phases, cell_frame, change_frame, marks_of, n_layers
from linguamap.report.run_values import RunData


@dataclass(frozen=True)
class RunView:
    """A run as the page names it.

    Attributes:
        letter: A, B, C ..., its name in drawings.
        title: model and, where tuned, method.
        folder: name of the run folder.
        report: address of the run's own page relative to this one; None if there is none.
    """

    letter: str
    title: str
    folder: str
    report: str | None
    data: RunData


def outcome_maps(runs: Sequence[RunView], languages: Sequence[str]) -> Chart | None:
    """Every cell of every run, the runs as columns within a scenario; cells lead to the answers."""
    rows = [{"run": run.letter, **row} for run in runs for row in cell_frame(run.data)]
    if not rows:
        return None
    links = {run.letter: run.report for run in runs if run.report}
    return outcome_map(
        rows, languages=languages, links=links, scenarios=_joined(runs, "scenarios"),
        benchmarks=_joined(runs, "benchmarks"),
    ).with_(keys=[])  # fmt: skip


def rates(runs: Sequence[RunView], languages: Sequence[str], phase: str) -> Chart | None:
    """Both rates with 95 % intervals: a line for each run under each language and scenario."""
    rows = [{"run": run.letter, **row} for run in runs for row in change_frame(run.data, (phase,))]
    if not rows:
        return None
    return change(rows, languages=languages, scenarios=_joined(runs, "scenarios"))


def lenses(runs: Sequence[RunView], languages: Sequence[str]) -> Chart | None:
    """For each language asked for, a panel for each run that was probed."""
    probed = [run for run in runs if run.data.lens]
    rows = [
        {"run": run.letter, **row}
        for run in probed
        for row in both_phases(run.data.lens, run.data.lens_after)
    ]
    if not rows:
        return None
    return lens(
        rows, languages=languages, pivot="en" if "en" in languages else languages[0],
        marks={run.letter: marks_of(run.data) for run in probed}, by_depth=differ_in_depth(runs),
    )  # fmt: skip


def differ_in_depth(runs: Sequence[RunView]) -> bool:
    """Whether the probed models have different numbers of blocks."""
    return len({n_layers(run.data) for run in runs if run.data.lens}) > 1


def _joined(runs: Sequence[RunView], name: str) -> list[str]:
    return list(dict.fromkeys(value for run in runs for value in getattr(run.data, name)))
