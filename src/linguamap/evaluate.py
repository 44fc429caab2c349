"""One evaluation: generate what is missing, score it, sum it up.

Prompts that are the same text under two scenarios (English) are asked once; the answer stands in the
rows of both, and says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from linguamap.config import ScoreConfig
from linguamap.records import (
    PHASES,
    Answer,
    BenchmarkUse,
    Completion,
    IdentifierAccuracy,
    Part,
    Phase,
    Prompt,
    UserError,
)
from linguamap.run.contents import as_json, as_type
from linguamap.run.files import append_answers, read_answers, write_answers, write_json
from linguamap.run_context import RunContext
from linguamap.scoring.extraction.prose import drift
from linguamap.scoring.extraction.segments import text_to_learn
from linguamap.scoring.identifier_accuracy import measured_for_run
from linguamap.scoring.labelled_texts import LabelledTexts
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.score import not_scored_yet
from linguamap.scoring.summary import summarise

CHANGED = "put the files back that the run was made from, or evaluate again with --fresh"


@dataclass(frozen=True)
class Questions:
    """What one phase asks.

    Attributes:
        prompts: in their fixed order.
        benchmarks: what the summary says of the items.
        labelled_texts: gives texts of known language, on which the identifier is tried.
    """

    prompts: Sequence[Prompt]
    benchmarks: Sequence[BenchmarkUse]
    labelled_texts: Callable[[], LabelledTexts]


def evaluate(context: RunContext, phase: Phase, questions: Questions) -> None:
    """Answers and summary of one phase; what is answered already is not asked again."""
    folder = context.run.path(phase, "answers.jsonl").parent
    asked = distinct(questions.prompts)
    _ask(context, phase, folder, asked, f"answers {phase}")
    if context.processes.writes:
        write_scores(context, phase, questions, _scored(context, folder, asked))


def own_texts(context: RunContext, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts that the model answers in the language asked for, each with that answer as its reference.

    All answers are kept in ``probe/own/answers.jsonl`` as they come; a killed call goes on after them.
    """
    folder = context.run.path("probe", "own", "answers.jsonl").parent
    asked = distinct(prompts)
    _ask(context, "before", folder, asked, "own answers")
    least, found = context.run.config.score.min_letters, []
    for name, answer in _scored(context, folder, asked).items():
        turn = drift(answer.answer, answer.language, context.identifier, least)
        if text := text_to_learn(answer, turn is not None):
            found.append(dataclasses.replace(asked[name], reference=(Part("R", text),)))
    return found


def _ask(
    context: RunContext, phase: Phase, folder: Path, asked: dict[str, Prompt], label: str
) -> None:
    """Have all prompts answered that are not yet; of several processes each its share."""
    stored = checked_answers(folder, asked)
    if len(stored) < len(asked):
        config = context.run.config
        own = folder / shard_name(context.processes.rank)
        (folder / "summary.json").unlink(missing_ok=True)  # of answers that are not all there

        def save(completions: Sequence[Completion]) -> None:
            append_answers(own, [not_scored_yet(one, asked[one.prompt_id]) for one in completions])

        answerer(context, phase)(
            list(asked.values()),
            config.evaluate,
            model_config=config.model,
            seed=config.seed,
            done=frozenset(stored),
            save=save,
            progress=context.progress,
            label=label,
        )
    context.processes.wait()


def _scored(context: RunContext, folder: Path, asked: dict[str, Prompt]) -> dict[str, Answer]:
    scorer, found = context.scorer, checked_answers(folder, asked)
    return {name: scorer.again(found[name], asked[name]) for name in asked}


def answerer(context: RunContext, phase: Phase) -> Callable[..., None]:
    """Who answers: a server for the model as it is, if one is named; else the local model."""
    run = context.run
    if run.config.evaluate.endpoint and phase == "before":
        if context.processes.world_size > 1:
            raise UserError(
                "evaluate: a server answers many requests at once; start one process, and "
                "raise evaluate.concurrency instead"
            )
        from linguamap.generation.endpoint import answer_over_endpoint

        return partial(answer_over_endpoint, record=run.path("before", "endpoint.json"))
    from linguamap.generation.local import generate

    model = context.model if phase == "before" else context.tuned_model
    return partial(generate, model, share=context.processes.share)


