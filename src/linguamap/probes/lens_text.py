"""Texts that the probes read: a prompt, an answer under it, and where the answer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from linguamap.models.language_model import LanguageModel
from linguamap.records import UserError

Positions = Literal["all", "last"]


@dataclass(frozen=True)
class LensText:
    """A prompt and the answer to read under it.

    Attributes:
        group: what is resampled as one in the bootstrap (the passage, the template).
        language: the target language, in which the answer is written.
        prompt_ids: the prompt's token ids, where they are not those of ``prompt_text`` (chat
            templates); the answer is then tokenized on its own.
    """

    item_id: str
    group: str
    language: str
    scenario: str
    kind: str
    prompt_text: str
    answer_text: str
    prompt_ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class EncodedText:
    """A text's token ids and the range of positions whose next token belongs to the answer."""

    text: LensText
    token_ids: list[int]
    first: int
    stop: int


def encode_texts(
    lm: LanguageModel, texts: Sequence[LensText], positions: Positions = "all"
) -> list[EncodedText]:
    """Token ids of prompt + answer, and which positions predict the answer's tokens.

    Raises:
        UserError: there are no texts, or an answer has no tokens; names the item.
    """
    if not texts:
        raise UserError("probe: there are no texts to read; give benchmarks with training items")
    return [_encode(lm, text, positions) for text in texts]


def _encode(lm: LanguageModel, text: LensText, positions: Positions) -> EncodedText:
    ids, inside = _tokens(lm, text)
    inside = [i for i in inside if i > 0]
    if not inside:
        raise UserError(f"probe: the answer to {text.item_id} ({text.language}) has no tokens")
    stop = inside[-1] + 1 if positions == "all" else inside[0] + 1
    return EncodedText(text, ids[:stop], inside[0] - 1, stop - 1)


def _tokens(lm: LanguageModel, text: LensText) -> tuple[list[int], list[int]]:
    """All token ids, and the places among them that hold the answer."""
    if text.prompt_ids is None and getattr(lm.tokenizer, "is_fast", False):
        whole, boundary = text.prompt_text + text.answer_text, len(text.prompt_text)
        found = lm.tokenizer(whole, return_offsets_mapping=True)
        offsets = enumerate(found["offset_mapping"])
        return found["input_ids"], [i for i, (start, end) in offsets if end > max(boundary, start)]
    before = text.prompt_ids or lm.tokenizer(text.prompt_text)["input_ids"]
    after = lm.tokenizer(text.answer_text, add_special_tokens=False)["input_ids"]
    return [*before, *after], list(range(len(before), len(before) + len(after)))


def batched(encoded: Sequence[EncodedText], batch_tokens: int) -> Iterator[list[EncodedText]]:
    """Texts of similar length together, longest first, so that too little memory shows at once."""
    batch: list[EncodedText] = []
    for one in sorted(encoded, key=lambda e: len(e.token_ids), reverse=True):
        if batch and (len(batch) + 1) * len(batch[0].token_ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(one)
    yield batch


def right_padded(token_ids: Sequence[Sequence[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Input ids and mask (batch, position). Padding on the right leaves a causal model's states,
    and any kind of position numbers, as they are without it."""
    longest = max(map(len, token_ids))
    ids = torch.full((len(token_ids), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask
