"""The training loop: same numbers as plain training with frozen blocks, and it survives a kill."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linguamap.config import TuneConfig
from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.run.folder import append_rows, read_rows, write_rows
from linguamap.tuning.activation_cache import PrefixCache
from linguamap.tuning.batches import Batch, TrainingExample, collate, epoch_order
from linguamap.tuning.check import Checker, best_tokens
from linguamap.tuning.checkpoint import (
    TrainingState,
    gathered,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
)
from linguamap.tuning.loss import frozen_head, head_loss
from linguamap.tuning.parallel import Division, Parallel, Pass, divide
from linguamap.tuning.precision import Masters, Precision
from linguamap.tuning.schedule import learning_rates
from linguamap.tuning.slices import whole
from linguamap.tuning.split_model import SplitModel
from linguamap.tuning.stopping import catch_sigterm
from linguamap.tuning.tracking import open_tracker


@dataclass(frozen=True)
class Data:
    """All examples, and which of them train or validate (indices)."""

    examples: Sequence[TrainingExample]
    training: Sequence[int]
    validation: Sequence[int]

    def divided(self, parallel: Parallel, max_tokens: int | None, in_step: bool) -> Division:
        """Which process runs which of them."""
        lengths = [len(example.token_ids) for example in self.examples]
        return divide(parallel, (self.training, self.validation), lengths, max_tokens, in_step)


class Trainer:
    """Trains the parameters of ``masters`` on the boundary states of a :class:`SplitModel`."""

    def __init__(
        self,
        split: SplitModel,
        cache: PrefixCache | None,
        data: Data,
        masters: Masters,
        precision: Precision,
        config: TuneConfig,
        out: Path,
        *,
        seed: int,
        key: str,
        progress: Progress = silent,
        division: Division | None = None,
        checker: Checker | None = None,
    ) -> None:
        """Set up a training; an unfinished one with the same key is taken up again.

        Args:
            cache: boundary states of this process's examples, in their order; None runs the lower
                blocks with every batch.
            out: folder of ``log.jsonl`` and, until the end, ``checkpoint/``.
            seed: of the order of examples.
            key: names model, data and settings, see :func:`training_key`.
            division: who runs which examples; None for one process.
            checker: reads some validation examples after each epoch.
        """
        self.split, self.cache, self.data, self.masters = split, cache, data, masters
        self.config, self.seed, self.key, self.progress = config, seed, key, progress
        self.division = division or data.divided(Parallel(), config.batch_tokens, False)
        self.parallel, self.sharded = self.division.parallel, self.division.in_step
        self.checker = checker
        self.places = {index: place for place, index in enumerate(self.division.own)}
        self.products = precision.products
        # Sharded weights are whole only inside the forward pass, see _loss.
        self.head = None if self.sharded else frozen_head(split.lm.structure, precision.products)
        self.log = out / "log.jsonl"
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
        self.resumed = self.state.step > 0
        self._tokens = 0
        self._started = time.monotonic()
        if self.parallel.writes:
            rows = [row for row in read_rows(self.log) if self._is_past(row)]
            write_rows(self.log, rows if self.resumed else [])
            self.tracker = open_tracker(
                config.tracker, out, config.model_dump(), self.state.step if self.resumed else 0
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
        if not self.parallel.writes:
            return {}
        self.tracker.finish()
        return load_tensors(self.best)[0]

    def validate(self) -> float | None:
        """Nats per counted token of the validation examples; None without any."""
        chosen = self.data.validation
        if not chosen:
            return None
        total, counted = 0.0, 0
        for one in self.division.passes(self._sorted(chosen)):
            batch = self._collate(one.indices)
            with torch.no_grad():
                loss = float(self._loss(batch))
            if one.counts:
                total += loss
                counted += len(batch.targets)
        total, counted_by_all = self.parallel.total([total, counted])
        return total / int(counted_by_all)

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
        for one in self.division.passes(self._sorted(sorted(checker.items))):
            examples = [checker.items.get(i, self.data.examples[i]) for i in one.indices]
            batch = collate(examples, range(len(examples)), self.split.pad)
            with torch.no_grad():
                found = self._at_head(
                    batch, one.indices, lambda hidden: best_tokens(hidden, self._structure)
                )
            if one.counts:
                checker.add(one.indices, batch.rows, batch.targets, found)
        summary = checker.summary(epoch, self.parallel.total(checker.numbers()))
        self.state.checks.append(summary)

    def _epoch(self, terminated: threading.Event) -> bool:
        """The steps of an epoch that are left; False if the loss stopped being finite."""
        state = self.state
        passes = epoch_order(self.lengths, self.config.batch_size, self.seed, state.epoch)
        size = self.config.accumulation
        steps = [passes[at : at + size] for at in range(0, len(passes), size)]
        for step in steps[state.step_in_epoch :]:
            started = time.monotonic()
            row = self._step([[self.data.training[place] for place in places] for places in step])
            if not math.isfinite(row["loss"]) or not math.isfinite(row["gradient_norm"]):
                state.stopped = f"the loss was not finite at step {state.step + 1}"
                return False
            state.step += 1
            state.step_in_epoch += 1
            state.seconds += time.monotonic() - started
            self._report(row, time.monotonic() - started)
            if self._is_terminated(terminated):
                self._save()
                raise SystemExit(128 + signal.SIGTERM)
        return True

    def _is_terminated(self, terminated: threading.Event) -> bool:
        """Whether any process was asked to stop: then all do, after the same step."""
        return self.parallel.total([float(terminated.is_set())])[0] > 0

    def _step(self, step: list[list[int]]) -> dict[str, Any]:
        """One optimiser step over some examples; not taken if the loss is not finite."""
        chosen = [self.data.examples[index] for indices in step for index in indices]
        counted = sum(example.n_counted for example in chosen)
        loss = 0.0
        for one in self.division.passes(step):
            loss += self._backward(one, counted)
        (loss,) = self.parallel.total([loss])
        self._add_up_gradients()
        rate = self.rates[self.state.step]
        limit = self.config.clip_norm or float("inf")
        norm = float(
            whole(torch.nn.utils.clip_grad_norm_(list(self.masters.tensors.values()), limit))
        )
        if math.isfinite(loss) and math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.masters.publish()
            self.state.loss_sum += loss
            self.state.counted += counted
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "epoch": self.state.epoch + 1,
            "loss": loss / counted,
            "gradient_norm": norm,
            "learning_rate": rate,
            "counted": counted,
            "tokens": sum(len(example.token_ids) for example in chosen),
        }

    def _backward(self, one: Pass, counted: int) -> float:
        """Add a pass's gradients to the masters'; returns its summed loss."""
        part = self._loss(self._collate(one.indices))
        # FSDP takes the mean over processes where the sum is wanted.
        scale = (self.parallel.count if self.sharded else 1) * one.counts
        mean = part / counted
        (mean if scale == 1 else mean * scale).backward()  # type: ignore[no-untyped-call]
        self.masters.collect()
        return float(part.detach()) * one.counts

    def _add_up_gradients(self) -> None:
        """Sum the gradients of all processes; sharded ones are summed as they are made."""
        if self.parallel.count == 1 or self.sharded:
            return
        masters = list(self.masters.tensors.values())
        summed = self.parallel.add_up([master.grad for master in masters], masters)
        for master, gradient in zip(masters, summed, strict=True):
            master.grad = gradient if gradient.numel() else None

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
        """What ``read`` makes of the head's input (counted, width) at the counted positions."""
        device = self.split.lm.device
        states = None
        if self.cache is not None:
            places = [self.places[index] for index in indices]
            states = self.cache.batch(places, batch.ids.shape[1])
        given = (batch.ids.to(device), states, batch.rows.to(device), batch.columns.to(device))
        if self.sharded:
            return self.split.read_at_head(*given, read)
        result: Tensor = read(self.split.head_input(*given))
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
        state.train_loss.append(state.loss_sum / state.counted)
        state.validation_loss.append(validation)
        state.seconds_per_epoch.append(round(state.seconds + time.monotonic() - started, 3))
        state.step_in_epoch, state.loss_sum, state.counted, state.seconds = 0, 0.0, 0, 0.0
        self._note_epoch()
        marks = self._marks()
        if marks is None or marks[-1] == min(marks):
            self._keep_best()
        elif (
            self.config.patience is not None
            and state.epoch - (state.best_epoch or 0) >= self.config.patience
        ):
            wanted = "validation loss" if self.config.best_by == "loss" else "consistency"
            state.stopped = f"no better {wanted} in {self.config.patience} epochs"

    def _marks(self) -> list[float] | None:
        """What each finished epoch is judged by, the lower the better; None if there is nothing."""
        state = self.state
        if self.config.best_by == "consistency" and self.checker is not None:
            found = [one["teacher_forced_consistency"] for one in state.checks if one["epoch"]]
            return [-(value or 0.0) for value in found]
        known = [value for value in state.validation_loss if value is not None]
        return known if state.validation_loss[-1] is not None else None

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
        weights = gathered(parameters, self.parallel.writes)
        if self.parallel.writes:
            save_tensors(self.best, weights, {"epoch": str(self.state.best_epoch)})

    def _save(self) -> None:
        writes = self.parallel.writes
        save_checkpoint(self.saved, self.state, self.masters, self.optimizer, self.key, writes)

    def _is_past(self, row: dict[str, Any]) -> bool:
        """Whether a line of the log belongs to what the checkpoint holds."""
        done = row.get("step", 0) <= self.state.step
        return done and ("train_loss" not in row or row["epoch"] <= self.state.epoch)

    def _note_epoch(self) -> None:
        state = self.state
        row: dict[str, Any] = {
            "step": state.step,
            "epoch": state.epoch,
            "train_loss": state.train_loss[-1],
            "validation_loss": state.validation_loss[-1],
        }
        if self.checker is not None:
            row |= {key: state.checks[-1][key] for key in state.checks[-1] if key != "epoch"}
        if self.parallel.writes:
            append_rows(self.log, [row])
            self.tracker.log(row, state.step)

    def _report(self, row: dict[str, Any], seconds: float) -> None:
        if not self.parallel.writes:
            return
        append_rows(self.log, [{"step": self.state.step, **row, "seconds": round(seconds, 3)}])
        self._tokens += row["tokens"]
        rate = self._tokens / max(time.monotonic() - self._started, 1e-9)
        self.tracker.log({**row, "tokens_per_second": rate}, self.state.step)
        self.progress(
            "tune",
            self.state.step,
            len(self.rates),
            f"loss {row['loss']:.3f}, {rate:.0f} tokens/s",
        )


def training_key(facts: dict[str, Any], examples: Sequence[TrainingExample]) -> str:
    """A name for a training: equal keys mean the same model, data and settings."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for example in examples:
        digest.update(json.dumps([example.token_ids, example.loss_mask]).encode())
    return digest.hexdigest()


def _optimizer(masters: Masters, config: TuneConfig) -> torch.optim.AdamW:
    """AdamW; weight decay is for matrices only."""
    tensors = list(masters.tensors.values())
    groups = [
        {"params": [t for t in tensors if t.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [t for t in tensors if t.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
