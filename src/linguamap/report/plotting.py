"""What the figures for papers share: styles, curves with bands, layer axes. Needs Matplotlib.

Text sizes are those of print: 1 pt is 1/72 in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from linguamap.charts.colours import Ink
from linguamap.report.run_values import Json

INK = "#22262b"
GREY = "#8a8f94"
FAINT = "#e4e1da"
WASH = "#f1efe8"
DASHED = (0, (3, 2))


@dataclass(frozen=True)
class Style:
    """Widths in inches, and Matplotlib settings."""

    column: float
    page: float
    settings: dict[str, Any]


FALLBACKS = ("Noto Sans CJK JP", "Noto Sans JP")
"""Fonts for letters that Matplotlib's own font lacks, as far as they are installed."""


@cache
def fonts() -> list[str]:
    """The font family with those fallbacks that are installed."""
    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


@cache
def glyphs() -> frozenset[int]:
    """Code points that :func:`fonts` can write."""
    paths = [findfont(FontProperties(family=[name])) for name in fonts()]
    return frozenset(code for path in paths for code in get_font(path).get_charmap())


def _settings(points: float) -> dict[str, Any]:
    return {
        "font.family": fonts(),
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
    """A figure and the numbers behind it; ``settings`` are Matplotlib's for writing it."""

    figure: Figure
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def points_of(curve: Json) -> list[list[Any]]:
    return [
        list(point) for point in zip(curve["x"], curve["y"], curve["lo"], curve["hi"], strict=True)
    ]


def draw_line(
    axis: Axes, curve: Json, ink: Ink, *, dashed: bool = False, band: bool = True
) -> None:
    known = [point for point in points_of(curve) if point[1] is not None]
    x = [point[0] for point in known]
    style = DASHED if dashed else "-"
    axis.plot(
        x, [point[1] for point in known], color=ink.light, ls=style, lw=0.9 if dashed else 1.1
    )
    whole = [point for point in known if point[2] is not None and point[3] is not None]
    if band and whole:
        axis.fill_between(
            [point[0] for point in whole],
            [point[2] for point in whole],
            [point[3] for point in whole],
            color=ink.light, alpha=0.12, lw=0,
        )  # fmt: skip


def layer_axis(axis: Axes, curves: Json) -> None:
    n_layers = curves["n_layers"] or 1
    axis.set_xlim(0, n_layers)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.grid(axis="y", color=FAINT, lw=0.5)
    axis.set_axisbelow(True)
    if curves["late_start"] is not None:
        axis.axvspan(curves["late_start"], n_layers, color=WASH, lw=0, zorder=0)
    tuned_marks(axis, curves)


def tuned_marks(axis: Axes, curves: Json) -> None:
    for layer in curves["tuned"]:
        axis.plot([layer - 0.4, layer + 0.4], [-0.025] * 2, color=INK, lw=2,
                  transform=axis.get_xaxis_transform(), clip_on=False,
                  solid_capstyle="butt")  # fmt: skip


def before_after_legend(figure: Figure, both: bool) -> None:
    if both:
        handles = [Line2D([], [], color=INK), Line2D([], [], color=INK, ls=DASHED)]
        figure.legend(
            handles, ["before tuning", "after tuning"], loc="outside lower center", ncols=2
        )
