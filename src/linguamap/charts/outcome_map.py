"""Outcomes of every cell, benchmark by benchmark: bars before over after, with a rate below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from linguamap.charts.chart import Chart
from linguamap.charts.frames import (
    PHASE_TITLES,
    Frame,
    Row,
    grouped,
    ordered,
    phase_of,
    rows_of,
)
from linguamap.charts.naming import (
    OUTCOME_NAMES,
    benchmark_name,
    percent,
    percent_range,
    scenario_name,
)
from linguamap.charts.svg import (
    INK,
    SOFT,
    Colour,
    Control,
    Key,
    Node,
    Panel,
    el,
    shortened,
    width_of,
)
from linguamap.languages import language_name

FEW = 5
"""Below this many judged answers a fraction stands in place of a percentage."""

OUTCOMES_SHOWN = tuple(OUTCOME_NAMES)
HATCH = "unscored"


def outcome_map(
    frame: Frame, *, languages: Sequence[str] = (), scenarios: Sequence[str] = (),
    benchmarks: Sequence[str] = (), links: Mapping[str, str] | None = None, size: str = "page",
    names: Mapping[str, str] = OUTCOME_NAMES,
) -> Chart:  # fmt: skip
    """Outcomes of every cell: a panel for each benchmark, languages down, scenarios across.

    Args:
        frame: one row for each cell: ``benchmark``, ``language``, ``scenario``, a count under each
            outcome's name (``both``, ``transfer_bottleneck``, ``neither``,
            ``consistency_bottleneck``, ``unscored``); optional ``phase``, ``run``,
            ``coincides_with`` and for ``language`` and ``task`` the rate in ``language_rate``,
            ``task_rate`` with ``_low``, ``_high`` and ``_n``.
        links: run (or ``""``) -> address of the page with its answers; cells lead there.
        names: what the outcomes are called; those without a name are not.
    """
    rows = rows_of("outcome_map", frame, "benchmark", "language", "scenario", *OUTCOMES_SHOWN)
    codes = ordered((str(row["language"]) for row in rows), languages)
    columns = [
        (scenario, run)
        for scenario in ordered((str(row["scenario"]) for row in rows), scenarios)
        for run in dict.fromkeys(row.get("run") for row in rows)
    ]
    cells = grouped(rows, lambda r: (r["benchmark"], r["language"], r["scenario"], r.get("run")))
    panels = []
    least = 350.0 if len({row["benchmark"] for row in rows}) > 1 else 700.0
    for benchmark in ordered((str(row["benchmark"]) for row in rows), benchmarks):
        own = {key[1:]: part for key, part in cells.items() if key[0] == benchmark}
        panels.append(_outcome_panel(benchmark, own, codes, columns, links or {}, names, least))
    both = len({phase_of(row) for row in rows}) > 1
    keys = [Key(text, Colour(f"outcome:{name}")) for name, text in names.items()]
    options = [("language", "In the language"), ("task", "Right task")]
    rated = any(row.get("language_rate") is not None for row in rows) and "both" in names
    controls = [Control("rate", "Figure shown under the bars", options, "language")]
    note = "Upper bar: before tuning; lower bar: after tuning" if both else ""
    return Chart("outcome_map", "Outcomes of every cell", panels, rows, list(languages or codes),
                 keys, controls if rated else [], across=2 if len(columns) < 6 else 1, note=note)  # fmt: skip


def _outcome_panel(
    benchmark: str, cells: Mapping[tuple[str, str, str | None], Sequence[Row]], codes: Sequence[str],
    columns: Sequence[tuple[str, str | None]], links: Mapping[str, str], called: Mapping[str, str],
    least: float,
) -> Panel:  # fmt: skip
    names, row, top = 66.0, 34.0, 28.0
    several = len({run for _, run in columns}) > 1
    width = max(least, names + 56.0 * len(columns))

    def draw(width: float) -> tuple[list[Node], float]:
        step = (width - names) / len(columns)
        nodes: list[Node] = []
        seen: str | None = None
        n_runs = len({run for _, run in columns})
        for place, (scenario, run) in enumerate(columns):
            left = names + place * step
            if scenario != seen:
                nodes += _wrapped(scenario_name(scenario), left + 3, step * n_runs - 6,
                                  several)  # fmt: skip
            if several:
                nodes.append(el("text", str(run), x=left + 3, y=24, font_size=10, fill=SOFT))
            seen = scenario
        for down, code in enumerate(codes):
            y = top + down * row
            nodes.append(
                el("text", shortened(language_name(code), names - 4), x=0, y=y + 12, fill=INK)
            )
            for place, (scenario, run) in enumerate(columns):
                part = cells.get((code, scenario, run))
                if part:
                    box = (names + place * step + 3, y, step - 6)
                    nodes.append(
                        _outcome_cell(part, box, (down, place), links.get(run or ""), called)
                    )
        return nodes, top + len(codes) * row

    title = benchmark_name(benchmark)
    about = {"aria-label": f"Outcomes on {title}, by language and scenario", "class": "outcomes",
             "role": "group"}  # fmt: skip
    return Panel(title, draw, about, width, side=names if width > 420 else 0)


def _wrapped(text: str, x: float, width: float, one_line: bool) -> list[Node]:
    """A column's heading in one line or two."""
    first, _, rest = text.replace("-", "-\u200c").partition(" ")
    if one_line or width_of(text, 10) <= width:
        lines = [text]
    else:
        lines = [first.replace("\u200c", ""), rest] if rest else [text]
    bottom = 12 if one_line else 24
    return [
        el("text", shortened(line, width, 10), x=x, y=bottom - 11 * (len(lines) - 1 - place),
           font_size=10, fill=SOFT)
        for place, line in enumerate(lines) if line
    ]  # fmt: skip


