"""In which numbers training is done, and by which rates: products in half precision where the machine
does that well, weights and sums in float32."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from linguamap.models.trial_pass import cpu_multiplies_in
from linguamap.records import UserError


@dataclass(frozen=True)
class Precision:
    """How a model's numbers are handled.

    Attributes:
        products: the dtype that matrix products are made in.
        autocast: that dtype if the weights are kept in another, else None.
    """

    products: torch.dtype
    autocast: torch.dtype | None

    @property
    def name(self) -> str:
        return str(self.products).removeprefix("torch.")


def choose_precision(
    requested: Literal["auto", "float32", "bfloat16"], model: nn.Module, weights: torch.dtype
) -> Precision:
    """Settle the precision, and convert the model where float32 is asked for.

    ``auto`` takes bfloat16 where the weights are, or where the device multiplies in it natively;
    else float32.

    Args:
        weights: dtype of the model's weights.
    Raises:
        UserError: float16 weights, whose gradients would vanish.
    """
    if requested == "float32" and weights != torch.float32:
        model.float()
        weights = torch.float32
    if weights == torch.float16:
        raise UserError(
            "tune: the model is loaded in float16, whose gradients vanish; "
            "load it with model.dtype=bfloat16 or float32"
        )
    if weights == torch.bfloat16:
        return Precision(torch.bfloat16, None)
    if requested == "bfloat16" or (
        requested == "auto" and _is_native(next(model.parameters()).device)
    ):
        return Precision(torch.bfloat16, torch.bfloat16)
    return Precision(weights, None)


def _is_native(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_multiplies_in(torch.bfloat16)


class MasterWeights:
    """Float32 copies of trained weights; the optimiser works on these.

    Float32 weights are their own masters. Half-precision weights in the model follow their masters
    after each step, so the model always computes with what a delta would store.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        self.tensors: dict[str, Tensor] = {
            name: parameter
            if parameter.dtype == torch.float32
            else parameter.detach().float().requires_grad_(True)
            for name, parameter in parameters.items()
        }

    def accumulate_grads(self) -> None:
        """Add the gradients of a backward pass to the masters' float32 ones."""
        for name, parameter in self.parameters.items():
            master = self.tensors[name]
            if master is parameter or parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad += parameter.grad
            parameter.grad = None

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Give the model its masters' values."""
        for name, parameter in self.parameters.items():
            if self.tensors[name] is not parameter:
                parameter.copy_(self.tensors[name])

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the masters named, and the model with them."""
        for name, value in tensors.items():
            master, parameter = self.tensors[name], self.parameters[name]
            master.copy_(slice_like(value, master))
            if master is not parameter:
                parameter.copy_(master)


def learning_rates(
    schedule: Literal["one_cycle", "cosine", "constant"], peak: float, steps: int
) -> list[float]:
    """The learning rate of each optimiser step.

    Args:
        schedule: ``one_cycle`` (PyTorch's OneCycleLR with its defaults, betas left alone),
            ``cosine`` (from ``peak`` to 0) or ``constant``.
        peak: the largest learning rate.
        steps: how many, at least 1.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler: LRScheduler | None = None
    if schedule == "one_cycle":
        scheduler = OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False)
    elif schedule == "cosine":
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last step() of OneCycleLR, and no optimizer.step()
        for step in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            if scheduler is not None and step + 1 < steps:
                scheduler.step()
    return rates


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
