"""What rules that run the model share: examples, their loss, and the blocks' gradients.

The examples are cut after the first tokens of their answers, where the language is decided. Rules that
train a little hold groups of examples out and judge by their loss. Whoever changes a weight puts it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from linguamap import seeding
from linguamap.records import UserError
from linguamap.run.contents import TrainingCost
from linguamap.run.files import read_json, write_json
from linguamap.tuning.choosing.front import operations
from linguamap.tuning.data.batches import (
    TrainingData,
    TrainingExample,
    answer_beginnings,
    collate,
    split_groups,
)
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.training.loss import frozen_head, head_loss
from linguamap.tuning.training.master_weights import MasterWeights, choose_precision
from linguamap.tuning.training.split_model import SplitModel

if TYPE_CHECKING:
    from linguamap.config import TuneConfig
    from linguamap.models.language_model import LanguageModel

FIRST_TOKENS = 8
"""Of each answer: with them its language is chosen, the later ones follow."""
PARTS = 8
"""The examples' parts, at most: over them the intervals are."""
EPOCH_SHARE = 10
"""Gradients read at most one in so many training examples, so that they stay cheap beside training."""
HELD_SHARE = 0.25
"""Of the groups of training examples: those that trials are judged by, and do not train on."""

Gradients = list[list[Tensor | None]]
"""(block, parameter)."""
Part = Sequence[TrainingExample]


@dataclass(frozen=True)
class TrialExamples:
    """What trials train on and are judged by; no group is on both sides."""

    training: list[TrainingExample]
    held: list[list[TrainingExample]]

    def batch(self, number: int, size: int) -> Part:
        """The examples of one step; after the last example the first one comes again."""
        at = number * size
        return [self.training[(at + place) % len(self.training)] for place in range(size)]


class Notes:
    """Scores of rules that take long, kept in a file, so that a killed call goes on where it was."""

    def __init__(self, path: Path | None, facts: Any) -> None:
        """Read what is there, if it is of the same model, settings and examples.

        Args:
            facts: what the scores depend on.
        """
        self.path = path
        self.key = hashlib.sha256(
            json.dumps(facts, sort_keys=True, default=str).encode()
        ).hexdigest()
        stored = read_json(path) if path is not None and path.is_file() else {}
        self.found: dict[str, Any] = stored["found"] if stored.get("key") == self.key else {}

    def put(self, name: str, value: Any) -> None:
        self.found[name] = value
        if self.path is not None:
            write_json(self.path, {"key": self.key, "found": self.found})


