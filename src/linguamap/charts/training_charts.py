"""The charts of a training: which blocks rules would choose, its loss, and how far it moved the lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from linguamap.charts.chart import Chart
from linguamap.charts.curve_panel import (
    Curve,
    LayerMarks,
    Plot,
    curve_panel,
    layer_axis,
    tuned_marks,
)
from linguamap.charts.frames import (
    Frame,
    Row,
    grouped,
    points_of,
    rows_of,
)
from linguamap.charts.naming import duration, percent, spans
from linguamap.charts.svg import CURRENT, FAINT, INK, RULE, SOFT, Node, Panel, el, path


def loss(frame: Frame, *, kept_epoch: int | None = None) -> Chart:
    """Loss by epoch in nats a token.

    Args:
        frame: columns ``epoch`` (from 1), ``curve`` (``training``, ``validation``) and ``loss``.
        kept_epoch: the epoch that was kept; ringed.
    """
    rows = rows_of("loss", frame, "epoch", "curve", "loss")
    known = [row["loss"] for row in rows if row["loss"] is not None]
    epochs = sorted({int(row["epoch"]) for row in rows})
    top = max(known, default=1.0) or 1.0
    curves = grouped(rows, lambda row: str(row["curve"]))

    def draw(width: float) -> tuple[list[Node], float]:
        step = (width - 44 - 76) / max(1, len(epochs) - 1)
        x = {epoch: 44 + place * step for place, epoch in enumerate(epochs)}

        def y(value: float | None) -> float | None:
            return None if value is None else 118 - value / (top * 1.1) * 106

        nodes = [
            el("g", el("line", x1=38, x2=width - 70, y1=y(at), y2=y(at), stroke=RULE),
               el("text", f"{at:.2f}" if at else "0", x=32, y=(y(at) or 0) + 4), class_="axis",
               text_anchor="end", fill=FAINT, font_size=10.5)
            for at in (0.0, top)
        ]  # fmt: skip
        nodes += [
            el("text", str(epoch), x=x[epoch], y=134, text_anchor="middle", fill=FAINT, font_size=10.5)
            for epoch in (epochs if len(epochs) <= 12 else epochs[:: len(epochs) // 6])
        ]  # fmt: skip
        for place, (name, part) in enumerate(curves.items()):
            points = [(x[int(row["epoch"])], y(row["loss"])) for row in part]
            ends = [at for _, at in points if at is not None]
            kept = [
                x[int(r["epoch"])]
                for r in part
                if r["epoch"] == kept_epoch and r["loss"] is not None
            ]
            heights = dict(points)
            nodes.append(el(
                "g", el("path", d=path(points), fill="none", stroke=CURRENT, stroke_width=1.8,
                        stroke_dasharray="4 3.5" if place else None),
                (el("circle", cx=at, cy=high, r=2.6, fill=CURRENT, class_="point")
                 for at, high in points if high is not None),
                (el("circle", cx=at, cy=heights[at], r=6, fill="none", stroke=CURRENT, stroke_width=1.4,
                    class_="kept") for at in kept),
                el("text", name, x=width - 62, y=(ends[-1] if ends else 100) + (8 if place == 0 else -4),
                   fill=INK),
                color=SOFT if place else INK,
            ))  # fmt: skip
        return nodes, 140.0

    said = "; ".join(
        f"{name} {', '.join('none' if r['loss'] is None else format(r['loss'], '.2f') for r in part)}"
        for name, part in curves.items()
    )
    panel = Panel("", draw, {"aria-label": f"Loss by epoch: {said}.", "class": "loss"}, 480)
    return Chart("loss", "Loss by epoch", [panel], rows, size="column", across=1)


def layer_change(frame: Frame, *, marks: LayerMarks | None = None) -> Chart:
    """How far the lens curves moved by tuning, a bar a layer; tuned blocks are in ink.

    Args:
        frame: columns ``layer`` and ``change`` (mean absolute change of a share).
    """
    rows = rows_of("layer_change", frame, "layer", "change")
    model = marks or LayerMarks()
    last = model.n_layers or int(max((row["layer"] for row in rows), default=1)) or 1
    top = max((row["change"] for row in rows), default=0.0) or 1.0

    def draw(width: float) -> tuple[list[Node], float]:
        step = (width - 40) / (last + 1)

        def x(layer: float) -> float:
            return 40 + (layer + 0.5) * step

        bars = [
            el("rect", x=x(r["layer"]) - step * 0.4, width=step * 0.8, y=90 - r["change"] / top * 78,
               height=r["change"] / top * 78, fill=INK if r["layer"] in model.tuned else FAINT)
            for r in rows
        ]  # fmt: skip
        scale = el("g", el("text", percent(top), x=34, y=16), el("text", "0%", x=34, y=94),
                   class_="axis", font_size=10.5, fill=FAINT, text_anchor="end")  # fmt: skip
        under = tuned_marks(model, x, 92, step, named=False)
        axis = [scale, layer_axis(x, 90, last, width - 40, name="Layer")]
        return [*bars, *axis, *([under] if under else [])], 122.0

    said = ", ".join(f"{row['layer']}: {percent(row['change'])}" for row in rows)
    label = f"Mean change of the lens curves by layer: {said}"
    panel = Panel("", draw, {"aria-label": label, "class": "moved"}, 480)
    return Chart(
        "layer_change", "Change of the lens by layer", [panel], rows, size="column", across=1
    )


def rule_scores(frame: Frame, *, blocks: Mapping[str, Sequence[int]] | None = None) -> Chart:
    """What each rule says of each block, a panel a rule, from its lowest score to its highest.

    Scores of different rules have no common unit: compare the shapes.

    Args:
        frame: columns ``rule``, ``block`` (from 1) and ``score``; optional ``low`` and ``high``.
        blocks: rule -> the blocks that it would tune; marked under its axis.
    """
    rows = rows_of("rule_scores", frame, "rule", "block", "score")
    last = max((int(row["block"]) for row in rows), default=1)
    panels = []
    for rule, part in grouped(rows, lambda row: str(row["rule"])).items():
        known = [row["score"] for row in part if row["score"] is not None]
        least, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
        scaled = [
            {name: None if row.get(name) is None else (row[name] - least) / (span or 1.0)
             for name in ("score", "low", "high")} | {"layer": row["block"]}
            for row in part
        ]  # fmt: skip
        name = rule.replace("_", " ")
        curve = Curve(points_of(scaled, "score"), name, INK, band=True)
        chosen = list((blocks or {}).get(rule, ()))
        label = f"Scores of the rule {name} by block; it would tune {spans(chosen) or 'none'}."
        plot = Plot(LayerMarks(last, tuned=chosen), percent, ratio=0.44)
        panels.append(curve_panel(name, [curve], plot, label))
    labels = ["Embedding", *(f"Block {block}" for block in range(1, last + 1))]
    return Chart("rule_scores", "Scores of the blocks by rule", panels, rows, labels=labels)


def rule_front(frame: Frame) -> Chart:
    """What each rule's sets of blocks promise, over the predicted time of an epoch; a panel a rule.

    Args:
        frame: columns ``rule``, ``blocks`` (their numbers as text), ``gain`` in [0, 1], ``seconds``
            of an epoch, ``memory_bytes``, and ``chosen``, ringed.
    """
    rows = rows_of("rule_front", frame, "rule", "blocks", "gain", "seconds", "chosen")
    longest = max((row["seconds"] for row in rows), default=1.0) or 1.0
    panels = []
    for rule, part in grouped(rows, lambda row: str(row["rule"])).items():

        def draw(width: float, part: list[Row] = part) -> tuple[list[Node], float]:
            points = [
                (44 + row["seconds"] / longest * (width - 92), 118 - row["gain"] * 106)
                for row in part
            ]
            frame_lines = [
                el("g", el("line", x1=38, x2=width - 8, y1=y, y2=y, stroke=RULE),
                   el("text", text, x=32, y=y + 4), class_="axis", text_anchor="end", fill=FAINT,
                   font_size=10.5)
                for y, text in ((118, "0%"), (12, "100%"))
            ]  # fmt: skip
            ends = [
                el("text", text, x=x, y=134, text_anchor=anchor, fill=FAINT, font_size=10.5)
                for x, text, anchor in ((44, "0", "middle"), (width - 8, f"{duration(longest)} an epoch", "end"))
            ]  # fmt: skip
            line = el("path", d=path(points), fill="none", stroke=CURRENT, stroke_width=1.4)
            dots = [
                el("g", el("circle", cx=x, cy=y, r=2.6, fill=CURRENT, class_="point"),
                   el("circle", cx=x, cy=y, r=6, fill="none", stroke=CURRENT, class_="kept") if row["chosen"] else None,
                   el("text", row["blocks"], x=x + 8, y=y + 12, fill=SOFT, font_size=10.5))
                for (x, y), row in zip(points, part, strict=True)
            ]  # fmt: skip
            return [el("g", *frame_lines, *ends, line, *dots, color=INK)], 140.0

        name = rule.replace("_", " ")
        said = "; ".join(
            f"blocks {row['blocks']}: {percent(row['gain'])} in {duration(row['seconds'])}"
            for row in part
        )
        attributes = {"aria-label": f"Front of the rule {name}: {said}.", "class": "loss"}
        panels.append(Panel(name, draw, attributes, 300))
    return Chart("rule_front", "Predicted gain over the time of an epoch, by rule", panels, rows)
