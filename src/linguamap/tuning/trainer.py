"""The training loop: same numbers as plain training with frozen blocks, and it survives a kill."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linguamap.config import TuneConfig
from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.store import append_rows, read_rows, write_rows
from linguamap.tuning.batches import Batch, TrainingExample, collate, epoch_order
from linguamap.tuning.boundary import SplitModel
from linguamap.tuning.checkpoint import (
    TrainingState,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
)
from linguamap.tuning.loss import frozen_head, head_loss
from linguamap.tuning.precision import Masters, Precision
from linguamap.tuning.prefix import PrefixCache
from linguamap.tuning.schedule import learning_rates


@dataclass(frozen=True)
class Data:
    """All examples, and which of them train or validate (indices)."""

    examples: Sequence[TrainingExample]
    training: Sequence[int]
    validation: Sequence[int]


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
    ) -> None:
        """Set up a training; an unfinished one with the same key is taken up again.

        Args:
            cache: boundary states; None runs the lower blocks with every batch.
            out: folder of ``log.jsonl`` and, until the end, ``checkpoint/``.
            seed: of the order of examples.
            key: names model, data and settings, see :func:`training_key`.
        """
        self.split, self.cache, self.data, self.masters = split, cache, data, masters
        self.config, self.seed, self.key, self.progress = config, seed, key, progress
        self.head = frozen_head(split.lm.structure, precision.products)
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
        rows = [row for row in read_rows(self.log) if row.get("step", 0) <= self.state.step]
        write_rows(self.log, rows if self.resumed else [])

    def run(self) -> dict[str, Tensor]:
        """Train to the end and return the best epoch's weights.

        Raises:
            UserError: the loss was not finite before any epoch was finished.
        """
        state, config = self.state, self.config
        with _catch_sigterm() as terminated:
            while state.epoch < config.epochs and state.stopped is None:
                if not self._epoch(terminated):
                    self._keep_last_finite()
                    break
                self._finish_epoch()
                self._save()
        return load_tensors(self.best)[0]

    def validate(self) -> float | None:
        """Nats per counted token of the validation examples; None without any."""
        chosen = self.data.validation
        if not chosen:
            return None
        total, counted = 0.0, 0
        ordered = sorted(chosen, key=lambda index: len(self.data.examples[index].token_ids))
        for start in range(0, len(ordered), self.config.batch_size):
            batch = self._collate(ordered[start : start + self.config.batch_size])
            with torch.no_grad():
                total += float(self._loss(batch))
            counted += len(batch.targets)
        return total / counted

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
            if terminated.is_set():
                self._save()
                raise SystemExit(128 + signal.SIGTERM)
        return True

    def _step(self, passes: list[list[int]]) -> dict[str, Any]:
        """One optimiser step over some forward passes; not taken if the loss is not finite."""
        batches = [self._collate(indices) for indices in passes]
        counted = sum(len(batch.targets) for batch in batches)
        loss = 0.0
        for batch in batches:
            part = self._loss(batch)
            (part / counted).backward()  # type: ignore[no-untyped-call]
            self.masters.collect()
            loss += float(part.detach())
        rate = self.rates[self.state.step]
        limit = self.config.clip_norm or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters.tensors.values(), limit))
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
            "tokens": sum(batch.n_tokens for batch in batches),
        }

    def _loss(self, batch: Batch) -> Tensor:
        """Summed cross entropy of a batch."""
        device = self.split.lm.device
        states = None
        if self.cache is not None:
            states = self.cache.batch(batch.indices, batch.ids.shape[1])
        hidden = self.split.head_input(
            batch.ids.to(device), states, batch.rows.to(device), batch.columns.to(device)
        )
        return head_loss(hidden, batch.targets.to(device), self.split.lm.structure, self.head)

    def _collate(self, indices: Sequence[int]) -> Batch:
        return collate(self.data.examples, indices, self.split.pad)

    def _finish_epoch(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        state = self.state
        started = time.monotonic()
        validation = self.validate()
        state.epoch += 1
        state.train_loss.append(state.loss_sum / state.counted)
        state.validation_loss.append(validation)
        state.seconds_per_epoch.append(round(state.seconds + time.monotonic() - started, 3))
        state.step_in_epoch, state.loss_sum, state.counted, state.seconds = 0, 0.0, 0, 0.0
        known = [value for value in state.validation_loss if value is not None]
        if validation is None or validation == min(known):
            self._keep_best()
        elif (
            self.config.patience is not None
            and state.epoch - (state.best_epoch or 0) >= self.config.patience
        ):
            state.stopped = f"no better validation loss in {self.config.patience} epochs"

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
        weights = {name: p.detach().contiguous() for name, p in self.masters.parameters.items()}
        save_tensors(self.best, weights, {"epoch": str(self.state.best_epoch)})

    def _save(self) -> None:
        save_checkpoint(self.saved, self.state, self.masters, self.optimizer, self.key)

    def _report(self, row: dict[str, Any], seconds: float) -> None:
        append_rows(self.log, [{"step": self.state.step, **row, "seconds": round(seconds, 3)}])
        self._tokens += row["tokens"]
        rate = self._tokens / max(time.monotonic() - self._started, 1e-9)
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


@contextmanager
def _catch_sigterm() -> Iterator[threading.Event]:
    """Note SIGTERM instead of dying of it, and deliver it when the block ends."""
    seen = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.set())
    try:
        yield seen
    finally:
        signal.signal(signal.SIGTERM, before)
        if seen.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
