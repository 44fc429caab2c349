"""Answers counted into rates: each with its n and its interval.

An answer that was not generated anew, because its prompt is the same text as that of an earlier
scenario (``coincides_with``), is shown in the maps but never counted twice in a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from linguamap.records import OUTCOMES, Rate
from linguamap.report.run_values import Json, RunData, Table
from linguamap.scoring.stats import clustered_rate, wilson


@dataclass(frozen=True)
class Tally:
    """What a set of answers adds up to.

    Attributes:
        n: answers.
        task: share of the answers with a known task result that are right.
        language: share of the answers in an identifiable language that are in the target one.
        outcomes: outcome -> answers.
        wrong_in_english: of the answers known to be in a wrong language, the share in English.
    """

    n: int
    task: Rate
    language: Rate
    outcomes: dict[str, int]
    wrong_in_english: Rate


def tally(rows: Iterable[dict[str, Any]]) -> Tally:
    """Count a set of answers."""
    rows = list(rows)
    outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    for row in rows:
        outcome = row.get("outcome")
        outcomes[outcome if outcome in outcomes else "unscored"] += 1
    strayed = [
        {**row, "in_english": row["answer_language"] == "en"}
        for row in rows
        if row.get("language_correct") is False and row.get("answer_language")
    ]
    return Tally(
        len(rows),
        share(rows, "task_correct"),
        share(rows, "language_correct"),
        outcomes,
        share(strayed, "in_english"),
    )


def share(rows: Iterable[dict[str, Any]], name: str) -> Rate:
    """Share of rows where a field is true, of those where it is not null.

    Wilson's interval where every item group occurs once; clustered by group where it does not, as
    where languages or scenarios are pooled.
    """
    known = [row for row in rows if row.get(name) is not None]
    values = [bool(row[name]) for row in known]
    clusters = [cluster(row) for row in known]
    if len(set(clusters)) == len(clusters):
        return wilson(sum(values), len(values))
    return clustered_rate(values, clusters)


def cluster(row: Json) -> tuple[str, str]:
    """What an answer is resampled with: its item group."""
    return str(row.get("benchmark")), str(row.get("group", row.get("item_id")))


def own_rows(rows: Table) -> Table:
    """The answers that were generated for their own scenario."""
    return [row for row in rows if not row.get("coincides_with")]


def grouped(rows: Table, keys: Sequence[str]) -> dict[tuple[str, ...], Table]:
    """Rows by the values of some fields, in order of appearance."""
    groups: dict[tuple[str, ...], Table] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    return groups


def over_all(summary: Json | None) -> Json | None:
    """The row over all cells of a ``summary.json``."""
    rows = (summary or {}).get("overall")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("scenario") in (None, "all"):
            return row
    return None


def rate_of(value: Any, n: int | None = None) -> Rate | None:
    """A rate from a summary's ``{"value", "low", "high"}``; None where it holds no number."""
    if not isinstance(value, dict) or not is_number(value.get("value")):
        return None
    low, high = value.get("low"), value.get("high")
    count = value.get("n", n)
    return Rate(
        float(value["value"]),
        float(low) if is_number(low) else None,
        float(high) if is_number(high) else None,
        int(count) if is_number(count) else 0,
    )


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value read from JSON is a finite number (booleans are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def headline_rates(data: RunData, when: str) -> tuple[Rate, Rate] | None:
    """Language consistency and task accuracy over all, before or after tuning.

    ``summary.json`` is asked first, whose intervals are clustered by item group; without it the rows are
    counted.
    """
    rows = data.before if when == "before" else data.after
    summary = data.summary_before if when == "before" else data.summary_after
    if not rows and not summary:
        return None
    counted = tally(own_rows(rows))
    row = over_all(summary) or {}
    n = row.get("n")
    language = rate_of(row.get("language_consistency"), counted.language.n or n)
    task = rate_of(row.get("task_accuracy"), counted.task.n or n)
    return language or counted.language, task or counted.task


@dataclass(frozen=True)
class Case:
    """One language under one scenario, over all benchmarks, before and (perhaps) after tuning."""

    language: str
    scenario: str
    before: Tally
    after: Tally | None


def cases(data: RunData) -> list[Case]:
    """Every language under every scenario, those with no answers of their own left out."""
    before = grouped(own_rows(data.before), ("scenario", "language"))
    after = grouped(own_rows(data.after), ("scenario", "language"))
    found = []
    for scenario in data.scenarios:
        for language in data.languages:
            rows = before.get((scenario, language))
            if rows:
                later = after.get((scenario, language))
                found.append(Case(language, scenario, tally(rows), tally(later) if later else None))
    return found
