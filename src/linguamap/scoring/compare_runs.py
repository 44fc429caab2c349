"""Whole runs against each other: the same prompts, answered by several models or settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linguamap.records import Answer, Comparison, Phase, UserError
from linguamap.run.contents import read_evaluation
from linguamap.run.folder import open_run
from linguamap.scoring.compare import compare_answers, with_holm


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
                run=str(folder), n_other_text=_differing(first, answers), **vars(compared)
            )
        )
    return RunsCompared(str(folders[0]), phase, tuple(_corrected(comparisons)))


def latest_answers(folders: Sequence[Path]) -> Phase:
    """``after`` if every run was evaluated after tuning, else ``before``."""
    done = all((folder / "after" / "summary.json").exists() for folder in folders)
    return "after" if done and folders else "before"


def _answers(folder: Path, phase: Phase) -> list[Answer]:
    """All answers of a finished evaluation."""
    open_run(folder, None)
    return read_evaluation(folder, phase).answers


def _differing(first: Sequence[Answer], second: Sequence[Answer]) -> int:
    texts = {answer.prompt_id: answer.prompt for answer in second}
    return sum(texts.get(answer.prompt_id, answer.prompt) != answer.prompt for answer in first)


def _corrected(comparisons: Sequence[RunComparison]) -> list[RunComparison]:
    """Holm over the cells of all: with several runs there are more chances to differ."""
    cells = iter(with_holm([cell for one in comparisons for cell in one.cells]))
    return [
        dataclasses.replace(one, cells=tuple(next(cells) for _ in one.cells)) for one in comparisons
    ]
