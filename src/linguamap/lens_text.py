"""Texts that the probes read: a prompt, an answer under it, and where the answer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from linguamap.model import LanguageModel
from linguamap.records import UserError

Positions = Literal["all", "last"]


@dataclass(frozen=True)
class LensText:
    """A prompt and the answer to read under it.

    Attributes:
        group: what is resampled as one in the bootstrap (the passage, the template).
        language: the target language, in which the answer is written.
    """

    item_id: str
    group: str
    language: str
    scenario: str
    kind: str
    prompt_text: str
    answer_text: str


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
    tokenizer = lm.tokenizer
    start = tokenizer.bos_token
    special = not (start and text.prompt_text.startswith(start))  # chat templates write it out
    whole = text.prompt_text + text.answer_text
    boundary = len(text.prompt_text)
    if getattr(tokenizer, "is_fast", False):
        found = tokenizer(whole, add_special_tokens=special, return_offsets_mapping=True)
        ids, offsets = list(found["input_ids"]), found["offset_mapping"]
        inside = [i for i, (begin, end) in enumerate(offsets) if end > max(boundary, begin)]
    else:
        before = tokenizer(text.prompt_text, add_special_tokens=special)["input_ids"]
        after = tokenizer(text.answer_text, add_special_tokens=False)["input_ids"]
        ids, inside = [*before, *after], list(range(len(before), len(before) + len(after)))
    inside = [i for i in inside if i > 0]
    if not inside:
        raise UserError(f"probe: the answer to {text.item_id} ({text.language}) has no tokens")
    stop = inside[-1] + 1 if positions == "all" else inside[0] + 1
    return EncodedText(text, ids[:stop], inside[0] - 1, stop - 1)


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
