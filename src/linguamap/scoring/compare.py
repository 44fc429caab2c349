"""Two sets of answers to the same prompts: what changed, with paired intervals and tests.

A pair counts only where both answers could be judged; how many could not is said beside it.
Rows that repeat another scenario's prompt (English) are left out of everything pooled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from linguamap.records import (
    SCENARIOS,
    Answer,
    Change,
    Changes,
    Comparison,
    NonInferiority,
    Phase,
    UserError,
)
from linguamap.run.files import read_evaluation
from linguamap.run.folder import open_run
from linguamap.scoring.stats import holm, least_p_value, paired_difference, paired_test
from linguamap.scoring.summary import MEASURES, Column, own_answers

Pair = tuple[Answer, Answer]
Cluster = tuple[str, str]
PromptMeans = dict[str, tuple[float, Cluster]]
"""Prompt id -> mean over runs, and the item group that it is resampled with."""

SIGNIFICANT = 0.05
"""A corrected p that cannot come under this, whatever happens, is not given."""


def compare_answers(
    first: Sequence[Answer],
    second: Sequence[Answer],
    *,
    seed: int = 0,
    margin: float | None = None,
) -> Comparison:
    """Compare two runs' answers, prompt by prompt.

    Each measure stands as before, after, difference with its 95 % interval (clustered by item group),
    p, n and left_out. ``p_value`` is McNemar's exact p where each group has one prompt, as in most
    cells; where several prompts of a group are pooled it is that of the sign-flip test over groups.
    In cells it stands Holm-corrected over all of them beside it.

    Args:
        first, second: answers; prompts that only one of them has are left out.
        seed: of the bootstrap.
        margin: the largest loss of accuracy that counts as none, stated before the second answers were
            there; None asks nothing of it.
    Raises:
        UserError: the two share no prompt.
    """
    by_id = {answer.prompt_id: answer for answer in second}
    pairs = [(one, by_id[one.prompt_id]) for one in first if one.prompt_id in by_id]
    if not pairs:
        raise UserError("compare: the two runs share no prompt; compare runs on the same items")
    own_ids = {answer.prompt_id for answer in own_answers(first)}
    own = [pair for pair in pairs if pair[0].prompt_id in own_ids]
    cells = [
        dataclasses.replace(
            _changes(group, seed),
            benchmark=group[0][0].benchmark,
            language=group[0][0].language,
            scenario=group[0][0].scenario,
        )
        for group in _grouped(pairs, ("benchmark", "language", "scenario")).values()
    ]

    def pools(column: Column) -> dict[str, Changes]:
        return {key[0]: _changes(group, seed) for key, group in _grouped(own, (column,)).items()}

    scenarios, overall = pools("scenario"), _changes(own, seed)
    return Comparison(
        n_prompts=len(pairs),
        only_first=len(first) - len(pairs),
        only_second=len(second) - len(pairs),
        overall=overall,
        scenarios={name: scenarios[name] for name in SCENARIOS if name in scenarios},
        benchmarks=pools("benchmark"),
        languages=pools("language"),
        cells=tuple(with_holm(cells)),
        non_inferiority=None if margin is None else non_inferior(overall.task_accuracy, margin),
    )


def means_by_prompt(runs: Sequence[Sequence[Answer]], column: str) -> PromptMeans:
    """Each prompt's mean of a yes-or-no field over the runs in which its answer could be judged."""
    found: dict[str, list[bool]] = {}
    clusters: dict[str, Cluster] = {}
    for answers in runs:
        for answer in answers:
            value: bool | None = getattr(answer, column)
            if value is not None:
                found.setdefault(answer.prompt_id, []).append(value)
                clusters[answer.prompt_id] = answer.cluster
    return {name: (sum(values) / len(values), clusters[name]) for name, values in found.items()}


def difference_of_means(first: PromptMeans, second: PromptMeans, seed: int) -> dict[str, Any]:
    """Second minus first over the prompts that both have; a p value where each is of one run."""
    common = [name for name in first if name in second]
    one = [first[name][0] for name in common]
    other = [second[name][0] for name in common]
    clusters = [first[name][1] for name in common]
    change = paired_difference(one, other, clusters, seed=seed)
    single = all(value in (0.0, 1.0) for value in (*one, *other))
    test = paired_test([value == 1 for value in one], [value == 1 for value in other], clusters)
    return {
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "interval": change.interval,
        "p_value": test.p_value if single else None,
        "test": test.test if single else None,
        "n": len(common),
    }


def non_inferior(change: Change, margin: float) -> NonInferiority:
    """Whether accuracy fell by less than a margin: the 95 % interval of the change against minus it."""
    if change.low is None or change.high is None or change.difference is None:
        return NonInferiority(margin, "open", "the change of accuracy has no interval")
    low, high = 100 * change.low, 100 * change.high
    verdict: Literal["held", "lost", "open"]
    verdict = "held" if change.low > -margin else "lost" if change.high < -margin else "open"
    meaning = {
        "held": "within the margin",
        "lost": "beyond the margin",
        "open": "too wide to tell, neither within the margin nor beyond it",
    }[verdict]
    return NonInferiority(
        margin,
        verdict,
        f"accuracy {100 * change.difference:+.1f} points ({low:+.1f} to {high:+.1f}), margin "
        f"{-100 * margin:+.1f}: {meaning}",
    )


