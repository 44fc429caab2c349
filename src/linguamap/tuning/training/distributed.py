"""Several processes on one training: each runs its own examples, gradients are added up.

Hugging Face Accelerate starts the processes and joins them (``accelerate launch``). An optimiser step
has the same examples whatever their number: each process runs those that it owns, and the summed
gradients are divided by the target tokens of all.

An Accelerate config with ``distributed_type: FSDP`` (see ``configs/fsdp.yaml``) also spreads weights,
gradients and optimiser over the processes, by PyTorch's FSDP2. Blocks are known from the model's
structure, so no class names are needed. Each block is put together when it runs; embedding, norm and
head when the model runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from linguamap.records import UserError
from linguamap.run.processes import ProcessGroup
from linguamap.tuning.data.batches import TrainingData, forward_passes
from linguamap.tuning.layers import Trainable
from linguamap.tuning.training.master_weights import Precision, is_slice

if TYPE_CHECKING:
    from linguamap.tuning.training.activation_cache import ActivationCache
    from linguamap.tuning.training.split_model import SplitModel

BUCKET_NUMBERS = 2**24
"""Gradients sent together: fewer messages, and a buffer of 64 MiB."""


def all_reduce_gradients(
    group: ProcessGroup, gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients summed over the processes; one that is None everywhere stays so.

    Args:
        gradients: of all parameters, in the same order in every process.
        parameters: give the shapes of those without a gradient here.
    """
    known = group.all_reduce([float(gradient is not None) for gradient in gradients])
    summed = [
        None if not count else torch.zeros_like(parameter) if gradient is None else gradient
        for count, gradient, parameter in zip(known, gradients, parameters, strict=True)
    ]
    for bucket in _buckets([tensor for tensor in summed if tensor is not None]):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        torch.distributed.all_reduce(flat)
        start = 0
        for tensor in bucket:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()
    return summed


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
class WorkSplit:
    """Who runs which examples, in which passes.

    Attributes:
        owners: example (index) -> rank.
        lengths: of all examples, in tokens.
        in_step: whether all processes must run equally many passes.
    """

    group: ProcessGroup
    owners: dict[int, int]
    lengths: Sequence[int]
    max_tokens: int | None
    in_step: bool

    @property
    def indices(self) -> list[int]:
        """This process's examples, in rising order."""
        rank = self.group.rank
        return sorted(index for index, owner in self.owners.items() if owner == rank)

    def passes(self, step: Sequence[Sequence[int]]) -> list[Pass]:
        """This process's passes over a step's examples."""
        rank, world_size = self.group.share
        passes = [Pass(tuple(indices)) for indices in self._of_rank(step, rank)]
        if self.in_step:
            most = max(len(self._of_rank(step, other)) for other in range(world_size))
            passes += [Pass((self.indices[0],), counts=False)] * (most - len(passes))
        return passes

    def folder(self, whole: Path) -> Path:
        """Where this process keeps files that the others leave alone."""
        return whole if self.group.world_size == 1 else whole / f"rank{self.group.rank}"

    def _of_rank(self, step: Sequence[Sequence[int]], rank: int) -> list[list[int]]:
        owned = [[index for index in indices if self.owners[index] == rank] for indices in step]
        return forward_passes(owned, self.lengths, self.max_tokens)


def split_work(
    group: ProcessGroup, data: TrainingData, max_tokens: int | None = None, in_step: bool = False
) -> WorkSplit:
    """Give each example an owner, evenly among those that train and among those that validate.

    The owners are the same in every epoch, so that each process keeps only its own examples' boundary
    states.

    Raises:
        UserError: fewer examples than processes.
    """
    owners = {
        index: place % group.world_size
        for indices in (data.training, data.validation)
        for place, index in enumerate(indices)
    }
    idle = group.world_size - len(set(owners.values()))
    if owners and idle:
        raise UserError(
            f"tune: {group.world_size} processes were launched for {len(owners)} examples, {idle} of "
            "them would have none; launch fewer"
        )
    lengths = [len(example.token_ids) for example in data.examples]
    return WorkSplit(group, owners, lengths, max_tokens, in_step)


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


def wants_sharding() -> bool:
    """Whether ``accelerate launch`` was told to use FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def shard(
    split: SplitModel, cache: ActivationCache | None, trainable: Trainable, precision: Precision
) -> Trainable:
    """Spread a model's weights over the processes; each keeps its slice of every tensor.

    Trained half-precision weights become float32 slices (the optimiser's), put together in half
    precision: the model computes with the same rounded values as in one process.

    Args:
        split: its released blocks are left alone.
        cache: boundary states; all of them, or None.
    Returns:
        The same choice, its parameters now slices (``DTensor``).
    Raises:
        UserError: some states are not kept, or the Accelerate config asks for what is not done here.
    """
    from torch.distributed.fsdp import fully_shard

    if cache is not None and not cache.complete:
        raise UserError(
            "tune: the frozen blocks' states do not fit tune.cache_gb in every process, and sharded "
            "blocks cannot make up for single ones; set it higher, or to 0"
        )
    lm = split.lm
    settings = _settings(precision)
    frozen_below = split.below if split.released else []
    names = {id(value): name for name, value in trainable.parameters.items()}
    wanted = {n: names[id(p)] for n, p in lm.model.named_parameters() if id(p) in names}
    for block in lm.structure.blocks[len(frozen_below) :]:
        _widen(block)
        fully_shard(block, **settings)
    _widen(lm.model)
    released = {parameter for block in frozen_below for parameter in block.parameters()}
    # The backward pass begins inside the model, where nothing would put the outermost weights
    # (embedding, norm, head) together again: they stay whole from the forward pass on.
    settings["reshard_after_forward"] = False
    fully_shard(lm.model, **settings, ignored_params=released)
    found = dict(lm.model.named_parameters())
    return replace(trainable, parameters={ours: found[name] for name, ours in wanted.items()})


def _settings(precision: Precision) -> dict[str, Any]:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

    plugin: Any = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise UserError(
            "tune: the Accelerate config asks for FSDP 1, only FSDP 2 is supported; set "
            "fsdp_version: 2 under fsdp_config"
        )
    if plugin.activation_checkpointing or isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise UserError(
            "tune: fsdp_activation_checkpointing and fsdp_offload_params are not supported; set "
            "them to false, and tune.batch_tokens smaller"
        )
    policy = MixedPrecisionPolicy()
    if precision.products != torch.float32 and precision.autocast is None:
        policy = MixedPrecisionPolicy(
            param_dtype=precision.products, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    return {"reshard_after_forward": bool(plugin.reshard_after_forward), "mp_policy": policy}


def _widen(module: nn.Module) -> None:
    """Trained half-precision weights as float32; those sharded already are left alone."""
    for parameter in module.parameters():
        if parameter.requires_grad and not is_slice(parameter):
            parameter.data = parameter.data.float()
