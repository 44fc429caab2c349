"""Maps over layers: which language leads in each, and one text token by token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from linguamap.charts.chart import Chart
from linguamap.charts.curve_panel import LayerMarks, last_layer, late_phase, layer_axis, tuned_marks
from linguamap.charts.frames import (
    PHASE_TITLES,
    Frame,
    Points,
    Row,
    grouped,
    ordered,
    phase_of,
    rows_of,
)
from linguamap.charts.naming import (
    percent,
)
from linguamap.charts.svg import (
    FAINT,
    INK,
    PAGE,
    RULE,
    SOFT,
    Control,
    Key,
    Node,
    Panel,
    el,
    inert,
    language_colour,
    number,
    phase_control,
    shortened,
)
from linguamap.languages import language_name

Shares = dict[str, dict[int, dict[str, float]]]
"""Language asked for -> layer -> language of words -> share."""

Pick = Callable[[Mapping[str, float]], tuple[str, float]]
"""Shares of a layer -> the language that is shown, and its share."""

NAMED = 8
"""Languages of a layer that a tooltip names."""


def language_map(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None, compact: bool = False,
) -> Chart:  # fmt: skip
    """Layers by languages asked for: colour is the leading language, strength its share of words.

    Args:
        frame: columns ``layer``, ``target_language``, ``word_language``, ``share``; optional
            ``phase``.
        compact: lower rows and one view, for a small space.
    """
    rows = rows_of("language_map", frame, "layer", "target_language", "word_language", "share")
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    model = marks or LayerMarks()
    last = last_layer(model, [Points([float(row["layer"]) for row in rows], [], [], [])])
    by_phase = grouped(rows, phase_of)
    panels = []
    for phase, part in by_phase.items():
        title = PHASE_TITLES[phase] if len(by_phase) > 1 else ""
        panels.append(_map_panel(title, _shares(part), codes, pivot, model, last, compact))
    seen = {_leader(at)[0] for part in by_phase.values()
            for layers in _shares(part).values() for at in layers.values() if at}  # fmt: skip
    keys = [Key(language_name(c), language_colour(c)) for c in ordered(seen, languages)]
    keys.append(Key("the stronger, the larger the share of words", FAINT))
    options = [("leading", "Leading language"), ("asked", "Language asked for"),
               ("pivot", language_name(pivot))]  # fmt: skip
    controls = [] if compact else [Control("show", "What the map shows", options, "leading")]
    return Chart("language_map", "Language map", panels, rows, list(languages or codes), keys,
                 controls, model.labels(last), across=1, size="column")  # fmt: skip


def _shares(rows: Sequence[Row]) -> Shares:
    found: Shares = {}
    for row in rows:
        if row["word_language"] and row["share"] is not None:
            layers = found.setdefault(str(row["target_language"]), {})
            layers.setdefault(int(row["layer"]), {})[str(row["word_language"])] = row["share"]
    return found


def _leader(shares: Mapping[str, float]) -> tuple[str, float]:
    return max(shares.items(), key=lambda one: one[1])


def _map_panel(
    title: str, shares: Shares, codes: Sequence[str], pivot: str, marks: LayerMarks, last: int,
    compact: bool,
) -> Panel:  # fmt: skip
    names, top = 76.0, 8.0 if compact else 20.0
    row = 18.0 if compact and len(codes) > 8 else 22.0

    def draw(width: float) -> tuple[list[Node], float]:
        step = (width - names - 2) / (last + 1)
        base = top + len(codes) * row

        def x(layer: float) -> float:
            return names + (layer + 0.5) * step

        nodes = []
        for place, code in enumerate(codes):
            at = shares.get(code, {})
            read = "|".join(_ranked(at.get(layer, {})) for layer in range(last + 1))
            views: list[tuple[str, Pick]] = [("leading", _leader)]
            if not compact:
                views += [("asked", _only(code)), ("pivot", _only(pivot))]
            nodes.append(
                el("g", el("text", language_name(code), x=names - 8, y=row / 2 + 4, fill=INK,
                           text_anchor="end"),
                   (_map_row(at, view, pick, x, step, row) for view, pick in views),
                   transform=f"translate(0 {top + place * row:.1f})", class_="map-row",
                   data_name=f"Asked for {language_name(code)}", data_r=read)
            )  # fmt: skip
        late = late_phase(marks, lambda layer: x(layer) - step / 2, top, base, last, named=not compact,
                          shaded=False)  # fmt: skip
        under = tuned_marks(marks, x, base + 2, step, named=True)
        axis = layer_axis(x, base + 3, last, width - names, name="Layer")
        return [*nodes, *(one for one in (late, axis, under) if one)], base + 36

    words = [
        f"Asked for {language_name(code)}: {_stretches(shares.get(code, {}), last)}"
        for code in codes
    ]
    said = f"Language map{', ' + title.lower() if title else ''}. {'. '.join(words)}."
    about = {"aria-label": said, "class": "map", "data-grid": f"{names:.0f} 536 {last + 1}"}
    return Panel(title, draw, about, 538)


def _only(code: str) -> Pick:
    return lambda shares: (code, shares.get(code, 0.0))


def _map_row(
    at: Mapping[int, Mapping[str, float]], view: str,
    pick: Pick, x: Callable[[float], float],
    step: float, row: float,
) -> Node:  # fmt: skip
    cells = []
    for layer, shares in sorted(at.items()):
        code, share = pick(shares)
        gap = 1.0 if step > 5 else 0.0
        cells.append(el("rect", x=x(layer) - step / 2, y=1, width=step - gap, height=row - 2,
                        fill=language_colour(code), fill_opacity=f"{0.06 + 0.94 * share:.2f}"))  # fmt: skip
    return el("g", cells, data_show=view, display=None if view == "leading" else "none")


def _ranked(shares: Mapping[str, float]) -> str:
    ranked = sorted(shares.items(), key=lambda one: -one[1])[:NAMED]
    return ", ".join(f"{language_name(code)} {percent(share)}" for code, share in ranked)


def _stretches(at: Mapping[int, Mapping[str, float]], last: int) -> str:
    stretches: list[tuple[str, int]] = []
    for layer in range(last + 1):
        name = language_name(_leader(at[layer])[0]) if at.get(layer) else "nothing"
        if not stretches or stretches[-1][0] != name:
            stretches.append((name, layer))
    return ", ".join(f"{name} from layer {layer}" for name, layer in stretches)


MAX_COLUMNS = 14
"""Tokens that a file shows; a page has them all."""
CELL_WIDTH, CELL_HEIGHT = 62.0, 18.0
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur", "ps", "sd", "ug", "yi", "dv", "ckb"})


def token_grid(
    frame: Frame, *, language: str, languages: Sequence[str] = (), marks: LayerMarks | None = None,
    title: str = "", hints: bool = False,
) -> Chart:  # fmt: skip
    """One text token by token: what each layer would write next, coloured by its word's language.

    Args:
        frame: columns ``layer``, ``position`` (from 1), ``text_there`` (the text's own token),
            ``word`` (that the layer's token belongs to), ``language`` (of the word, or ``None``),
            ``probability``; optional ``token``, ``phase`` and ``turn`` (true for the cell at which the
            text turns to another language than the one asked for; it is framed).
        language: the language asked for; it decides from which side the tokens run.
        hints: what a cell says stands in the drawing, for pages without ``chart.js``.
    """
    rows = rows_of("token_grid", frame, "layer", "position", "text_there", "word", "language",
                   "probability")  # fmt: skip
    by_phase = grouped(rows, phase_of)
    model = marks or LayerMarks()
    panels = []
    for phase, part in by_phase.items():
        name = PHASE_TITLES[phase] if len(by_phase) > 1 else ""
        panel = _grid_panel(", ".join(filter(None, (title, name))), part, language, model, hints)
        panel.when["phase"] = f"{phase} both"
        panels.append(panel)
    codes = ordered((str(row["language"]) for row in rows if row["language"]), languages)
    keys = [Key(language_name(code), language_colour(code), "box", code) for code in codes]
    keys.append(Key("no word, or no language identified", RULE))
    controls = [phase_control("both", both=True)] if len(by_phase) > 1 else []
    note = f"Text in {language_name(language)}, token by token; rows are layers, the last on top"
    return Chart("token_grid", "One prompt in depth", panels, rows, list(languages or codes), keys,
                 controls, across=1, note=note)  # fmt: skip


def _grid_panel(
    title: str, rows: Sequence[Row], language: str, marks: LayerMarks, hints: bool
) -> Panel:
    layers = sorted({int(row["layer"]) for row in rows}, reverse=True)
    tokens = {int(row["position"]): str(row["text_there"]) for row in rows}
    positions = sorted(tokens)
    by_layer = grouped(rows, lambda row: int(row["layer"]))
    turned = next((row for row in rows if row.get("turn")), None)
    mirrored = language in RIGHT_TO_LEFT
    left, top = 26.0, 22.0
    full = left + CELL_WIDTH * len(positions)

    def draw(width: float) -> tuple[list[Node], float]:
        shown = positions if width >= full - 1 else positions[:MAX_COLUMNS]
        step = (width - left) / len(shown)

        def x(position: int) -> float:
            place = shown.index(position)
            return left * (not mirrored) + (len(shown) - 1 - place if mirrored else place) * step

        heads = el("g", (el("text", shortened(_blank(tokens[one]), step - 4), x=x(one) + step / 2, y=14)
                         for one in shown), text_anchor="middle", font_weight="bold", fill=INK)  # fmt: skip
        drawn = [heads]
        for place, layer in enumerate(layers):
            y = top + place * CELL_HEIGHT
            drawn += _grid_row(layer, by_layer[layer], marks, x, y, step, shown,
                               width - left if mirrored else 0)  # fmt: skip
            for row in by_layer[layer] if hints else ():
                if row["position"] in shown:
                    said = el("title", f"layer {layer}: {_cell_reading(row)}")
                    drawn.append(el("rect", said, x=x(int(row["position"])), y=y, width=step,
                                    height=CELL_HEIGHT, fill="transparent"))  # fmt: skip
        if turned and int(turned["position"]) in shown:
            y = top + layers.index(int(turned["layer"])) * CELL_HEIGHT
            drawn.append(el("rect", x=x(int(turned["position"])) + 0.5, y=y - 0.5, width=step - 1, height=17,
                            fill="none", stroke=INK, stroke_width=1.8, class_="turn"))  # fmt: skip
        late = marks.late_start
        if late is not None and round(late) in layers:
            y = top + (layers.index(round(late)) + 1) * CELL_HEIGHT
            drawn.append(
                el("line", x1=0, x2=width, y1=y, y2=y, stroke=SOFT, stroke_dasharray="3 3")
            )
        return drawn, top + len(layers) * CELL_HEIGHT + 4

    about = {
        "aria-label": f"Layers by tokens{': ' + title if title else ''}. Arrow keys move between cells.",
        "class": "token-grid", "data-tokens": f"{left:.0f} {top:.0f} {CELL_WIDTH:.0f} {CELL_HEIGHT:.0f} {len(positions)} {len(layers)}",
        "data-there": "\t".join(inert(_blank(tokens[one])) for one in positions),
        "data-mirrored": "true" if mirrored else "",
    }  # fmt: skip
    more = [("The same in words", _grid_words(layers, by_layer, len(positions)))]
    return Panel(title, draw, about, full, note=_turn_words(turned), more=more, side=left,
                 text_direction="rtl" if mirrored else None)  # fmt: skip


def _turn_words(row: Row | None) -> str:
    if row is None:
        return ""
    place = f"after block {row['layer']}" if row["layer"] else "in the embedding"
    return (f"turns to {language_name(str(row['language']))} at token {row['position']}, "
            f"“{_blank(str(row['text_there']))}”, {place}")  # fmt: skip


def _grid_row(
    layer: int, rows: Sequence[Row], marks: LayerMarks, x: Callable[[int], float], y: float,
    step: float, shown: Sequence[int], at: float,
) -> list[Node]:  # fmt: skip
    tuned = layer in marks.tuned
    cells = sorted((r for r in rows if r["position"] in shown), key=lambda r: int(r["position"]))
    fills: dict[tuple[str, int], list[float]] = {}
    texts = []
    for row in cells:
        code, share = row["language"], row["probability"] or 0.0
        left = x(int(row["position"]))
        word = shortened(_blank(str(row["word"] or "")), step - 6, 10)
        texts.append(el("tspan", word, x=left + step / 2, fill=None if code else FAINT))
        if code:
            fills.setdefault((str(code), round(1 + 5 * share)), []).append(left)
    tints = [
        el("path", d="".join(f"M{number(left + 1)} {number(y)}h{number(step - 2)}v16h-{number(step - 2)}z" for left in lefts),
           fill=language_colour(code), fill_opacity=f"{0.09 * strength:.2f}", data_code=code)
        for (code, strength), lefts in fills.items()
    ]  # fmt: skip
    label = el("g", el("rect", x=at + 1, y=y, width=22, height=16, rx=2, fill=INK) if tuned else None,
                el("text", str(layer), x=at + 12, y=y + 12, fill=PAGE if tuned else SOFT, font_size=10),
                class_="tuned-block" if tuned else "layer", text_anchor="middle")  # fmt: skip
    line = el("text", texts, y=y + 12, font_size=10, fill=INK, text_anchor="middle")
    words = el("g", line, class_="token-row", data_name=f"{'After block ' + str(layer) if layer else 'Embedding (layer 0)'}{', tuned' if tuned and marks.were_tuned else ''}",
               data_r="\t".join(_cell_reading(row) for row in cells))  # fmt: skip
    return [label, *tints, words]


def _cell_reading(row: Row) -> str:
    """Word, language and probability of a cell, for its tooltip."""
    told = language_name(row["language"]) if row["language"] else "no language identified"
    chance = "" if row["probability"] is None else f", {percent(row['probability'])}"
    token = str(row.get("token") or row["word"] or "")
    same = token.strip() == str(row["word"] or "").strip()
    piece = "" if same else f" (token {_blank(token)})"
    return inert(f"{_blank(str(row['word'] or ''))}{piece}: {told}{chance}")


def _blank(text: str) -> str:
    """A token's text with blanks and halves of letters made visible."""
    text = text.replace("\n", "↵").replace("\t", " ").replace("\ufffd", "\N{DOTTED CIRCLE}").strip()
    return text or "·"


def _grid_words(
    layers: Sequence[int], by_layer: Mapping[int, Sequence[Row]], total: int
) -> list[str]:
    """The leading language of each layer in words."""
    lines = []
    for layer in layers:
        counts: dict[str, int] = {}
        for row in by_layer[layer]:
            if row["language"]:
                counts[str(row["language"])] = counts.get(str(row["language"]), 0) + 1
        ranked = sorted(counts.items(), key=lambda one: -one[1])
        said = ", ".join(f"{language_name(code)} at {n}" for code, n in ranked)
        lines.append(f"Layer {layer}: {said or 'no language identified'}, of {total} positions")
    return lines
