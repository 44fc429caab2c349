"""One prompt in depth: what each layer would write at each position, and in which language.

At every position that predicts a token of the answer, each layer's residual state goes through the
model's own final norm and head, as in :mod:`linguamap.probes.lens`. A cell of the grid is the arg-max token
there, its probability, and the language of the *word* that it is part of in the layer's text: a
language identifier cannot read pieces of words.

``grid.json`` (in ``probe/`` and, for the same texts read by the tuned model, ``probe_after/``)::

    {"layers": [0, 1, .., L],
     "prompts": [{"prompt_id", "item_id", "kind", "scenario", "language",
                  "prompt": text before the answer,
                  "answer": the whole text that is read after it,
                  "source": "answer" of the model's own, or "reference", given,
                  "answer_language": of a scored answer of its own, or null,
                  "tokens": [text of the answer's own token, a position],
                  "cells": [[{"t": text of the arg-max token,
                              "w": the word that it belongs to, or null (blank, mark, number),
                              "l": that word's language, or null (no word, or it cannot be placed),
                              "p": probability of the token, 4 decimals}, a position], a layer],
                  "turn": {"position", "layer", "language"} as :class:`Turn`, or null}]}

Row ``layers[i]`` of ``cells`` is layer i; position j predicts ``tokens[j]``. All texts are what a
model or a data file says: untrusted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import regex
import torch
from icu4py.breakers import WordBreaker
from torch import Tensor

from linguamap import seeding
from linguamap.probes.answer_texts import answer_texts, in_turn, usable
from linguamap.probes.layer_reading import load_readings, read_layers, save_readings
from linguamap.probes.logit_scan import TopProbability, TopTokens
from linguamap.probes.texts import (
    RIVAL,
    LensText,
    encode_texts,
    first_positions,
    lens_texts,
    with_answer,
)
from linguamap.progress import Progress, silent
from linguamap.records import Answer, Prompt
from linguamap.run.files import read_json, write_text

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import EncodedText, OwnAnswers
    from linguamap.scoring.language_id import Identifier

MAX_PROMPTS = 12
ROUNDS = 2
"""At most this many prompts a language."""
MAX_POSITIONS = 48
READINGS = "grid_tokens.npz"
"""Beside ``grid.json``: what was read of each layer, by a hash of the states it was read from."""

_LETTER = regex.compile(r"\p{L}")
_PART_OF_WORD = regex.compile(r"[\p{L}\p{M}\ufffd]")
"""Letters, their marks, and pieces of either: a digit right after a word is in no language."""


class Cell(NamedTuple):
    """What one layer would write at one position.

    Attributes:
        text: the arg-max token's text; a lone replacement character for a piece of a letter.
        word: the word it is part of in the layer's decoded text; None for blanks, marks, numbers.
        language: the word's language; None without a word or if it cannot be placed.
        probability: of the token, in [0, 1].
    """

    text: str
    word: str | None
    language: str | None
    probability: float


@dataclass(frozen=True)
class TokenGrid:
    """One answer, position by position and layer by layer.

    Attributes:
        tokens: text of the answer's own token at each position.
        cells: (layer, position), layers 0 to L.
        n_left_out: positions of the answer beyond the limit, which were not read.
    """

    tokens: list[str]
    cells: list[list[Cell]]
    n_left_out: int = 0


class Turn(NamedTuple):
    """Where a text's reading leaves the language asked for.

    Attributes:
        position: of the first token, from 1, for which the last layer would write a word in another
            language.
        layer: from which on every layer would write a word in that language there.
    """

    position: int
    layer: int
    language: str


def turn_of(grid: TokenGrid, language: str) -> Turn | None:
    """The token and the layer at which a text turned to another language than the one asked for.

    None if the last layer's words are all in it, or could not be identified.
    """
    for place, last in enumerate(grid.cells[-1]):
        if last.language in (None, language):
            continue
        layer = len(grid.cells) - 1
        while layer and grid.cells[layer - 1][place].language == last.language:
            layer -= 1
        return Turn(place + 1, layer, str(last.language))
    return None


def token_grid(
    lm: LanguageModel,
    text: LensText,
    identifier: Identifier,
    *,
    max_positions: int = MAX_POSITIONS,
) -> TokenGrid:
    """:func:`token_grids` of one text."""
    return token_grids(lm, [text], identifier, max_positions=max_positions)[0]


def token_grids(
    lm: LanguageModel,
    texts: Sequence[LensText],
    identifier: Identifier,
    *,
    max_positions: int = MAX_POSITIONS,
    known: dict[str, Tensor] | None = None,
) -> list[TokenGrid]:
    """What every layer would write while the model reads each text's answer (teacher-forced).

    Args:
        texts: prompts and answers, e.g. the model's own.
        max_positions: only the first so many tokens of an answer are read.
        known: see :func:`linguamap.probes.layer_reading.read_layers`.
    Raises:
        UserError: an answer has no tokens.
    """
    cut = [first_positions(one, max_positions) for one in encode_texts(lm, texts)]
    read = _read(lm, [one for one, _ in cut], known)
    spans = [[_token_words(lm, row) for row in ids.tolist()] for ids, _ in read]
    unique = sorted({word for text in spans for row in text for _, word in row if word is not None})
    language = dict(zip(unique, identifier.identify_words(unique), strict=True))
    grids = []
    for (encoded, n_left_out), (_, probabilities), rows in zip(cut, read, spans, strict=True):
        cells = [
            [
                Cell(token, word, None if word is None else language[word], probability)
                for (token, word), probability in zip(row, probs, strict=True)
            ]
            for row, probs in zip(rows, probabilities.tolist(), strict=True)
        ]
        answer = encoded.token_ids[encoded.first + 1 : encoded.stop + 1]
        tokens = [token for token, _ in _token_words(lm, answer)]
        grids.append(TokenGrid(tokens, cells, n_left_out))
    return grids


def write_grids(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    path: Path,
    *,
    own_answers: OwnAnswers,
    same_as: Path | None = None,
    answered: tuple[Sequence[Answer], Sequence[Prompt]] = ((), ()),
    progress: Progress = silent,
) -> None:
    """Write ``grid.json`` of a few prompts, see the top of this module.

    Args:
        prompts: those to choose from, monolingual and code-mixed, all languages.
        own_answers: writes the model's own answers, where ``probe.texts`` wants them.
        same_as: an earlier ``grid.json`` whose prompts and answers are read again, so that two
            models can be laid side by side; None, or a file that is not there, chooses anew. Layers
            whose states are bit for bit the same are taken from there.
        answered: scored answers of the model and their prompts. Half of the texts are answers in
            another language than the one asked for, as far as there are any.
    """
    texts = _texts(lm, prompts, config, own_answers, same_as, answered)
    rows = []
    progress("token grids", 0, len(texts), "prompts")
    known = load_readings(same_as and same_as.parent / READINGS)
    grids = token_grids(lm, [text for _, text, _ in texts], identifier, known=known)
    save_readings(path.parent / READINGS, known)
    for (prompt, text, origin), grid in zip(texts, grids, strict=True):
        facts = {
            "prompt_id": prompt.prompt_id,
            "item_id": prompt.item_id,
            "kind": prompt.kind,
            "scenario": prompt.scenario,
            "language": prompt.language,
            "prompt": text.prompt_text,
            "answer": text.answer_text,
            **origin._asdict(),
        }
        rows.append({**facts, **as_json(grid, prompt.language)})
    progress("token grids", len(texts), len(texts), "prompts")
    value = {"layers": list(range(lm.n_layers + 1)), "prompts": rows}
    write_text(path, json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def as_json(grid: TokenGrid, language: str) -> dict[str, Any]:
    """``tokens``, ``cells`` and ``turn`` as in ``grid.json``."""
    cells = [
        [{"t": c.text, "w": c.word, "l": c.language, "p": round(c.probability, 4)} for c in row]
        for row in grid.cells
    ]
    turn = turn_of(grid, language)
    return {"tokens": grid.tokens, "cells": cells, "turn": turn and turn._asdict()}


def grid_prompts(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """A few prompts: language by language, kinds and scenarios in turn, English among them."""
    usable = [prompt for prompt in prompts if prompt.coincides_with is None]
    languages = list(dict.fromkeys(prompt.language for prompt in usable))
    languages.sort(key=lambda code: code != RIVAL)
    languages = languages[:MAX_PROMPTS]
    kinds = list(dict.fromkeys(prompt.kind for prompt in usable))
    scenarios = list(dict.fromkeys(prompt.scenario for prompt in usable))
    chosen: list[Prompt] = []
    for turn in range(min(ROUNDS, MAX_PROMPTS // max(len(languages), 1))):
        for place, language in enumerate(languages):
            kind = kinds[(place + turn) % len(kinds)]
            scenario = scenarios[(place // len(kinds) + place + turn) % len(scenarios)]
            found = _first(usable, chosen, (language, kind, scenario), seed)
            chosen += [] if found is None else [found]
    return chosen


def _first(
    prompts: Sequence[Prompt], taken: Sequence[Prompt], wanted: tuple[str, str, str], seed: int
) -> Prompt | None:
    """The prompt of a language nearest to the kind and scenario wanted, at random among equals."""
    language, kind, scenario = wanted
    free = {p.prompt_id: p for p in prompts if p.language == language and p not in taken}
    order = seeding.shuffled(free, "grid", seed)
    ranked = sorted(order, key=lambda i: (free[i].kind != kind, free[i].scenario != scenario))
    return free[ranked[0]] if ranked else None


class _Origin(NamedTuple):
    """Whether a text is the model's own, and in which language its scoring found it."""

    source: Literal["reference", "answer"]
    answer_language: str | None = None


