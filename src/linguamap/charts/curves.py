"""Curves over layers: language lens, token-set probability, similarity, handover; and the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from linguamap.charts.chart import Chart, Control, Key, Panel
from linguamap.charts.frames import (
    Frame,
    Points,
    Row,
    grouped,
    ordered,
    phase_of,
    points_of,
    rows_of,
)
from linguamap.charts.layer_axis import (
    LayerMarks,
    late_phase,
    layer_axis,
    tuned_marks,
)
from linguamap.charts.naming import MINUS, benchmark_name, count, language_name, percent
from linguamap.charts.svg import (
    CURRENT,
    FAINT,
    INK,
    PAGE,
    RULE,
    SOFT,
    Colour,
    Node,
    el,
    language_colour,
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


def last_layer(marks: LayerMarks, curves: Sequence[Points] | object) -> int:
    """The last layer of an axis: the model's, or as far as the curves go."""
    if marks.n_layers:
        return marks.n_layers
    seen = [max(points.x, default=0) for points in curves]  # type: ignore[attr-defined]
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


def _both(rows: Sequence[Row]) -> bool:
    return len({phase_of(row) for row in rows}) > 1


PHASE_KEYS = [Key("before tuning", INK, "line"), Key("after tuning", INK, "dash")]


def lens(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | Mapping[str, LayerMarks] | None = None,
    ceilings: Mapping[str, float] | None = None, noise: float | None = None,
    overtakes: Mapping[str, int | None] | None = None, by_depth: bool = False,
) -> Chart:  # fmt: skip
    """The language lens: of the words each layer would write, the share in the language asked for.

    Args:
        frame: columns ``layer``, ``target_language``, ``word_language``, ``share``; optional
            ``low`` and ``high`` (band), ``n_items``, ``phase`` (``before``, ``after``) and ``run``
            (a panel for each run).
        languages: order of the panels.
        pivot: the language drawn beside the one asked for.
        marks: the model's layers; by run where there are several.
        ceilings: language -> share that the identifier reaches on genuine words.
        noise: share of the pivot among random tokens.
        overtakes: language -> layer from which it leads the pivot; ringed.
        by_depth: the axis is the share of the model's depth, for models of different sizes.
    """
    rows = rows_of("lens", frame, "layer", "target_language", "word_language", "share")
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    panels = []
    for code in codes:
        own = [row for row in rows if row["target_language"] == code]
        for run, part in grouped(own, lambda row: row.get("run")).items():
            model = marks.get(str(run)) if isinstance(marks, Mapping) else marks
            curves = _asked_curves(part, code, pivot, "share", (overtakes or {}).get(code))
            ceiling = (ceilings or {}).get(code)
            plot = Plot(
                model or LayerMarks(), named=not panels, by_depth=by_depth,
                right=[] if ceiling is None else [(ceiling, language_colour(code))],
                levels=[] if noise is None or code == pivot else [(noise, "")],
            )  # fmt: skip
            n = _most(part, "n_items")
            note = f"{count(n)} item{'' if n == 1 else 's'}" if n else ""
            label = _label("Asked for", code, curves, run)
            over = (overtakes or {}).get(code)
            label += f", {language_name(code)} overtakes English at layer {over}." if over else "."
            panels.append(
                curve_panel(_titled(code, run), curves, plot, label, code=code, note=note)
            )
    keys = PHASE_KEYS if _both(rows) else []
    keys = keys + ([Key("identifier’s ceiling", INK, "tick")] if ceilings else [])
    keys = keys + ([Key("English among random tokens", FAINT, "dots")] if noise is not None else [])
    return _chart("lens", "Language lens", panels, rows, languages or codes, keys, marks)


def _titled(code: str, run: object) -> str:
    return language_name(code) if run is None else f"{run}: {language_name(code)}"


def _label(lead: str, code: str, curves: Sequence[Curve], run: object) -> str:
    ends = [
        f"{curve.name} ends at {percent(curve.points.last)}"
        for curve in curves
        if not curve.dash and curve.points.last is not None
    ]
    place = "" if run is None else f"Run {run}, "
    return f"{place}{lead} {language_name(code)}: {', '.join(ends)}"


def _most(rows: Sequence[Row], name: str) -> int | None:
    return max((int(row[name]) for row in rows if row.get(name) is not None), default=None)


def _asked_curves(
    rows: Sequence[Row], code: str, pivot: str, value: str, ring: int | None = None
) -> list[Curve]:
    """The pivot and the language asked for, before and after tuning."""
    both = _both(rows)
    curves = []
    for phase, dash in (("before", ""), ("after", "4 3.5")):
        for word in dict.fromkeys([pivot, code]):
            part = [r for r in rows if phase_of(r) == phase and r["word_language"] == word]
            if part:
                name = language_name(word) + (f", {phase}" if both else "")
                curves.append(
                    Curve(points_of(part, value), name, language_colour(word), word, dash, not dash,
                          f"{language_name(code)} asked, {name}",
                          ring=ring if word == code and not dash else None)
                )  # fmt: skip
    return curves


