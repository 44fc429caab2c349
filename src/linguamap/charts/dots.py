"""Rates with their intervals as points: before and after, runs side by side, and a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from linguamap.charts.chart import Chart
from linguamap.charts.frames import Frame, Row, ordered, phase_of, rows_of
from linguamap.charts.naming import percent, percent_range, scenario_name
from linguamap.charts.svg import (
    CURRENT,
    FAINT,
    INK,
    PAGE,
    RULE,
    SOFT,
    Colour,
    Key,
    Node,
    Panel,
    el,
    language_colour,
    shortened,
)
from linguamap.languages import language_name

MEASURES = (("language", "In the language asked for"), ("task", "Right task"))


def change(frame: Frame, *, languages: Sequence[str] = (), scenarios: Sequence[str] = ()) -> Chart:
    """Each language under each scenario: hollow before tuning, full after it, with 95 % intervals.

    Args:
        frame: columns ``scenario``, ``language``, ``measure`` (``language`` or ``task``),
            ``value``, ``low``, ``high``, ``n``; optional ``phase`` and ``run``, whose letters then
            stand in the points in place of hollow and full.
    """
    rows = rows_of("change", frame, "scenario", "language", "measure", "value", "low", "high", "n")
    codes = ordered((str(row["language"]) for row in rows), languages)
    names = ordered((str(row["scenario"]) for row in rows), scenarios)
    runs = list(dict.fromkeys(row["run"] for row in rows if row.get("run") is not None))
    both = len({phase_of(row) for row in rows}) > 1
    groups = [
        (scenario, [(code, [r for r in rows if r["scenario"] == scenario and r["language"] == code])
                    for code in codes])
        for scenario in names
    ]  # fmt: skip
    panels = [
        _rate_panel(measure, title, groups, both=both, runs=runs)
        for measure, title in MEASURES
        if any(row["measure"] == measure for row in rows)
    ]
    keys = [Key(language_name(code), language_colour(code), "point", code) for code in codes]
    if both:
        keys += [Key("before tuning", INK, "ring"), Key("after tuning", INK, "point")]
    title = "Rates of each run" if runs else "Before and after tuning"
    return Chart("comparison" if runs else "change", title, panels, rows, list(languages or codes),
                 keys, across=2)  # fmt: skip


def _rate_panel(
    measure: str, title: str, groups: Sequence[tuple[str, Sequence[tuple[str, Sequence[Row]]]]],
    *, both: bool, runs: Sequence[str],
) -> Panel:  # fmt: skip
    left = 78.0

    def draw(width: float) -> tuple[list[Node], float]:
        def x(share: float) -> float:
            return left + share * (width - left - 14)

        y, marks = 28.0, []
        for scenario, cases in groups:
            drawn = []
            at = y + 17
            for code, every in cases:
                rows = [r for r in every if r["measure"] == measure and r["value"] is not None]
                if rows:
                    node, at = _rate_rows(code, scenario, rows, x, at, both, left)
                    drawn.append(node)
            if drawn:
                name = el(
                    "text", scenario_name(scenario), x=0, y=y + 3, font_weight="bold", fill=INK
                )
                marks += [name, *drawn]
                y = at + 12
        grid = [
            el("g", el("line", x1=x(share), x2=x(share), y1=14, y2=y - 14, stroke=RULE),
               el("text", percent(share), x=x(share), y=9), class_="axis", text_anchor="middle",
               font_size=10.5, fill=FAINT)
            for share in (0, 0.25, 0.5, 0.75, 1)
        ]  # fmt: skip
        return [*grid, *marks], y - 6

    label = (
        f"{title}, by scenario and language{' and run' if runs else ''}; the table has the figures"
    )
    return Panel(title, draw, {"aria-label": label, "class": "rates"}, 480)


def _rate_rows(
    code: str, scenario: str, rows: Sequence[Row], x: Callable[[float], float], y: float, both: bool,
    left: float,
) -> tuple[Node, float]:  # fmt: skip
    """The points of one language: a line a run, or before and after close together."""
    runs = rows[0].get("run") is not None
    step = 11.0 if runs else 5.0
    marks, said = [], [f"{language_name(code)}, {scenario_name(scenario).lower()}"]
    for place, row in enumerate(rows):
        lead = f"{row['run']}: " if runs else f"{phase_of(row)}: " if both else ""
        said.append(lead + _rate_text(row))
        hollow = both and phase_of(row) == "before" and not runs
        marks.append(_point(row, x, y + step * place, hollow))
    height = step * (len(rows) - 1)
    name = el("text", shortened(language_name(code), left - 10), x=left - 10, y=y + height / 2 + 4,
              text_anchor="end", fill=INK)  # fmt: skip
    hit = el("rect", x=0, y=y - 7, width=x(1) + 14, height=height + 14, fill="transparent")
    group = el("g", hit, name, marks, color=language_colour(code), data_code=code,
               data_tip="\n".join(said), class_="rate-row")  # fmt: skip
    return group, y + height + (15.0 if runs else 14.0)


def _rate_text(row: Row) -> str:
    band = (
        "" if row["low"] is None else f" ({percent_range(row['low'], row['high'])}, n = {row['n']})"
    )
    return percent(row["value"]) + band


def _point(row: Row, x: Callable[[float], float], y: float, hollow: bool) -> Node:
    at = x(row["value"])
    whisker = None
    if row["low"] is not None and row["high"] is not None:
        whisker = el("line", x1=x(row["low"]), x2=x(row["high"]), y1=y, y2=y, stroke=CURRENT,
                     stroke_width=1.5, opacity=0.45 if hollow else 0.7)  # fmt: skip
    letter = row.get("run")
    face = PAGE if hollow or letter is not None else CURRENT
    disc = el("circle", cx=at, cy=y, r=3.7 if letter is None else 5.4, fill=face, stroke=CURRENT,
              stroke_width=1.5, class_="disc")  # fmt: skip
    name = None
    if letter is not None:
        name = el("text", str(letter), x=at, y=y + 3, text_anchor="middle", font_size=8,
                  font_weight="bold", fill=INK)  # fmt: skip
    return el("g", whisker, disc, name)


FAMILIES = {
    "last blocks": ("#1443a6", "square"),
    "other blocks": ("#8a8f94", "circle"),
    "language alone": ("#7a4a21", "cross"),
    "full": ("#c23a10", "plus"),
    "lora": ("#037d66", "diamond"),
    "steer": ("#a06cb6", "down"),
    "few_shot": ("#c58600", "up"),
}
"""Family of a setting -> colour and shape; the colours are apart for colour-blind readers."""

SHAPES = {
    "square": "M-3.5-3.5h7v7h-7z", "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "cross": "M-4-2l2-2 2 2 2-2 2 2-2 2 2 2-2 2-2-2-2 2-2-2 2-2z",
    "plus": "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z", "diamond": "M0-4.8l4.8 4.8-4.8 4.8-4.8-4.8z",
    "down": "M-4.5-3.5h9l-4.5 8z", "up": "M-4.5 3.5h9l-4.5-8z",
}  # fmt: skip
APART = 0.018
"""Least distance between two points, as a share of the axis; points at one place lie side by side."""
RATES = {"language_consistency": "Language consistency", "task_accuracy": "Task accuracy"}
COSTS = {"trained_share": "Trained share of the parameters, %", "seconds": "Seconds of tuning"}


def sweep(frame: Frame, *, untuned: dict[str, float | None], note: str = "") -> Chart:
    """What each setting of a sweep reaches against what it trains and what it costs.

    Args:
        frame: one row for each setting: ``number``, ``label``, ``family`` (a key of
            :data:`FAMILIES`), ``trained_share`` (percent), ``seconds``, and for
            ``language_consistency`` and ``task_accuracy`` the value, ``_low``, ``_high``; optional
            ``_is_range`` (the ends are those over seeds) and ``_agree`` (all seeds gave one value).
        untuned: measure -> rate of the untuned model; a dashed line.
        note: what dotted intervals mean.
    """
    rows = rows_of("sweep", frame, "number", "label", "family", *COSTS, *RATES)
    panels = [
        _sweep_panel(rows, measure, cost, untuned.get(measure))
        for measure in RATES
        for cost in COSTS
    ]
    keys = [
        Key(f"{row['number']}  {row['label']}", Colour(FAMILIES[row["family"]][0]), "point")
        for row in rows
    ]
    keys.append(Key("untuned", FAINT, "dash"))
    return Chart("sweep", "What each setting reaches", panels, rows, [], keys, across=2, note=note)


def _sweep_panel(rows: Sequence[Row], measure: str, cost: str, base: float | None) -> Panel:
    values = [float(row[cost] or 0.0) for row in rows]
    places, ticks = spread(values)
    ends = [one for row in rows for key in ("", "_low", "_high") if (one := row.get(measure + key)) is not None]  # fmt: skip
    ends += [base] if base is not None else []
    low, high = _round_ends(min(ends, default=0.0), max(ends, default=1.0))

    def draw(width: float) -> tuple[list[Node], float]:
        left, right, top, bottom = 40.0, width - 8, 14.0, 150.0
        first, last = min(places, default=0.0), max(places, default=1.0)
        room = max(last - first, 1e-9)

        def x(at: float) -> float:
            return left + 14 + (at - first) / room * (right - left - 28)

        def y(share: float) -> float:
            return bottom - (share - low) / (high - low) * (bottom - top)

        grid = [
            el("g", el("line", x1=left, x2=right, y1=y(at), y2=y(at), stroke=RULE),
               el("text", percent(at), x=left - 5, y=y(at) + 4, text_anchor="end"), class_="axis",
               font_size=10.5, fill=FAINT)
            for at in (low, (low + high) / 2, high)
        ]  # fmt: skip
        under = [el("text", text, x=x(at), y=bottom + 15, text_anchor="middle", font_size=10.5, fill=FAINT)
                 for at, text in ticks if first - 0.01 <= at <= last + 0.01 * room]  # fmt: skip
        axis = el("text", COSTS[cost], x=left, y=bottom + 30, fill=SOFT)
        line = [] if base is None else [
            el("line", x1=left, x2=right, y1=y(base), y2=y(base), stroke=FAINT, stroke_dasharray="4 3")
        ]  # fmt: skip
        order = sorted(range(len(rows)), key=lambda index: places[index])
        points = [
            _setting(row, measure, x(place), y, raised=order.index(index) % 2)
            for index, (row, place) in enumerate(zip(rows, places, strict=True))
            if row[measure] is not None
        ]
        return [*grid, *under, axis, *line, *points], bottom + 36

    about = {"aria-label": f"{RATES[measure]} against {COSTS[cost]}", "class": "sweep"}
    return Panel(RATES[measure], draw, about, 480)


def _round_ends(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis at whole tenths, with room."""
    low, high = math.floor(low * 10) / 10, math.ceil(high * 10) / 10
    return (low, high) if high - low >= 0.2 else (max(0.0, low - 0.1), min(1.0, high + 0.1))


