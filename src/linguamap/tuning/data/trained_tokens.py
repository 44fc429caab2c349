"""Which tokens are trained on: those of character spans, and what ends an answer."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from linguamap.generation.thinking import end_token_ids
from linguamap.models.chat_template import render_conversation

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


def text_end(lm: LanguageModel) -> list[int]:
    """What ends a base model's answer: the line break that ends every field of the plain layout.

    Not the end token: trained on it, the starter model also wrote it in place of an answer, after
    lists of candidates.
    """
    return plain_ids(lm.tokenizer, "\n")


def chat_end(lm: LanguageModel) -> list[int]:
    """What the chat template puts after an assistant's words, up to its first special token."""
    words = "linguamap"
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": words}]
    text = render_conversation(lm.tokenizer, turns)
    special = set(lm.tokenizer.all_special_ids) | end_token_ids(lm)
    after = plain_ids(lm.tokenizer, text.rpartition(words)[2])
    for at, token in enumerate(after):
        if token in special:
            return after[: at + 1]
    return text_end(lm)


def spans_mask(
    text: str, offsets: Sequence[tuple[int, int]], spans: Sequence[Sequence[int]]
) -> list[bool]:
    """Which tokens lie in one of the character spans, judged by their first non-blank character.

    Args:
        offsets: (start, end) characters of each token; empty for special tokens.
        spans: (start, end) characters, in rising order, not overlapping.
    """
    starts = [begin for begin, _ in spans]
    mask = []
    for first, last in offsets:
        piece = text[first:last]
        start = first + len(piece) - len(piece.lstrip()) if piece.strip() else first
        span = bisect.bisect_right(starts, start) - 1
        mask.append(last > first and span >= 0 and start < spans[span][1])
    return mask


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids without special ones."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
