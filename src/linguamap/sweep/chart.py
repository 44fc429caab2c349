"""The sweep's picture: what each setting reaches, against what it trains and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linguamap.report.plotting import FAINT, GREY, INK, STYLES
from linguamap.run.files import replacing
from linguamap.sweep.table import ALL_AGREE, agrees, footnote
from linguamap.sweep.variants import LANGUAGE

Row = dict[str, Any]

# Colour and marker both tell the families; the colours are apart for colour-blind readers.
FAMILIES = {
    "last blocks": ("#1443a6", "s"),
    "other blocks": ("#8a8f94", "o"),
    "language alone": ("#7a4a21", "X"),
    "full": ("#c23a10", "P"),
    "lora": ("#037d66", "D"),
    "steer": ("#a06cb6", "v"),
    "few_shot": ("#c58600", "^"),
}
MEASURES = {"language_consistency": "Language consistency, %", "task_accuracy": "Task accuracy, %"}
RANGE_WIDTH = 1.8
"""Of a range over seeds; intervals are thin."""
AGREE_LINE = (0, (1, 1.5))
LEGEND_COLUMNS = 3
APART = 0.018
"""Least distance between two points, as a share of the axis; points at one place lie side by side."""


def write_picture(folder: Path, results: Row) -> list[Path]:
    """Write ``sweep.svg``, ``.pdf`` and ``.png``; nothing if no setting was measured."""
    measured = [facts for facts in results["groups"] if facts["n_seeds"]]
    if not measured:
        return []
    paths = []
    with matplotlib.rc_context(STYLES["paper"].settings):  # type: ignore[arg-type]
        figure = draw(measured, results["untuned"])
        for suffix, dated in (("svg", "Date"), ("pdf", "CreationDate"), ("png", None)):
            path = folder / f"sweep.{suffix}"
            with replacing(path) as temporary:
                figure.savefig(
                    temporary, format=suffix, dpi=300, metadata={dated: None} if dated else None
                )
            paths.append(path)
    return paths


def draw(measured: Sequence[Row], untuned: Row) -> Figure:
    """Both rates (rows) against trained share and seconds of tuning (columns).

    Args:
        measured: groups of ``results.json``; drawn with 95 % intervals, or with their range over
            seeds where there are several.
        untuned: its rates are the dashed lines.
    """
    legend_rows = math.ceil((len(measured) + 3) / LEGEND_COLUMNS)
    figure = Figure(figsize=(STYLES["paper"].page, 4.6 + 0.14 * legend_rows), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    costs = (
        ("Trained share of the parameters, %",
         [100 * (facts["trainable_share"] or 0.0) for facts in measured]),
        ("Seconds of tuning", [facts["tuning_seconds"]["mean"] for facts in measured]),
    )  # fmt: skip
    for column, (name, values) in enumerate(costs):
        places, ticks = _places(values)
        for row, (measure, heading) in enumerate(MEASURES.items()):
            axis = axes[row][column]
            _panel(axis, places, measured, measure, untuned[measure]["value"])
            axis.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
            if column == 0:
                axis.set_ylabel(heading)
            if row == 1:
                axis.set_xlabel(name)
    _legends(figure, measured)
    return figure


def _panel(
    axis: Axes, places: Sequence[float], measured: Sequence[Row], measure: str, base: float | None
) -> None:
    axis.grid(axis="y", color=FAINT, lw=0.5)
    axis.set_axisbelow(True)
    axis.margins(y=0.1)  # room for the numbers
    if base is not None:
        axis.axhline(100 * base, color=GREY, lw=0.8, ls=(0, (3, 2)), zorder=1)
    from_left = sorted(range(len(places)), key=lambda index: places[index])
    for number, (place, facts) in enumerate(zip(places, measured), start=1):
        rate = facts[measure]
        if rate["mean"] is None:
            continue
        colour, marker = FAMILIES[_family(facts)]
        low, high = rate["low"], rate["high"]
        is_range = low is None or high is None
        if is_range:
            low, high = rate["least"], rate["most"]
        value = 100 * rate["mean"]
        _, _, (bar,) = axis.errorbar(
            [place], [value], yerr=[[value - 100 * low], [100 * high - value]], fmt=marker,
            color=colour, ms=4, elinewidth=RANGE_WIDTH if is_range else 0.8,
            capsize=0 if is_range else 1.5, zorder=3,
        )  # fmt: skip
        if agrees(rate):
            bar.set_linestyle(AGREE_LINE)
        raised = 5 * (from_left.index(number - 1) % 2)  # neighbours' numbers would overlap
        axis.annotate(
            str(number), (place, 100 * high), xytext=(0, 2 + raised), textcoords="offset points",
            ha="center", va="bottom", fontsize=6.5, color=INK,
        )  # fmt: skip


def _places(values: Sequence[float]) -> tuple[list[float], list[tuple[float, str]]]:
    """Places on a logarithmic axis with zero at its left end, and the axis' ticks."""
    positive = [value for value in values if value > 0]
    least = math.log10(min(positive)) if positive else 0.0
    most = math.log10(max(positive)) if positive else 0.0
    zero = least - max(0.15 * (most - least), 0.3)
    raw = [math.log10(value) if value > 0 else zero for value in values]
    gap = APART * max(most - min(raw), 0.3)
    ticks = [(zero, "0")] if len(positive) < len(values) else []
    for power in range(math.floor(least), math.ceil(most) + 1):
        for step in (1, 3) if most - least < 4 else (1,):
            at = math.log10(step) + power
            if least - 0.2 <= at <= most + 0.2:
                ticks.append((at, f"{step * 10.0**power:g}"))
    return _apart(raw, gap), ticks


