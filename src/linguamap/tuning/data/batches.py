"""Training examples and batches of them, in an order that a seed fixes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from linguamap.models.batching import batches_by_length

SORT_WINDOW = 16
"""Batches among which examples are sorted by length: little padding, still well mixed."""


@dataclass(frozen=True)
class TrainingExample:
    """A text as token ids and which of them the model should learn to write.

    Attributes:
        example_id: unique among the examples of a training.
        loss_mask: True where the token is trained on; never at the first position.
        group: examples of one group never fall into both training and validation.
    """

    example_id: str
    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]
    group: str
    language: str | None = None

    @property
    def n_targets(self) -> int:
        return sum(self.loss_mask)


@dataclass(frozen=True)
class TrainingData:
    """All examples, and which of them train or validate (indices)."""

    examples: Sequence[TrainingExample]
    training: Sequence[int]
    validation: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """Some examples, padded on the right.

    Attributes:
        indices: which examples.
        ids: (batch, position).
        rows, columns: (target,) places whose next token is trained on.
        targets: (target,) that next token.
        n_tokens: without padding.
    """

    indices: tuple[int, ...]
    ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    n_tokens: int


def collate(examples: Sequence[TrainingExample], indices: Sequence[int], pad: int) -> Batch:
    """Put examples into one batch."""
    chosen = [examples[index] for index in indices]
    longest = max(len(example.token_ids) for example in chosen)
    ids = torch.full((len(chosen), longest), pad)
    mask = torch.zeros((len(chosen), longest), dtype=torch.bool)
    for row, example in enumerate(chosen):
        ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
        mask[row, : len(example.token_ids)] = torch.tensor(example.loss_mask)
    rows, positions = mask.nonzero(as_tuple=True)
    return Batch(
        indices=tuple(indices),
        ids=ids,
        rows=rows,
        columns=positions - 1,
        targets=ids[rows, positions],
        n_tokens=sum(len(example.token_ids) for example in chosen),
    )


def answer_beginnings(examples: Sequence[TrainingExample], n_tokens: int) -> list[TrainingExample]:
    """The examples with their first targets alone, and cut behind them."""
    cut = []
    for example in examples:
        targets = [at for at, is_target in enumerate(example.loss_mask) if is_target][:n_tokens]
        size = targets[-1] + 1
        mask = tuple(at in targets for at in range(size))
        cut.append(replace(example, token_ids=example.token_ids[:size], loss_mask=mask))
    return cut


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of an epoch: shuffled, near lengths together, batches shuffled again.

    A function of its arguments alone, so that a run that goes on after a kill sees the same.
    """
    shuffle = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    window = batch_size * SORT_WINDOW
    batches = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lambda index: lengths[index])
        batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
    shuffle.shuffle(batches)
    return batches


def forward_passes(
    step: Sequence[Sequence[int]], lengths: Sequence[int], max_tokens: int | None
) -> list[list[int]]:
    """The forward passes of one optimiser step; empty ones are left out.

    Args:
        step: examples (indices) in passes of ``batch_size``.
        lengths: of all examples, in tokens.
        max_tokens: cut the step's examples anew into passes of at most so many padded tokens, longest
            examples first; a longer example has a pass of its own. None keeps the passes.
    """
    if max_tokens is None:
        return [list(indices) for indices in step if indices]
    chosen = [index for indices in step for index in indices]
    cut = batches_by_length([lengths[index] for index in chosen], max_tokens)
    return [[chosen[at] for at in batch] for batch in cut]


def split_groups(examples: Sequence[TrainingExample], share: float, seed: int) -> set[str]:
    """Ids of the examples that validate; a group falls whole to one side.

    Args:
        share: of the groups, in [0, 1). Above 0 at least one validates, wherever there are two.
    """
    groups = sorted({example.group for example in examples})
    count = round(len(groups) * share)
    if share > 0:
        count = max(min(max(count, 1), len(groups) - 1), 0)
    chosen = set(random.Random(f"validation/{seed}").sample(groups, count))
    return {example.example_id for example in examples if example.group in chosen}
