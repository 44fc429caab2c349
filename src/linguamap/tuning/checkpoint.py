"""Where a killed training goes on: one file that appears whole, tensors and state together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from linguamap.run.file_modes import take_usual_mode
from linguamap.run.folder import replacing
from linguamap.tuning.precision import Masters
from linguamap.tuning.slices import slice_like, whole

FORMAT = "linguamap-training-1"
ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        epoch: finished epochs.
        step: finished optimiser steps over all.
        step_in_epoch: finished optimiser steps of the epoch in progress.
        loss_sum, counted, seconds: of the epoch in progress; nats, tokens, seconds.
        train_loss, validation_loss: nats per counted token of each finished epoch.
        checks: see :mod:`linguamap.tuning.check`.
        best_epoch: the epoch (from 1) whose weights are kept, or None.
        stopped: why training ended before its time, or None.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    counted: int = 0
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
    masters: Masters,
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
    path: Path, masters: Masters, optimizer: torch.optim.Optimizer, key: str
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
        known = set(file.keys())
        for name, master in masters.tensors.items():  # one at a time: all may not fit
            masters.load({name: file.get_tensor(f"weight/{name}")})
            if f"{ADAM[0]}/{name}" in known:
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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata=dict(facts))
        take_usual_mode(temporary)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, str] = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
