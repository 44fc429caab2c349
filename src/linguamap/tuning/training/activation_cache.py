"""The frozen part run once: states at the boundary, kept for all epochs.

States belong to one (weights below the boundary, token ids, dtype, attention implementation): the
key holds them all. They live in memory, or in a file that is mapped into it and outlasts a killed
run. One folder may serve many trainings, one file for each boundary: those with the same boundary use
the same file, and a higher boundary is reached from the nearest lower one by running only the blocks
between. What several examples begin with is read once. Examples that do not fit the budget are computed again whenever they are needed.

Beside ``KEY.states`` (plain numbers) lies ``KEY.json``, written last, with the checksum; a file without
it, or with another content, is never used. Files that were used longest ago make room for new ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.kv_cache import SharedPrefixStates, open_rows
from linguamap.generation.shared_prefix import SharedPrefix, shared_prefixes
from linguamap.models.batching import batches_by_length
from linguamap.progress import Progress, silent
from linguamap.run.files import write_json
from linguamap.run.record import note_written
from linguamap.tuning.data.batches import TrainingExample, collate

if TYPE_CHECKING:
    from linguamap.tuning.training.split_model import SplitModel

BUILD_TOKENS = 4096


@dataclass(frozen=True)
class Source:
    """States at a lower boundary, layer ``layer``, from which to go on."""

    key: str
    layer: int
    held: Sequence[bool]
    starts: Sequence[int]
    states: Tensor
    seconds: float


class ActivationCache:
    """Boundary states of a set of examples.

    Attributes:
        held: for each example, whether its states are kept.
        bytes: what is kept.
        reused: whether the states were there already.
        built_from: the layer whose states were there already, 0 if none were.
        seconds_alone: what making the states from nothing takes, in seconds.
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
            budget_bytes: at most this much is kept, other files of the folder included; 0 keeps
                nothing.
            folder: where to keep the states in a file; None keeps them in memory.
        """
        self.split = split
        self.examples = examples
        self.folder = folder
        self.budget = budget_bytes
        self.dtype, self.d_model = _kind_of_states(split)
        self._hold(self._fitting())
        self.states = torch.empty(0)
        self.reused = False
        self.built_from = 0
        self.seconds_alone = 0.0

    @property
    def complete(self) -> bool:
        """Whether every example's states are kept, so that the blocks below are not needed."""
        return all(self.held)

    def build(self, progress: Progress = silent) -> None:
        """Run the frozen blocks over the examples, unless a file from before holds the states."""
        if self.folder is None or not self._total:
            self.states = self._in_memory()
            self._fill(None, progress)
            return
        files = StateFiles(self.folder)
        keys = self.keys()
        key = keys.pop()
        if self._reuse(files, key):
            return
        source = self._nearest(files, keys)
        files.make_room(self.bytes, self.budget, source.key if source else None)
        room = files.create(key, (self._total, self.d_model), self.dtype)
        self.states = self._in_memory() if room is None else room
        self._fill(source, progress)
        if room is not None:
            files.keep(key, self.held, self.seconds_alone)

    def batch(self, indices: Sequence[int], longest: int) -> Tensor:
        """States (batch, position, d_model) of some examples, on the model's device.

        Padding rows are zero. Examples that are not kept are computed together.
        """
        states = self._kept(indices, longest, self.held, self.starts, self.states)
        missing = [row for row, index in enumerate(indices) if not self.held[index]]
        if missing:
            fresh = self._compute([indices[row] for row in missing], None)
            states[missing, : fresh.shape[1]] = fresh.to(states)
        return states

    def key(self) -> str:
        """A name for these states: equal keys mean equal states on the same machine."""
        return self.keys()[-1]

    def keys(self) -> list[str]:
        """The names of the states at layers 1, 2, ... up to this boundary."""
        lm = self.split.lm
        facts = [
            str(self.dtype),
            str(self.split.autocast),
            getattr(lm.model.config, "_attn_implementation", None),
            str(lm.device),
            torch.__version__,
            torch.get_num_threads(),
            type(lm.model).__name__,
            lm.identity.get("config_sha256"),
            [example.token_ids for example in self.examples],
        ]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for name, tensor in _outside_blocks(self.split):
            _add(digest, name, tensor)
        keys = []
        for block in self.split.below:
            for name, tensor in block.state_dict().items():
                _add(digest, name, tensor)
            keys.append(digest.hexdigest()[:24])
        return keys

    def _fitting(self) -> list[bool]:
        """Which examples fit the budget, taken in order."""
        row = self.d_model * self.dtype.itemsize
        held, total = [], 0
        for example in self.examples:
            fits = (total + len(example.token_ids)) * row <= self.budget
            held.append(fits)
            total += len(example.token_ids) if fits else 0
        return held

    def _hold(self, held: Sequence[bool]) -> None:
        self.held = list(held)
        self.starts, self._total = self._starts(held)
        self.bytes = self._total * self.d_model * self.dtype.itemsize

    def _starts(self, held: Sequence[bool]) -> tuple[list[int], int]:
        """Where each example's states begin, and the number of rows."""
        starts, total = [], 0
        for example, kept in zip(self.examples, held, strict=True):
            starts.append(total)
            total += len(example.token_ids) if kept else 0
        return starts, total

    def _reuse(self, files: StateFiles, key: str) -> bool:
        """Take a file's states as they are, if there are any and they keep to the budget."""
        stored = files.find(key)
        if stored is None or stored.bytes > self.budget or stored.bytes < self.bytes:
            return False
        self._hold(stored.held)
        self.states = files.read(key, (self._total, self.d_model), self.dtype)
        self.reused, self.seconds_alone = True, stored.seconds
        self.built_from = len(self.split.below)
        return True

    def _nearest(self, files: StateFiles, keys: Sequence[str]) -> Source | None:
        """The highest lower boundary whose states are there and may stay beside the new ones."""
        for layer in range(len(keys), 0, -1):
            stored = files.find(keys[layer - 1])
            if stored is not None and stored.bytes + self.bytes <= self.budget:
                starts, total = self._starts(stored.held)
                states = files.read(stored.key, (total, self.d_model), self.dtype)
                return Source(stored.key, layer, stored.held, starts, states, stored.seconds)
        return None

    def _fill(self, source: Source | None, progress: Progress) -> None:
        started = time.monotonic()
        chosen = [index for index, held in enumerate(self.held) if held]
        prefixes = self._prefixes(chosen if source is None else [])
        known = SharedPrefixStates(self.split.lm, bool(prefixes), self.split.read_prefix)
        unread = [
            len(self.examples[index].token_ids) - known.n_tokens(prefixes.get(index))
            for index in chosen
        ]
        done = 0
        for batch in batches_by_length(unread, BUILD_TOKENS):
            indices = [chosen[at] for at in batch]
            if prefixes:
                self._read_together(indices, prefixes, known)
            else:
                states = self._compute(indices, source)
                for row, index in enumerate(indices):
                    self._put(index, 0, states[row, : len(self.examples[index].token_ids)])
            done += len(indices)
            progress("run the frozen blocks", done, len(chosen), f"{self.bytes / 1e6:.0f} MB")
        self.built_from = source.layer if source else 0
        self.seconds_alone = time.monotonic() - started + (source.seconds if source else 0.0)

    def _prefixes(self, chosen: Sequence[int]) -> dict[int, SharedPrefix | None]:
        """What examples begin with alike, by example; empty where nothing is, or no cache holds it."""
        found = shared_prefixes([self.examples[index].token_ids for index in chosen])
        if not any(found) or cache_fault(self.split.lm) is not None:
            return {}
        return dict(zip(chosen, found, strict=True))

    @torch.no_grad()
    def _read_together(
        self,
        indices: Sequence[int],
        prefixes: Mapping[int, SharedPrefix | None],
        known: SharedPrefixStates,
    ) -> None:
        """Fill in the states of some examples; those of their prefixes are read once."""
        texts = [self.examples[index].token_ids for index in indices]
        rows = open_rows(texts, [prefixes[index] for index in indices], known)
        hidden = self.split.read_prefix(rows.ids, rows.mask, rows.cache)
        for row, index in enumerate(indices):
            kept, prefix = rows.kept[row], rows.known[row]
            if prefix is not None and prefix.hidden is not None:
                self._put(index, 0, prefix.hidden[0, :kept])
            self._put(index, kept, hidden[row, kept - len(texts[row]) :])

    def _put(self, index: int, first: int, states: Tensor) -> None:
        """Keep states of an example from position ``first`` on."""
        start = self.starts[index] + first
        self.states[start : start + len(states)] = states.cpu()

    def _compute(self, indices: Sequence[int], source: Source | None) -> Tensor:
        """States of some examples, from those of a lower boundary where it holds all of them."""
        batch = collate(self.examples, indices, self.split.pad)
        ids = batch.ids.to(self.split.lm.device)
        if source is None or not all(source.held[index] for index in indices):
            return self.split.prefix(ids)
        lower = self._kept(indices, ids.shape[1], source.held, source.starts, source.states)
        return self.split.prefix(ids, lower, source.layer)

    def _kept(
        self,
        indices: Sequence[int],
        longest: int,
        held: Sequence[bool],
        starts: Sequence[int],
        rows: Tensor,
    ) -> Tensor:
        states = torch.zeros((len(indices), longest, self.d_model), dtype=self.dtype)
        for row, index in enumerate(indices):
            if held[index]:
                start, length = starts[index], len(self.examples[index].token_ids)
                states[row, :length] = rows[start : start + length]
        return states.to(self.split.lm.device)

    def _in_memory(self) -> Tensor:
        return torch.empty((self._total, self.d_model), dtype=self.dtype)