def _outcome_cell(
    part: Sequence[Row], box: tuple[float, float, float], place: tuple[int, int], link: str | None,
    called: Mapping[str, str],
) -> Node:  # fmt: skip
    """The bars of a cell, before over after, with a rate; on a page it leads to the answers."""
    x, y, width = box
    first = part[0]
    same = first.get("coincides_with")
    bars = [outcome_bar(row, x, y + 3 + 9 * at, width) for at, row in enumerate(part)]
    under = y + 3 + 9 * len(part) + 9
    rates = [
        el("text", "=" if same else " → ".join(_short(row, name) for row in part), x=x, y=under,
           font_size=9.5, fill=SOFT, data_rate=name, class_="rate",
           display=None if name == "language" else "none")
        for name in ("language", "task")
    ]  # fmt: skip
    if first.get("language_rate", ...) is ...:
        rates = []
    words = _cell_words(part, called)
    names = {key: str(first[key]) for key in ("benchmark", "scenario", "language")}
    address = f"{link}#answers?{urlencode(names)}" if link is not None else None
    return el(
        "a" if address else "g",
        el("rect", x=x - 2, y=y, width=width + 4, height=32, fill="transparent", class_="hit"),
        *bars, *rates, href=address, class_=f"cell{' same' if same else ''}",
        tabindex=0 if place == (0, 0) else -1, data_cell=f"{place[0]} {place[1]}",
        aria_label="; ".join(words) + ("; Show these answers" if address else ""), data_tip="",
        role=None if address else "img", opacity=0.5 if same else None,
    )  # fmt: skip


def outcome_bar(row: Row, x: float, y: float, width: float, height: float = 7) -> Node:
    """The outcomes of a row's answers as one bar; what was not scored is hatched."""
    total = sum(int(row[name] or 0) for name in OUTCOMES_SHOWN) or 1
    parts: list[Node] = []
    left = x
    for name in OUTCOMES_SHOWN:
        part = width * int(row[name] or 0) / total
        colour = Colour(f"outcome:{name}")
        if part and name != HATCH:
            parts.append(el("rect", x=left, y=y, width=max(part - 0.6, 0.4), height=height,
                            fill=colour, class_=name))  # fmt: skip
        elif part:
            lines = "".join(f"M{left + at:.1f} {y:.1f}v{height}" for at in _every(2.5, part))
            parts.append(el("path", d=lines, stroke=colour, stroke_width=1.2, class_=name))
        left += part
    return el("g", parts, class_="bar")


def _every(step: float, width: float) -> list[float]:
    return [step * (place + 0.5) for place in range(max(1, round(width / step)))]


def _short(row: Row, name: str) -> str:
    value, n = row.get(f"{name}_rate"), row.get(f"{name}_n")
    if value is None:
        return "–"
    if n is not None and n < FEW:
        return f"{round(value * n)}/{n:.0f}"
    return percent(value).rstrip("%")


def _cell_words(part: Sequence[Row], called: Mapping[str, str]) -> list[str]:
    """A cell in words: what it is, then each phase's rates and counts."""
    first = part[0]
    run = "" if first.get("run") is None else f"Run {first['run']}: "
    lines = [f"{run}{benchmark_name(first['benchmark'])}, {scenario_name(first['scenario'])}, "
             f"{language_name(first['language'])}"]  # fmt: skip
    if first.get("coincides_with"):
        lines.append(f"the same text as {scenario_name(first['coincides_with']).lower()}")
    for row in part:
        said = [f"{int(row[name] or 0)} {text.lower()}" for name, text in called.items()]
        rates = [f"{text} {_rate_words(row, name)}"
                 for name, text in (("language", "in the language"), ("task", "right task"))
                 if f"{name}_rate" in row]  # fmt: skip
        lead = f"{PHASE_TITLES[phase_of(row)]}: " if len(part) > 1 else ""
        lines += [lead + ", ".join(rates)] if rates else []
        lines.append((lead if not rates else "") + ", ".join(said))
    return lines


def _rate_words(row: Row, name: str) -> str:
    value, low, high = (row.get(f"{name}_{key}") for key in ("rate", "low", "high"))
    if value is None:
        return "unknown"
    band = "" if low is None or high is None else f"{percent_range(low, high)}, "
    return f"{percent(value)} ({band}n = {row.get(f'{name}_n')})"


def outcomes(
    frame: Frame, *, languages: Sequence[str] = (), scenarios: Sequence[str] = ()
) -> Chart:
    """Outcomes of each language under each scenario, all benchmarks together.

    Args:
        frame: as for :func:`outcome_map`, without ``benchmark``.
    """
    rows = rows_of("outcomes", frame, "language", "scenario", *OUTCOMES_SHOWN)
    rows = [{**row, "benchmark": "all benchmarks"} for row in rows]
    chart = outcome_map(rows, languages=languages, scenarios=scenarios)
    return chart.with_(name="outcomes", title="Outcomes by language and scenario", across=1)
