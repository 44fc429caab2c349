"""What the explorer does with one prompt: answer, score, read every layer, hand over.

The model as it is and the tuned one take turns in the memory of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from linguamap.config import RunConfig
from linguamap.generation.encoding import encode
from linguamap.generation.local import generate
from linguamap.models.language_model import LanguageModel
from linguamap.probes.handover import NextTokens, next_tokens, supports_handover
from linguamap.probes.texts import LensText, PromptPair, with_answer
from linguamap.probes.token_grid import TokenGrid, token_grid
from linguamap.records import Answer, Completion, Part, Phase, Prompt, UserError
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.score import score_answer
from linguamap.tuning.delta import check_base, new_weights, read_delta
from linguamap.tuning.layers import is_tied, untie_head
from linguamap.tuning.methods import method_of

ENGLISH = "en"


class Variants:
    """One loaded model whose weights and a delta's change places; steering goes on and off.

    Attributes:
        names: ``before``, and ``after`` if there is a delta that can be shown.
        note: why there is no ``after`` although a delta was given, or None.
    """

    def __init__(self, lm: LanguageModel, delta: Path | None = None) -> None:
        """Take the model over.

        Raises:
            UserError: the delta is broken, or belongs to another model.
        """
        self.lm = lm
        self.names: list[Phase] = ["before"]
        self.note: str | None = None
        self._aside: dict[str, Tensor] = {}
        self._steered: LanguageModel | None = None
        if delta is not None:
            self._take(delta)

    def _take(self, path: Path) -> None:
        delta = read_delta(path)
        check_base(self.lm.identity, delta, path)
        applies = method_of(delta.method).applies
        if applies == "examples":
            self.note = (
                "The run's method, few-shot prompting, changes the prompt and not the model."
            )
            return
        if applies == "vectors":
            self._steered = self.lm.steered(delta.vectors, delta.strength or 0.0)
        else:
            if delta.untied and is_tied(self.lm):
                untie_head(
                    self.lm
                )  # its weights stay those of the embedding until they are swapped
            parameters = dict(self.lm.model.named_parameters())
            with torch.no_grad():
                weights = new_weights(delta, self.lm.model)
            self._aside = {n: value.to(parameters[n].device) for n, value in weights.items()}
        self.names.append("after")

    @contextmanager
    def use(self, phase: Phase) -> Iterator[LanguageModel]:
        """The model in this state; afterwards it is as it was."""
        if phase == "before":
            yield self.lm
            return
        self._swap()
        try:
            yield self._steered or self.lm
        finally:
            self._swap()

    def _swap(self) -> None:
        """Exchange the weights in the model for those aside; nothing is copied."""
        parameters = dict(self.lm.model.named_parameters())
        for name, value in self._aside.items():
            self._aside[name], parameters[name].data = parameters[name].data, value


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
        scored: the answer, scored as one of a run.
        next_tokens: the handover to the English twin as a curve.
        missing: part -> why it will not come.
    """

    phase: Phase
    scored: Answer
    missing: dict[str, str]
    grid: TokenGrid | None = None
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

    def saying(what: str, phase: Phase) -> None:
        title = {"before": "", "after": ", tuned model"}[phase]
        say(step / total, f"{what}{title}")

    for phase in variants.names:
        with variants.use(phase) as lm:
            saying("Writing the answer", phase)
            done.append(_answer(lm, config, identifier, question.prompt, max_new_tokens, phase))
        step += 1
        yield list(done)
    for place, phase in enumerate(variants.names):
        with variants.use(phase) as lm:
            saying(f"Reading {lm.n_layers + 1} layers", phase)
            done[place] = _with_grid(lm, identifier, question.prompt, done[place])
        step += 1
        yield list(done)
    for place, phase in enumerate(variants.names if with_handover else []):
        with variants.use(phase) as lm:
            saying(f"Handover after {lm.n_layers + 1} layers", phase)
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
    phase: Phase,
) -> Reading:
    found: list[Completion] = []
    settings = config.evaluate.model_copy(
        update={"temperature": 0.0, "max_new_tokens": max_new_tokens}
    )
    generate(lm, [prompt], settings, model_config=config.model, seed=config.seed, save=found.extend)
    return Reading(phase, score_answer(found[0], prompt, identifier, config.score), {})


def _with_grid(
    lm: LanguageModel, identifier: Identifier, prompt: Prompt, reading: Reading
) -> Reading:
    answer = reading.scored.answer
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
    elif not supports_handover(lm):
        reason = "This model cannot be handed over: it keeps no key-value cache, or is steered."
    else:
        encoded = [one.token_ids for one in encode(lm, [own, english], config.model)]
        pair = PromptPair(own.item_id, own.item_id, own.kind, own.language, encoded[0], encoded[1])
        found = next_tokens(lm, pair)
        if found is not None:
            return replace(reading, next_tokens=found)
        reason = "Both prompts begin their answer with the same token: nothing tells them apart."
    return replace(reading, missing={**reading.missing, "handover": reason})
