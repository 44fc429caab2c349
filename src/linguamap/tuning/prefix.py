"""The frozen part run once: states at the boundary, kept for all epochs.

States belong to one (weights below the boundary, token ids, dtype, attention implementation): the
key holds them all. They live in memory, or in a file that is mapped into it and outlasts a killed
run; examples that do not fit the budget are computed again whenever they are needed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.progress import Progress, silent
from linguamap.store import write_json
from linguamap.tuning.batches import TrainingExample, batches_by_length, collate

if TYPE_CHECKING:
    from linguamap.tuning.boundary import SplitModel

BUILD_TOKENS = 4096


class PrefixCache:
    """Boundary states of a set of examples.

    Attributes:
        held: for each example, whether its states are kept.
        bytes: what is kept.
    """

    def __init__(
        self,
        split: SplitModel,
        examples: Sequence[TrainingExample],
        budget_bytes: int,
        folder: Path | None = None,
    ) -> None:
        """Plan a cache; :meth:`build` fills it.

        Args:
            budget_bytes: at most this much is kept; 0 keeps nothing.
            folder: where to keep the states in a file; None keeps them in memory.
        """
        self.split = split
        self.examples = examples
        self.folder = folder
        self.dtype, self.width = _kind_of_states(split)
        self.held, self.starts, total = self._plan(budget_bytes)
        self.bytes = total * self.width * self.dtype.itemsize
        self.states = torch.empty(0)
        self.reused = False
        self._total = total

    @property
    def complete(self) -> bool:
        """Whether every example's states are kept, so that the blocks below are not needed."""
        return all(self.held)

    def build(self, progress: Progress = silent) -> None:
        """Run the frozen blocks over the examples, unless a file from before holds the states."""
        key = self.key() if self.folder and self._total else ""
        marker = self.folder / f"{key}.json" if self.folder and key else None
        self.states = self._allocate(key)
        self.reused = marker is not None and marker.exists()
        if self.reused or not self._total:
            return
        chosen = [index for index, held in enumerate(self.held) if held]
        lengths = [len(self.examples[index].token_ids) for index in chosen]
        done = 0
        for places in batches_by_length(lengths, BUILD_TOKENS):
            indices = [chosen[place] for place in places]
            states = self._compute(indices)
            for row, index in enumerate(indices):
                start, length = self.starts[index], len(self.examples[index].token_ids)
                self.states[start : start + length] = states[row, :length].cpu()
            done += len(indices)
            progress("run the frozen blocks", done, len(chosen), f"{self.bytes / 1e6:.0f} MB")
        if marker is not None:
            write_json(marker, {"bytes": self.bytes, "examples": len(chosen)})

    def batch(self, indices: Sequence[int], longest: int) -> Tensor:
        """States (batch, position, d_model) of some examples, on the model's device.

        Padding rows are zero. Examples that are not kept are computed together.
        """
        states = torch.zeros((len(indices), longest, self.width), dtype=self.dtype)
        missing = [row for row, index in enumerate(indices) if not self.held[index]]
        for row, index in enumerate(indices):
            if self.held[index]:
                start, length = self.starts[index], len(self.examples[index].token_ids)
                states[row, :length] = self.states[start : start + length]
        states = states.to(self.split.lm.device)
        if missing:
            fresh = self._compute([indices[row] for row in missing])
            states[missing, : fresh.shape[1]] = fresh.to(states)
        return states

    def key(self) -> str:
        """A name for these states: equal keys mean equal states on the same machine."""
        lm = self.split.lm
        digest = hashlib.sha256()
        attention = getattr(lm.model.config, "_attn_implementation", None)
        facts = [self.split.first_tuned, str(self.dtype), str(self.split.autocast), attention]
        facts += [
            str(lm.device),
            torch.__version__,
            torch.get_num_threads(),
            type(lm.model).__name__,
        ]
        facts.append(lm.identity.get("config_sha256"))
        digest.update(json.dumps(facts).encode())
        for module in (lm.structure.embed, *self.split.below):
            for name, tensor in module.state_dict().items():
                digest.update(name.encode())
                raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
                digest.update(memoryview(raw.numpy()))
        for example, held in zip(self.examples, self.held, strict=True):
            digest.update(json.dumps([held, example.token_ids]).encode())
        return digest.hexdigest()[:24]

    def _plan(self, budget_bytes: int) -> tuple[list[bool], list[int], int]:
        row = self.width * self.dtype.itemsize
        held, starts, total = [], [], 0
        for example in self.examples:
            fits = (total + len(example.token_ids)) * row <= budget_bytes
            held.append(fits)
            starts.append(total)
            total += len(example.token_ids) if fits else 0
        return held, starts, total

    def _allocate(self, key: str) -> Tensor:
        shape = (self._total, self.width)
        if self.folder is None or not self._total:
            return torch.empty(shape, dtype=self.dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}.states"
        try:
            with open(path, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, self.bytes)
        except OSError:  # no room on the disk: memory will do
            path.unlink(missing_ok=True)
            self.folder.joinpath(f"{key}.json").unlink(missing_ok=True)
            self.folder = None
            return torch.empty(shape, dtype=self.dtype)
        numbers = self._total * self.width
        return torch.from_file(str(path), shared=True, size=numbers, dtype=self.dtype).view(shape)

    def _compute(self, indices: Sequence[int]) -> Tensor:
        batch = collate(self.examples, indices, self.split.pad)
        return self.split.prefix(batch.ids.to(self.split.lm.device))


def _kind_of_states(split: SplitModel) -> tuple[torch.dtype, int]:
    states = split.prefix(split.probe_ids())
    return states.dtype, int(states.shape[-1])
