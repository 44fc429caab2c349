"""Scores of blocks from a few backward passes over training examples.

The examples are cut after the first tokens of their answers, where the language is decided, and fall into
pairs of parts. Of a pair, one part's gradient is held while the other's is made: the memory is that of
the blocks' weights three times. No weight is changed, but for ``step``, which puts each back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.run.contents import BlockScores, RuleName
from linguamap.tuning.choose import GRADIENTS, mean_and_interval
from linguamap.tuning.data.batches import TrainingData, TrainingExample, answer_beginnings, collate
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.training.loss import frozen_head, head_loss
from linguamap.tuning.training.master_weights import choose_precision
from linguamap.tuning.training.split_model import SplitModel

if TYPE_CHECKING:
    from linguamap.config import TuneConfig
    from linguamap.models.language_model import LanguageModel

FIRST_TOKENS = 8
"""Of each answer: with them its language is chosen, the later ones follow."""
PARTS = 8
"""The examples' parts, at most; two are a pair."""
EPOCH_SHARE = 10
"""At most one in so many training examples is read, so that choosing stays cheap beside training."""

Gradients = list[list[Tensor | None]]
"""(block, parameter)."""


def measure(
    lm: LanguageModel,
    data: TrainingData,
    most: int,
    tune: TuneConfig,
    rules: Sequence[RuleName],
    progress: Progress = silent,
) -> dict[RuleName, BlockScores]:
    """The scores of rules that run the model.

    Args:
        data: only what trains is read, never what validates.
        most: examples at most.
        tune: its learning rate is the step of ``step``.
    Returns:
        Those asked for; where the model's blocks cannot be trained, with the reason in place of scores.
        Rules from the same passes share their seconds.
    """
    try:
        blocks = Blocks(lm, tune.dtype)
    except UserError as error:
        return {rule: BlockScores(reason=str(error)) for rule in rules}
    parts = calibration_parts(data, most)
    found: dict[RuleName, list[list[float]]] = {rule: [] for rule in rules}
    seconds = dict.fromkeys(("gradient", "step"), 0.0)
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    try:
        for number, (one, other) in enumerate(pairs):
            started = time.monotonic()
            progress("block scores", number, len(pairs), "")
            first = blocks.gradients(one)
            if "step" in rules:
                seconds["gradient"] += time.monotonic() - started
                started = time.monotonic()
                found["step"].append(blocks.decreases(first, other, tune.learning_rate))
                seconds["step"] += time.monotonic() - started
                started = time.monotonic()
            if set(rules) & set(GRADIENTS):
                second = blocks.gradients(other)
                for rule, values in blocks.readings(first, second).items():
                    if rule in found:
                        found[rule] += values
            seconds["gradient"] += time.monotonic() - started
        progress("block scores", len(pairs), len(pairs), "")
    finally:
        blocks.release()
    n = sum(len(part) for part in parts)
    return {
        rule: mean_and_interval(rows, n).timed(
            seconds["gradient"] + (seconds["step"] if rule == "step" else 0.0)
        )
        for rule, rows in found.items()
    }


def calibration_parts(data: TrainingData, most: int) -> list[list[TrainingExample]]:
    """An even number of parts of training examples, evenly spread over them, each cut to its answer's first tokens.

    A tenth of the training examples at most, so that gradients cost less than a tenth of an epoch of
    full tuning; but two, without which there is no pair.

    Raises:
        UserError: fewer than two training examples.
    """
    training = data.training
    if len(training) < 2:
        raise UserError("choose: gradients need two training examples or more; add some")
    count = max(2, min(most, (len(training) - 1) // EPOCH_SHARE))
    taken = [data.examples[training[at * len(training) // count]] for at in range(count)]
    cut = answer_beginnings(taken, FIRST_TOKENS)
    n_parts = min(PARTS, count - count % 2)
    return [cut[at::n_parts] for at in range(n_parts)]


class Blocks:
    """A model whose blocks get gradients, and nothing else."""

    def __init__(
        self, lm: LanguageModel, dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    ) -> None:
        """Let gradients reach every block.

        Args:
            dtype: of the products; weights stay in their own.

        Raises:
            UserError: quantised weights, or weights that blocks share with the rest.
        """
        wanted = dtype if lm.dtype == torch.float32 else "auto"
        autocast = choose_precision(wanted, lm.model, lm.dtype).autocast
        choose_parameters(lm, range(1, lm.n_layers + 1))
        self.lm, self.split = lm, SplitModel(lm, 1, autocast)
        self.head = frozen_head(lm.structure, autocast or lm.dtype)
        self.parameters: list[list[nn.Parameter]] = [
            list(block.parameters()) for block in lm.structure.blocks
        ]

    def release(self) -> None:
        """Leave the model as one that nothing trains."""
        self.lm.model.requires_grad_(False)

    def loss(self, part: Sequence[TrainingExample]) -> Tensor:
        """Nats per target token."""
        device = self.lm.device
        batch = collate(part, range(len(part)), self.split.pad)
        hidden = self.split.head_input(
            batch.ids.to(device), None, batch.rows.to(device), batch.columns.to(device)
        )
        total = head_loss(hidden, batch.targets.to(device), self.lm.structure, self.head)
        return total / len(batch.targets)

    def gradients(self, part: Sequence[TrainingExample]) -> Gradients:
        """Of the loss, one example at a time, so that a part's length costs no memory."""
        total = sum(example.n_targets for example in part)
        for example in part:
            scaled = self.loss([example]) * (example.n_targets / total)
            scaled.backward()  # type: ignore[no-untyped-call]
        taken: Gradients = []
        for block in self.parameters:
            taken.append([parameter.grad for parameter in block])
            for parameter in block:
                parameter.grad = None
        return taken

    @torch.no_grad()
    def readings(self, one: Gradients, other: Gradients) -> dict[RuleName, list[list[float]]]:
        """Rule -> scores (part or pair, block)."""
        weights = [_norm(block) for block in self.parameters]
        norms = [
            [_norm(gradient) / max(weight, 1e-30) for gradient, weight in zip(half, weights)]
            for half in (one, other)
        ]
        pairs = [
            [
                (a.float(), b.float())
                for a, b in zip(first, second)
                if a is not None and b is not None
            ]
            for first, second in zip(one, other, strict=True)
        ]
        product = [sum(float((a * b).sum()) for a, b in block) for block in pairs]
        sign = [
            sum(float((a * b.sign() + b * a.sign()).sum()) / 2 for a, b in block) for block in pairs
        ]
        return {"gradient": norms, "gradient_product": [product], "gradient_sign": [sign]}

    @torch.no_grad()
    def decreases(
        self, gradients: Gradients, part: Sequence[TrainingExample], rate: float
    ) -> list[float]:
        """How far the loss of a part falls when one block takes a step against the gradient's sign."""
        before = float(self.loss(part))
        found = []
        for block, gradient in zip(self.parameters, gradients, strict=True):
            kept = [parameter.clone() for parameter in block]
            for parameter, one in zip(block, gradient, strict=True):
                if one is not None:
                    parameter.sub_(rate * one.sign())
            found.append(before - float(self.loss(part)))
            for parameter, value in zip(block, kept, strict=True):
                parameter.copy_(value)
        return found


def _norm(tensors: Sequence[Tensor | None]) -> float:
    """Euclidean norm of all numbers together."""
    return math.sqrt(
        sum(float(t.detach().float().square().sum()) for t in tensors if t is not None)
    )
