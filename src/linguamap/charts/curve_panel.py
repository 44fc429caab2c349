"""The axis of layers, and a panel of curves over it with their bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linguamap.charts.svg import (
    CURRENT,
    FAINT,
    INK,
    PAGE,
    RULE,
    SOFT,
    WASH,
    Colour,
    Node,
    Panel,
    el,
    path,
)

if TYPE_CHECKING:
    from linguamap.charts.frames import Points

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32, 50)


@dataclass(frozen=True)
class LayerMarks:
    """What a model's layer axis shows beside the curves.

    Attributes:
        n_layers: blocks of the model; layer 0 is the embedding. None: as far as the curves go.
        late_start: first layer of the late phase.
        late_interval: its 95 % interval.
        tuned: numbers of the blocks that were tuned or proposed; 1 is the first.
        were_tuned: whether they were.
    """

    n_layers: int | None = None
    late_start: float | None = None
    late_interval: tuple[float, float] | None = None
    tuned: Sequence[int] = ()
    were_tuned: bool = False

    def labels(self, last: int) -> list[str]:
        """The name of each layer, for tooltips and tables."""
        named = ["Embedding (layer 0)", *(f"After block {layer}" for layer in range(1, last + 1))]
        state = ", tuned" if self.were_tuned else ", to be tuned"
        return [name + (state if i in self.tuned else "") for i, name in enumerate(named)]


def layer_ticks(last: int, width: float) -> list[int]:
    """Layers that are written under an axis: evenly apart, and the last."""
    step = next((one for one in STEPS if last / one * 26 <= width), STEPS[-1])
    return [layer for layer in range(0, last, step) if layer <= last - step * 0.6] + [last]


def layer_axis(
    x: Callable[[float], float], y: float, last: int, width: float, *, by_depth: bool = False,
    name: str = "",
) -> Node:  # fmt: skip
    """Numbers under the axis, or the share of the model's depth."""
    places = [(layer, str(layer)) for layer in layer_ticks(last, width)]
    if by_depth:
        places = [(last * share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]  # type: ignore[misc]
    return el(
        "g",
        (el("text", text, x=x(at), y=y + 16) for at, text in places),
        el("text", name, x=x(0), y=y + 29, text_anchor="start") if name else None,
        class_="axis", font_size=10.5, fill=FAINT, text_anchor="middle",
    )  # fmt: skip


def late_phase(
    marks: LayerMarks, x: Callable[[float], float], top: float, bottom: float, last: int,
    *, named: bool, shaded: bool = True,
) -> Node | None:  # fmt: skip
    """The late phase, with the interval of its start as a bar above."""
    if marks.late_start is None:
        return None
    start = x(marks.late_start)
    left, right = (
        (x(marks.late_interval[0]), x(marks.late_interval[1]))
        if marks.late_interval
        else (start, start)
    )
    return el(
        "g",
        el("rect", x=start, y=top, width=max(0.0, x(last) - start), height=bottom - top, fill=WASH)
        if shaded
        else None,
        el("line", x1=start, x2=start, y1=top - 5, y2=bottom, stroke=FAINT, stroke_dasharray="3 3"),
        el("line", x1=left, x2=max(right, left + 1), y1=top - 5, y2=top - 5, stroke=SOFT,
           stroke_width=2.5) if marks.late_interval else None,
        el("text", "late phase", x=min(left, start) - 5, y=top - 2, text_anchor="end", fill=SOFT,
           font_size=10.5) if named else None,
        class_="late",
    )  # fmt: skip


def tuned_marks(
    marks: LayerMarks, x: Callable[[float], float], y: float, step: float, *, named: bool
) -> Node | None:
    """A bar under each tuned or proposed block."""
    if not marks.tuned:
        return None
    width = min(step * 0.8, 14)
    word = "tuned" if marks.were_tuned else "to tune"
    return el(
        "g",
        (el("rect", x=x(i) - width / 2, y=y, width=width, height=4, rx=1) for i in marks.tuned),
        el("text", word, x=x(min(marks.tuned)) - width / 2 - 4, y=y + 5, text_anchor="end",
           fill=SOFT, font_size=10.5) if named else None,
        class_="tuned", fill=INK,
    )  # fmt: skip


LEFT, RIGHT, TOP, BOTTOM = 32.0, 14.0, 18.0, 24.0
Say = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """One line of a panel with its band.

    Attributes:
        name: in tooltips; ``long`` in the table of numbers.
        dash: SVG dashes; empty is solid.
        ring: layer that gets a ring and its number.
    """

    points: Points
    name: str
    colour: Colour
    code: str = ""
    dash: str = ""
    band: bool = False
    long: str = ""
    ring: float | None = None


@dataclass(frozen=True)
class Plot:
    """A panel's scales and what stands beside its curves.

    Attributes:
        say: a value as the reader sees it.
        ticks: values with a grid line; the first and last are the scale's ends.
        levels: horizontal lines: value and name.
        right: ticks at the right edge, such as a ceiling: value and colour.
        left: ticks at the left edge.
    """

    marks: LayerMarks
    say: Say
    ticks: Sequence[float] = (0, 0.5, 1)
    levels: Sequence[tuple[float, str]] = ()
    right: Sequence[tuple[float, Colour]] = ()
    left: Sequence[tuple[float, Colour, str]] = ()
    by_depth: bool = False
    named: bool = False
    ratio: float = 0.54


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
        data_long=curve.long or None, data_r=readings,
    )  # fmt: skip


def _said(say: Say) -> Callable[[float | None, float | None, float | None], str]:
    def words(value: float | None, low: float | None, high: float | None) -> str:
        if value is None:
            return ""
        band = "" if low is None or high is None else f" ({say(low)} to {say(high)})"
        return say(value) + band

    return words
