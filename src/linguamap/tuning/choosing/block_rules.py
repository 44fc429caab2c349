"""Rules that run the model: each an object that scores every block from the same calibration."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.run.contents import BlockScores, RuleName
from linguamap.tuning.choosing.block_trials import LoraRemoval, Trial
from linguamap.tuning.choosing.calibration import Calibration, Gradients, Part
from linguamap.tuning.choosing.choose import GRADIENTS, Measured, mean_and_interval

if TYPE_CHECKING:
    from linguamap.config import TuneConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.tuning.data.batches import TrainingData


class Rule(Protocol):
    """One rule, or several that share their passes."""

    names: tuple[RuleName, ...]

    def scores(
        self, calibration: Calibration, wanted: Sequence[RuleName], progress: Progress
    ) -> dict[RuleName, BlockScores]:
        """Of those of its names that are wanted.

        Raises:
            UserError: it cannot be computed on this model, or by these examples.
        """


def measure(
    lm: LanguageModel,
    data: TrainingData,
    most: int,
    tune: TuneConfig,
    wanted: Sequence[RuleName],
    progress: Progress = silent,
    *,
    seed: int = 0,
    notes: Path | None = None,
) -> Measured:
    """The scores of rules that run the model, and what training costs.

    Args:
        data, most, tune, notes: see :class:`linguamap.tuning.choosing.calibration.Calibration`.
        seed: of the groups that trials hold out, their order, and the adapters.
    Returns:
        Those wanted; a rule that cannot be computed has the reason in place of scores. Rules from the
        same passes share their seconds.
    """
    try:
        calibration = Calibration(lm, data, most, tune, seed=seed, notes=notes)
    except UserError as error:
        return {name: BlockScores(reason=str(error)) for name in wanted}, None
    found: dict[RuleName, BlockScores] = {}
    try:
        for rule in RULES:
            if own := [name for name in wanted if name in rule.names]:
                try:
                    found |= rule.scores(calibration, own, progress)
                except UserError as error:
                    found |= {name: BlockScores(reason=str(error)) for name in own}
        if not calibration.tokens:
            calibration.gradients(calibration.parts[0])
        return found, calibration.cost()
    finally:
        calibration.release()


class FromGradients:
    """What the gradients of halves say. Of a pair of parts one's gradient is held while the other's is
    made: the memory is that of the blocks' weights three times."""

    names: tuple[RuleName, ...] = (*GRADIENTS, "step")

    def scores(
        self, calibration: Calibration, wanted: Sequence[RuleName], progress: Progress
    ) -> dict[RuleName, BlockScores]:
        """See :class:`Rule`."""
        parts = calibration.parts
        rows: dict[RuleName, list[list[float]]] = {name: [] for name in wanted}
        stepping = 0.0
        for at in range(0, len(parts), 2):
            progress("block scores", at, len(parts), "")
            one, other = parts[at : at + 2]
            first = calibration.gradients(one)
            if "step" in wanted:
                started = time.monotonic()
                rows["step"].append(_decreases(calibration, first, other))
                stepping += time.monotonic() - started
            if set(wanted) & set(GRADIENTS):
                second = calibration.gradients(other)
                for name, values in readings(calibration, first, second).items():
                    if name in rows:
                        rows[name] += values
        progress("block scores", len(parts), len(parts), "")
        n = sum(map(len, parts))
        return {
            name: mean_and_interval(own, n).timed(
                calibration.seconds + (stepping if name == "step" else 0.0)
            )
            for name, own in rows.items()
        }


RULES: tuple[Rule, ...] = (FromGradients(), Trial(), LoraRemoval())


@torch.no_grad()
def readings(
    calibration: Calibration, one: Gradients, other: Gradients
) -> dict[RuleName, list[list[float]]]:
    """Rule -> scores (part or pair, block) of the gradients of two parts."""
    weights = [_norm(block) for block in calibration.parameters]
    norms = [
        [_norm(gradient) / max(weight, 1e-30) for gradient, weight in zip(half, weights)]
        for half in (one, other)
    ]
    pairs = [
        [(a.float(), b.float()) for a, b in zip(first, second) if a is not None and b is not None]
        for first, second in zip(one, other, strict=True)
    ]
    product = [sum(float((a * b).sum()) for a, b in block) for block in pairs]
    sign = [
        sum(float((a * b.sign() + b * a.sign()).sum()) / 2 for a, b in block) for block in pairs
    ]
    return {"gradient": norms, "gradient_product": [product], "gradient_sign": [sign]}


@torch.no_grad()
def _decreases(calibration: Calibration, gradients: Gradients, part: Part) -> list[float]:
    """How far the loss of a part falls when one block takes a step against the gradient's sign."""
    before, rate = float(calibration.loss(part)), calibration.tune.learning_rate
    found = []
    for block, gradient in zip(calibration.parameters, gradients, strict=True):
        kept = [parameter.clone() for parameter in block]
        for parameter, one in zip(block, gradient, strict=True):
            if one is not None:
                parameter.sub_(rate * one.sign())
        found.append(before - float(calibration.loss(part)))
        for parameter, value in zip(block, kept, strict=True):
            parameter.copy_(value)
    return found


def _norm(tensors: Sequence[Tensor | None]) -> float:
    """Euclidean norm of all numbers together."""
    return math.sqrt(
        sum(float(t.detach().float().square().sum()) for t in tensors if t is not None)
    )
