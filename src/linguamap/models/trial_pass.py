"""The few tokens that a model is tried on, and how far two of its results may lie apart."""

from __future__ import annotations

from dataclasses import dataclass
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
