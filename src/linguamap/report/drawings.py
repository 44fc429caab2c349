"""How each figure is drawn, with Matplotlib. Importing this needs the extra ``figures``.

A drawing takes a run and a style and returns the figure with the numbers behind it, or None where
the run has no data for it. Text sizes are those of print: 1 pt is 1/72 in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from linguamap.records import OUTCOMES
from linguamap.report.colours import OUTCOME_COLOURS, Ink, language_inks
from linguamap.report.curve_data import curve_data
from linguamap.report.loading import Json, RunData
from linguamap.report.naming import OUTCOME_NAMES, language_name, scenario_name
from linguamap.report.rates import Case, Tally, cases

GREY = "#8a8f94"
FAINT = "#e4e1da"


@dataclass(frozen=True)
class Style:
    """Widths in inches, and Matplotlib settings."""

    column: float
    page: float
    settings: dict[str, Any]


def _settings(points: float) -> dict[str, Any]:
    return {
        "font.size": points,
        "axes.titlesize": points,
        "axes.labelsize": points,
        "xtick.labelsize": points - 0.5,
        "ytick.labelsize": points - 0.5,
        "legend.fontsize": points - 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.5,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "lines.linewidth": 1.1,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "pdf.fonttype": 42,
        "svg.hashsalt": "linguamap",
        "figure.constrained_layout.use": True,
    }


STYLES: dict[str, Style] = {
    "paper": Style(3.3, 6.9, _settings(7.5)),
    "slides": Style(6.0, 12.0, _settings(13.0)),
}


@dataclass(frozen=True)
class Drawing:
    """A figure and the numbers behind it."""

    figure: Figure
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)


def outcomes(data: RunData, style: Style) -> Drawing | None:
    """Outcomes of each language under each scenario, before over after."""
    found = cases(data)
    if not found:
        return None
    scenarios = [name for name in data.scenarios if any(case.scenario == name for case in found)]
    languages = [code for code in data.languages if any(case.language == code for case in found)]
    height = style.page * (0.1 + 0.032 * len(languages))
    figure = Figure(figsize=(style.page, height))
    axes = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
    rows: list[list[Any]] = []
    for axis, scenario in zip(axes, scenarios, strict=True):
        axis.set_title(scenario_name(scenario))
        for case in (case for case in found if case.scenario == scenario):
            for when, tally, shift in _sides(case):
                _stack(axis, tally, languages.index(case.language) + shift, 0.36)
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
    handles = [Patch(facecolor=OUTCOME_COLOURS[name][0]) for name in OUTCOME_NAMES]
    figure.legend(handles, list(OUTCOME_NAMES.values()), loc="outside lower center", ncols=5)
    return Drawing(figure, ["scenario", "language", "when", "outcome", "answers", "of"], rows)


def _sides(case: Case) -> list[tuple[str, Tally, float]]:
    if case.after is None:
        return [("before", case.before, 0.0)]
    return [("before", case.before, -0.2), ("after", case.after, 0.2)]


def _stack(axis: Axes, tally: Tally, y: float, height: float) -> None:
    left = 0.0
    for name in OUTCOME_NAMES:
        share = tally.outcomes[name] / max(tally.n, 1)
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
                    rows.append(
                        [scenario, case.language, when, measure, rate.value, rate.low, rate.high, rate.n]
                    )
                    if rate.value is None or rate.low is None or rate.high is None:
                        continue
                    colour = inks[case.language].light
                    face = "white" if when == "before" and case.after else colour
                    axis.plot([rate.low, rate.high], [y + shift] * 2, color=colour, lw=0.7, alpha=0.6)
                    axis.plot(rate.value, y + shift, "o", ms=3, mec=colour, mfc=face, mew=0.8)
            y += 1
        y += 0.5
    for axis, title in zip(axes, ("In the language asked for", "Right task"), strict=True):
        axis.set_title(title)
        axis.set_xlim(-0.02, 1.02)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
        axis.grid(axis="x", color=FAINT, lw=0.5)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_axisbelow(True)
    axes[0].set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes[0].set_ylim(y, -0.8)
    columns = ["scenario", "language", "when", "measure", "value", "low", "high", "n"]
    return Drawing(figure, columns, rows)


def lens(data: RunData, style: Style) -> Drawing | None:
    """Share of words in the language asked for and in English, a panel for each language."""
    curves = curve_data(data)
    before, after = curves["lens"]["before"], curves["lens"]["after"]
    if not before:
        return None
    targets = [code for code in data.languages if code in before]
    inks = language_inks(data.languages)
    n_rows = -(-len(targets) // 3)
    figure = Figure(figsize=(style.page, style.page * 0.235 * n_rows + 0.35))
    axes = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, target in zip(axes, targets, strict=False):
        words = dict.fromkeys([curves["pivot"], target])
        for word in words:
            for when, table in (("before", before), ("after", after)):
                curve = ((table or {}).get(target) or {"curves": {}})["curves"].get(word)
                if curve:
                    _line(axis, curve, inks[word], dashed=when == "after", band=when == "before")
        ceiling = curves["ceilings"].get(target)
        if ceiling is not None:
            axis.plot([1.0, 1.035], [ceiling] * 2, color=inks[target].light, lw=1.5,
                      transform=axis.get_yaxis_transform(), clip_on=False)  # fmt: skip
        axis.set_title(language_name(target), color=inks[target].light, weight="bold")
        _layer_axis(axis, curves)
        axis.set_ylim(0, 1.02)
        axis.set_yticks([0, 0.5, 1], ["0", "50", "100%"])
    for axis in axes[len(targets) :]:
        axis.set_visible(False)
    _before_after_legend(figure, after is not None)
    return Drawing(figure, ["when", "asked_for", "words_in", "layer", "share", "low", "high"], [
        [when, target, word, *point]
        for when, table in (("before", before), ("after", after))
        for target, entry in (table or {}).items()
        for word, curve in entry["curves"].items()
        for point in _points(curve)
    ])  # fmt: skip


def language_map(data: RunData, style: Style) -> Drawing | None:
    """Layers x languages: colour is the leading language, strength its share of words."""
    curves = curve_data(data)
    sides = [(w, t) for w, t in curves["lens"].items() if t]
    if not sides:
        return None
    inks = language_inks(data.languages)
    targets = [code for code in data.languages if code in sides[0][1]]
    height = (0.16 * len(targets) + 0.42) * len(sides) * style.column / 3.3
    figure = Figure(figsize=(style.column, height))
    axes = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    rows: list[list[Any]] = []
    for axis, (when, table) in zip(axes, sides, strict=True):
        for y, target in enumerate(targets):
            for layer, word, share in _leaders((table.get(target) or {"curves": {}})["curves"]):
                rows.append([when, target, layer, word, share])
                colour = inks[word].light if word in inks else GREY
                box = Rectangle((layer - 0.46, y - 0.44), 0.92, 0.88, lw=0, fc=colour)
                box.set_alpha(0.06 + 0.94 * share)
                axis.add_patch(box)
        axis.set_yticks(range(len(targets)), [language_name(code) for code in targets])
        axis.set_ylim(len(targets) - 0.5, -0.5)
        axis.set_xlim(-0.5, (curves["n_layers"] or 1) + 0.5)
        axis.tick_params(length=0)
        axis.spines[["left", "bottom"]].set_visible(False)
        if len(sides) > 1:
            axis.set_title(f"{when.capitalize()} tuning")
        if curves["late_start"] is not None:
            axis.axvline(curves["late_start"] - 0.5, color=GREY, lw=0.7, ls=(0, (3, 2)))
        _tuned_marks(axis, curves)
    axes[-1].set_xlabel("Layer")
    return Drawing(figure, ["when", "asked_for", "layer", "leading_language", "share"], rows)


def _leaders(curves: Json) -> list[tuple[int, str, float]]:
    best: dict[int, tuple[str, float]] = {}
    for word, curve in curves.items():
        for layer, share, _, _ in _points(curve) if word else ():
            if share is not None and (layer not in best or share > best[layer][1]):
                best[layer] = (word, share)
    return [(layer, word, share) for layer, (word, share) in sorted(best.items())]


def _points(curve: Json) -> list[list[Any]]:
    return [list(point) for point in zip(curve["x"], curve["y"], curve["lo"], curve["hi"], strict=True)]


def _line(axis: Axes, curve: Json, ink: Ink, *, dashed: bool = False, band: bool = True) -> None:
    known = [point for point in _points(curve) if point[1] is not None]
    x = [point[0] for point in known]
    style = (0, (3, 2)) if dashed else "-"
    axis.plot(x, [point[1] for point in known], color=ink.light, ls=style, lw=0.9 if dashed else 1.1)
    whole = [point for point in known if point[2] is not None and point[3] is not None]
    if band and whole:
        axis.fill_between(
            [point[0] for point in whole],
            [point[2] for point in whole],
            [point[3] for point in whole],
            color=ink.light, alpha=0.15, lw=0,
        )  # fmt: skip


def _layer_axis(axis: Axes, curves: Json) -> None:
    n_layers = curves["n_layers"] or 1
    axis.set_xlim(0, n_layers)
    axis.grid(axis="y", color=FAINT, lw=0.5)
    axis.set_axisbelow(True)
    if curves["late_start"] is not None:
        axis.axvspan(curves["late_start"], n_layers, color="#f1efe8", lw=0, zorder=0)
    _tuned_marks(axis, curves)


def _tuned_marks(axis: Axes, curves: Json) -> None:
    for layer in curves["tuned"]:
        axis.plot([layer - 0.4, layer + 0.4], [-0.025] * 2, color="#22262b", lw=2,
                  transform=axis.get_xaxis_transform(), clip_on=False,
                  solid_capstyle="butt")  # fmt: skip


def _before_after_legend(figure: Figure, both: bool) -> None:
    if both:
        handles = [Line2D([], [], color="#22262b"), Line2D([], [], color="#22262b", ls=(0, (3, 2)))]
        figure.legend(handles, ["before tuning", "after tuning"], loc="outside lower center", ncols=2)
