"""What to hold against a consistent or a right answer: loops, letters picked blindly, foreign options.

Every figure stands in the summaries; here it becomes a sentence.
"""

from __future__ import annotations

from typing import Any

from linguamap.charts.naming import percent
from linguamap.report.rates import is_number, rate_of
from linguamap.report.run_values import RunData, list_at, object_at
from linguamap.report.sentences import Sentence, figure

PHASES = (("before tuning", "summary_before"), ("after it", "summary_after"))


def reservations(data: RunData) -> list[Sentence]:
    """At most three sentences; none where there is nothing to hold against the rates."""
    pools = [
        (phase, pool)
        for phase, name in PHASES
        if (pool := _overall(getattr(data, name))) is not None
    ]
    found = (_loops(pools), _letters(pools), _options(pools))
    return [sentence for sentence in found if sentence]


def _overall(summary: Any) -> dict[str, Any] | None:
    """The row over all answers."""
    rows = [row for row in list_at(summary, "overall") if isinstance(row, dict)]
    return next((row for row in rows if row.get("scenario") is None), None)


def _loops(pools: list[tuple[str, dict[str, Any]]]) -> Sentence:
    counts = [(phase, row.get("n_repeating"), row.get("n")) for phase, row in pools]
    if not any(is_number(n) and n for _, n, _ in counts):
        return []
    said = " and ".join(f"{n} of {of} {phase}" for phase, n, of in counts if is_number(n))
    return [
        f"Answers that say the same thing three times over: {said}. They count as consistent where "
        "their words are in the language asked for."
    ]


def _letters(pools: list[tuple[str, dict[str, Any]]]) -> Sentence:
    parts: Sentence = []
    for phase, row in pools:
        letters = object_at(row, "letters")
        counts = object_at(letters, "counts")
        if not counts or not is_number(letters.get("expected")):
            continue
        letter, most = max(counts.items(), key=lambda item: (item[1], item[0]))
        share = most / sum(counts.values())
        parts.append(
            f"Multiple choice {phase}: {percent(share)} of the letters are {letter}; these letters alone, "
            f"whatever the question, would be right in {percent(letters['expected'])}. "
        )
    return parts


def _options(pools: list[tuple[str, dict[str, Any]]]) -> Sentence:
    parts: Sentence = []
    for phase, row in pools:
        picked, strict = (
            rate_of(row.get("picked_in_target")),
            rate_of(row.get("consistent_with_option")),
        )
        if picked is None or strict is None or not picked.n:
            continue
        parts += [
            f"Where answers in two languages are offered, those plainly picked {phase} are in the language "
            "asked for in ",
            figure(picked),
            "; were picking another one counted as inconsistent, consistency would be ",
            figure(strict),
            ". ",
        ]
    return parts