def _setting(row: Row, measure: str, x: float, y: Callable[[float], float], raised: int) -> Node:
    colour, shape = FAMILIES[row["family"]]
    low, high, value = row.get(f"{measure}_low"), row.get(f"{measure}_high"), row[measure]
    high = value if high is None else high
    is_range = bool(row.get(f"{measure}_is_range"))
    bar = el("line", x1=x, x2=x, y1=y(value if low is None else low), y2=y(high), stroke=CURRENT,
             stroke_width=2.6 if is_range else 1.2,
             stroke_dasharray="1.5 2.5" if row.get(f"{measure}_agree") else None)  # fmt: skip
    said = f"{row['label']}\n{RATES[measure]}: {percent(value)}"
    if low is not None:
        said += f" ({percent_range(low, high)}{', range over seeds' if is_range else ''})"
    return el("g", bar, el("path", d=SHAPES[shape], fill=CURRENT, transform=f"translate({x:.1f} {y(value):.1f})"),
              el("text", str(row["number"]), x=x, y=y(high) - 4 - 8 * raised, text_anchor="middle",
                 font_size=9.5, fill=INK),
              color=Colour(colour), data_tip=said, class_="setting")  # fmt: skip


def spread(values: Sequence[float]) -> tuple[list[float], list[tuple[float, str]]]:
    """Places on a logarithmic axis with zero at its left end, and the axis' ticks."""
    positive = [value for value in values if value > 0]
    least = math.log10(min(positive)) if positive else 0.0
    most = math.log10(max(positive)) if positive else 0.0
    zero = least - max(0.15 * (most - least), 0.3)
    raw = [math.log10(value) if value > 0 else zero for value in values]
    gap = APART * max(most - min(raw, default=0.0), 0.3)
    ticks = [(zero, "0")] if len(positive) < len(values) else []
    for power in range(math.floor(least), math.ceil(most) + 1):
        for step in (1, 3) if most - least < 4 else (1,):
            at = math.log10(step) + power
            if least - 0.2 <= at <= most + 0.2:
                ticks.append((at, f"{step * 10.0**power:g}"))
    return _apart(raw, gap), ticks


def _apart(raw: Sequence[float], gap: float) -> list[float]:
    """Move points that lie closer than ``gap`` side by side, around where they lie."""
    bunches: list[list[int]] = []
    for index in sorted(range(len(raw)), key=lambda index: raw[index]):
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