def with_holm(cells: Sequence[Changes]) -> list[Changes]:
    """The cells with p values corrected over all of them.

    Holm's p rises with each of the raw ones, so that the correction of the least p that each test
    could give bounds what a cell could reach.
    """
    corrected = list(cells)
    for measure in MEASURES:
        changes: list[Change] = [getattr(cell, measure) for cell in cells]
        p_values = holm([change.p_value for change in changes])
        least = holm([least_p_value(change.n_clusters) for change in changes])
        known = zip(corrected, map(_corrected, changes, p_values, least), strict=True)
        corrected = [_with(cell, measure, change) for cell, change in known]
    return corrected


def _with(cell: Changes, measure: str, change: Change) -> Changes:
    changed: dict[str, Any] = {measure: change}
    return dataclasses.replace(cell, **changed)


def _corrected(change: Change, holm_p: float | None, least: float | None) -> Change:
    """The change of a cell with its corrected p, or with the reason why that could say nothing."""
    if least is None or least <= SIGNIFICANT:
        return dataclasses.replace(change, holm_p=holm_p)
    n = change.n_clusters
    reason = f"cannot reach .05 with {n} item{'s' * (n != 1)}"
    return dataclasses.replace(change, holm_p=None, reason=reason)


def _grouped(
    pairs: Iterable[Pair], columns: tuple[Column, ...]
) -> dict[tuple[str, ...], list[Pair]]:
    """Pairs by the values of some columns, in order of first appearance."""
    found: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        found.setdefault(tuple(getattr(pair[0], name) for name in columns), []).append(pair)
    return found


def _changes(pairs: Sequence[Pair], seed: int) -> Changes:
    found = {name: _change(pairs, column, seed) for name, column in MEASURES.items()}
    return Changes(
        task_accuracy=found["task_accuracy"],
        language_consistency=found["language_consistency"],
        right_in_both=found["right_in_both"],
    )


def _change(pairs: Sequence[Pair], column: str, seed: int) -> Change:
    """One yes-or-no field before and after."""
    values = [(getattr(one, column), getattr(other, column), one.cluster) for one, other in pairs]
    judged = [one for one in values if one[0] is not None and one[1] is not None]
    before = [bool(value) for value, _, _ in judged]
    after = [bool(value) for _, value, _ in judged]
    clusters = [cluster for _, _, cluster in judged]
    test = paired_test(before, after, clusters)
    change = paired_difference(before, after, clusters, seed=seed)
    n = len(judged)
    return Change(
        before=sum(before) / n if n else None,
        after=sum(after) / n if n else None,
        difference=change.value,
        low=change.low,
        high=change.high,
        interval=change.interval,
        p_value=test.p_value,
        test=test.test,
        gained=test.second_only,
        lost=test.first_only,
        n=n,
        n_clusters=len(set(clusters)),
        left_out=len(pairs) - n,
    )


@dataclass(frozen=True, kw_only=True)
class RunComparison(Comparison):
    """One run against the reference, whose answers are ``before``.

    Attributes:
        n_other_text: the common prompts whose texts differ.
    """

    run: str
    n_other_text: int


@dataclass(frozen=True)
class RunsCompared:
    """Runs against the first one; p values are corrected over the cells of all comparisons."""

    reference: str
    phase: Phase
    comparisons: tuple[RunComparison, ...]


def compare_runs(folders: Sequence[Path], phase: Phase = "before") -> RunsCompared:
    """Compare each run with the first one, prompt by prompt.

    Args:
        folders: two run folders or more.
        phase: the answers before or after tuning.
    Raises:
        UserError: fewer than two runs, a folder that is none or has no such answers, no common prompt.
    """
    if len(folders) < 2:
        raise UserError("compare: give two run folders or more")
    seed = open_run(folders[0], None).config.seed
    first, *others = [_answers(folder, phase) for folder in folders]
    comparisons = []
    for folder, answers in zip(folders[1:], others, strict=True):
        try:
            compared = compare_answers(first, answers, seed=seed)
        except UserError:
            raise UserError(
                f"compare: {folders[0]} and {folder} share no prompt; "
                "compare runs on the same benchmarks and languages"
            ) from None
        comparisons.append(
            RunComparison(
                run=str(folder), n_other_text=_n_other_text(first, answers), **vars(compared)
            )
        )
    return RunsCompared(str(folders[0]), phase, tuple(_corrected_together(comparisons)))


def latest_answers(folders: Sequence[Path]) -> Phase:
    """``after`` if every run was evaluated after tuning, else ``before``."""
    done = all((folder / "after" / "summary.json").exists() for folder in folders)
    return "after" if done and folders else "before"


def _answers(folder: Path, phase: Phase) -> list[Answer]:
    """All answers of a finished evaluation."""
    open_run(folder, None)
    return read_evaluation(folder, phase).answers


def _n_other_text(first: Sequence[Answer], second: Sequence[Answer]) -> int:
    texts = {answer.prompt_id: answer.prompt for answer in second}
    return sum(texts.get(answer.prompt_id, answer.prompt) != answer.prompt for answer in first)


def _corrected_together(comparisons: Sequence[RunComparison]) -> list[RunComparison]:
    """Holm over the cells of all: with several runs there are more chances to differ."""
    cells = iter(with_holm([cell for one in comparisons for cell in one.cells]))
    return [
        dataclasses.replace(one, cells=tuple(next(cells) for _ in one.cells)) for one in comparisons
    ]
