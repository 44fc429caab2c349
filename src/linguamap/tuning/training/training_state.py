"""How far a training has come, kept where a killed one goes on, and told as it goes.

The checkpoint is one file that appears whole, tensors and state together; ``log.jsonl`` grows by lines, and
curves go to TensorBoard or Weights & Biases through Accelerate's trackers.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from linguamap.records import UserError
from linguamap.run.files import append_rows, read_rows, save_tensors, write_rows
from linguamap.tuning.training.master_weights import MasterWeights, slice_like, whole

if TYPE_CHECKING:
    from linguamap.config import TuneConfig
    from linguamap.progress import Progress

FORMAT = "linguamap-training-1"
ADAM = ("step", "exp_avg", "exp_avg_sq")
TrackerName = Literal["none", "tensorboard", "wandb"]
INSTALL = {
    "tensorboard": "pip install 'linguamap[tensorboard]'",
    "wandb": "pip install wandb",
}


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        epoch: finished epochs.
        step: finished optimiser steps over all.
        step_in_epoch: finished optimiser steps of the epoch in progress.
        loss_sum, target_tokens, seconds: of the epoch in progress; nats, tokens, seconds.
        train_loss, validation_loss: nats per target token of each finished epoch.
        checks: see :mod:`linguamap.tuning.check`.
        best_epoch: the epoch (from 1) whose weights are kept, or None.
        stopped: why training ended before its time, or None.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    target_tokens: int = 0
    seconds: float = 0.0
    checks: list[dict[str, Any]] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float | None] = field(default_factory=list)
    seconds_per_epoch: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str | None = None


def save_checkpoint(
    path: Path,
    state: TrainingState,
    masters: MasterWeights,
    optimizer: torch.optim.Optimizer,
    key: str,
    writes: bool = True,
) -> None:
    """Write weights, both moments of AdamW and the state, atomically.

    Args:
        writes: False for a process that only brings its slices of the tensors.
    """
    parts: dict[str, Tensor] = {}
    for name, master in masters.tensors.items():
        parts[f"weight/{name}"] = master.detach()
        for part, value in optimizer.state[master].items():
            parts[f"{part}/{name}"] = value
    tensors = gathered(parts, writes)
    if not writes:
        return
    facts = {"format": FORMAT, "key": key, "state": json.dumps(dataclasses.asdict(state))}
    save_tensors(path, tensors, facts)


def load_checkpoint(
    path: Path, masters: MasterWeights, optimizer: torch.optim.Optimizer, key: str
) -> TrainingState | None:
    """Set weights and optimiser to a checkpoint's; None if there is none for this training.

    Args:
        key: of model, data and settings; a checkpoint with another one is not used.
    """
    if not path.exists():
        return None
    try:
        file: Any = safe_open(path, framework="pt")
    except (SafetensorError, OSError):
        return None
    with file:
        facts: dict[str, str] = file.metadata() or {}
        if facts.get("format") != FORMAT or facts.get("key") != key:
            return None
        stored = set(file.keys())
        for name, master in masters.tensors.items():  # one at a time: all may not fit
            masters.load({name: file.get_tensor(f"weight/{name}")})
            if f"{ADAM[0]}/{name}" in stored:
                optimizer.state[master] = {
                    part: slice_like(file.get_tensor(f"{part}/{name}"), master) for part in ADAM
                }
    return TrainingState(**json.loads(facts["state"]))


def gathered(tensors: Mapping[str, Tensor], writes: bool) -> dict[str, Tensor]:
    """Sharded tensors put together, on the CPU; empty in a process that does not write.

    Every process must call it, with the same names in the same order.
    """
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = whole(tensor)
        if writes:
            kept[name] = value.cpu().contiguous() if value is not tensor else value.contiguous()
    return kept


@contextmanager
def catch_sigterm() -> Iterator[threading.Event]:
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


class TrainingLog:
    """``log.jsonl``, the tracker and the progress bar of one training; other processes are silent."""

    def __init__(
        self,
        out: Path,
        config: TuneConfig,
        state: TrainingState,
        n_steps: int,
        progress: Progress,
        writes: bool,
    ) -> None:
        """Begin a log, or go on with that of a killed training.

        Args:
            out: its folder.
            state: of the training, kept up to date; lines that are past it are taken out.
            n_steps: optimiser steps over all epochs.
        """
        self.path, self.state, self.n_steps, self.progress = (
            out / "log.jsonl",
            state,
            n_steps,
            progress,
        )
        self.writes = writes
        self._tokens = 0
        self._started = time.monotonic()
        if writes:
            rows = read_rows(self.path) if state.step else []
            write_rows(self.path, [row for row in rows if self._is_past(row)])
            self.tracker = open_tracker(config.tracker, out, config.model_dump(), state.step)

    def step(self, row: Mapping[str, Any], seconds: float) -> None:
        """Note a finished optimiser step."""
        if not self.writes:
            return
        append_rows(self.path, [{"step": self.state.step, **row, "seconds": round(seconds, 3)}])
        self._tokens += row["tokens"]
        rate = self._tokens / max(time.monotonic() - self._started, 1e-9)
        self.tracker.log({**row, "tokens_per_second": rate}, self.state.step)
        note = f"loss {row['loss']:.3f}, {rate:.0f} tokens/s"
        self.progress("tune", self.state.step, self.n_steps, note)

    def epoch(self) -> None:
        """Note a finished epoch: its losses, and the check if there was one."""
        if not self.writes:
            return
        state = self.state
        row: dict[str, Any] = {
            "step": state.step,
            "epoch": state.epoch,
            "train_loss": state.train_loss[-1],
            "validation_loss": state.validation_loss[-1],
        }
        if state.checks:
            row |= {key: value for key, value in state.checks[-1].items() if key != "epoch"}
        append_rows(self.path, [row])
        self.tracker.log(row, state.step)

    def finish(self) -> None:
        """Write what is left."""
        if self.writes:
            self.tracker.finish()

    def _is_past(self, row: Mapping[str, Any]) -> bool:
        """Whether a line belongs to what the checkpoint holds."""
        done = row.get("step", 0) <= self.state.step
        return bool(done and ("train_loss" not in row or row["epoch"] <= self.state.epoch))


class Tracker:
    """Sends numbers to a tracker, or nowhere."""

    def __init__(self, tracker: Any = None) -> None:
        self._tracker = tracker

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Note the numbers among ``values`` (None and text are left out) at an optimiser step."""
        if self._tracker is not None:
            numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
            self._tracker.log(numbers, step=step)

    def finish(self) -> None:
        """Write what is left."""
        if self._tracker is not None:
            self._tracker.finish()


