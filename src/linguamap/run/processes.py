"""Several processes on one job: who does what, and waiting for each other.

``accelerate launch`` (or ``torchrun``) starts the same command several times and says by environment
variables which process is which. Each does its own share (groups of prompts, batches of texts) and
writes its own file; they meet through the launcher's key-value store alone, so no device is held up
and no tensor is sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
POLL_SECONDS = 0.1


@dataclass
class Processes:
    """This process among ``count``; rank 0 alone prints and writes results.

    Attributes:
        rank: this process, 0 to ``count`` - 1.
        count: all processes, on all machines; they must share the run folder.
    """

    rank: int = 0
    count: int = 1
    _store: Any = field(default=None, repr=False)
    _waits: int = field(default=0, repr=False)

    @property
    def share(self) -> tuple[int, int]:
        """Which groups are this process's: those whose number modulo ``count`` is ``rank``."""
        return self.rank, self.count

    def wait(self) -> None:
        """Return when every process has come here; every process must come equally often.

        It asks again and again rather than blocking inside the library, where a stop signal would
        not be heard, and has no time limit: one process may have far longer answers to write.
        """
        if self.count == 1:
            return
        if self._store is None:
            self._store = _store()
        self._waits += 1
        key = f"linguamap/{self._waits}"
        self._store.add(key, 1)
        while self._store.add(key, 0) < self.count:
            time.sleep(POLL_SECONDS)

    def gather(
        self,
        path: Path,
        value: T,
        save: Callable[[Path, T], None],
        load: Callable[[Path], T],
        *,
        everyone: bool = False,
    ) -> list[T]:
        """What each process has, in the order of their ranks; every process must come.

        Args:
            path: files are passed on beside it; its folder must be there.
            value: what this process has.
            save, load: write a value to a file and read it back.
            everyone: all processes get the values; else the first one does, and the others nothing.
        """
        if self.count == 1:
            return [value]
        parts = [path.with_name(f".{path.name}.rank{rank}") for rank in range(self.count)]
        save(parts[self.rank], value)
        self.wait()
        found = [load(part) for part in parts] if everyone or self.rank == 0 else []
        self.wait()
        parts[self.rank].unlink()
        return found


def launched() -> Processes:
    """This process as its launcher names it; alone where there is none, or only one process."""
    if any(name not in os.environ for name in VARIABLES):
        return Processes()
    return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def left_alone() -> bool:
    """Whether several processes were asked of accelerate and it started one.

    That is what it does on a machine without accelerators, unless told ``--multi_gpu``.
    """
    asked = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    return asked and "RANK" not in os.environ


def take_device() -> None:
    """Make each process of a machine use an accelerator of its own."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def _store() -> Any:
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return store