def _chart(
    name: str, title: str, panels: list[Panel], rows: list[Row], languages: Sequence[str],
    keys: list[Key], marks: LayerMarks | Mapping[str, LayerMarks] | None, **more: object,
) -> Chart:  # fmt: skip
    model = LayerMarks() if marks is None or isinstance(marks, Mapping) else marks
    last = model.n_layers or int(max((row.get("layer") or 0 for row in rows), default=1)) or 1
    return Chart(name, title, panels, rows, list(languages), keys, labels=model.labels(last),
                 **more)  # type: ignore[arg-type]  # fmt: skip


def token_set_probability(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None, coverage: Mapping[str, float] | None = None,
) -> Chart:  # fmt: skip
    """Probability that each layer gives to tokens of one language only: a lens without identifier.

    Args:
        frame: columns ``layer``, ``target_language``, ``set_language``, ``probability``; optional
            ``low``, ``high``, ``n_items`` and ``phase``.
        coverage: language -> share of its own text that its tokens make up.
    """
    rows = rows_of("token_set_probability", frame, "layer", "target_language", "set_language",
                   "probability")  # fmt: skip
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    read = [{**row, "word_language": row["set_language"]} for row in rows]
    curves = {
        code: _asked_curves(
            [r for r in read if r["target_language"] == code], code, pivot, "probability"
        )
        for code in codes
    }
    every = [one for group in curves.values() for curve in group for one in
             (*curve.points.y, *(curve.points.high if curve.band else ())) if one is not None]  # fmt: skip
    top = next((one for one in (0.02, 0.05, 0.1, 0.2, 0.5) if one >= max(every, default=1)), 1.0)
    panels = []
    for code in codes:
        plot = Plot(marks or LayerMarks(), (0, top / 2, top), named=not panels)
        share = (coverage or {}).get(code)
        note = "" if share is None else f"its tokens: {percent(share)} of its text"
        label = _label("Probability of tokens by layer, asked for", code, curves[code], None)
        panels.append(
            curve_panel(language_name(code), curves[code], plot, label + ".", code=code, note=note)
        )
    keys = PHASE_KEYS if _both(rows) else []
    return _chart("token_set_probability", "Probability of one language’s tokens", panels, rows,
                  languages or codes, keys, marks)  # fmt: skip


MEASURES = (
    ("cosine", "Raw cosine", "high for anything", "cosine_unrelated", (0, 0.5, 1)),
    ("centred", "Centred cosine", "each language’s mean taken off", "centred_unrelated", (-0.2, 0, 0.5, 1)),
    ("retrieval", "Translation found", "first among all candidates", "", (0, 0.5, 1)),
    ("cka", "Debiased CKA", "sets of texts, not pairs", "", (0, 0.5, 1)),
)  # fmt: skip


def similarity(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None,
) -> Chart:  # fmt: skip
    """Likeness of translations by layer, beside unrelated texts of the same two languages.

    Args:
        frame: columns ``layer``, ``language_a``, ``language_b``, ``kind`` (of texts), ``measure``
            (``cosine``, ``cosine_unrelated``, ``centred``, ``centred_unrelated``, ``retrieval``,
            ``cka``), ``value``; optional ``low``, ``high``, ``n`` and ``phase``.
        pivot: the language that the others are compared with at first; by kinds of texts it alone.
    """
    rows = rows_of("similarity", frame, "layer", "language_a", "language_b", "kind", "measure",
                   "value")  # fmt: skip
    codes = ordered((str(row[side]) for row in rows for side in ("language_a", "language_b")),
                    languages)  # fmt: skip
    pivot = pivot if pivot in codes else (codes or [pivot])[0]
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows))
    kind = "all" if "all" in kinds else (kinds or ["all"])[0]
    by_curve = grouped(rows, lambda row: (str(row["measure"]), str(row["language_a"]),
                       str(row["language_b"]), str(row["kind"]), phase_of(row)))  # fmt: skip
    first = f"{pivot}:{kinds.index(kind)}"
    panels = []
    for measure, title, note, control, ticks in MEASURES:
        curves = []
        for name, dash in ((control, "1.5 3"), (measure, "")):
            for (found, a, b, texts, phase), part in by_curve.items():
                own = [code for code in (a, b) if code == pivot or texts == kind]
                if found != name or not own:
                    continue
                views = " ".join(f"{code}:{kinds.index(texts)}" for code in own)
                other = b if a == pivot else a
                named = language_name(other) + (", unrelated" if dash else "")
                curves.append(Curve(
                    points_of(part, "value"), named, language_colour(other), other, dash, not dash,
                    f"{title}, {named}", {"view": views, "pair": f"{a} {b}", "phase": phase},
                    hidden=first not in views.split(" ") or phase != "before",
                ))  # fmt: skip
        if not curves:
            continue
        n = _most([row for row in rows if row["measure"] == measure], "n") or 0
        plot = Plot(marks or LayerMarks(), ticks, percent if measure == "retrieval" else fixed,
                    [(1 / n, "chance")] if measure == "retrieval" and n > 1 else [],
                    named=not panels, ratio=0.44)  # fmt: skip
        panels.append(curve_panel(title, curves, plot, f"{title} by layer.", note=note, width=480))
    views = [
        (f"{code}:{place}", f"{language_name(code)}, {_kind_name(texts)}")
        for code in [pivot, *(code for code in codes if code != pivot)]
        for place, texts in enumerate(kinds)
        if code == pivot or texts == kind
    ]
    controls = [Control("view", "Compared with", views, first)] if len(views) > 1 else []
    controls += [phase_control("before")] if _both(rows) else []
    keys = [Key(language_name(c), language_colour(c), "line", c, c == pivot) for c in codes]
    keys.append(Key("unrelated texts", FAINT, "dots"))
    return _chart("similarity", "Likeness of translations by layer", panels, rows,
                  languages or codes, keys, marks, controls=controls, across=2)  # fmt: skip


