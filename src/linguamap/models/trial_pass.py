"""The few tokens that a model is tried on, how far two of its results may lie apart in a dtype, and whether
the processor has that dtype."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TRIAL_TOKENS = 8

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-8, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest deviation allowed, relative to the largest value compared. Half precision rounds
differently in batches of other shapes; a missing norm, scale or soft-cap is far beyond this."""


@dataclass(frozen=True)
class Check:
    """One promise about a model, whether it holds, and the figures behind that."""

    name: str
    passed: bool
    detail: str


def trial_ids(model: nn.Module) -> Tensor:
    """A (1, position) row of distinct small token ids on the embedding's device."""
    embed = submodule(model, "get_input_embeddings")
    rows = int(getattr(embed, "num_embeddings", 0) or len(next(iter(model.parameters()))))
    device = next(iter((embed or model).parameters())).device
    return (torch.arange(TRIAL_TOKENS, device=device) * 5 + 3).remainder(rows).unsqueeze(0)


@torch.no_grad()
def trial_forward(model: nn.Module, ids: Tensor | None = None, **options: Any) -> Any:
    """The model's output for a few tokens without padding."""
    ids = trial_ids(model) if ids is None else ids
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), **options)


def submodule(model: nn.Module, method: str) -> nn.Module | None:
    """What a method such as ``get_input_embeddings`` returns; None if the model has none."""
    try:
        module = getattr(model, method)()
    except (AttributeError, NotImplementedError):
        return None
    return module if isinstance(module, nn.Module) else None


def relative_deviation(a: Tensor, b: Tensor) -> float:
    """Largest difference of two tensors, relative to the largest value of the second."""
    b = b.to(a.device)
    if a.shape != b.shape:
        return float("inf")
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12))


def allowed_deviation(dtype: torch.dtype) -> float:
    """See :data:`TOLERANCE`."""
    return TOLERANCE.get(dtype, TOLERANCE[torch.bfloat16])


NATIVE = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16_arith", "fphp"),
}
"""The names that PyTorch and Linux give to processors' products in half precision."""


def cpu_multiplies_in(dtype: torch.dtype) -> bool:
    """Whether the processor has products in a dtype, or would emulate them."""
    if dtype not in NATIVE:
        return True
    asked = getattr(torch.cpu, "get_capabilities", None)
    if asked is not None and any(asked().get(name) for name in NATIVE[dtype]):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return any(name in flags for name in NATIVE[dtype])


def emulated_dtype(dtype: torch.dtype, device: torch.device, setting: str) -> str | None:
    """One line on a dtype that was asked for and that the processor lacks; None if all is well.

    Args:
        setting: where it was asked for.
    """
    if device.type != "cpu" or cpu_multiplies_in(dtype):
        return None
    return (
        f"warning: this processor has no products in {str(dtype).removeprefix('torch.')} and "
        f"emulates them, 5 to 10 times slower; leave out {setting}, or set {setting}=float32"
    )