class Calibration:
    """A model whose blocks can get gradients, and the examples that rules read.

    Attributes:
        parts: for gradients, an even number of them.
        trial: for rules that train a little; None where there are too few groups.
        seconds: of :meth:`gradients`, over ``tokens`` and ``target_tokens``.
    """

    def __init__(
        self, lm: LanguageModel, data: TrainingData, most: int, tune: TuneConfig, *,
        seed: int = 0, notes: Path | None = None,
    ) -> None:  # fmt: skip
        """Let gradients reach every block.

        Args:
            data: only what trains is read, never what validates.
            most: examples at most that gradients are made of, and that trials are judged by.
            tune: its dtype (of the products; weights stay in their own) and learning rate.
            notes: file of the scores that took long; None keeps them nowhere.
        Raises:
            UserError: quantised weights, weights that blocks share with the rest, too few examples.
        """
        self.parts = calibration_parts(data, most)
        self.trial = trial_examples(data, most, seed)
        wanted = tune.dtype if lm.dtype == torch.float32 else "auto"
        self.autocast = choose_precision(wanted, lm.model, lm.dtype).autocast
        choose_parameters(lm, range(1, lm.n_layers + 1))
        self.lm, self.data, self.tune, self.seed = lm, data, tune, seed
        self.whole = SplitModel(lm, 1, self.autocast)
        self.head = frozen_head(lm.structure, self.autocast or lm.dtype)
        self.parameters = [list(block.parameters()) for block in lm.structure.blocks]
        self.seconds, self.tokens, self.target_tokens = 0.0, 0, 0
        facts = [lm.identity, tune.model_dump(), seed, most, str(self.autocast)]
        texts = [(one.token_ids, one.loss_mask) for one in data.examples]
        self.notes = Notes(notes, [facts, texts, list(data.training)])

    def release(self) -> None:
        """Leave the model as one that nothing trains."""
        self.lm.model.requires_grad_(False)

    def loss(
        self, part: Part, split: SplitModel | None = None, states: Tensor | None = None
    ) -> Tensor:
        """Nats per target token.

        Args:
            split: with ``states``, (example, position, d_model) at its boundary: only what lies above
                is run.
        """
        device, split = self.lm.device, split or self.whole
        batch = collate(part, range(len(part)), split.pad)
        hidden = split.head_input(
            batch.ids.to(device), states, batch.rows.to(device), batch.columns.to(device)
        )
        total = head_loss(hidden, batch.targets.to(device), self.lm.structure, self.head)
        return total / len(batch.targets)

    def gradients(self, part: Part) -> Gradients:
        """Of the loss, one example at a time, so that a part's length costs no memory."""
        started = time.monotonic()
        total = sum(example.n_targets for example in part)
        for example in part:
            scaled = self.loss([example]) * (example.n_targets / total)
            scaled.backward()  # type: ignore[no-untyped-call]
        taken: Gradients = []
        for block in self.parameters:
            taken.append([parameter.grad for parameter in block])
            for parameter in block:
                parameter.grad = None
        self.seconds += time.monotonic() - started
        self.tokens += sum(len(example.token_ids) for example in part)
        self.target_tokens += total
        return taken

    @contextlib.contextmanager
    def training(self, parameters: Mapping[str, nn.Parameter], rate: float) -> Iterator[Optimizer]:
        """Train these parameters, and no others, by AdamW at a constant rate within the ``with`` block;
        after it they have their old values."""
        kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.lm.model.requires_grad_(False)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            yield Optimizer(MasterWeights(parameters), rate, self.tune.clip_norm)
        finally:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.grad = None
                    parameter.copy_(kept[name])
            choose_parameters(self.lm, range(1, self.lm.n_layers + 1))

    def cost(self) -> TrainingCost:
        """What an epoch is made of, and how fast gradients were made here."""
        lm, training = self.lm, [self.data.examples[at] for at in self.data.training]
        tokens = sum(len(example.token_ids) for example in training)
        sizes = [sum(p.numel() for p in block) for block in self.parameters]
        head = lm.vocab_size * lm.d_model
        done = operations(range(1, len(sizes) + 1), sizes, head, self.tokens, self.target_tokens)
        return TrainingCost(
            tokens=tokens,
            target_tokens=sum(example.n_targets for example in training),
            batch_tokens=-(-tokens * self.tune.batch_size // len(training)),
            d_model=lm.d_model,
            head_parameters=head,
            weight_bytes=torch.finfo(lm.dtype).bits // 8,
            seconds_per_operation=self.seconds / done,
        )


class Optimizer:
    """AdamW on float32 copies of the weights, at a constant rate."""

    def __init__(self, masters: MasterWeights, rate: float, clip_norm: float | None) -> None:
        self.masters, self.clip_norm = masters, clip_norm or float("inf")
        self.adam = torch.optim.AdamW(list(masters.tensors.values()), lr=rate, weight_decay=0.0)

    def step(self, loss: Tensor) -> None:
        """Go against the gradient of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.masters.accumulate_grads()
        torch.nn.utils.clip_grad_norm_(list(self.masters.tensors.values()), self.clip_norm)
        self.adam.step()
        self.masters.copy_to_model()
        self.adam.zero_grad(set_to_none=True)


def calibration_parts(data: TrainingData, most: int) -> list[list[TrainingExample]]:
    """An even number of parts of training examples, evenly spread over them, each cut to its answer's first tokens.

    A tenth of the training examples at most, so that gradients cost less than a tenth of an epoch of
    full tuning; but two, without which there is no pair.

    Raises:
        UserError: fewer than two training examples.
    """
    training = [data.examples[at] for at in data.training]
    if len(training) < 2:
        raise UserError("choose: gradients need two training examples or more; add some")
    count = max(2, min(most, (len(training) - 1) // EPOCH_SHARE))
    return _in_parts(_spread(training, count), min(PARTS, count - count % 2))


def trial_examples(data: TrainingData, most: int, seed: int) -> TrialExamples | None:
    """Training examples in two, by group; None with fewer than two groups.

    Args:
        most: examples to judge by.
    """
    training = [data.examples[at] for at in data.training]
    held_ids = split_groups(training, HELD_SHARE, seed)
    held = [example for example in training if example.example_id in held_ids]
    rest = [example for example in training if example.example_id not in held_ids]
    if not held or not rest:
        return None
    judging = _spread(held, min(most, len(held)))
    rest.sort(key=lambda example: seeding.number("trial", seed, example.example_id))
    return TrialExamples(
        answer_beginnings(rest, FIRST_TOKENS), _in_parts(judging, min(PARTS, len(judging)))
    )


def _spread(examples: Part, count: int) -> list[TrainingExample]:
    """So many examples, evenly spread over all."""
    return [examples[at * len(examples) // count] for at in range(count)]


def _in_parts(examples: Part, n_parts: int) -> list[list[TrainingExample]]:
    cut = answer_beginnings(examples, FIRST_TOKENS)
    return [cut[at::n_parts] for at in range(n_parts)]
