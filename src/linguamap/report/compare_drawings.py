"""Drawings of several runs side by side, as SVG that needs no script; runs go by their letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from linguamap.charts.naming import (
    OUTCOME_NAMES,
    language_name,
    percent,
    percent_range,
    scenario_name,
)
from linguamap.records import OUTCOMES, Rate
from linguamap.report.curve_data import late_start, lens_curves, n_layers
from linguamap.report.rates import Case, cases
from linguamap.report.run_values import Json, RunData
from linguamap.report.svg import el

ROW = 11
"""Height of one run's line in the dot drawing, in pixels."""


@dataclass(frozen=True)
class RunView:
    """A run as the page names it.

    Attributes:
        letter: A, B, C ..., its name in drawings.
        title: model and, where tuned, method.
        folder: name of the run folder.
        report: address of the run's own page relative to this one; None if there is none.
    """

    letter: str
    title: str
    folder: str
    report: str | None
    data: RunData


def outcome_bar(side: Json) -> Markup:
    """The outcomes of one cell as a bar over the whole width; the figures stand beside it.

    What was not scored is left unpainted: there the hatched ground of the element shows.
    """
    counts = dict(zip(OUTCOMES, side["outcomes"], strict=True))
    total = sum(counts.values()) or 1
    parts, x = [], 0.0
    for name in OUTCOME_NAMES:
        width = 100 * counts[name] / total
        if width and name != "unscored":
            parts.append(el("rect", class_=f"o-{name}", x=x, y=0, width=width, height=8))
        x += width
    return el("svg", *parts, class_="obar", viewBox="0 0 100 8", preserveAspectRatio="none",
              aria_hidden="true")  # fmt: skip


def dots(runs: Sequence[RunView], languages: Sequence[str], where: str, measure: str) -> Markup:
    """One measure with 95% intervals: a line for each run under each language and scenario.

    Args:
        where: answers ``before`` or ``after`` tuning; a run that has none of them has no line.
        measure: ``language`` or ``task``.
    """
    known = {
        (case.scenario, case.language, run.letter): rate
        for run in runs
        for case in cases(run.data)
        if (rate := _rate(case, where, measure)) is not None
    }
    scenarios = list(dict.fromkeys(scenario for scenario, _, _ in known))
    width, left, y = 420.0, 82.0, 34.0
    marks: list[Markup] = []

    def at(share: float) -> float:
        return left + share * (width - left - 16)

    for scenario in scenarios:
        marks.append(el("text", scenario_name(scenario), class_="group-name", x=0, y=y))
        y += 8
        for place, code in enumerate(languages):
            found = [(run.letter, known.get((scenario, code, run.letter))) for run in runs]
            lines = [(letter, rate) for letter, rate in found if rate is not None]
            if not lines:
                continue
            middle = y + ROW * len(lines) / 2 + 3.5
            name = el("text", language_name(code), class_="row-name", x=left - 8, y=middle,
                      text_anchor="end")  # fmt: skip
            drawn = [
                _dot(letter, rate, at, y + ROW * (index + 0.5))
                for index, (letter, rate) in enumerate(lines)
            ]
            marks.append(el("g", name, *drawn, class_=f"lang-{place}"))
            y += ROW * len(lines) + 5
        y += 18
    grid = [
        el("g", el("line", class_="grid", x1=at(share), x2=at(share), y1=14, y2=y - 18),
           el("text", percent(share), x=at(share), y=9, text_anchor="middle"))
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]  # fmt: skip
    title = "In the language asked for" if measure == "language" else "Right task"
    return el("svg", el("g", *grid, class_="axis"), *marks, class_="dots", role="img",
              viewBox=f"0 0 {width:.0f} {y:.0f}",
              aria_label=f"{title}, by scenario, language and run; the table below has the figures")  # fmt: skip


def _rate(case: Case, where: str, measure: str) -> Rate | None:
    tally = case.before if where == "before" else case.after
    if tally is None:
        return None
    rate = tally.language if measure == "language" else tally.task
    return rate if rate.value is not None else None