def _texts(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    own_answers: OwnAnswers,
    same_as: Path | None,
    answered: tuple[Sequence[Answer], Sequence[Prompt]],
) -> list[tuple[Prompt, LensText, _Origin]]:
    """The chosen prompts, each with what is read under it."""
    if same_as is not None and same_as.is_file():
        by_id = {prompt.prompt_id: prompt for prompt in (*answered[1], *prompts)}
        return [
            (
                by_id[row["prompt_id"]],
                _stored_text(lm, by_id[row["prompt_id"]], row),
                _Origin(row.get("source", "reference"), row.get("answer_language")),
            )
            for row in read_json(same_as)["prompts"]
            if row["prompt_id"] in by_id
        ]
    given = [p for p in prompts if p.reference or config.probe.texts != "reference"]
    wrong = {one.prompt_id: one for one in usable(answered[0]) if not one.language_correct}
    order = seeding.shuffled(wrong, "grid", config.seed)
    turned = in_turn({name: wrong[name].language for name in order}, MAX_PROMPTS // 2)
    own = answer_texts(lm, [wrong[name] for name in turned], answered[1])
    found = [
        (prompt, text, _Origin("answer", wrong[prompt.prompt_id].answer_language))
        for prompt, text in own
    ]
    origin = _Origin("answer" if config.probe.texts == "generated" else "reference")
    chosen = grid_prompts(given, config.seed)[: MAX_PROMPTS - len(found)]
    for text in lens_texts(lm, chosen, config.probe.texts, own_answers):
        names = (text.item_id, text.language, text.scenario, text.kind)
        prompt = next(p for p in chosen if (p.item_id, p.language, p.scenario, p.kind) == names)
        found.append((prompt, text, origin))
    return found


def _stored_text(lm: LanguageModel, prompt: Prompt, row: dict[str, Any]) -> LensText:
    """The same reading as before; a stand-in for an answer follows only a part of the prompt."""
    if row["prompt"] == prompt.text:
        return with_answer(lm, prompt, row["answer"])
    group = prompt.group or prompt.item_id
    names = (prompt.item_id, group, prompt.language, prompt.scenario, prompt.kind)
    return LensText(*names, row["prompt"], row["answer"])


def _read(
    lm: LanguageModel, encoded: Sequence[EncodedText], known: dict[str, Tensor] | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Of each text (layer, position) arg-max token ids and their probabilities."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for places, read in read_layers(lm, encoded, [TopTokens(), TopProbability()], known=known):
        sizes = [encoded[place].stop - encoded[place].first for place in places]
        whole = (torch.stack([one[i] for i in sorted(one)]).flatten(1) for one in read)
        by_text = (torch.split(one, sizes, 1) for one in whole)
        found.update(zip(places, zip(*by_text, strict=True), strict=True))
    return [found[place] for place in range(len(encoded))]


def _token_words(lm: LanguageModel, ids: Sequence[int]) -> list[tuple[str, str | None]]:
    """Each token's text and the word around it, the tokens decoded together.

    A prefix's text is that of the whole as far as the two agree: a letter of several tokens appears
    with its last one, and belongs to all of them.
    """
    special = set(lm.tokenizer.all_special_ids)
    whole = str(lm.tokenizer.decode(ids, skip_special_tokens=True))
    ends = [_agreeing(lm, ids[: i + 1], whole) for i in range(len(ids))]
    words = _word_spans(whole)
    found: list[tuple[str, str | None]] = []
    for token, start, end in zip(ids, [0, *ends[:-1]], ends, strict=True):
        alone = str(lm.tokenizer.decode([token]))
        text = whole[start:end] or alone
        if token in special or not _PART_OF_WORD.search(text):
            found.append((text if token not in special else alone, None))
        else:
            inside = _overlapping(words, start, max(end, start + 1))
            found.append((text, inside and whole[slice(*inside)]))
    return found


def _agreeing(lm: LanguageModel, ids: Sequence[int], whole: str) -> int:
    """How many characters of ``whole`` the first tokens make up."""
    part = str(lm.tokenizer.decode(ids, skip_special_tokens=True))
    if whole.startswith(part):
        return len(part)
    return next((i for i, (a, b) in enumerate(zip(part, whole)) if a != b), len(whole))


def _word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each of :func:`linguamap.languages.words`."""
    spans, place = [], 0
    for word in WordBreaker(text, "und"):
        if _LETTER.search(word):
            spans.append((place, place + len(word)))
        place += len(word)
    return spans


def _overlapping(words: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The word that shares most characters with a stretch; the first among equals."""
    shared = [(min(b, end) - max(a, start), (a, b)) for a, b in words if a < end and b > start]
    return max(shared, key=lambda one: one[0])[1] if shared else None