def _kind_name(kind: str) -> str:
    return "all kinds of texts" if kind == "all" else benchmark_name(kind)


def phase_control(chosen: str, *, both: bool = False) -> Control:
    """The choice between the model as it is and the tuned one."""
    options = [("before", "Before tuning"), ("after", "After tuning")]
    if both:
        options.insert(0, ("both", "Before and after"))
    return Control("phase", "Which model", options, chosen)


DIRECTIONS = {
    "to_english": ("English state into the target’s prompt", "next words that turn English"),
    "from_english": ("Target’s state into the English prompt", "next words that turn to the target"),
    "skip": ("One block left out", "next words still in the target language"),
}  # fmt: skip


def handover(
    frame: Frame, *, languages: Sequence[str] = (), marks: LayerMarks | None = None
) -> Chart:
    """Share of first words after a state was exchanged at a layer, or a block left out.

    Args:
        frame: columns ``layer`` (-1: nothing was done), ``language``, ``intervention``
            (``to_english``, ``from_english``, ``skip``), ``share``; optional ``low``, ``high``,
            ``n`` and ``phase``.
    """
    rows = rows_of("handover", frame, "layer", "language", "intervention", "share")
    codes = ordered((str(row["language"]) for row in rows), languages)
    seen = list(dict.fromkeys(str(row["intervention"]) for row in rows))
    both, panels = _both(rows), []
    for name in sorted(seen, key=lambda one: ([*DIRECTIONS, one].index(one), seen.index(one))):
        curves, plain = [], []
        title, note = DIRECTIONS.get(name, (name.replace("_", " "), "next words that follow"))
        part = [row for row in rows if row["intervention"] == name]
        for phase, dash in (("before", ""), ("after", "4 3.5")):
            for code in codes:
                own = [r for r in part if r["language"] == code and phase_of(r) == phase]
                if not own:
                    continue
                done = [row for row in own if row["layer"] >= 0]
                named = language_name(code) + (f", {phase}" if both else "")
                curves.append(Curve(points_of(done), named, language_colour(code), code, dash,
                                    not dash, f"{title}, {named}"))  # fmt: skip
                plain += [(row["share"], language_colour(code), code) for row in own
                          if row["layer"] < 0 and row["share"] is not None and not dash]  # fmt: skip
        n = _most(part, "n")
        note += f", n = {n}" if n else ""
        plot = Plot(marks or LayerMarks(), left=plain, named=not panels, ratio=0.58,
                    levels=[] if name == "skip" else [(0.5, "half")])  # fmt: skip
        panels.append(curve_panel(title, curves, plot, f"{title}: {note}, by layer.", note=note,
                                  width=380))  # fmt: skip
    keys = [Key(language_name(code), language_colour(code), "line", code) for code in codes]
    keys += PHASE_KEYS if both else []
    return _chart("handover", "Handover", panels, rows, languages or codes, keys, marks)


def next_token_handover(frame: Frame, *, own: str, english: str = "en", title: str = "") -> Chart:
    """Probability of two next tokens of one prompt, by the layer after which the state was exchanged.

    Args:
        frame: columns ``layer``, ``language`` and ``probability``.
        own: the language asked for.
    """
    rows = rows_of("next_token_handover", frame, "layer", "language", "probability")
    curves = [
        Curve(points_of([r for r in rows if r["language"] == code], "probability"),
              language_name(code), language_colour(code), code, dash)
        for code, dash in ((own, ""), (english, "6 3"))
    ]  # fmt: skip
    panel = curve_panel(title, curves, Plot(LayerMarks()),
                        "Probability of the next token, by layer of the exchange.", width=440)  # fmt: skip
    keys = [Key(curve.name, curve.colour, "dash" if curve.dash else "line") for curve in curves]
    return _chart("next_token_handover", "Handover of one prompt", [panel], rows, [own, english],
                  keys, None, size="column", across=1)  # fmt: skip


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
