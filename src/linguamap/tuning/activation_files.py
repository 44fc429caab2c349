"""Boundary states in files: whole or not there, checked before use, within a budget.

A folder may serve many trainings, one file for each boundary. Beside ``KEY.states`` (plain numbers)
lies ``KEY.json``, written last, with the checksum; a file without it, or with another content, is
never used. Files that were used longest ago make room for new ones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from linguamap.run.folder import write_json


@dataclass(frozen=True)
class StoredStates:
    """What is known of a file of states.

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
            found = StoredStates(key, held, int(facts["bytes"]), float(facts["seconds"]))
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
        return found

    def read(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """The states of :meth:`find`, mapped into memory; writing to them leaves the file alone."""
        return _mapped(self._states(key), shape, dtype, shared=False)

    def create(self, key: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor | None:
        """Room for states, mapped into memory, for :meth:`keep`; None if the disk has none."""
        path = self._unfinished(key)
        path.unlink(missing_ok=True)
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
            "held": "".join("1" if one else "0" for one in held),
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
