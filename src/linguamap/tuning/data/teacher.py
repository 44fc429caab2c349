"""A stronger model writes the reasoning: the paper's recipe, over an OpenAI-compatible server.

Each training item is asked once a language, in the monolingual prompt, and the answer is kept for every
drawn prompt of that item on which it is right by the same rules that judge the run's answers: task
and language. Answers are appended to ``teacher.jsonl`` as they come; a killed call goes on after them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linguamap.benchmarks.sums import without_closing
from linguamap.config import EvaluateConfig, ModelConfig, RunConfig
from linguamap.languages import get_language
from linguamap.progress import Progress
from linguamap.records import Completion, Part, Prompt, UserError
from linguamap.run.files import append_rows, read_rows
from linguamap.scoring.extraction.prose import drift
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.score import score_answer

FILE = "teacher.jsonl"


def taught(
    prompts: Sequence[Prompt],
    questions: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    out: Path,
    progress: Progress,
) -> tuple[list[Prompt], dict[str, Any]]:
    """Prompts whose reference is a teacher's right answer in the right language.

    Args:
        prompts: what is to be trained on; references that they have are replaced.
        questions: the monolingual prompt of each of their items, in each language.
        out: the folder of ``teacher.jsonl``.
    Returns:
        The prompts that were kept, and ``model``, ``url``, ``asked`` (requests), ``prompts``, ``kept``
        and ``dropped`` (reason -> prompts: ``wrong_answer``, ``wrong_language``, ``cut`` at the
        token limit, ``error``, or why task or language could not be judged).
    Raises:
        UserError: the server fails for good; what came before is kept.
    """
    wanted = {_item(prompt) for prompt in prompts}
    questions = [prompt for prompt in questions if _item(prompt) in wanted]
    answers = _answers(questions, config, out / FILE, progress)
    dropped: Counter[str] = Counter()
    kept: list[Prompt] = []
    for prompt in prompts:
        completion = answers[_item(prompt)]
        reason = _fault(prompt, completion, config, identifier)
        if reason is None:
            kept.append(
                dataclasses.replace(prompt, reference=_reference(prompt, completion.answer))
            )
        else:
            dropped[reason] += 1
    return kept, {
        "model": config.tune.teacher_model,
        "url": config.tune.teacher,
        "asked": len(questions),
        "prompts": len(prompts),
        "kept": len(kept),
        "dropped": dict(sorted(dropped.items())),
    }


def _answers(
    questions: Sequence[Prompt], config: RunConfig, path: Path, progress: Progress
) -> dict[tuple[str, str, str], Completion]:
    """The teacher's answer to each question, from the file or from the server."""
    from linguamap.generation.endpoint import answer_over_endpoint

    keys = {prompt.prompt_id: _key(prompt, config) for prompt in questions}
    stored = {row["key"]: row for row in read_rows(path) if "key" in row}
    path.parent.mkdir(parents=True, exist_ok=True)

    def save(completions: list[Completion]) -> None:
        rows = [{"key": keys[done.prompt_id], **dataclasses.asdict(done)} for done in completions]
        stored.update((row["key"], row) for row in rows)
        append_rows(path, rows)

    asking = EvaluateConfig(
        endpoint=config.tune.teacher,
        endpoint_model=config.tune.teacher_model,
        max_new_tokens=config.tune.teacher_tokens,
        concurrency=config.evaluate.concurrency,
        timeout=config.evaluate.timeout,
    )
    try:
        answer_over_endpoint(
            questions,
            asking,
            ModelConfig(name=config.tune.teacher_model or "teacher", chat="yes"),
            seed=config.seed,
            done=frozenset(name for name, key in keys.items() if key in stored),
            save=save,
            progress=progress,
            label="teacher",
        )
    except UserError as error:
        said = str(error).replace("evaluate.endpoint_model", "tune.teacher_model")
        said = said.replace("evaluate.max_new_tokens", "tune.teacher_tokens")
        raise UserError(f"teacher: {said.removeprefix('endpoint: ')}") from None
    return {_item(prompt): _completion(stored[keys[prompt.prompt_id]]) for prompt in questions}


def _fault(
    prompt: Prompt, completion: Completion, config: RunConfig, identifier: Identifier
) -> str | None:
    """Why an answer is not used, or None."""
    if completion.finish != "stop":
        return "cut" if completion.finish == "length" else "error"
    scored = score_answer(completion, prompt, identifier, config.score)
    if prompt.kind != "open" and not scored.task_correct:
        return scored.task_reason or "wrong_answer"
    if not scored.language_correct:
        return scored.language_reason or "wrong_language"
    least = config.score.min_letters
    turns = prompt.kind == "open" and drift(completion.answer, prompt.language, identifier, least)
    return "turns" if turns else None


def _reference(prompt: Prompt, answer: str) -> tuple[Part, ...]:
    """Reasoning and closing phrase; the teacher's own closing sentence, where it is found, gives way to
    the language's usual one. On one line, as an answer in the plain layout must be; a request of the
    user's own, which has no layout, keeps its lines."""
    if prompt.kind == "open":
        return (Part("R", answer.strip()),)
    text = " ".join(answer.split())
    language = get_language(prompt.language)
    for gold in prompt.gold:
        shown = gold.replace(".", language.decimal_mark) if prompt.kind == "sums" else gold
        reasoning = without_closing(text, shown, prompt.language)
        if reasoning:
            phrase = language.texts.answer_phrase.replace("{answer}", shown)
            blank = " " if language.segmented else ""
            return (Part("R", f" {reasoning}"), Part("A", f"{blank}{phrase}"))
    return (Part("R", f" {text}"),)


def _completion(row: dict[str, Any]) -> Completion:
    names = [field.name for field in dataclasses.fields(Completion)]
    return Completion(**{name: row[name] for name in names})


def _item(prompt: Prompt) -> tuple[str, str, str]:
    return prompt.benchmark, prompt.item_id, prompt.language


def _key(prompt: Prompt, config: RunConfig) -> str:
    """What an answer depends on: who was asked what, with which limit; not where a named model runs."""
    settings = (
        config.tune.teacher_model or config.tune.teacher,
        config.tune.teacher_tokens,
        config.seed,
    )
    text = "\x1f".join(map(str, (*settings, prompt.prompt_id, prompt.text)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
