"""All rates of a run's answers, each with its n and its interval: the only place that makes them.

What can be one rate is made once: per cell, over all, per scenario, language, benchmark, and
language under a scenario. Pages, terminal, sweep and comparisons read these rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log2
from typing import Literal

from linguamap.records import (
    OUTCOMES,
    SCENARIOS,
    Answer,
    BenchmarkUse,
    IdentifierAccuracy,
    LanguagePreference,
    LetterUse,
    Phase,
    Rate,
    Scenario,
    ScoreRow,
    Summary,
)
from linguamap.scoring.stats import (
    NO_DATA,
    clustered_rate,
    harmonic_mean,
    paired_bootstrap,
    wilson,
)

Column = Literal["benchmark", "language", "scenario"]

MEASURES = {
    "task_accuracy": "task_correct",
    "language_consistency": "language_correct",
    "right_in_both": "right_in_both",
}
"""Rate -> the yes-or-no field of an answer that it is the mean of."""

ENGLISH = "en"

TWO_LANGUAGES = ("english_distractor", "bilingual_answer")
"""Scenarios that offer answers in the target language and in English."""


def summarise(
    answers: Sequence[Answer],
    model: str,
    *,
    benchmarks: Sequence[BenchmarkUse] = (),
    languages: Sequence[str] = (),
    identifier: IdentifierAccuracy | None = None,
    english_words: Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> Summary:
    """All rates: one row per cell, and pools.

    Rows come by benchmark, language and scenario, in the given orders, the rest alphabetical.
    Intervals are Wilson's where every answer is of another item group, as in most cells; else they
    are clustered by group. In pools an answer whose prompt coincides with an earlier scenario's is
    counted there only. Its own cell stays.

    Args:
        identifier, english_words: what the rates rest on; they stand in the summary as they are.
    """
    rank = {
        "benchmark": _order([one.name for one in benchmarks]),
        "language": _order(languages),
        "scenario": _order(SCENARIOS),
    }
    own = own_answers(answers)

    def rows(among: Sequence[Answer], *columns: Column) -> tuple[ScoreRow, ...]:
        groups: dict[tuple[str, ...], list[Answer]] = {}
        for answer in among:
            groups.setdefault(tuple(getattr(answer, c) for c in columns), []).append(answer)
        keys = sorted(groups, key=lambda key: [rank[c](part) for c, part in zip(columns, key)])
        return tuple(score_row(groups[key], confidence, dict(zip(columns, key))) for key in keys)

    present = [one for one in SCENARIOS if any(answer.scenario == one for answer in answers)]
    overall = {row.scenario: row for row in rows(own, "scenario")}
    return Summary(
        model=model,
        identifier=identifier,
        confidence=confidence,
        cells=rows(answers, "benchmark", "language", "scenario"),
        overall=(
            *(overall.get(one) or score_row([], confidence, {"scenario": one}) for one in present),
            score_row(own, confidence, {}),
        ),
        by_language=rows(own, "language"),
        by_benchmark=rows(own, "benchmark"),
        by_language_and_scenario=rows(own, "scenario", "language"),
        benchmarks=tuple(benchmarks),
        english_words=dict(english_words) if english_words else None,
    )


def own_answers(answers: Iterable[Answer]) -> list[Answer]:
    """Each answer once: without those that stand in a second scenario's cell, too."""
    return [answer for answer in answers if answer.coincides_with is None]


def score_row(
    answers: Sequence[Answer], confidence: float, named: Mapping[Column, str]
) -> ScoreRow:
    """All rates of one set of answers.

    Args:
        named: what the set is of; all three columns name a cell, fewer a pool.
    """
    is_cell = len(named) == 3

    def rate(value_of: Callable[[Answer], bool | None], among: Sequence[Answer] = answers) -> Rate:
        known = [(value_of(one), one.cluster) for one in among]
        judged = [(bool(value), cluster) for value, cluster in known if value is not None]
        values, clusters = [value for value, _ in judged], [cluster for _, cluster in judged]
        if is_cell and len(set(clusters)) == len(clusters):
            return wilson(sum(values), len(values), confidence)
        return clustered_rate(values, clusters, confidence)

    outcomes = Counter(answer.outcome for answer in answers)
    strayed = [one for one in answers if one.language_correct is False and one.answer_language]
    empty = [one for one in answers if one.reason == "empty"]
    picked = [one for one in answers if one.option_language and one.scenario in TWO_LANGUAGES]
    thinking = rate(lambda one: one.thinking_language_correct)
    intervals = {
        "f1": _mean(answers, confidence),
        "exact_match": rate(lambda one: one.exact_match),
        "line_pass_rate": rate(lambda one: one.line_pass),
        "word_pass_rate": rate(
            lambda one: one.word_pass, [one for one in answers if one.line_pass]
        ),
    }
    plain = {name: found.value for name, found in intervals.items()}
    scenario: Scenario | None = answers[0].scenario if answers and "scenario" in named else None
    return ScoreRow(
        benchmark=named.get("benchmark"),
        language=named.get("language"),
        scenario=scenario or named.get("scenario"),  # type: ignore[arg-type]
        coincides_with=_coincides(answers) if is_cell else None,
        n=len(answers),
        n_scored=len(answers) - outcomes["unscored"],
        n_coinciding=sum(one.coincides_with is not None for one in answers),
        n_cut=sum(one.finish == "length" for one in answers),
        n_empty=len(empty),
        n_with_reasoning=sum(bool(one.thinking) for one in empty),
        n_replaced=sum("\ufffd" in one.answer for one in answers),
        n_mixed=sum(one.language_reason == "mixed" for one in answers),
        n_repeating=sum(one.repeats for one in answers),
        n_items=_n_items(answers),
        task_accuracy=rate(lambda one: one.task_correct),
        language_consistency=rate(lambda one: one.language_correct),
        reasoning_consistency=rate(lambda one: one.reasoning_language_correct),
        consistent_with_option=rate(_consistent_with_option),
        picked_in_target=rate(lambda one: one.option_language == one.language, picked),
        right_in_both=rate(lambda one: one.right_in_both),
        wrong_in_english=rate(lambda one: one.answer_language == ENGLISH, strayed),
        **plain,
        lcpr=harmonic_mean(plain["line_pass_rate"], plain["word_pass_rate"]),
        intervals=intervals,
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        reasons=_counts(one.reason or "" for one in answers if one.outcome == "unscored"),
        answer_languages=_counts(one.answer_language or "unidentified" for one in answers),
        thinking_consistency=thinking if thinking.n else None,
        language_preference=_preference(answers, rate),
        letters=letter_use(answers),
        bounds=_bounds(answers),
    )


