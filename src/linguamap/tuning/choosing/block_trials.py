"""Rules that train a little and are judged by examples of groups that they did not train on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.records import UserError
from linguamap.run.contents import BlockScores, RuleName
from linguamap.tuning.choosing.choose import mean_and_interval
from linguamap.tuning.data.batches import collate
from linguamap.tuning.layers import add_lora, remove_lora
from linguamap.tuning.training.split_model import SplitModel

if TYPE_CHECKING:
    from linguamap.progress import Progress
    from linguamap.tuning.choosing.calibration import Calibration, Part, TrialExamples

STEPS = (2, 4, 8)
"""Optimiser steps of a block in each round of a trial."""
LORA_STEPS = 24
LORA_RANK = 8
LORA_RATE = 10.0
"""Times the learning rate of whole weights. Source: Schulman 2025, "LoRA without regret"."""
BATCH = 4
"""Examples of a step."""
GREEDY = 8
"""So many blocks, those that are missed most, are joined one by one to sets."""


class Trial:
    """Successive halving: every block takes a few steps from the model as it is, the weaker half goes
    out, and the others begin again with twice as many.

    Source: Jamieson and Talwalkar 2016 (arXiv:1502.07943). Only scores are carried from round to round,
    so that no more than one block's optimiser is ever held, and a killed trial goes on by its notes.
    """

    names: tuple[RuleName, ...] = ("trial",)

    def scores(
        self, calibration: Calibration, wanted: Sequence[RuleName], progress: Progress
    ) -> dict[RuleName, BlockScores]:
        """Decrease of the held examples' loss after the steps of the last round that a block was in."""
        examples, notes = _examples(calibration, "trial"), calibration.notes
        left = list(range(1, calibration.lm.n_layers + 1))
        rows: dict[int, list[float]] = {}
        out: list[int] = []
        seconds = 0.0
        for place, steps in enumerate(STEPS):
            walk = _Walk(calibration, examples, steps)
            for number, block in enumerate(left):
                progress(f"trial {place + 1} of {len(STEPS)}", number, len(left), "blocks")
                name = f"trial/{steps}/{block}"
                if name not in notes.found:
                    started = time.monotonic()
                    values = walk.decreases(block)
                    notes.put(name, [time.monotonic() - started, *values])
                spent, *rows[block] = notes.found[name]
                seconds += spent
            left.sort(key=lambda block: -sum(rows[block]))
            keep = len(left) if steps == STEPS[-1] else -(-len(left) // 2)
            left, out = left[:keep], left[keep:] + out
            left.sort()
        left.sort(key=lambda block: -sum(rows[block]))
        columns = [rows[block] for block in sorted(rows)]
        parts = [list(row) for row in zip(*columns, strict=True)]
        found = mean_and_interval(parts, sum(map(len, examples.held))).ordered([*left, *out])
        return {"trial": found.timed(seconds)}


class _Walk:
    """Blocks trained from the lowest one up, so that the states below each are made from those below the last."""

    def __init__(self, calibration: Calibration, examples: TrialExamples, steps: int) -> None:
        self.calibration = calibration
        self.batches = [examples.batch(number, BATCH) for number in range(steps)]
        self.held = examples.held
        self.layer = 0
        self.states: list[Tensor | None] = [None] * (steps + len(self.held))

    def decreases(self, block: int) -> list[float]:
        """By part: how far the held examples' loss falls when the block alone is trained."""
        calibration = self.calibration
        split = SplitModel(calibration.lm, block, calibration.autocast)
        if split.below:
            self.states = [
                split.prefix(_ids(calibration, split, part), states, self.layer)
                for part, states in zip([*self.batches, *self.held], self.states, strict=True)
            ]
        self.layer = block - 1
        states = self.states[: len(self.batches)]
        before = self._losses(split)
        own = dict(calibration.lm.structure.blocks[block - 1].named_parameters())
        with calibration.training(own, calibration.tune.learning_rate) as optimizer:
            for batch, below in zip(self.batches, states, strict=True):
                optimizer.step(calibration.loss(batch, split, below))
            after = self._losses(split)
        return [a - b for a, b in zip(before, after, strict=True)]

    @torch.no_grad()
    def _losses(self, split: SplitModel) -> list[float]:
        states = self.states[len(self.batches) :]
        return [
            float(self.calibration.loss(part, split, below))
            for part, below in zip(self.held, states, strict=True)
        ]


class LoraRemoval:
    """A short LoRA on all blocks, then each block's adapter taken out in turn.

    What a block does *beside the others* is seen, which a trial of one block alone cannot see; and
    sets are built by joining adapters to none, the one that lowers the loss most first.
    """

    names: tuple[RuleName, ...] = ("lora",)

    def scores(
        self, calibration: Calibration, wanted: Sequence[RuleName], progress: Progress
    ) -> dict[RuleName, BlockScores]:
        """Rise of the held examples' loss without a block's adapter."""
        examples, lm, notes = _examples(calibration, "lora"), calibration.lm, calibration.notes
        if "lora" not in notes.found:
            started = time.monotonic()
            with torch.random.fork_rng():
                torch.manual_seed(calibration.seed)
                trainable = add_lora(lm, range(1, lm.n_layers + 1), LORA_RANK)
            try:
                rate = LORA_RATE * calibration.tune.learning_rate
                with calibration.training(trainable.parameters, rate) as optimizer:
                    for number in range(LORA_STEPS):
                        progress("lora: training", number, LORA_STEPS, "steps")
                        batch = examples.batch(number, BATCH)
                        optimizer.step(calibration.loss(batch))
                    rows, order = _Adapters(calibration, examples).removed(progress)
            finally:
                remove_lora(lm)
            notes.put("lora", [time.monotonic() - started, order, rows])
        seconds, order, rows = notes.found["lora"]
        found = mean_and_interval(rows, sum(map(len, examples.held)))
        return {"lora": found.ordered(order).timed(seconds)}


class _Adapters:
    """Trained adapters that can be switched by block."""

    def __init__(self, calibration: Calibration, examples: TrialExamples) -> None:
        self.calibration, self.held = calibration, examples.held
        self.factors = [
            [(factor, factor.detach().clone()) for name, factor in block.named_parameters() if ".lora_B." in name]
            for block in calibration.lm.structure.blocks
        ]  # fmt: skip

    @torch.no_grad()
    def losses(self, blocks: set[int]) -> list[float]:
        """By part, with the adapters of these blocks alone."""
        for block, factors in enumerate(self.factors, 1):
            for factor, value in factors:
                factor.copy_(value if block in blocks else torch.zeros_like(value))
        return [float(self.calibration.loss(part)) for part in self.held]

    def removed(self, progress: Progress) -> tuple[list[list[float]], list[int]]:
        """(part, block) rises without each block, and the blocks in the order of their joining; behind
        them those that were not tried, by their rises."""
        n_layers = len(self.factors)
        blocks = set(range(1, n_layers + 1))
        whole = self.losses(blocks)
        columns = []
        for block in sorted(blocks):
            progress("lora: one block less", block - 1, n_layers, "blocks")
            without = self.losses(blocks - {block})
            columns.append([a - b for a, b in zip(without, whole, strict=True)])
        ranked = sorted(blocks, key=lambda block: -sum(columns[block - 1]))
        order: list[int] = []
        trying = ranked[:GREEDY]
        while trying:
            progress("lora: blocks joined", len(order), min(GREEDY, n_layers), "blocks")
            joined = {block: sum(self.losses({*order, block})) for block in trying}
            order.append(min(joined, key=joined.__getitem__))
            trying.remove(order[-1])
        rows = [list(row) for row in zip(*columns, strict=True)]
        return rows, [*order, *ranked[GREEDY:]]


def _examples(calibration: Calibration, rule: str) -> TrialExamples:
    if calibration.trial is None:
        raise UserError(
            f"choose: the rule {rule} is judged by groups that it does not train on, and there is only one "
            "group of training examples; add some"
        )
    return calibration.trial


def _ids(calibration: Calibration, split: SplitModel, part: Part) -> Tensor:
    """(example, position) token ids."""
    return collate(part, range(len(part)), split.pad).ids.to(calibration.lm.device)
