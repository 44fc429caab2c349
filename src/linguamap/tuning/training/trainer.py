"""The training loop: same numbers as plain training with frozen blocks, and it survives a kill."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.run.files import load_tensors, save_tensors
from linguamap.run.processes import ProcessGroup
from linguamap.tuning.check import Checker, best_tokens
from linguamap.tuning.data.batches import (
    Batch,
    TrainingData,
    TrainingExample,
    collate,
    epoch_order,
)
from linguamap.tuning.training.activation_cache import ActivationCache
from linguamap.tuning.training.distributed import Pass, WorkSplit, all_reduce_gradients, split_work
from linguamap.tuning.training.loss import frozen_head, head_loss
from linguamap.tuning.training.master_weights import MasterWeights, Precision, learning_rates, whole
from linguamap.tuning.training.split_model import SplitModel
from linguamap.tuning.training.training_state import (
    TrainingLog,
    TrainingState,
    catch_sigterm,
    gathered,
    load_checkpoint,
    save_checkpoint,
)

if TYPE_CHECKING:
    from linguamap.config import TuneConfig


class Trainer:
    """Trains the parameters of ``masters`` on the boundary states of a :class:`SplitModel`."""

    def __init__(
        self,
        split: SplitModel,
        cache: ActivationCache | None,
        data: TrainingData,
        masters: MasterWeights,
        precision: Precision,
        config: TuneConfig,
        out: Path,
        *,
        seed: int,
        key: str,
        progress: Progress = silent,
        work: WorkSplit | None = None,
        checker: Checker | None = None,
    ) -> None:
        """Set up a training; an unfinished one with the same key is taken up again.

        Args:
            cache: boundary states of this process's examples, in their order; None runs the lower
                blocks with every batch.
            out: folder of ``log.jsonl`` and, until the end, ``checkpoint/``.
            seed: of the order of examples.
            key: names model, data and settings, see :func:`training_key`.
            work: who runs which examples; None for one process.
            checker: reads some validation examples after each epoch.
        """
        self.split, self.cache, self.data, self.masters = split, cache, data, masters
        self.config, self.seed, self.key = config, seed, key
        self.work = work or split_work(ProcessGroup(), data, config.batch_tokens)
        self.group, self.sharded = self.work.group, self.work.in_step
        self.checker = checker
        self.cache_indices = {index: number for number, index in enumerate(self.work.indices)}
        self.products = precision.products
        # Sharded weights are whole only inside the forward pass, see _loss.
        self.head = None if self.sharded else frozen_head(split.lm.structure, precision.products)
        self.saved = out / "checkpoint" / "state.safetensors"
        self.best = out / "checkpoint" / "best.safetensors"
        self.optimizer = _optimizer(masters, config)
        self.lengths = [len(data.examples[index].token_ids) for index in data.training]
        self.steps = math.ceil(
            math.ceil(len(self.lengths) / config.batch_size) / config.accumulation
        )
        self.rates = learning_rates(
            config.schedule, config.learning_rate, self.steps * config.epochs
        )
        self.state = load_checkpoint(self.saved, masters, self.optimizer, key) or TrainingState()
        self.log = TrainingLog(
            out, config, self.state, len(self.rates), progress, self.group.writes
        )

    def run(self) -> dict[str, Tensor]:
        """Train to the end and return the best epoch's weights; nothing but in the first process.

        Raises:
            UserError: the loss was not finite before any epoch was finished.
        """
        state, config = self.state, self.config
        if self.checker is not None and not state.checks:
            self._check(0)
        with catch_sigterm() as terminated:
            while state.epoch < config.epochs and state.stopped is None:
                if not self._epoch(terminated):
                    self._keep_last_finite()
                    break
                self._finish_epoch()
                self._save()
        self.log.finish()
        if not self.group.writes:
            return {}
        return load_tensors(self.best)[0]

    def validate(self) -> float | None:
        """Nats per target token of the validation examples; None without any."""
        chosen = self.data.validation
        if not chosen:
            return None
        total, target_tokens = 0.0, 0
        for forward_pass in self.work.passes(self._sorted(chosen)):
            batch = self._collate(forward_pass.indices)
            with torch.no_grad():
                loss = float(self._loss(batch))
            if forward_pass.counts:
                total += loss
                target_tokens += len(batch.targets)
        total, all_target_tokens = self.group.all_reduce([total, target_tokens])
        return total / int(all_target_tokens)

    def _sorted(self, indices: Sequence[int]) -> list[list[int]]:
        """Examples in passes of near lengths."""
        ordered = sorted(indices, key=lambda index: len(self.data.examples[index].token_ids))
        size = self.config.batch_size
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    def _check(self, epoch: int) -> None:
        """Read the checker's examples with the present weights and note what was found."""
        checker = self.checker
        if checker is None:
            return
        checker.start()
        for forward_pass in self.work.passes(self._sorted(sorted(checker.items))):
            indices = forward_pass.indices
            examples = [checker.items.get(i, self.data.examples[i]) for i in indices]
            batch = collate(examples, range(len(examples)), self.split.pad)
            with torch.no_grad():
                predicted = self._at_head(
                    batch, indices, lambda hidden: best_tokens(hidden, self._structure)
                )
            if forward_pass.counts:
                checker.add(indices, batch.rows, batch.targets, predicted)
        summary = checker.summary(epoch, self.group.all_reduce(checker.numbers()))
        self.state.checks.append(summary)

    def _epoch(self, terminated: threading.Event) -> bool:
        """The steps of an epoch that are left; False if the loss stopped being finite."""
        state = self.state
        passes = epoch_order(self.lengths, self.config.batch_size, self.seed, state.epoch)
        size = self.config.accumulation
        steps = [passes[at : at + size] for at in range(0, len(passes), size)]
        for step in steps[state.step_in_epoch :]:
            started = time.monotonic()
            row = self._step([[self.data.training[at] for at in indices] for indices in step])
            if not math.isfinite(row["loss"]) or not math.isfinite(row["gradient_norm"]):
                state.stopped = f"the loss was not finite at step {state.step + 1}"
                return False
            state.step += 1
            state.step_in_epoch += 1
            state.seconds += time.monotonic() - started
            self.log.step(row, time.monotonic() - started)
            if self._is_terminated(terminated):
                self._save()
                raise SystemExit(128 + signal.SIGTERM)
        return True

    def _is_terminated(self, terminated: threading.Event) -> bool:
        """Whether any process was asked to stop: then all do, after the same step."""
        return self.group.all_reduce([float(terminated.is_set())])[0] > 0

    def _step(self, step: list[list[int]]) -> dict[str, Any]:
        """One optimiser step over some examples; not taken if the loss is not finite."""
        chosen = [self.data.examples[index] for indices in step for index in indices]
        target_tokens = sum(example.n_targets for example in chosen)
        loss = 0.0
        for forward_pass in self.work.passes(step):
            loss += self._backward(forward_pass, target_tokens)
        (loss,) = self.group.all_reduce([loss])
        self._all_reduce_gradients()
        rate = self.rates[self.state.step]
        limit = self.config.clip_norm or float("inf")
        norm = float(
            whole(torch.nn.utils.clip_grad_norm_(list(self.masters.tensors.values()), limit))
        )
        if math.isfinite(loss) and math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.masters.copy_to_model()
            self.state.loss_sum += loss
            self.state.target_tokens += target_tokens
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "epoch": self.state.epoch + 1,
            "loss": loss / target_tokens,
            "gradient_norm": norm,
            "learning_rate": rate,
            "target_tokens": target_tokens,
            "tokens": sum(len(example.token_ids) for example in chosen),
        }

    def _backward(self, forward_pass: Pass, target_tokens: int) -> float:
        """Add a pass's gradients to the masters'; returns its summed loss."""
        loss = self._loss(self._collate(forward_pass.indices))
        # FSDP takes the mean over processes where the sum is wanted.
        scale = (self.group.world_size if self.sharded else 1) * forward_pass.counts
        mean = loss / target_tokens
        (mean if scale == 1 else mean * scale).backward()  # type: ignore[no-untyped-call]
        self.masters.accumulate_grads()
        return float(loss.detach()) * forward_pass.counts

    def _all_reduce_gradients(self) -> None:
        """Sum the gradients of all processes; sharded ones are summed as they are made."""
        if self.group.world_size == 1 or self.sharded:
            return
        masters = list(self.masters.tensors.values())
        summed = all_reduce_gradients(self.group, [master.grad for master in masters], masters)
        for master, gradient in zip(masters, summed, strict=True):
            master.grad = gradient

    def _loss(self, batch: Batch) -> Tensor:
        """Summed cross entropy of a batch."""
        targets = batch.targets.to(self.split.lm.device)

        def read(hidden: Tensor) -> Tensor:
            head = self.head
            if self.sharded:
                head = frozen_head(self._structure, self.products)
            return head_loss(hidden, targets, self._structure, head)

        return self._at_head(batch, batch.indices, read)

    def _at_head(self, batch: Batch, indices: Sequence[int], read: Any) -> Tensor:
        """What ``read`` makes of the head's input (target, d_model) at the target positions."""
        device = self.split.lm.device
        states = None
        if self.cache is not None:
            cached = [self.cache_indices[index] for index in indices]
            states = self.cache.batch(cached, batch.ids.shape[1])
        inputs = (batch.ids.to(device), states, batch.rows.to(device), batch.columns.to(device))
        if self.sharded:
            return self.split.read_at_head(*inputs, read)
        result: Tensor = read(self.split.head_input(*inputs))
        return result

    @property
    def _structure(self) -> Any:
        return self.split.lm.structure

    def _collate(self, indices: Sequence[int]) -> Batch:
        return collate(self.data.examples, indices, self.split.pad)

    def _finish_epoch(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        state = self.state
        started = time.monotonic()
        validation = self.validate()
        state.epoch += 1
        self._check(state.epoch)
        state.train_loss.append(state.loss_sum / state.target_tokens)
        state.validation_loss.append(validation)
        state.seconds_per_epoch.append(round(state.seconds + time.monotonic() - started, 3))
        state.step_in_epoch, state.loss_sum, state.target_tokens, state.seconds = 0, 0.0, 0, 0.0
        self.log.epoch()
        scores = self._scores()
        if scores is None or scores[-1] == min(scores):
            self._keep_best()
        elif (
            self.config.patience is not None
            and state.epoch - (state.best_epoch or 0) >= self.config.patience
        ):
            wanted = "validation loss" if self.config.best_by == "loss" else "consistency"
            state.stopped = f"no better {wanted} in {self.config.patience} epochs"

    def _scores(self) -> list[float] | None:
        """What the best epoch is chosen by, of each, the lower the better; None if there is nothing."""
        state = self.state
        if self.config.best_by == "consistency" and self.checker is not None:
            checks = [check for check in state.checks if check["epoch"]]
            return [-(check["teacher_forced_consistency"] or 0.0) for check in checks]
        losses = [loss for loss in state.validation_loss if loss is not None]
        return losses if state.validation_loss[-1] is not None else None

    def _keep_last_finite(self) -> None:
        """After a non-finite loss: the best epoch stays; without one, the last finite weights."""
        if self.state.best_epoch is not None:
            return
        if self.state.step == 0:
            raise UserError(
                "tune: the loss is not finite at the first step; lower tune.learning_rate, or set "
                "tune.dtype=float32"
            )
        self._keep_best()

    def _keep_best(self) -> None:
        self.state.best_epoch = max(self.state.epoch, 1)
        parameters = {name: p.detach() for name, p in self.masters.parameters.items()}
        weights = gathered(parameters, self.group.writes)
        if self.group.writes:
            save_tensors(self.best, weights, {"epoch": str(self.state.best_epoch)})

    def _save(self) -> None:
        writes = self.group.writes
        save_checkpoint(self.saved, self.state, self.masters, self.optimizer, self.key, writes)


def training_key(facts: dict[str, Any], examples: Sequence[TrainingExample]) -> str:
    """A name for a training: equal keys mean the same model, data and settings."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for example in examples:
        digest.update(json.dumps([example.token_ids, example.loss_mask]).encode())
    return digest.hexdigest()


def _optimizer(masters: MasterWeights, config: TuneConfig) -> torch.optim.AdamW:
    """AdamW; weight decay is for matrices only."""
    tensors = list(masters.tensors.values())
    groups = [
        {"params": [t for t in tensors if t.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [t for t in tensors if t.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
