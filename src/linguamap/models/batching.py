"""The one place for batches by length and for padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def batches_by_length(
    lengths: Sequence[int],
    max_tokens: int,
    max_rows: int | None = None,
    order: Sequence[int] | None = None,
) -> list[list[int]]:
    """Texts of like length together, longest first, so that too little memory shows at once.

    Args:
        lengths: of each text, in tokens.
        max_tokens: bound of rows x longest row; a longer text has a batch of its own.
        max_rows: bound of rows; None for no other bound.
        order: texts in another order than longest first, or some of them.
    Returns:
        Batches of indices into ``lengths``, a function of the arguments alone.
    """
    if order is None:
        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        rows = len(batches[-1]) + 1 if batches else 0
        if not rows or rows * longest > max_tokens or (max_rows is not None and rows > max_rows):
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


def right_padded(token_ids: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Input ids and mask (batch, position). Padding on the right leaves a causal model's states,
    and any kind of position numbers, as they are without it."""
    longest = max(map(len, token_ids))
    ids = torch.full((len(token_ids), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def left_padded(
    token_ids: Sequence[Sequence[int]], pad: int, before: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Input ids (batch, position), and mask (batch, before + position): the last position of every row
    is its text's last token.

    Args:
        before: tokens of each row that stand in a cache already, left-padded likewise; only the
            mask has their columns.
    """
    before = [0] * len(token_ids) if before is None else before
    longest, kept = max(map(len, token_ids)), max(before)
    ids = torch.full((len(token_ids), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(token_ids), kept + longest), dtype=torch.long)
    for row, tokens in enumerate(token_ids):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, kept + longest - len(tokens) - before[row] :] = 1
    return ids, mask
