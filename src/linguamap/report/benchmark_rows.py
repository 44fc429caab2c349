"""What each benchmark of a run used: items in each language, and rows left out, with the reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from linguamap.charts.naming import benchmark_name, count, joined, language_name
from linguamap.report.rates import is_number
from linguamap.report.run_values import Json, RunData, list_at, object_at
from linguamap.report.sentences import Sentence

NO_FIGURE = "\N{EN DASH}"


@dataclass(frozen=True)
class BenchmarkRow:
    """One benchmark as text.

    Attributes:
        asked: different items that were asked.
        used: for each language of the run, items of rows read; a dash where it has none.
        left_out: one line for each language and reason.
    """

    name: str
    source: str
    asked: str
    used: list[str]
    left_out: list[str]


def benchmark_rows(data: RunData) -> list[BenchmarkRow]:
    """A row for each benchmark that the summary describes; older summaries describe none."""
    rows = []
    for entry in _described(data):
        name = str(entry.get("name"))
        asked = {row.get("item_id") for row in data.before if row.get("benchmark") == name}
        used = [_used(entry, code) for code in data.languages]
        source, left_out = str(entry.get("source") or NO_FIGURE), _left_out(entry)
        rows.append(BenchmarkRow(benchmark_name(name), source, count(len(asked)), used, left_out))
    return rows


def languages_without_items(data: RunData) -> list[Sentence]:
    """A caution for each benchmark that lacks a language which the run was asked for."""
    cautions: list[Sentence] = []
    for entry in _described(data):
        lacking = [
            code for code in list_at(data.config, "languages") if _used(entry, code) == NO_FIGURE
        ]
        if lacking:
            names = joined([language_name(str(code)) for code in lacking])
            cautions.append(
                [f"{benchmark_name(str(entry.get('name')))} has no items in {names}: figures over all "
                 "benchmarks compare these languages with the others on other questions."]
            )  # fmt: skip
    return cautions


def _described(data: RunData) -> list[Json]:
    found = list_at(data.summary_before, "benchmarks")
    return [entry for entry in found if isinstance(entry, dict) and object_at(entry, "items")]


def _used(entry: Json, code: object) -> str:
    items, read = object_at(entry, "items").get(str(code)), object_at(entry, "rows_read")
    if not is_number(items) or items == 0:
        return NO_FIGURE
    rows = read.get(str(code))
    return f"{count(int(items))} of {count(int(rows))}" if is_number(rows) else count(int(items))


def _left_out(entry: Json) -> list[str]:
    """Reasons are counted by their text before the colon; what follows it is about one row."""
    reasons: Counter[tuple[str, str]] = Counter()
    for one in list_at(entry, "dropped"):
        if isinstance(one, dict):
            rows = one.get("rows", 1)
            codes = [language_name(code) for code in str(one.get("language")).split(",")]
            why = str(one.get("reason")).partition(":")[0]
            reasons[joined(codes), why] += int(rows) if is_number(rows) else 1
    return [f"{count(n)} {names}: {why}" for (names, why), n in reasons.most_common()]
