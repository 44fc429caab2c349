"""Stored answers of a run folder: reading them back, and judging them again without the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linguamap.config import RunConfig, ScoreConfig, difference, load_config
from linguamap.records import Completion, Prompt, UserError
from linguamap.run.files import read_json, read_rows
from linguamap.run.folder import Run
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.lcb import english_words_at_hand
from linguamap.scoring.score import judge

Row = dict[str, Any]

CHANGED = "put the files back that the run was made from, or evaluate again with --fresh"


def answers_name(rank: int) -> str:
    """The file that a process appends its answers to; the first one's is the run's own."""
    return f"answers.rank{rank}.jsonl" if rank else "answers.jsonl"


def shards(folder: Path) -> list[Path]:
    """Answer files of further processes that were not merged yet."""
    return sorted(folder.glob("answers.rank*.jsonl"))


def stored_answers(folder: Path, asked: Collection[str] | None = None) -> dict[str, Row]:
    """Rows by prompt id, from all processes' files; only of the prompts asked for, if given."""
    files = [folder / answers_name(0), *shards(folder)]
    rows = [row for path in files for row in read_rows(path)]
    return {row["prompt_id"]: row for row in rows if asked is None or row["prompt_id"] in asked}


@dataclass(frozen=True)
class Rejudged:
    """New rows by prompt id; not ``complete`` if the run was stopped while it answered."""

    rows: dict[str, Row]
    complete: bool


def rejudge_run(
    run: Run,
    asked: Callable[[str], Sequence[Prompt]],
    identifier: Identifier,
    config: ScoreConfig,
) -> dict[str, Rejudged]:
    """Judge what a run folder holds of answers before and after tuning; nothing is written.

    Args:
        asked: what the run's config asks for, ``before`` and ``after``.
    Raises:
        UserError: there are no answers, or the data files changed since they were asked for.
    """
    judged = {}
    folder = run.config.data.folder
    english = english_words_at_hand(Path(folder) if folder else None)
    for where in ("before", "after"):
        stored = stored_answers(run.folder / where)
        if not stored:
            continue
        prompts = {prompt.prompt_id: prompt for prompt in asked(where)}
        own = sum(prompt.coincides_with is None for prompt in prompts.values())
        words = english.words if english else None
        rows = rejudge(list(stored.values()), prompts, identifier, config, words)
        if len(rows) < own and run.is_done(where):
            raise UserError(
                f"score: {run.folder / where} holds {len(rows)} answers, but the data files give "
                f"{own} prompts now; {CHANGED}"
            )
        judged[where] = Rejudged(rows, complete=len(rows) == own)
    if not judged:
        raise UserError(
            f"score: {run.folder} holds no answers; run: linguamap evaluate --out {run.folder}"
        )
    return judged


def rejudge(
    rows: Sequence[Row],
    prompts: Mapping[str, Prompt],
    identifier: Identifier,
    config: ScoreConfig,
    english_words: Collection[str] | None = None,
) -> dict[str, Row]:
    """Judge stored answers again.

    Args:
        rows: of ``answers.jsonl``; those that only repeat another scenario's prompt are skipped, as
            a summary fills them in.
        prompts: what was asked, by prompt id.
        english_words: as for :func:`linguamap.scoring.score.judge`.
    Returns:
        New rows by prompt id.
    Raises:
        UserError: an answer belongs to no prompt, or the prompt reads otherwise now: the data files
            changed since.
    """
    judged = {}
    for row in rows:
        prompt = prompts.get(row["prompt_id"])
        if prompt is None or prompt.text != row["prompt"]:
            raise UserError(
                f"score: {row['prompt_id']} was asked in other words than the data files give now; "
                f"{CHANGED}"
            )
        if prompt.coincides_with is None:
            completion = Completion(
                prompt_id=row["prompt_id"],
                answer=row["answer"],
                thinking=row["thinking"],
                finish=row["finish"],
                n_tokens=row["n_tokens"],
                error=row.get("error"),
            )
            judged[prompt.prompt_id] = judge(completion, prompt, identifier, config, english_words)
    return judged


def asked_score(folder: Path, overrides: Sequence[str]) -> ScoreConfig:
    """The score section of a run's config with some values changed.

    Raises:
        UserError: bad values, or values of another section: those need the model.
    """
    path = folder / "config.yaml"
    stored: RunConfig = load_config(path)
    asked = load_config(path, list(overrides))
    other = [one for one in difference(stored, asked) if not one.startswith("score.")]
    if other:
        raise UserError(
            f"score: only settings under score. can change without the model, not {'; '.join(other)}"
        )
    return asked.score


def lcb_rows(folder: Path) -> list[Row]:
    """The cells of a run's summaries in the Language Confusion Benchmark's columns.

    ``task`` is the benchmark, ``source`` the scenario, ``where`` before or after tuning; the run's own
    rates stand beside them.
    """
    rows = []
    for where in ("before", "after"):
        path = folder / where / "summary.json"
        if not path.exists():
            continue
        summary = read_json(path)
        rows += [
            {
                "model": summary["model"],
                "task": cell["benchmark"],
                "source": cell["scenario"],
                "language": cell["language"],
                "n": cell["n"],
                "lpr": cell["line_pass_rate"],
                "wpr": cell["word_pass_rate"],
                "lcpr": cell["lcpr"],
                "where": where,
                "language_consistency": cell["language_consistency"],
                "task_accuracy": cell["task_accuracy"],
            }
            for cell in summary["cells"]
        ]
    return rows
