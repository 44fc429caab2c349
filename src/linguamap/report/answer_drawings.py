"""Figures of the answers: outcomes, and what tuning changed. Needs Matplotlib.

A drawing takes a run and a style and returns the figure with the numbers behind it, or None where
the run has no data for it.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from linguamap.charts.colours import OUTCOME_COLOURS, language_inks
from linguamap.charts.naming import OUTCOME_NAMES, benchmark_name, language_name, scenario_name
from linguamap.records import OUTCOMES, Rate
from linguamap.report.plotting import DASHED, FAINT, GREY, INK, Drawing, Style
from linguamap.report.rates import Case, Tally, cases
from linguamap.report.run_values import RunData
from linguamap.report.tables import map_cells


def outcomes(data: RunData, style: Style) -> Drawing | None:
    """Outcomes of each language under each scenario, before over after."""
    found = cases(data)
    if not found:
        return None
    scenarios = [name for name in data.scenarios if any(case.scenario == name for case in found)]
    languages = [code for code in data.languages if any(case.language == code for case in found)]
    height = style.page * (0.13 + 0.032 * len(languages))
    figure = Figure(figsize=(style.page, height))
    axes = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
    rows: list[list[Any]] = []
    for axis, scenario in zip(axes, scenarios, strict=True):
        axis.set_title(scenario_name(scenario))
        for case in (case for case in found if case.scenario == scenario):
            for when, tally, shift in _sides(case):
                y = languages.index(case.language) + shift
                _stack(axis, tally.outcomes, tally.n, y, 0.36)
                rows += [
                    [scenario, case.language, when, name, tally.outcomes[name], tally.n]
                    for name in OUTCOMES
                ]
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.5, 1], ["0", "50", "100%"])
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(languages)), [language_name(code) for code in languages])
    axes[0].set_ylim(len(languages) - 0.4, -0.6)
    _outcome_legend(figure, any(case.after for case in found))
    return Drawing(figure, ["scenario", "language", "when", "outcome", "answers", "of"], rows)


def outcome_map(data: RunData, style: Style) -> Drawing | None:
    """Every cell: benchmarks down, scenarios across, languages within; before over after."""
    cells = {(c["benchmark"], c["scenario"], c["language"]): c for c in map_cells(data)}
    if not cells:
        return None
    benchmarks = list(dict.fromkeys([*data.benchmarks, *(key[0] for key in cells)]))
    scenarios = [name for name in data.scenarios if any(key[1] == name for key in cells)]
    scenarios = scenarios or list(dict.fromkeys(key[1] for key in cells))
    languages = [code for code in data.languages if any(key[2] == code for key in cells)]
    height = style.page * (0.07 + len(benchmarks) * (0.03 + 0.028 * len(languages)))
    figure = Figure(figsize=(style.page, height))
    axes = figure.subplots(len(benchmarks), len(scenarios), sharex=True, sharey=True, squeeze=False)
    rows: list[list[Any]] = []
    for across, benchmark in zip(axes, benchmarks, strict=True):
        across[0].set_ylabel(benchmark_name(benchmark), weight="bold")
        for axis, scenario in zip(across, scenarios, strict=True):
            for y, code in enumerate(languages):
                cell = cells.get((benchmark, scenario, code))
                sides = [(w, cell[w]) for w in ("before", "after") if cell and cell[w]]
                for place, (when, side) in enumerate(sides):
                    counts = dict(zip(OUTCOMES, side["outcomes"], strict=True))
                    shift = 0.0 if len(sides) == 1 else 0.4 * place - 0.2
                    _stack(axis, counts, side["n"], y + shift, 0.36)
                    names = [benchmark, scenario, code, when]
                    rows += [[*names, name, counts[name], side["n"]] for name in OUTCOMES]
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.5, 1], ["0", "50", "100%"])
            axis.spines["left"].set_visible(False)
            axis.tick_params(axis="y", length=0)
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        axis.set_title(scenario_name(scenario))
    axes[0][0].set_yticks(range(len(languages)), [language_name(code) for code in languages])
    axes[0][0].set_ylim(len(languages) - 0.4, -0.6)
    _outcome_legend(figure, any(cell["after"] for cell in cells.values()))
    columns = ["benchmark", "scenario", "language", "when", "outcome", "answers", "of"]
    return Drawing(figure, columns, rows)


def _outcome_legend(figure: Figure, both: bool) -> None:
    """What the colours are and, where there are two bars a language, which is which."""
    handles = [Patch(facecolor=OUTCOME_COLOURS[name][0]) for name in OUTCOME_NAMES]
    title = "Upper bar: before tuning; lower bar: after tuning" if both else None
    figure.legend(handles, list(OUTCOME_NAMES.values()), loc="outside lower center", ncols=3,
                  title=title)  # fmt: skip


def _sides(case: Case) -> list[tuple[str, Tally, float]]:
    if case.after is None:
        return [("before", case.before, 0.0)]
    return [("before", case.before, -0.2), ("after", case.after, 0.2)]


def _stack(axis: Axes, counts: dict[str, int], n: int, y: float, height: float) -> None:
    left = 0.0
    for name in OUTCOME_NAMES:
        share = counts[name] / max(n, 1)
        colour = OUTCOME_COLOURS[name][0]
        axis.barh(y, share, height, left=left, color=colour, edgecolor="white", linewidth=0.3)
        left += share


def change(data: RunData, style: Style) -> Drawing | None:
    """Language consistency and task accuracy, before and after, with 95% intervals."""
    found = cases(data)
    if not found:
        return None
    inks = language_inks(data.languages)
    figure = Figure(figsize=(style.page, style.page * (0.1 + 0.021 * len(found))))
    axes = figure.subplots(1, 2, sharey=True)
    rows: list[list[Any]] = []
    ticks: list[tuple[float, str]] = []
    y = 0.0
    for scenario in data.scenarios:
        group = [case for case in found if case.scenario == scenario]
        if group:
            axes[0].text(-0.24, y, scenario_name(scenario), va="center", weight="bold")
            y += 1
        for case in group:
            ticks.append((y, language_name(case.language)))
            for axis, measure in zip(axes, ("language", "task"), strict=True):
                for when, tally, shift in _sides(case):
                    rate = tally.language if measure == "language" else tally.task
                    names = [scenario, case.language, when, measure]
                    rows.append([*names, rate.value, rate.low, rate.high, rate.n])
                    hollow = when == "before" and case.after is not None
                    _point(axis, rate, y + shift, inks[case.language].light, hollow)
            y += 1
        y += 0.5
    for axis, title in zip(axes, ("In the language asked for", "Right task"), strict=True):
        _share_axis(axis, title)
    axes[0].set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes[0].set_ylim(y, -0.8)
    if any(case.after for case in found):
        handles = [
            Line2D([], [], ls="", marker="o", ms=3.5, mec=INK, mew=0.8, mfc=face)
            for face in ("white", INK)
        ]
        sides = ["before tuning", "after tuning"]
        figure.legend(handles, sides, loc="outside lower center", ncols=2)
    columns = ["scenario", "language", "when", "measure", "value", "low", "high", "n"]
    return Drawing(figure, columns, rows)


def _point(axis: Axes, rate: Rate, y: float, colour: str, hollow: bool) -> None:
    if rate.value is None or rate.low is None or rate.high is None:
        return
    axis.plot([rate.low, rate.high], [y, y], color=colour, lw=0.7, alpha=0.6)
    axis.plot(rate.value, y, "o", ms=3, mec=colour, mfc="white" if hollow else colour, mew=0.8)


def _share_axis(axis: Axes, title: str) -> None:
    axis.set_title(title)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
    axis.grid(axis="x", color=FAINT, lw=0.5)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_axisbelow(True)


def loss(data: RunData, style: Style) -> Drawing | None:
    """Loss of each finished epoch, in nats a counted token."""
    tuning = data.tuning or {}
    curves = {
        name: [(epoch, value) for epoch, value in enumerate(tuning[key], 1) if value is not None]
        for name, key in (("training", "train_loss"), ("validation", "validation_loss"))
        if isinstance(tuning.get(key), list)
    }
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    figure = Figure(figsize=(style.column, style.column * 0.55))
    axis = figure.subplots()
    for name, curve in curves.items():
        dashed = name == "validation"
        epochs, values = [epoch for epoch, _ in curve], [value for _, value in curve]
        axis.plot(epochs, values, "o", ls=DASHED if dashed else "-", ms=2.5,
                  color=GREY if dashed else INK, label=name)  # fmt: skip
    axis.set_xticks(sorted({epoch for curve in curves.values() for epoch, _ in curve}))
    axis.set_xlabel("Epoch")
    axis.set_ylabel("Loss, nats a token")
    axis.set_ylim(bottom=0)
    axis.legend()
    rows = [[name, epoch, value] for name, curve in curves.items() for epoch, value in curve]
    return Drawing(figure, ["curve", "epoch", "loss"], rows)
