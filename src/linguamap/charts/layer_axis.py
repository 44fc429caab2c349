"""The axis of layers, the same in every chart: ticks, the late phase, the tuned blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from linguamap.charts.naming import percent
from linguamap.charts.svg import FAINT, INK, SOFT, WASH, Node, el

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
        places = [(last * share, percent(share)) for share in (0, 0.25, 0.5, 0.75, 1)]  # type: ignore[misc]
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
