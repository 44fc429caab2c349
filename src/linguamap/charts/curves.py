"""A panel of curves over layers with their bands: what the charts of the probes are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from linguamap.charts.chart import Panel
from linguamap.charts.frames import (
    Points,
)
from linguamap.charts.layer_axis import (
    LayerMarks,
    late_phase,
    layer_axis,
    tuned_marks,
)
from linguamap.charts.naming import MINUS, percent
from linguamap.charts.svg import (
    CURRENT,
    FAINT,
    PAGE,
    RULE,
    SOFT,
    Colour,
    Node,
    el,
    path,
)

LEFT, RIGHT, TOP, BOTTOM = 32.0, 14.0, 18.0, 24.0
Say = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """One line of a panel with its band.

    Attributes:
        name: in tooltips; ``long`` in the table of numbers.
        dash: SVG dashes; empty is solid.
        when: control -> values under which a page shows it; files show what is chosen at first.
        ring: layer that gets a ring and its number.
    """

    points: Points
    name: str
    colour: Colour
    code: str = ""
    dash: str = ""
    band: bool = False
    long: str = ""
    when: dict[str, str] = field(default_factory=dict)
    ring: float | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Plot:
    """A panel's scales and what stands beside its curves.

    Attributes:
        ticks: values with a grid line; the first and last are the scale's ends.
        levels: horizontal lines: value and name.
        right: ticks at the right edge, such as a ceiling: value and colour.
        left: ticks at the left edge.
    """

    marks: LayerMarks
    ticks: Sequence[float] = (0, 0.5, 1)
    say: Say = percent
    levels: Sequence[tuple[float, str]] = ()
    right: Sequence[tuple[float, Colour]] = ()
    left: Sequence[tuple[float, Colour, str]] = ()
    by_depth: bool = False
    named: bool = False
    ratio: float = 0.54


def fixed(value: float) -> str:
    """A cosine or a correlation, two decimals."""
    return f"{value:.2f}".replace("-", MINUS)


def curve_panel(
    title: str, curves: Sequence[Curve], plot: Plot, label: str, *, code: str | None = None,
    note: str = "", width: float = 330, when: dict[str, str] | None = None,
) -> Panel:  # fmt: skip
    """A panel of curves over layers."""
    last = last_layer(plot.marks, (curve.points for curve in curves))

    def draw(width: float) -> tuple[list[Node], float]:
        return _draw(curves, plot, last, width)

    about = {
        "aria-label": f"{label} Arrow keys read the layers.",
        "class": "curves",
        "data-x": f"{LEFT:.0f} {width - RIGHT:.0f} {last}",
    }
    return Panel(title, draw, about, width, code, note, when or {})


def last_layer(marks: LayerMarks, curves: Iterable[Points]) -> int:
    """The last layer of an axis: the model's, or as far as the curves go."""
    if marks.n_layers:
        return marks.n_layers
    seen = [max(points.x, default=0) for points in curves]
    return int(max(seen, default=1)) or 1


def _draw(curves: Sequence[Curve], plot: Plot, last: int, width: float) -> tuple[list[Node], float]:
    height = round(min(215.0, max(140.0, width * plot.ratio)))
    right, base = width - RIGHT, height - BOTTOM
    lowest, highest = plot.ticks[0], plot.ticks[-1]

    def x(layer: float) -> float:
        return LEFT + layer / last * (right - LEFT)

    def y(value: float | None) -> float | None:
        if value is None:
            return None
        inside = min(highest, max(lowest, value))
        return base - (inside - lowest) / (highest - lowest) * (base - TOP)

    scale = el(
        "g",
        (el("line", x1=LEFT, x2=right, y1=y(one), y2=y(one), stroke=RULE) for one in plot.ticks),
        (el("text", plot.say(one), x=LEFT - 5, y=(y(one) or 0) + 3.5) for one in plot.ticks),
        font_size=10.5, fill=FAINT, text_anchor="end", class_="axis",
    )  # fmt: skip
    levels = [
        el("g", el("line", x1=LEFT, x2=right, y1=y(value), y2=y(value), stroke=FAINT, stroke_dasharray="2 3"),
           el("text", name, x=LEFT + 3, y=(y(value) or 0) - 3, font_size=10, fill=FAINT) if name else None,
           class_="level")
        for value, name in plot.levels
    ]  # fmt: skip
    ends = [
        el("line", x1=at, x2=at + 8, y1=y(value), y2=y(value), stroke=colour, stroke_width=2, data_code=code)
        for at, value, colour, code in (
            *((right + 3, value, colour, None) for value, colour in plot.right),
            *((LEFT - 6, value, colour, code) for value, colour, code in plot.left),
        )
    ]  # fmt: skip
    crowded = sum(curve.band for curve in curves) > 2
    drawn = [_curve(curve, x, y, plot.say, crowded, last) for curve in curves]
    nodes = [
        late_phase(plot.marks, x, TOP, base, last, named=plot.named), scale,
        layer_axis(x, base, last, right - LEFT, by_depth=plot.by_depth),
        tuned_marks(plot.marks, x, base + 2, x(1) - x(0), named=False), *levels, *drawn, *ends,
    ]  # fmt: skip
    return [node for node in nodes if node is not None], height


def _curve(
    curve: Curve, x: Callable[[float], float], y: Callable[[float | None], float | None], say: Say,
    crowded: bool, last: int,
) -> Node | None:  # fmt: skip
    points = curve.points
    places = [x(layer) for layer in points.x]
    line = path(list(zip(places, map(y, points.y), strict=True)))
    band = None
    if curve.band:
        upper = [(at, y(high)) for at, high in zip(places, points.high) if high is not None]
        lower = [(at, y(low)) for at, low in zip(places, points.low) if low is not None]
        if len(upper) > 1 and len(upper) == len(lower):
            outline = path(upper) + "L" + path(lower[::-1])[1:] + "Z"
            band = el("path", d=outline, fill=CURRENT, fill_opacity=0.1 if crowded else 0.2)
    ring = []
    if curve.ring is not None and (at := y(points.at(curve.ring))) is not None:
        ring = [
            el("circle", cx=x(curve.ring), cy=at, r=3.5, fill=PAGE, stroke=CURRENT, stroke_width=1.8,
               class_="crossing"),
            el("text", f"{curve.ring:g}", x=x(curve.ring) + 7, y=at + 9, font_size=10.5, fill=SOFT),
        ]  # fmt: skip
    said = dict(zip(points.x, map(_said(say), points.y, points.low, points.high), strict=True))
    readings = "|".join(said.get(float(layer), "") for layer in range(last + 1))
    return el(
        "g", band,
        el("path", d=line, fill="none", stroke=CURRENT, stroke_width=1.6 if curve.dash else 1.8,
           stroke_dasharray=curve.dash or None, stroke_linejoin="round"),
        ring, color=curve.colour, class_="curve", data_code=curve.code, data_name=curve.name,
        data_long=curve.long or None, data_r=readings, display="none" if curve.hidden else None,
        **{f"data_{name}": value for name, value in curve.when.items()},
    )  # fmt: skip


def _said(say: Say) -> Callable[[float | None, float | None, float | None], str]:
    def words(value: float | None, low: float | None, high: float | None) -> str:
        if value is None:
            return ""
        band = "" if low is None or high is None else f" ({say(low)} to {say(high)})"
        return say(value) + band

    return words
