"""Where a killed training goes on: one file that appears whole, tensors and state together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from linguamap.store import replacing
from linguamap.tuning.precision import Masters

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
        best_epoch: the epoch (from 1) whose weights are kept, or None.
        stopped: why training ended before its time, or None.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    counted: int = 0
    seconds: float = 0.0
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float | None] = field(default_factory=list)
    seconds_per_epoch: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str | None = None


def save_checkpoint(
    path: Path, state: TrainingState, masters: Masters, optimizer: torch.optim.Optimizer, key: str
) -> None:
    """Write weights, both moments of AdamW and the state, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, master in masters.tensors.items():
        tensors[f"weight/{name}"] = master.detach().contiguous()
        for part, value in optimizer.state[master].items():
            tensors[f"{part}/{name}"] = value.contiguous()
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
        tensors, facts = load_tensors(path)
    except (SafetensorError, OSError):
        return None
    if facts.get("format") != FORMAT or facts.get("key") != key:
        return None
    state = TrainingState(**json.loads(facts["state"]))
    masters.load({name: tensors[f"weight/{name}"] for name in masters.tensors})
    for name, master in masters.tensors.items():
        if f"{ADAM[0]}/{name}" in tensors:
            optimizer.state[master] = {
                part: tensors[f"{part}/{name}"].to(master.device) for part in ADAM
            }
    return state


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata=dict(facts))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, str] = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
