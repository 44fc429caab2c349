"""Weights, gradients and optimiser spread over processes: PyTorch's FSDP2 on the blocks found.

Asked for by an Accelerate config with ``distributed_type: FSDP`` (see ``configs/fsdp.yaml``). Blocks
are known from the model's structure, so no class names are needed. Each block is put together when
it runs; embedding, norm and head when the model runs.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from linguamap.records import UserError
from linguamap.tuning.layers import Trainable
from linguamap.tuning.precision import Precision
from linguamap.tuning.slices import is_slice

if TYPE_CHECKING:
    from linguamap.tuning.activation_cache import PrefixCache
    from linguamap.tuning.split_model import SplitModel


def is_asked() -> bool:
    """Whether ``accelerate launch`` was told to use FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def shard(
    split: SplitModel, cache: PrefixCache | None, trainable: Trainable, precision: Precision
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