def _bounds(answers: Sequence[Answer]) -> dict[str, tuple[float, float]]:
    """Shares with those answers that were not judged as wrong, and as right.

    Prompts that have no task (kind ``open``) have no bounds of task accuracy and of right in both.
    """
    with_task = [one for one in answers if one.kind != "open"]
    judged: dict[str, list[tuple[bool | None, ...]]] = {
        "task_accuracy": [(one.task_correct,) for one in with_task],
        "language_consistency": [(one.language_correct,) for one in answers],
        "right_in_both": [(one.task_correct, one.language_correct) for one in with_task],
    }
    return {
        name: (
            sum(all(part is True for part in parts) for parts in rows) / len(rows),
            sum(all(part is not False for part in parts) for parts in rows) / len(rows),
        )
        for name, rows in judged.items()
        if rows
    }


def _consistent_with_option(answer: Answer) -> bool | None:
    if answer.language_correct and answer.scenario in TWO_LANGUAGES:
        return answer.option_language in (None, answer.language)
    return answer.language_correct


def letter_use(answers: Sequence[Answer]) -> LetterUse | None:
    """Which letters were given to multiple choice, and what they alone would earn.

    The expected share is the mean over the answers of the shares of the letters that are right there:
    what a model earns that gives these letters as often, without reading the question.
    """
    given = [one for one in answers if one.kind == "choice" and one.extracted is not None]
    if not given:
        return None
    counts = Counter(one.extracted or "" for one in given)
    share = {letter: count / len(given) for letter, count in counts.items()}
    offered = [one for one in given if one.n_options]
    guesses = [len(set(one.gold)) / one.n_options for one in offered]
    return LetterUse(
        n=len(given),
        counts={letter: counts[letter] for letter in sorted(counts)},
        entropy=-sum(part * log2(part) for part in share.values()) + 0.0,
        expected=sum(share.get(one, 0.0) for a in given for one in set(a.gold)) / len(given),
        guess=sum(guesses) / len(guesses) if guesses else None,
    )


def _order(known: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    places = {name: place for place, name in enumerate(known)}
    return lambda name: (places.get(name, len(places)), name)


def _coincides(answers: Iterable[Answer]) -> Scenario | None:
    """The scenario that a cell repeats, if all of its answers do."""
    named = {answer.coincides_with for answer in answers}
    return named.pop() if len(named) == 1 else None


def _n_items(answers: Sequence[Answer]) -> dict[str, int]:
    """Different questions behind all answers, and behind each rate."""
    judged = {
        measure: len({one.item for one in answers if getattr(one, column) is not None})
        for measure, column in MEASURES.items()
    }
    return {"all": len({one.item for one in answers}), **judged}


def _mean(answers: Sequence[Answer], confidence: float) -> Rate:
    """Mean F1 with its bootstrap interval over item groups."""
    known = [(one.f1, one.cluster) for one in answers if one.f1 is not None]
    if not known:
        return NO_DATA
    values = [value for value, _ in known]
    found = paired_bootstrap(
        [0.0] * len(values), values, [cluster for _, cluster in known], confidence=confidence
    )
    return Rate(sum(values) / len(values), found.low, found.high, len(values))


def _counts(values: Iterable[str]) -> dict[str, int]:
    counts = Counter(values)
    return {value: counts[value] for value in sorted(counts, key=lambda v: (-counts[v], v))}


def _preference(answers: Sequence[Answer], rate: Callable[..., Rate]) -> LanguagePreference | None:
    """Which language's option was picked; None where nothing plainly was."""
    picked = [
        one
        for one in answers
        if one.scenario == "bilingual_answer" and one.option_language is not None
    ]
    if not picked:
        return None
    own = rate(lambda one: one.option_language == one.language, picked)
    counts = _counts(one.option_language or "" for one in picked)
    return LanguagePreference(
        n=len(picked),
        target_share=own.value or 0.0,
        low=own.low,
        high=own.high,
        shares={language: count / len(picked) for language, count in counts.items()},
    )


def lcb_rows(summary: Summary, phase: Phase) -> list[dict[str, object]]:
    """The cells in the Language Confusion Benchmark's columns.

    ``task`` is the benchmark, ``source`` the scenario; the run's own rates stand beside them.
    """
    return [
        {
            "model": summary.model,
            "task": cell.benchmark,
            "source": cell.scenario,
            "language": cell.language,
            "n": cell.n,
            "lpr": cell.line_pass_rate,
            "wpr": cell.word_pass_rate,
            "lcpr": cell.lcpr,
            "phase": phase,
            "language_consistency": vars(cell.language_consistency),
            "task_accuracy": vars(cell.task_accuracy),
        }
        for cell in summary.cells
    ]
