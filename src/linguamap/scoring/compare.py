"""Two sets of answers to the same prompts: what changed, with paired intervals and tests.

A pair counts only where both answers could be judged; how many could not is said beside it.
Rows that repeat another scenario's prompt (English) are left out of everything pooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from linguamap.records import SCENARIOS, UserError
from linguamap.scoring.stats import holm, paired_difference, paired_test

Row = dict[str, Any]
Pair = tuple[Row, Row]

MEASURES = {"task_accuracy": "task_correct", "language_consistency": "language_correct"}


def compare_answers(first: Sequence[Row], second: Sequence[Row], *, seed: int = 0) -> Row:
    """Compare two runs' answer rows, prompt by prompt.

    Args:
        first, second: rows of ``answers.jsonl``; prompts that only one of them has are left out.
        seed: of the bootstrap.
    Returns:
        ``cells`` (benchmark x language x scenario, p values Holm-corrected over cells),
        ``scenarios``, ``benchmarks``, ``languages`` and ``overall``; each measure as before, after,
        difference with its 95 % interval (clustered by item), p, n and left_out. ``mcnemar_p`` is
        McNemar's exact p where each item has one prompt, as in cells; where several prompts of an
        item are pooled it is that of the sign-flip test over items. ``test`` says which,
        ``interval`` how ``low`` and ``high`` were found.
    Raises:
        UserError: the two share no prompt.
    """
    by_id = {row["prompt_id"]: row for row in second}
    pairs = [(row, by_id[row["prompt_id"]]) for row in first if row["prompt_id"] in by_id]
    if not pairs:
        raise UserError("compare: the two runs share no prompt; compare runs on the same items")
    own = [pair for pair in pairs if pair[0].get("coincides_with") is None]
    cells = [
        {"benchmark": key[0], "language": key[1], "scenario": key[2], **_measures(group, seed)}
        for key, group in _grouped(pairs, ("benchmark", "language", "scenario"))
    ]
    for measure in MEASURES:
        corrected = holm([cell[measure]["mcnemar_p"] for cell in cells])
        for cell, p_value in zip(cells, corrected, strict=True):
            cell[measure]["holm_p"] = p_value
    return {
        "n_prompts": len(pairs),
        "only_first": len(first) - len(pairs),
        "only_second": len(second) - len(pairs),
        "overall": _measures(own, seed),
        "scenarios": {
            key[0]: _measures(group, seed)
            for key, group in sorted(
                _grouped(own, ("scenario",)), key=lambda entry: SCENARIOS.index(entry[0][0])
            )
        },
        "benchmarks": {
            key[0]: _measures(group, seed) for key, group in _grouped(own, ("benchmark",))
        },
        "languages": {
            key[0]: _measures(group, seed) for key, group in _grouped(own, ("language",))
        },
        "cells": cells,
    }


def _grouped(
    pairs: Iterable[Pair], names: tuple[str, ...]
) -> list[tuple[tuple[str, ...], list[Pair]]]:
    """Pairs by the values of some columns, in order of first appearance."""
    found: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        found.setdefault(tuple(pair[0][name] for name in names), []).append(pair)
    return list(found.items())


def _measures(pairs: Sequence[Pair], seed: int) -> Row:
    return {measure: _change(pairs, column, seed) for measure, column in MEASURES.items()}


def _change(pairs: Sequence[Pair], column: str, seed: int) -> Row:
    """One yes-or-no column before and after."""
    judged = [
        (one[column], other[column], f"{one['benchmark']}/{one['item_id']}")
        for one, other in pairs
        if one[column] is not None and other[column] is not None
    ]
    before = [bool(value) for value, _, _ in judged]
    after = [bool(value) for _, value, _ in judged]
    clusters = [cluster for _, _, cluster in judged]
    test = paired_test(before, after, clusters)
    change = paired_difference(before, after, clusters, seed=seed)
    n = len(judged)
    return {
        "before": sum(before) / n if n else None,
        "after": sum(after) / n if n else None,
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "interval": change.interval,
        "mcnemar_p": test.p_value,
        "test": test.test,
        "gained": test.second_only,
        "lost": test.first_only,
        "n": n,
        "left_out": len(pairs) - n,
    }
