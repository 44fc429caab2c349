"""Whole runs against each other: the same prompts, answered by several models or settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from linguamap.records import UserError
from linguamap.run.files import read_rows
from linguamap.run.folder import open_run
from linguamap.scoring.compare import MEASURES, compare_answers
from linguamap.scoring.stats import holm

Where = Literal["before", "after"]

Row = dict[str, Any]


def compare_runs(folders: Sequence[Path], where: Where = "before") -> Row:
    """Compare each run with the first one, prompt by prompt.

    Args:
        folders: two run folders or more.
        where: the answers before or after tuning.
    Returns:
        ``reference`` (the first run), ``where`` and ``comparisons``: one entry for each other run, as
        :func:`linguamap.scoring.compare.compare_answers` gives it (``before`` is the first run, ``after`` the
        other one), with ``run`` and ``n_other_text``, the common prompts whose texts differ. ``holm_p``
        is corrected over the cells of all comparisons.
    Raises:
        UserError: fewer than two runs, a folder that is none or has no such answers, no common prompt.
    """
    if len(folders) < 2:
        raise UserError("compare: give two run folders or more")
    seed = open_run(folders[0], None).config.seed
    first, *others = [_answers(folder, where) for folder in folders]
    comparisons = []
    for folder, rows in zip(folders[1:], others, strict=True):
        try:
            compared = compare_answers(first, rows, seed=seed)
        except UserError:
            raise UserError(
                f"compare: {folders[0]} and {folder} share no prompt; "
                "compare runs on the same benchmarks and languages"
            ) from None
        comparisons.append(
            {"run": str(folder), "n_other_text": _differing(first, rows), **compared}
        )
    _correct([cell for one in comparisons for cell in one["cells"]])
    return {"reference": str(folders[0]), "where": where, "comparisons": comparisons}


def latest_answers(folders: Sequence[Path]) -> Where:
    """``after`` if every run was evaluated after tuning, else ``before``."""
    done = all((folder / "after" / "summary.json").exists() for folder in folders)
    return "after" if done and folders else "before"


def _answers(folder: Path, where: Where) -> list[Row]:
    """All answers of a finished evaluation."""
    open_run(folder, None)
    rows = read_rows(folder / where / "answers.jsonl")
    if not rows or not (folder / where / "summary.json").exists():
        stage = "evaluate" if where == "before" else "after"
        raise UserError(
            f"compare: {folder} has no finished answers {where} tuning; "
            f"run: linguamap {stage} --out {folder}"
        )
    return rows


def _differing(first: Sequence[Row], second: Sequence[Row]) -> int:
    texts = {row["prompt_id"]: row["prompt"] for row in second}
    return sum(texts.get(row["prompt_id"], row["prompt"]) != row["prompt"] for row in first)


def _correct(cells: Sequence[Row]) -> None:
    """Holm over all cells, in place: with several runs there are more chances to differ."""
    for measure in MEASURES:
        corrected = holm([cell[measure]["mcnemar_p"] for cell in cells])
        for cell, p_value in zip(cells, corrected, strict=True):
            cell[measure]["holm_p"] = p_value