def write_scores(
    context: RunContext, phase: Phase, questions: Questions, answers: dict[str, Answer]
) -> None:
    """All prompts' answers in their fixed order, coinciding ones filled in, and the summary."""
    run = context.run
    rows = [_restored(prompt, answers) for prompt in questions.prompts]
    write_answers(run.path(phase, "answers.jsonl"), rows)
    for path in shards(run.folder / phase):
        path.unlink()
    measured = measured_for_run(
        run.path("identifier.json"), run.config, context.identifier, questions.labelled_texts
    )
    summary = summarise(
        rows,
        run.config.model.name,
        benchmarks=questions.benchmarks,
        languages=run.config.languages,
        identifier=as_type(IdentifierAccuracy, measured, "identifier.json"),
        english_words=context.scorer.english.about if context.scorer.english else None,
    )
    write_json(run.path(phase, "summary.json"), as_json(summary))


def rescore(
    context: RunContext, score: ScoreConfig, questions: Callable[[Phase], Questions]
) -> None:
    """Score stored answers by other rules, without the model, and keep these in the run's config.

    Answers of a phase that was stopped while it answered are scored, too; it goes on from these.

    Args:
        questions: what a phase asks.
    Raises:
        UserError: there are no answers, or the data files changed since they were asked for; then
            nothing has been written.
    """
    run = context.run
    found: dict[Phase, dict[str, Answer]] = {}
    asked: dict[Phase, dict[str, Prompt]] = {}
    for phase in PHASES:
        if not (run.folder / phase / "answers.jsonl").exists():
            continue
        asked[phase] = distinct(questions(phase).prompts)
        found[phase] = checked_answers(run.folder / phase, asked[phase], refuse_others=True)
        if len(found[phase]) < len(asked[phase]) and phase in run.stages():
            raise UserError(
                f"score: {run.folder / phase} holds {len(found[phase])} answers, but the data files "
                f"give {len(asked[phase])} prompts now; {CHANGED}"
            )
    if not found:
        raise UserError(
            f"score: {run.folder} holds no answers; run: linguamap evaluate --out {run.folder}"
        )
    run.check_unchanged(*found)
    make_identifier(score.identifier, run.config.languages)  # may not be installed
    run.change(run.config.model_copy(update={"score": score}))
    context.__dict__.pop("identifier", None)
    for phase, stored in found.items():
        if phase in run.stages():
            run.rewrite(phase)
        prompts = asked[phase]
        answers = {name: context.scorer.again(one, prompts[name]) for name, one in stored.items()}
        if len(answers) < len(prompts):
            write_answers(run.path(phase, "answers.jsonl"), answers.values())
            continue
        write_scores(context, phase, questions(phase), answers)
        if phase in run.stages():
            run.note_again(phase, [f"{phase}/answers.jsonl", f"{phase}/summary.json"])


def distinct(prompts: Sequence[Prompt]) -> dict[str, Prompt]:
    """The prompts that are asked, by id: each text once."""
    return {one.prompt_id: one for one in prompts if one.coincides_with is None}


def checked_answers(
    folder: Path, asked: dict[str, Prompt], *, refuse_others: bool = False
) -> dict[str, Answer]:
    """Stored answers by prompt id, from all processes' files, without those filled in.

    Args:
        refuse_others: whether an answer to a prompt that is not asked any more is an error, or is
            left out.
    Raises:
        UserError: an answer was asked for in other words than the data files give now.
    """
    found = {}
    for path in (folder / "answers.jsonl", *shards(folder)):
        for answer in read_answers(path, growing=not (folder / "summary.json").exists()):
            prompt = asked.get(answer.prompt_id)
            if answer.coincides_with is not None or (prompt is None and not refuse_others):
                continue
            if prompt is None or prompt.text != answer.prompt:
                raise UserError(
                    f"{path}: {answer.prompt_id} was asked in other words than the data files give "
                    f"now; {CHANGED}"
                )
            found[answer.prompt_id] = answer
    return found


def shard_name(rank: int) -> str:
    """The file that a process appends its answers to; the first one's is the run's own."""
    return f"answers.rank{rank}.jsonl" if rank else "answers.jsonl"


def shards(folder: Path) -> list[Path]:
    """Answer files of further processes that were not merged yet."""
    return sorted(folder.glob("answers.rank*.jsonl"))


def _restored(prompt: Prompt, answers: dict[str, Answer]) -> Answer:
    """The answer to a prompt; where it was not asked itself, that to the same text."""
    twin = dataclasses.replace(
        prompt, scenario=prompt.coincides_with or prompt.scenario, coincides_with=None
    )
    return dataclasses.replace(
        answers[twin.prompt_id],
        scenario=prompt.scenario,
        prompt_id=prompt.prompt_id,
        coincides_with=prompt.coincides_with,
    )