def _apart(raw: Sequence[float], gap: float) -> list[float]:
    """Move points that lie closer than ``gap`` side by side, around where they lie."""
    order = sorted(range(len(raw)), key=lambda index: raw[index])
    bunches: list[list[int]] = []
    for index in order:
        if bunches and raw[index] - raw[bunches[-1][-1]] < gap:
            bunches[-1].append(index)
        else:
            bunches.append([index])
    places = list(raw)
    for bunch in bunches:
        middle = sum(raw[index] for index in bunch) / len(bunch)
        for place, index in enumerate(bunch):
            places[index] = middle + (place - (len(bunch) - 1) / 2) * gap
    return places


def _family(facts: Row) -> str:
    if facts["label"].startswith(LANGUAGE):
        return "language alone"
    if facts["method"] != "selective":
        return str(facts["method"])
    is_last = facts["label"] == "chosen" or facts["label"].startswith("last:")
    return "last blocks" if is_last else "other blocks"


def _legends(figure: Figure, measured: Sequence[Row]) -> None:
    """The numbers' meaning below, in the families' colours."""
    several = {(facts["epochs"], facts["learning_rate"]) for facts in measured if facts["epochs"]}
    handles, names = [], []
    for number, facts in enumerate(measured, start=1):
        colour, marker = FAMILIES[_family(facts)]
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", ms=4))
        name = f"{number}  {facts['label']}"
        if len(several) > 1 and facts["epochs"]:
            name += f", {facts['epochs']} ep., {facts['learning_rate']:g}"
        if facts["n_seeds"] > 1:
            name += f", {facts['n_seeds']} seeds"
        names.append(name)
    handles.append(Line2D([], [], color=GREY, ls=(0, (3, 2)), lw=0.8))
    names.append("untuned")
    if any(facts["n_seeds"] > 1 for facts in measured):
        handles.append(Line2D([], [], color=INK, lw=RANGE_WIDTH))
        names.append("range over seeds")
    if note := footnote(measured):
        handles.append(Line2D([], [], color=INK, ls=AGREE_LINE, lw=0.8))
        names.append(note.removeprefix(ALL_AGREE).strip(" ."))
    figure.legend(
        handles, names, loc="outside lower center", ncols=LEGEND_COLUMNS, columnspacing=1.2
    )
