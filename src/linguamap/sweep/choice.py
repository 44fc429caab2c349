"""The best of a sweep: repetitions under several seeds pooled, paired with each other by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from linguamap.records import Answer
from linguamap.scoring.compare import PromptMeans, difference_of_means, means_by_prompt

Row = dict[str, Any]
MEASURES = {"task_accuracy": "task_correct", "language_consistency": "language_correct"}
"""Rates that settings are chosen by -> the yes-or-no field of an answer."""

RULE = (
    "Among the settings whose paired change of task accuracy against the untuned model is not "
    "entirely below 0 (95 % interval), the highest language consistency, mean over seeds. Settings "
    "whose paired difference to it has an interval that reaches 0, or (where one of the two has "
    "several seeds) whose range over seeds overlaps its, cannot be told from it; of these the one "
    "with the fewest seconds of tuning is chosen, then the smallest trained share. Intervals: bootstrap over items, on means over seeds "
    "of each prompt (Newcombe's where that has no spread); not corrected for the number of settings."
)

CHANGES = {"language_consistency": "language_change", "task_accuracy": "task_change"}
MEANS = ("tuning_seconds", "answer_seconds", "total_seconds", "peak_memory_bytes",
         "right", "right_in_language")  # fmt: skip


@dataclass(frozen=True)
class Group:
    """One setting under all its seeds.

    Attributes:
        facts: what ``results.json`` says of it.
        judged: measure -> prompt id -> (mean over seeds, item group).
    """

    facts: Row
    judged: dict[str, PromptMeans] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        return bool(self.facts["n_seeds"])


def group_variants(
    rows: Sequence[Row],
    answers: Sequence[Sequence[Answer] | None],
    before: Sequence[Answer],
    seed: int,
) -> list[Group]:
    """Put variants together that differ in their seed only.

    Args:
        rows: one for each variant.
        answers: each variant's answers after tuning, without repeated prompts; None if it has none.
        before: the untuned model's.
        seed: of the bootstrap.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        key = (row["label"], row["epochs"], row["learning_rate"])
        found.setdefault(key, []).append(place)
    untuned = {measure: means_by_prompt([before], column) for measure, column in MEASURES.items()}
    groups = []
    for places in found.values():
        done = [place for place in places if answers[place] is not None]
        given = [one for one in (answers[place] for place in done) if one is not None]
        judged = {measure: means_by_prompt(given, column) for measure, column in MEASURES.items()}
        facts = _facts([rows[place] for place in places], [rows[place] for place in done])
        if len(given) > 1:
            for measure, name in CHANGES.items():
                facts[name] = difference_of_means(untuned[measure], judged[measure], seed)
        elif given:
            facts |= {name: rows[done[0]][name] for name in CHANGES.values()}
        groups.append(Group(facts, judged))
    return groups


def choose(groups: Sequence[Group], seed: int) -> Row | None:
    """The best setting by :data:`RULE`, and why; None if nothing was measured.

    Returns:
        ``best``, ``highest`` and ``excluded`` (labels), ``ties`` (settings that cannot be told from
        the highest, with their difference to it), ``best_trained`` (by the same rule among settings
        that train something; None without any) and ``reason``, sentences with what the best costs.
    """
    known = [group for group in groups if _mean(group, "language_consistency") is not None]
    if not known:
        return None
    kept = [group for group in known if not _loses_accuracy(group)]
    pool = kept or known
    highest = max(pool, key=lambda group: _mean(group, "language_consistency") or 0.0)
    others = [group for group in pool if group is not highest]
    compared = [(group, _against(highest, group, seed)) for group in others]
    tied = [(group, facts) for group, facts in compared if facts["indistinguishable"]]
    best = min(
        (highest, *(group for group, _ in tied)),
        key=lambda group: (
            group.facts["tuning_seconds"]["mean"],
            group.facts["trainable_share"] or 0.0,
        ),
    )
    trained = [group for group in known if group.facts["epochs"] is not None]
    best_trained: str | None = title(best.facts)
    if best not in trained:
        among = choose(trained, seed)
        best_trained = among["best"] if among else None
    return {
        "best": title(best.facts),
        "best_trained": best_trained,
        "highest": title(highest.facts),
        "ties": [facts for _, facts in tied],
        "clearly_below": [facts for _, facts in compared if not facts["indistinguishable"]],
        "excluded": [title(group.facts) for group in known if _loses_accuracy(group)],
        "reason": f"{_reason(best, highest, len(tied), bool(kept))} {_answering(best, trained)}",
    }


