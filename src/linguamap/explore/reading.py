"""What the explorer does with one prompt: answer, judge, read every layer, hand over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from linguamap.config import RunConfig
from linguamap.explore.items import ENGLISH
from linguamap.explore.variants import Variants, When
from linguamap.generation.encoding import encode
from linguamap.generation.local import generate
from linguamap.models.language_model import LanguageModel
from linguamap.probes.handover import NextTokens, handover, next_tokens, supports_handover
from linguamap.probes.texts import LensText, PromptPair, with_answer
from linguamap.probes.token_grid import TokenGrid, token_grid
from linguamap.records import Completion, Part, Prompt, UserError
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.score import judge

MAX_CHARACTERS = 40_000
MAX_TOKENS = 4096
"""Longest prompt that the explorer reads, whatever the model could."""

Say = Callable[[float, str], None]
"""Told how much is done, in [0, 1], and what is being done."""


@dataclass(frozen=True)
class Question:
    """One prompt to look into.

    Attributes:
        prompt: an item's, or a typed one (kind ``open``, no gold).
        english: its English twin, or None.
        picked: whether it is an item of the run, so that right and wrong are known.
    """

    prompt: Prompt
    english: Prompt | None = None
    picked: bool = False


@dataclass(frozen=True)
class Reading:
    """What one model did with a question; later parts are None until they are there.

    Attributes:
        row: the judged answer, as a line of ``answers.jsonl``.
        handover: rows of :data:`linguamap.probes.handover.ITEMS_SCHEMA`.
        next_tokens: the handover to the English twin as a curve; None where it cannot tell.
        missing: part -> why it will not come.
    """

    when: When
    row: dict[str, Any]
    missing: dict[str, str]
    grid: TokenGrid | None = None
    handover: list[dict[str, Any]] | None = None
    next_tokens: NextTokens | None = None


def typed(text: str, language: str) -> Prompt:
    """A prompt that someone typed: nothing is known about it but the language wanted."""
    parts = (Part("Q", text), Part("I", ""))
    return Prompt("typed", "typed", "open", language, "monolingual", parts, ())


def check_question(
    lm: LanguageModel, config: RunConfig, question: Question, max_new_tokens: int
) -> None:
    """Refuse what the model cannot read.

    Raises:
        UserError: the prompt (or its twin) is empty or too long; says by how much.
    """
    room = context_limit(lm) - max_new_tokens
    named = [("prompt", question.prompt)]
    named += [("English twin", question.english)] if question.english else []
    for name, prompt in named:
        text = prompt.text
        if not text.strip():
            raise UserError(f"The {name} is empty: type a question, or pick an item.")
        if len(text) > MAX_CHARACTERS:
            raise UserError(
                f"The {name} is {len(text):,} characters long; at most {MAX_CHARACTERS:,} are read."
            )
        n_tokens = len(encode(lm, [_safe(prompt)], config.model)[0].token_ids)
        if n_tokens > room:
            raise UserError(
                f"The {name} is {n_tokens:,} tokens long; with an answer of {max_new_tokens} tokens "
                f"there is room for {max(room, 0):,}. Shorten the prompt or the answer."
            )


def context_limit(lm: LanguageModel) -> int:
    """Tokens of prompt and answer together that the model and the explorer take."""
    config = lm.model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := getattr(config, name, None), int):
            return min(value, MAX_TOKENS)
    return MAX_TOKENS


def read_question(
    variants: Variants,
    config: RunConfig,
    identifier: Identifier,
    question: Question,
    *,
    max_new_tokens: int,
    with_handover: bool = True,
    say: Say = lambda share, what: None,
) -> Iterator[list[Reading]]:
    """Do everything, and hand on what is there after each step: answers first, then grids.

    Yields:
        One reading a model, before first; a longer or fuller list each time.
    Raises:
        UserError: see :func:`check_question`.
    """
    check_question(variants.lm, config, question, max_new_tokens)
    question = replace(
        question,
        prompt=_safe(question.prompt),
        english=question.english and _safe(question.english),
    )
    total = len(variants.names) * (3 if with_handover else 2)
    done: list[Reading] = []
    step = 0

    def saying(what: str, when: When) -> None:
        title = {"before": "", "after": ", tuned model"}[when]
        say(step / total, f"{what}{title}")

    for when in variants.names:
        with variants.use(when) as lm:
            saying("Writing the answer", when)
            done.append(_answer(lm, config, identifier, question.prompt, max_new_tokens, when))
        step += 1
        yield list(done)
    for place, when in enumerate(variants.names):
        with variants.use(when) as lm:
            saying(f"Reading {lm.n_layers + 1} layers", when)
            done[place] = _with_grid(lm, identifier, question.prompt, done[place])
        step += 1
        yield list(done)
    for place, when in enumerate(variants.names if with_handover else []):
        with variants.use(when) as lm:
            saying(f"Handover: {3 * (lm.n_layers + 2)} short continuations", when)
            done[place] = _with_handover(lm, config, identifier, question, done[place])
        step += 1
        yield list(done)


def _safe(prompt: Prompt) -> Prompt:
    """Without lone surrogates, which no tokenizer takes."""
    clean = [
        replace(part, text=part.text.encode("utf-8", "replace").decode("utf-8"))
        for part in prompt.parts
    ]
    return replace(prompt, parts=tuple(clean))


def _answer(
    lm: LanguageModel,
    config: RunConfig,
    identifier: Identifier,
    prompt: Prompt,
    max_new_tokens: int,
    when: When,
) -> Reading:
    found: list[Completion] = []
    settings = config.evaluate.model_copy(
        update={"temperature": 0.0, "max_new_tokens": max_new_tokens}
    )
    generate(lm, [prompt], settings, model_config=config.model, seed=config.seed, save=found.extend)
    return Reading(when, judge(found[0], prompt, identifier, config.score), {})


def _with_grid(
    lm: LanguageModel, identifier: Identifier, prompt: Prompt, reading: Reading
) -> Reading:
    answer = reading.row["answer"]
    if not answer.strip():
        return replace(reading, missing={**reading.missing, "grid": "The model wrote nothing."})
    text = _as_written(lm, prompt, answer)
    return replace(reading, grid=token_grid(lm, text, identifier))


def _as_written(lm: LanguageModel, prompt: Prompt, answer: str) -> LensText:
    """The answer under its prompt with the blank that the model put in between, if it did."""
    text = with_answer(lm, prompt, answer)
    if text.prompt_ids is not None:
        return text
    ids = lm.tokenizer(prompt.text)["input_ids"]
    state = lm.block_outputs(torch.tensor([ids]), None, [lm.n_layers], [prompt.language])[0][:, -1]
    first = int(lm.project(state).argmax())
    before, after = lm.tokenizer.decode(ids), lm.tokenizer.decode([*ids, first])
    new = after[len(before) :]
    blank = new[: len(new) - len(new.lstrip())]
    return replace(text, answer_text=blank + answer)


def _with_handover(
    lm: LanguageModel,
    config: RunConfig,
    identifier: Identifier,
    question: Question,
    reading: Reading,
) -> Reading:
    own, english = question.prompt, question.english
    if own.language == ENGLISH:
        reason = "The target language is English: there is nothing to hand over."
    elif english is None:
        reason = "There is no English twin to hand over from; type one below the prompt."
    elif english.text == own.text:
        reason = "The English twin is the prompt itself."
    elif not supports_handover(lm) or lm.steering is not None:
        reason = "This model cannot be handed over: it keeps no key-value cache, or is steered."
    else:
        encoded = [one.token_ids for one in encode(lm, [own, english], config.model)]
        pair = PromptPair(own.item_id, own.item_id, own.kind, own.language, encoded[0], encoded[1])
        rows = handover(lm, [pair], identifier).to_pylist()
        return replace(reading, handover=rows, next_tokens=next_tokens(lm, pair))
    return replace(reading, missing={**reading.missing, "handover": reason})
