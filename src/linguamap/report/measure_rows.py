"""Further measures of the answers, with intervals: the Language Confusion Benchmark's, F1, exact match."""

from __future__ import annotations

from linguamap.charts.naming import language_name, percent, percent_range
from linguamap.records import Rate
from linguamap.report.rates import cluster, is_number, own_rows, share
from linguamap.report.run_values import RunData, Table
from linguamap.scoring.stats import harmonic_mean, paired_bootstrap

NO_FIGURE = "\N{EN DASH}"


def measure_rows(data: RunData) -> list[list[str]]:
    """Language, when, and as text line pass rate, word pass rate, LCPR, F1, exact match.

    Rates are clustered by item group where one occurs more than once; the mean of F1 has a percentile
    bootstrap over groups. LCPR is the harmonic mean of two rates and has no interval. Languages
    without any such measure are left out.
    """
    sides = [("before", data.before), ("after", data.after)]
    rows = []
    for code in [None, *data.languages]:
        for when, answers in sides:
            group = [row for row in own_rows(answers) if code in (None, row.get("language"))]
            figures = _figures(group)
            if any(figure != NO_FIGURE for figure in figures):
                rows.append([language_name(code) if code else "All languages", when, *figures])
    return rows


def _figures(rows: Table) -> list[str]:
    lines = share(rows, "line_pass")
    words = share([row for row in rows if row.get("line_pass")], "word_pass")
    both = harmonic_mean(lines.value, words.value) if words.n else None
    return [
        _text(lines),
        _text(words),
        NO_FIGURE if both is None else percent(both),
        _text(_mean(rows, "f1")),
        _text(_mean(rows, "exact_match")),
    ]


def _mean(rows: Table, name: str) -> Rate:
    """Mean of a score in [0, 1] with its bootstrap interval over item groups."""
    known = [row for row in rows if is_number(row.get(name)) or isinstance(row.get(name), bool)]
    values = [float(row[name]) for row in known]
    found = paired_bootstrap([0.0] * len(values), values, [cluster(row) for row in known])
    return Rate(found.value, found.low, found.high, len(values))


def _text(rate: Rate) -> str:
    if rate.value is None:
        return NO_FIGURE
    if rate.low is None or rate.high is None:
        return f"{percent(rate.value)} (n = {rate.n})"
    return f"{percent(rate.value)} ({percent_range(rate.low, rate.high)}, n = {rate.n})"
