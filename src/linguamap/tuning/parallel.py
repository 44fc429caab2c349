"""Several processes on one training: each runs its own examples, gradients are added up.

Hugging Face Accelerate starts the processes and joins them (``accelerate launch``). An optimiser step
has the same examples whatever their number: each process runs those that it owns, and the summed
gradients are divided by the counted tokens of all.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.records import UserError
from linguamap.tuning.batches import forward_passes

if TYPE_CHECKING:
    from linguamap.run.processes import Processes

BUCKET_NUMBERS = 2**24
"""Gradients sent together: fewer messages, and a buffer of 64 MiB."""


@dataclass
class Parallel:
    """This process among those of a training.

    Attributes:
        rank: 0 to ``count`` - 1; rank 0 alone writes files.
        device: where the tensors that are sent live.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def own_folder(self, folder: Path) -> Path:
        """Where this process keeps files that the others leave alone."""
        return folder if self.count == 1 else folder / f"rank{self.rank}"

    def owner(self, place: int) -> int:
        """The process that runs the example at a place of the training or validation examples; the
        same in every epoch, so that each process keeps only its own examples' boundary states."""
        return place % self.count

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the processes; exact for whole numbers up to 2**53."""
        if self.count == 1:
            return list(numbers)
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        sent = torch.tensor(list(numbers), dtype=kind, device=self.device)
        torch.distributed.all_reduce(sent)
        return [float(value) for value in sent.tolist()]

    def add_up(self, gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
        """Gradients summed over the processes; one that is None everywhere stays out.

        Args:
            gradients: of all parameters, in the same order in every process.
            like: the parameters, for those without a gradient here.
        Returns:
            One tensor for each parameter, empty where none has a gradient.
        """
        has = self.total([float(gradient is not None) for gradient in gradients])
        summed = [
            torch.empty(0)
            if not known
            else (torch.zeros_like(parameter) if gradient is None else gradient)
            for known, gradient, parameter in zip(has, gradients, like, strict=True)
        ]
        for bucket in _buckets([tensor for tensor in summed if tensor.numel()]):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            torch.distributed.all_reduce(flat)
            start = 0
            for tensor in bucket:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()
        return summed

    def wait(self) -> None:
        """Return when every process has come here."""
        self.total([0.0])


def connect(processes: Processes, device: torch.device) -> Parallel:
    """Join the launched processes through Accelerate; nothing to join where there is one."""
    if processes.count == 1:
        return Parallel()
    from accelerate import PartialState

    PartialState(cpu=device.type == "cpu")
    # Threads of the group that still run when the interpreter ends abort the process, now and then.
    atexit.register(_disconnect)
    return Parallel(processes.rank, processes.count, device)


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class Pass:
    """One forward pass of one process.

    Attributes:
        counts: False for a pass that only keeps step with other processes: sharded weights are put
            together by all processes at once.
    """

    indices: tuple[int, ...]
    counts: bool = True


@dataclass(frozen=True)
class Division:
    """Who runs which examples, in which passes.

    Attributes:
        owners: example (index) -> rank.
        lengths: of all examples, in tokens.
        in_step: whether all processes must run equally many passes.
    """

    parallel: Parallel
    owners: dict[int, int]
    lengths: Sequence[int]
    max_tokens: int | None
    in_step: bool

    @property
    def own(self) -> list[int]:
        """This process's examples, in rising order."""
        rank = self.parallel.rank
        return sorted(index for index, owner in self.owners.items() if owner == rank)

    def passes(self, step: Sequence[Sequence[int]]) -> list[Pass]:
        """This process's passes over a step's examples."""
        rank = self.parallel.rank
        mine = [Pass(tuple(indices)) for indices in self._of(step, rank)]
        if self.in_step:
            most = max(len(self._of(step, other)) for other in range(self.parallel.count))
            mine += [Pass((self.own[0],), counts=False)] * (most - len(mine))
        return mine

    def _of(self, step: Sequence[Sequence[int]], rank: int) -> list[list[int]]:
        own = [[index for index in group if self.owners[index] == rank] for group in step]
        return forward_passes(own, self.lengths, self.max_tokens)


def divide(
    parallel: Parallel,
    groups: Iterable[Sequence[int]],
    lengths: Sequence[int],
    max_tokens: int | None,
    in_step: bool,
) -> Division:
    """Give each example an owner, evenly within each group (training, validation).

    Raises:
        UserError: fewer examples than processes.
    """
    owners = {index: parallel.owner(place) for group in groups for place, index in enumerate(group)}
    idle = parallel.count - len(set(owners.values()))
    if owners and idle:
        raise UserError(
            f"tune: {parallel.count} processes were launched for {len(owners)} examples, {idle} of "
            "them would have none; launch fewer"
        )
    return Division(parallel, owners, lengths, max_tokens, in_step)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    size = BUCKET_NUMBERS
    for tensor in tensors:
        if size + tensor.numel() > BUCKET_NUMBERS or tensor.dtype != buckets[-1][-1].dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.numel()
    return buckets