def title(facts: Row) -> str:
    """A setting by its label, and what else tells it apart."""
    if facts["epochs"] is None:
        return str(facts["label"])
    return f"{facts['label']} (epochs {facts['epochs']}, rate {facts['learning_rate']:g})"


def _facts(rows: Sequence[Row], done: Sequence[Row]) -> Row:
    """Means and ranges over the seeds that were measured."""
    same = ("label", "method", "layers", "epochs", "learning_rate")
    facts: Row = {name: (done or rows)[0][name] for name in same}
    facts |= {
        "seeds": [row["seed"] for row in done if row["seed"] is not None],
        "n_seeds": len(done),
        "reasons": [row["reason"] for row in rows if row["reason"]],
    }
    if not done:
        return facts
    for measure in MEASURES:
        facts[measure] = _spread([row[measure]["value"] for row in done])
        facts[measure] |= {key: done[0][measure][key] for key in ("low", "high", "n", "n_items")}
        if len(done) > 1:  # the interval of one seed says nothing of their mean
            facts[measure] |= {"low": None, "high": None}
    facts |= {name: _spread([row[name] for row in done]) for name in MEANS}
    for name in ("asked", "trainable_share", "trainable_parameters", "delta_bytes"):
        facts[name] = done[0][name]
    return facts


def _spread(values: Sequence[float | None]) -> Row:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "least": None, "most": None}
    return {"mean": sum(known) / len(known), "least": min(known), "most": max(known)}


def _against(highest: Group, other: Group, seed: int) -> Row:
    """A setting's consistency against the highest one's."""
    measure = "language_consistency"
    facts = difference_of_means(highest.judged[measure], other.judged[measure], seed)
    seeds = highest.facts["n_seeds"] > 1 or other.facts["n_seeds"] > 1
    overlap = seeds and other.facts[measure]["most"] >= highest.facts[measure]["least"]
    reaches = facts["high"] is None or facts["high"] >= 0
    return {
        "setting": title(other.facts),
        **facts,
        "seeds_overlap": overlap if seeds else None,
        "indistinguishable": bool(reaches or overlap),
    }


def _loses_accuracy(group: Group) -> bool:
    high = group.facts["task_change"]["high"]
    return high is not None and high < 0


def _mean(group: Group, measure: str) -> float | None:
    value = group.facts[measure]["mean"]
    return None if value is None else float(value)


def _reason(best: Group, highest: Group, n_tied: int, any_kept: bool) -> str:
    share = 100 * (_mean(highest, "language_consistency") or 0.0)
    said = f"{title(highest.facts)} has the highest language consistency, {share:.1f} %"
    if not any_kept:
        said += ", though every setting clearly loses task accuracy"
    if not n_tied:
        return said + "; every other setting is below it by an uncorrected interval."
    others = f"{n_tied} other setting{'s' if n_tied > 1 else ''}"
    said += f"; {others} cannot be told from it"
    seconds = best.facts["tuning_seconds"]["mean"]
    if best is highest:
        return said + f", and it takes the fewest seconds of tuning of these ({seconds:.0f})."
    own = 100 * (_mean(best, "language_consistency") or 0.0)
    return (
        said
        + f", of which {title(best.facts)} ({own:.1f} %) takes the fewest seconds of tuning ({seconds:.0f})."
    )


def _answering(best: Group, trained: Sequence[Group]) -> str:
    """What the best takes to answer: a price that seconds of tuning leave out."""
    seconds = best.facts["answer_seconds"]["mean"]
    said = f"Answering all prompts takes it {seconds:.0f} seconds"
    others = [group.facts["answer_seconds"]["mean"] for group in trained if group is not best]
    if not others:
        return f"{said}."
    return f"{said}, the trained settings {median(others):.0f} (median{' of the others' if best in trained else ''})."
