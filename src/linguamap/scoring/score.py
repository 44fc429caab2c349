"""Task x language -> outcome, for one answer and for all of them.

Task and language are judged apart, so that a model that cannot do the task (transfer bottleneck) is
told from one that will not speak the language (consistency bottleneck). "Cannot say" is a state of its
own: such an answer is ``unscored`` with its reason, leaves the denominator and is counted beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any

from linguamap.config import ScoreConfig
from linguamap.languages import normalise_digits
from linguamap.records import (
    OUTCOMES,
    SCENARIOS,
    Completion,
    Extraction,
    Identification,
    Outcome,
    Prompt,
    Rate,
)
from linguamap.scoring.extraction import answer_language, extract
from linguamap.scoring.extraction.answer_markers import is_empty
from linguamap.scoring.extraction.spans import exact_match, span_f1
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.lcb import check_response, english_words_at_hand, harmonic_mean
from linguamap.scoring.stats import clustered_rate, wilson

Row = Mapping[str, Any]
"""One line of answers.jsonl."""


def judge(
    completion: Completion,
    prompt: Prompt,
    identifier: Identifier,
    config: ScoreConfig,
    english_words: Collection[str] | None = None,
) -> dict[str, Any]:
    """One row of ``answers.jsonl``: what was answered, and whether task and language are right.

    An empty answer (no letter, no digit) is wrong in both: outcome ``neither``, reason ``empty``. A
    completion that failed is ``unscored`` with reason ``error``, and one whose reasoning the token
    limit cut, so that no answer came, with reason ``thinking_cut``. Else what cannot be extracted or
    identified is None and the outcome ``unscored``; ``reason`` is the task's if it has one, else the
    language's, and both stand beside it. Kind ``open`` has no task (``no_task``), its language
    counts. Thinking is judged apart and changes no outcome.

    Args:
        english_words: for the word pass rate; None takes the list of
            :func:`linguamap.scoring.lcb.english_words_at_hand`.
    """
    if english_words is None:
        at_hand = english_words_at_hand()
        english_words = at_hand.words if at_hand else None
    extraction, language = _read(completion, prompt, identifier, config)
    empty = extraction.reason == "empty" and completion.finish != "error"
    task_correct: bool | None = False if empty else None
    scores: dict[str, Any] = {"f1": None, "exact_match": None}
    if extraction.value is not None:
        task_correct, scores = _task(extraction.value, prompt, config.f1_threshold)
    language_correct: bool | None = False if empty else None
    if language.language is not None:
        language_correct = language.language == prompt.language
    outcome = _outcome(task_correct, language_correct)
    task_reason = None if extraction.value is not None else extraction.reason
    failed = outcome == "unscored" or empty
    return {
        **_asked(prompt),
        "answer": completion.answer,
        "thinking": completion.thinking,
        "extracted": extraction.value,
        "rule": extraction.rule,
        "option_language": extraction.option_language,
        "gold": list(_gold(prompt)),
        "task_correct": task_correct,
        **scores,
        "answer_language": language.language,
        "language_correct": language_correct,
        "outcome": outcome,
        "reason": (task_reason or language.reason) if failed else None,
        "task_reason": task_reason,
        "language_reason": language.reason,
        **_thinking(completion, prompt, identifier, config),
        **check_response(completion.answer, prompt.language, identifier, english_words),
        "finish": completion.finish,
        "n_tokens": completion.n_tokens,
        "error": completion.error,
    }


def _asked(prompt: Prompt) -> dict[str, Any]:
    return {
        "prompt_id": prompt.prompt_id,
        "item_id": prompt.item_id,
        "benchmark": prompt.benchmark,
        "kind": prompt.kind,
        "language": prompt.language,
        "scenario": prompt.scenario,
        "coincides_with": prompt.coincides_with,
        "prompt": prompt.text,
        "prompt_parts": [list(part) for part in prompt.named_parts],
    }


def _read(
    completion: Completion, prompt: Prompt, identifier: Identifier, config: ScoreConfig
) -> tuple[Extraction, Identification]:
    if completion.finish == "error":
        return Extraction(None, "error"), Identification(None, "error")
    thought = completion.thinking is not None and completion.finish == "length"
    if thought and is_empty(completion.answer):
        return Extraction(None, "thinking_cut"), Identification(None, "thinking_cut")
    return (
        extract(completion.answer, prompt),
        answer_language(completion.answer, prompt, identifier, config.min_letters),
    )


def _outcome(task_correct: bool | None, language_correct: bool | None) -> Outcome:
    if task_correct is None or language_correct is None:
        return "unscored"
    if task_correct:
        return "both" if language_correct else "consistency_bottleneck"
    return "transfer_bottleneck" if language_correct else "neither"


def _gold(prompt: Prompt) -> tuple[str, ...]:
    """The accepted answers; for a choice, the letters of every option that is right."""
    if prompt.kind == "choice":
        right = (option.letter for option in prompt.options if option.correct)
        return tuple(dict.fromkeys((*prompt.gold, *right)))
    if prompt.kind == "passage":
        right = (option.text for option in prompt.options if option.correct)
        return tuple(dict.fromkeys((*prompt.gold, *right)))
    return prompt.gold


def _task(value: str, prompt: Prompt, f1_threshold: float) -> tuple[bool, dict[str, Any]]:
    """Whether an extracted answer is right; F1 and exact match are the best over all golds.

    An offered right answer counts as gold too, normalised as its own language demands.
    """
    none: dict[str, Any] = {"f1": None, "exact_match": None}
    if prompt.kind == "sums":
        return any(_number(value) == _number(gold) for gold in prompt.gold), none
    if prompt.kind == "choice":
        return value in _gold(prompt), none
    golds = [(gold, prompt.language) for gold in prompt.gold]
    golds += [(option.text, option.language) for option in prompt.options if option.correct]
    f1 = max((span_f1(value, gold, language) for gold, language in golds), default=0.0)
    same = any(exact_match(value, gold, language) for gold, language in golds)
    return f1 >= f1_threshold, {"f1": f1, "exact_match": same}


def _number(text: str) -> Decimal:
    try:
        return Decimal(normalise_digits(text).replace(",", ""))
    except InvalidOperation:
        raise ValueError(f"'{text}' is no plain decimal number") from None


def _thinking(
    completion: Completion, prompt: Prompt, identifier: Identifier, config: ScoreConfig
) -> dict[str, Any]:
    if completion.thinking is None or is_empty(completion.thinking):
        return {"thinking_language": None, "thinking_language_correct": None}
    found = answer_language(completion.thinking, prompt, identifier, config.min_letters).language
    return {
        "thinking_language": found,
        "thinking_language_correct": None if found is None else found == prompt.language,
    }


def summarise(
    rows: Sequence[Row],
    model: str,
    *,
    benchmarks: Sequence[str] = (),
    languages: Sequence[str] = (),
    identifier: Mapping[str, Any] | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """``summary.json``: one row per cell, one per scenario, one over all.

    Cells come by benchmark, language and scenario, in the given orders, the rest alphabetical. Their
    intervals are Wilson's; in pooled rows they are clustered by item, and an answer whose prompt
    coincides with an earlier scenario's (English) is counted there only. Its own cell stays, with
    ``coincides_with``.

    Args:
        identifier: what was measured of the identifier; stands in the summary as it is.
    Returns:
        ``model``, ``identifier``, ``confidence``, ``cells``, ``overall``. In a row every rate is
        ``{"value", "low", "high", "n"}`` with its own denominator, and "no data" is None.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["benchmark"], row["language"], row["scenario"]), []).append(row)
    orders = (_order(benchmarks), _order(languages), _order(SCENARIOS))
    keys = sorted(groups, key=lambda key: [order(part) for order, part in zip(orders, key)])
    cells = [
        dict(zip(("benchmark", "language", "scenario"), key))
        | {"coincides_with": _coincides(groups[key])}
        | _figures(groups[key], confidence, clustered=False)
        for key in keys
    ]
    return {
        "model": model,
        "identifier": dict(identifier) if identifier is not None else None,
        "confidence": confidence,
        "cells": cells,
        "overall": _overall(rows, confidence),
    }


