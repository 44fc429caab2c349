"""Several processes on one job: who does what, and waiting for each other.

``accelerate launch`` (or ``torchrun``) starts the same command several times and says by environment
variables which process is which. Each does its own share (groups of prompts, batches of texts,
training examples). They are joined by Accelerate's ``PartialState``; a single process loads neither
Accelerate nor PyTorch for it.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
POLL_SECONDS = 0.05
LONGEST_WAIT = timedelta(days=30)
"""One process may have far longer answers to write than another."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among ``world_size``; rank 0 alone prints and writes results.

    Attributes:
        rank: this process, 0 to ``world_size`` - 1.
        world_size: all processes, on all machines; they must share the run folder.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which groups are this process's: those whose number modulo ``world_size`` is ``rank``."""
        return self.rank, self.world_size

    def wait(self) -> None:
        """Return when every process has come here; every process must come equally often.

        It asks again and again rather than blocking inside the library, where a stop signal would
        not be heard.
        """
        if self.world_size == 1:
            return
        import torch

        connect()
        arrival: Any = torch.distributed.all_reduce(torch.zeros(1), async_op=True)
        while not arrival.is_completed():
            time.sleep(POLL_SECONDS)

    def gather(self, value: T, *, everyone: bool = False) -> list[T]:
        """What each process has, in the order of their ranks; every process must come.

        Args:
            everyone: all processes get the values; else the first one does, and the others nothing.
        """
        if self.world_size == 1:
            return [value]
        self.wait()
        import torch
        from accelerate.utils import gather_object

        if everyone:
            return list(gather_object([value]))
        values: list[Any] = [None] * self.world_size if self.rank == 0 else []
        torch.distributed.gather_object(value, values if self.rank == 0 else None)
        return values

    def all_reduce(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the processes; exact for whole numbers up to 2**53."""
        if self.world_size == 1:
            return list(numbers)
        import torch

        connect()
        sums = torch.tensor(list(numbers), dtype=torch.float64)
        torch.distributed.all_reduce(sums)
        return [float(value) for value in sums.tolist()]


def launched() -> ProcessGroup:
    """This process as its launcher names it; alone where there is none, or only one process."""
    if any(name not in os.environ for name in VARIABLES):
        return ProcessGroup()
    return ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def left_alone() -> bool:
    """Whether several processes were asked of accelerate and it started one.

    That is what it does on a machine without accelerators, unless told ``--multi_gpu``.
    """
    launcher = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    return launcher and "RANK" not in os.environ


def connect() -> None:
    """Join the launched processes, each with a GPU of its own where there are some; once.

    The joining, which blocks until all have come, is left to a thread, so that stop signals are heard.
    """
    import torch

    if torch.distributed.is_initialized():
        return
    faults: list[BaseException] = []

    def join() -> None:
        try:
            _join()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
    if faults:
        raise faults[0]
    if torch.cuda.is_available():  # a thread's choice of a GPU is its own
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # Threads of the group that still run when the interpreter ends abort the process, now and then.
    atexit.register(_disconnect)


def _join() -> None:
    import torch
    from accelerate import PartialState

    if torch.cuda.is_available():
        # Numbers and objects go over the CPU, gradients over the GPUs.
        PartialState(backend="cpu:gloo,cuda:nccl", timeout=LONGEST_WAIT)
    else:
        PartialState(cpu=True, timeout=LONGEST_WAIT)


def _disconnect() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
