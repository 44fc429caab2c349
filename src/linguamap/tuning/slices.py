"""One process's slice of a tensor, and the whole of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_slice(tensor: Tensor) -> bool:
    """Whether a tensor is one process's slice of a larger one."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """The tensor put together; every process must ask for it, in the same order."""
    if not is_slice(tensor):
        return tensor
    together: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return together


def slice_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every process has, cut as ``like`` is and moved to its device."""
    if not is_slice(like) or value.dim() == 0:
        return value.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    mesh: Any = like.device_mesh  # type: ignore[attr-defined]
    placements: Any = like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(mesh.device_type), mesh, placements, src_data_rank=None)