def _overall(rows: Sequence[Row], confidence: float) -> list[dict[str, Any]]:
    own = [row for row in rows if not row.get("coincides_with")]
    present = [scenario for scenario in SCENARIOS if any(r["scenario"] == scenario for r in rows)]
    pools: list[tuple[str | None, list[Row]]] = [
        (scenario, [row for row in own if row["scenario"] == scenario]) for scenario in present
    ]
    return [
        {"benchmark": None, "language": None, "scenario": scenario, "coincides_with": None}
        | _figures(pool, confidence, clustered=True)
        for scenario, pool in [*pools, (None, own)]
    ]


def _order(known: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    places = {name: place for place, name in enumerate(known)}
    return lambda name: (places.get(name, len(places)), name)


def _coincides(rows: Iterable[Row]) -> str | None:
    """The scenario that a cell repeats, if all of its answers do."""
    named = {row.get("coincides_with") for row in rows}
    return named.pop() if len(named) == 1 else None


def _figures(rows: Sequence[Row], confidence: float, *, clustered: bool) -> dict[str, Any]:
    """All figures of one group of answers."""

    def rate(field: str, among: Sequence[Row] = rows) -> Rate:
        judged = [row for row in among if row.get(field) is not None]
        values = [bool(row[field]) for row in judged]
        if clustered:
            items = [(row["benchmark"], row["item_id"]) for row in judged]
            return clustered_rate(values, items, confidence)
        return wilson(sum(values), len(values), confidence)

    outcomes = Counter(row["outcome"] for row in rows)
    lines = rate("line_pass").value
    passed = rate("word_pass", [row for row in rows if row.get("line_pass")]).value
    thinking = rate("thinking_language_correct")
    return {
        "n": len(rows),
        "n_scored": len(rows) - outcomes["unscored"],
        "n_coinciding": sum(bool(row.get("coincides_with")) for row in rows),
        "n_cut": sum(row.get("finish") == "length" for row in rows),
        "task_accuracy": asdict(rate("task_correct")),
        "language_consistency": asdict(rate("language_correct")),
        "f1": _mean(row.get("f1") for row in rows),
        "exact_match": _mean(row.get("exact_match") for row in rows),
        "line_pass_rate": lines,
        "word_pass_rate": passed,
        "lcpr": harmonic_mean(lines, passed),
        "outcomes": {outcome: outcomes[outcome] for outcome in OUTCOMES},
        "reasons": _counts(row["reason"] for row in rows if row["outcome"] == "unscored"),
        "answer_languages": _counts(row["answer_language"] or "unidentified" for row in rows),
        "thinking_consistency": asdict(thinking) if thinking.n else None,
        "language_preference": _preference(rows),
    }


def _mean(values: Iterable[float | bool | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _counts(values: Iterable[str]) -> dict[str, int]:
    counts = Counter(values)
    return {value: counts[value] for value in sorted(counts, key=lambda v: (-counts[v], v))}


def _preference(rows: Sequence[Row]) -> dict[str, Any] | None:
    """In the bilingual scenario: the languages of the offered answers that were picked.

    Returns:
        ``n`` (answers that plainly pick an option in one language), ``target_share`` and ``shares``
        by language; None where nothing was picked.
    """
    picked = [
        row
        for row in rows
        if row["scenario"] == "bilingual_answer" and row.get("option_language") is not None
    ]
    if not picked:
        return None
    counts = _counts(row["option_language"] for row in picked)
    own = sum(row["option_language"] == row["language"] for row in picked)
    return {
        "n": len(picked),
        "target_share": own / len(picked),
        "shares": {language: count / len(picked) for language, count in counts.items()},
    }