def check_tracker(name: TrackerName) -> None:
    """Raise a :class:`UserError` if a tracker's library is not installed."""
    if name != "none" and find_spec(name) is None:
        raise UserError(
            f"tune: tune.tracker={name} needs the package {name}; run: {INSTALL[name]}, or set "
            "tune.tracker=none"
        )


def open_tracker(name: TrackerName, out: Path, config: Mapping[str, Any], step: int) -> Tracker:
    """Begin to track.

    Args:
        out: TensorBoard's event files go to ``out/tensorboard``, W&B's to ``out/wandb``.
        config: settings to keep with the curves.
        step: finished steps; what a killed training noted after it is hidden again.
    Raises:
        UserError: the library is not installed, or the tracker cannot start.
    """
    if name == "none":
        return Tracker()
    check_tracker(name)
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()  # the trackers ask it which process they are in
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    made: Any
    try:
        if name == "tensorboard":
            made = TensorBoardTracker("tensorboard", out, purge_step=step + 1)
        else:
            made = WandBTracker("linguamap", dir=str(out), config=dict(config))
        made.start()
    except Exception as error:  # no login, no network, no room: the libraries' own classes
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
        advice = "run wandb login, or " if name == "wandb" else ""
        raise UserError(
            f"tune: tracker {name} cannot start ({line}); {advice}set tune.tracker=none"
        ) from error
    return Tracker(made)