def _dot(letter: str, rate: Rate, at: Any, y: float) -> Markup:
    text = f"{letter}: {percent(rate.value or 0.0)}"
    parts = []
    if rate.low is not None and rate.high is not None:
        text += f" ({percent_range(rate.low, rate.high)}, n = {rate.n})"
        parts.append(el("line", class_="whisker", x1=at(rate.low), x2=at(rate.high), y1=y, y2=y))
    x = at(rate.value or 0.0)
    parts += [
        el("circle", class_="disc", cx=x, cy=y, r=5.4),
        el("text", letter, class_="letter", x=x, y=y + 2.9, text_anchor="middle"),
    ]
    return el("g", el("title", text), *parts)


def lens_panels(
    runs: Sequence[RunView], languages: Sequence[str], by_depth: bool
) -> list[tuple[str, list[Markup | None]]]:
    """For each language asked for, a panel for each run; None where that run has no curve of it.

    Args:
        by_depth: the axis is the share of the model's depth, for models of different sizes.
    """
    tables = [
        (lens_curves(run.data.lens) or {}, lens_curves(run.data.lens_after) or {}) for run in runs
    ]
    rows: list[tuple[str, list[Markup | None]]] = []
    for code in languages:
        panels = [
            _lens_panel(run, before[code], after.get(code), code, languages, by_depth)
            if code in before
            else None
            for run, (before, after) in zip(runs, tables, strict=True)
        ]
        if any(panel is not None for panel in panels):
            rows.append((code, panels))
    return rows


WIDTH, HEIGHT, LEFT, BASE = 300.0, 130.0, 30.0, 108.0


def _lens_panel(
    run: RunView, before: Json, after: Json | None, code: str, languages: Sequence[str], depth: bool
) -> Markup:
    total = n_layers(run.data) or 1

    def x(layer: float) -> float:
        return LEFT + layer / total * (WIDTH - LEFT - 8)

    def y(share: float) -> float:
        return BASE - share * (BASE - 8)

    marks: list[Markup] = []
    late = late_start(run.data)
    if late is not None:
        width = x(total) - x(late)
        marks.append(el("rect", class_="late-wash", x=x(late), y=8, width=width, height=BASE - 8))
    for share in (0, 0.5, 1):
        marks.append(el("line", class_="grid", x1=LEFT, x2=WIDTH - 8, y1=y(share), y2=y(share)))
        marks.append(el("text", percent(share), x=LEFT - 5, y=y(share) + 3.5, text_anchor="end"))
    for place in (0, 0.25, 0.5, 0.75, 1):
        text = percent(place) if depth else str(round(place * total))
        marks.append(el("text", text, x=x(place * total), y=BASE + 15, text_anchor="middle"))
    pivot = "en" if "en" in languages else languages[0]
    ends = []
    for table, side in ((before, "before"), (after, "after")):
        for word in dict.fromkeys([pivot, code]):
            curve = ((table or {}).get("curves") or {}).get(word)
            if curve is None:
                continue
            colour = f"lang-{languages.index(word)}"
            if side == "before":
                marks.append(el("path", class_=f"band {colour}", d=_band(curve, x, y)))
            marks.append(el("path", class_=f"line {side} {colour}", d=_path(curve, x, y)))
            if curve["y"] and curve["y"][-1] is not None:
                ends.append(
                    f"{language_name(word)} ends at {percent(curve['y'][-1])} {side} tuning"
                )
    marks += [
        el("rect", class_="tuned-mark", x=x(layer) - 4, y=BASE + 2, width=8, height=3.5)
        for layer in run.data.tuned_layers
    ]
    label = f"Run {run.letter}, asked for {language_name(code)}: {', '.join(ends)}"
    return el("svg", *marks, class_="lines axis", role="img", aria_label=label,
              viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}")  # fmt: skip


def _path(curve: Json, x: Any, y: Any) -> str:
    parts, pen = [], "M"
    for layer, share in zip(curve["x"], curve["y"], strict=True):
        if share is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x(layer):.1f} {y(share):.1f}")
        pen = "L"
    return "".join(parts)


def _band(curve: Json, x: Any, y: Any) -> str:
    points = [
        (x(layer), y(low), y(high))
        for layer, low, high in zip(curve["x"], curve["lo"], curve["hi"], strict=True)
        if low is not None and high is not None
    ]
    if len(points) < 2:
        return ""
    upper = [f"{at:.1f} {high:.1f}" for at, _, high in points]
    lower = [f"{at:.1f} {low:.1f}" for at, low, _ in reversed(points)]
    return "M" + "L".join(upper + lower) + "Z"