def _kind_of_states(split: SplitModel) -> tuple[torch.dtype, int]:
    states = split.prefix(split.probe_ids())
    return states.dtype, int(states.shape[-1])


def _outside_blocks(split: SplitModel) -> list[tuple[str, Tensor]]:
    """What feeds the first block: embeddings of tokens and positions, their norms, rotary tables."""
    structure = split.lm.structure
    upper = [*structure.blocks, *structure.tail, structure.head]
    tensors = [t for module in upper for t in (*module.parameters(), *module.buffers())]
    apart = {id(tensor) for tensor in tensors} - {id(t) for t in structure.embed.parameters()}
    model = split.lm.model
    named = [*model.named_parameters(), *model.named_buffers()]
    return [(name, tensor) for name, tensor in named if id(tensor) not in apart]


def _add(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    digest.update(name.encode())
    raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    digest.update(raw.numpy().data)


@dataclass(frozen=True)
class StoredStates:
    """What is noted of a file of states.

    Attributes:
        held: for each example, whether its states are in the file.
        bytes: the file's size.
        seconds: what making them from nothing takes.
    """

    key: str
    held: tuple[bool, ...]
    bytes: int
    seconds: float


class StateFiles:
    """A folder of states."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> StoredStates | None:
        """The states under a key if their file is complete and unchanged; a broken one is deleted."""
        try:
            facts = json.loads(self._marker(key).read_text(encoding="utf-8"))
            held = tuple(mark == "1" for mark in facts["held"])
            stored = StoredStates(key, held, int(facts["bytes"]), float(facts["seconds"]))
            with open(self._states(key), "rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == facts["sha256"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            self.delete(key)
            return None
        self._marker(key).touch()  # used now, so among the last to make room
        return stored

    def read(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """The states of :meth:`find`, mapped into memory; writing to them leaves the file alone."""
        return _mapped(self._states(key), shape, dtype, shared=False)

    def create(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
        """Room for states, mapped into memory, for :meth:`keep`; None if the disk has none."""
        path = self._unfinished(key)
        path.unlink(missing_ok=True)
        note_written(path)
        note_written(self._states(key))
        try:
            with open(path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, shape[0] * shape[1] * dtype.itemsize)
        except OSError:
            path.unlink(missing_ok=True)
            return None
        return _mapped(path, shape, dtype, shared=True)

    def keep(self, key: str, held: Sequence[bool], seconds: float) -> None:
        """Give the states of :meth:`create`, filled, their name."""
        path = self._unfinished(key)
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        self.delete(key)
        os.replace(path, self._states(key))
        facts = {
            "bytes": self._states(key).stat().st_size,
            "held": "".join("1" if is_held else "0" for is_held in held),
            "seconds": round(seconds, 3),
            "sha256": checksum,
        }
        write_json(self._marker(key), facts)

    def make_room(self, need: int, budget: int, spare: str | None) -> None:
        """Delete what was used longest ago until ``need`` more bytes fit the budget.

        Args:
            spare: a key that stays.
        """
        for path in self.folder.glob("*.states*"):  # left by a kill, or of no use without a marker
            if path.suffix != ".states" or not self._marker(path.stem).exists():
                path.unlink(missing_ok=True)
        markers = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        used = sum(path.stat().st_size for path in self.folder.glob("*.states"))
        for marker in markers:
            if used + need <= budget:
                return
            if marker.stem != spare:
                states = self._states(marker.stem)
                used -= states.stat().st_size if states.exists() else 0
                self.delete(marker.stem)

    def delete(self, key: str) -> None:
        """Forget states; the marker goes first, so that a kill leaves nothing half-valid."""
        self._marker(key).unlink(missing_ok=True)
        self._states(key).unlink(missing_ok=True)

    def _marker(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _states(self, key: str) -> Path:
        return self.folder / f"{key}.states"

    def _unfinished(self, key: str) -> Path:
        return self.folder / f"{key}.states-unfinished"


def _mapped(path: Path, shape: tuple[int, int], dtype: torch.dtype, shared: bool) -> Tensor:
    count = shape[0] * shape[1]
    return torch.from_file(str(path), shared=shared, size=count, dtype=dtype).view(shape)
