"""Cross entropy at the target positions only, without ever holding their logits.

The head is frozen, so all that training needs of it is the loss and its gradient with respect to
what the head reads:

    loss_n = log sum_v exp(l_nv) - l_n,target      gradient_n = sum_v p_nv W_v - W_target

Both come out of one pass over tiles of the vocabulary that fit the processor's cache, with a running
maximum and sum as in online softmax: each row of the head is read once and used for both products.
Sums are kept in float32 whatever the products are made in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from linguamap.models.structure import Structure


POSITION_BLOCK = 512
VOCAB_TILE = {"cpu": 4096, "cuda": 32768}
PLAIN_BLOCK = 128
"""Positions whose whole logits are alive at once when the head is trained or no plain linear map."""


@dataclass(frozen=True)
class FrozenHead:
    """A head that is a plain linear map: logits = softcap(scale * (x W^T + b)).

    Attributes:
        weight: (vocab, d_model), in the dtype that products are made in.
        bias: (vocab,) or None.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


def frozen_head(structure: Structure, dtype: torch.dtype) -> FrozenHead | None:
    """The head for the tiled loss, or None if it is trained or is no plain linear map.

    Args:
        dtype: of the products; a copy of the weights is made if they are in another.
    """
    head = structure.head
    if type(head).forward is not nn.Linear.forward:
        return None
    if any(parameter.requires_grad for parameter in head.parameters()):
        return None
    bias: Tensor | None = getattr(head, "bias", None)
    return FrozenHead(
        weight=head.weight.detach().to(dtype),  # type: ignore[operator]
        bias=None if bias is None else bias.detach().float(),
        scale=structure.scale,
        softcap=structure.softcap,
    )


def head_loss(
    hidden: Tensor, targets: Tensor, structure: Structure, head: FrozenHead | None
) -> Tensor:
    """Summed cross entropy in nats, differentiable with respect to ``hidden`` and a trained head.

    Args:
        hidden: (position, d_model), what the head reads at each target position.
        targets: (position,), the token that comes next there.
        head: from :func:`frozen_head`; None takes the general way through the module.
    Returns:
        A float32 scalar.
    """
    if head is not None:
        loss: Tensor = _TiledLoss.apply(hidden, targets, head)  # type: ignore[no-untyped-call]
        return loss
    trained = [parameter for parameter in structure.head.parameters() if parameter.requires_grad]
    blocked: Tensor = _BlockedLoss.apply(hidden, targets, structure, *trained)  # type: ignore[no-untyped-call]
    return blocked


class _TiledLoss(torch.autograd.Function):
    """The gradient is made in the forward pass, while the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: FrozenHead) -> Tensor:
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        loss = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden), POSITION_BLOCK):
            rows = slice(start, start + POSITION_BLOCK)
            part, grad = tiled_cross_entropy(
                hidden[rows], targets[rows], head, with_gradient=gradient is not None
            )
            loss += part.sum()
            if gradient is not None:
                assert grad is not None
                gradient[rows] = grad.to(gradient.dtype)
        ctx.gradient = gradient
        return loss

    @staticmethod
    def backward(ctx: Any, *outward: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient * outward[0].to(ctx.gradient.dtype), None, None


class _BlockedLoss(torch.autograd.Function):
    """Whole logits of a few positions at a time; for trained and unusual heads."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, targets: Tensor, structure: Structure, *trained: Tensor
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0] or bool(trained)
        gradient = torch.zeros_like(hidden)
        grads = [torch.zeros_like(tensor, dtype=torch.float32) for tensor in trained]
        loss = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden), PLAIN_BLOCK):
            rows = slice(start, start + PLAIN_BLOCK)
            with torch.enable_grad():
                block = hidden[rows].detach().requires_grad_(True)
                weight = getattr(structure.head, "weight", block)
                read = block.to(weight.dtype) if weight.is_floating_point() else block
                logits = structure.after_head(structure.head(read)).float()
                part = F.cross_entropy(logits, targets[rows], reduction="sum")
            loss += part.detach()
            if wanted:
                first, *others = torch.autograd.grad(part, [block, *trained])
                gradient[rows] = first
                for grad, other in zip(grads, others, strict=True):
                    grad += other
        ctx.gradient, ctx.grads = gradient, grads
        ctx.dtypes = [tensor.dtype for tensor in trained]
        return loss

    @staticmethod
    def backward(ctx: Any, *outward: Tensor) -> tuple[Tensor | None, ...]:
        grads = [(g * outward[0]).to(dtype) for g, dtype in zip(ctx.grads, ctx.dtypes, strict=True)]
        return ctx.gradient * outward[0].to(ctx.gradient.dtype), None, None, *grads


@torch.no_grad()
def tiled_cross_entropy(
    hidden: Tensor, targets: Tensor, head: FrozenHead, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Cross entropy of each position and its gradient, in one pass over the vocabulary.

    Args:
        hidden: (position, d_model).
        targets: (position,).
    Returns:
        Losses (position,) and gradients (position, d_model) or None, float32.
    """
    read = hidden.to(head.weight.dtype)
    n, vocab = len(read), len(head.weight)
    tile = min(VOCAB_TILE.get(read.device.type, 4096), vocab)
    space = _Space(n, tile, read)
    peak = torch.full((n, 1), float("-inf"), device=read.device)
    total = torch.zeros((n, 1), device=read.device)
    target_logit = torch.empty((n, 1), device=read.device)
    mean = torch.zeros((n, read.shape[1]), device=read.device) if with_gradient else None
    for start in range(0, vocab, tile):
        weight = head.weight[start : start + tile]
        bias = None if head.bias is None else head.bias[start : start + tile]
        logits = space.logits(read, weight, bias, head)
        inside = (targets >= start) & (targets < start + len(weight))
        columns = (targets - start).clamp(0, len(weight) - 1)[:, None]
        target_logit = torch.where(inside[:, None], logits.gather(1, columns), target_logit)
        higher = torch.maximum(peak, logits.amax(1, keepdim=True))
        shrink = torch.exp(peak - higher)
        peak = higher
        bent = None
        if head.softcap is not None and with_gradient:
            bent = 1 - (logits / head.softcap).square()
        weights = logits.sub_(peak).exp_()
        total.mul_(shrink).add_(weights.sum(1, keepdim=True))
        if mean is not None:
            mean.mul_(shrink)
            space.add_product(mean, weights if bent is None else weights.mul_(bent), weight)
    loss = (peak + total.log() - target_logit).squeeze(1)
    if mean is None:
        return loss, None
    target_rows = head.weight[targets].float()
    if head.softcap is not None:
        target_rows.mul_(1 - (target_logit / head.softcap).square())
    return loss, mean.div_(total).sub_(target_rows).mul_(head.scale)


class _Space:
    """Buffers for one tile, used over and over: fresh ones would cost more than the products."""

    def __init__(self, n: int, tile: int, like: Tensor) -> None:
        self.float = torch.empty(n * tile, dtype=torch.float32, device=like.device)
        half = like.dtype != torch.float32
        self.half = torch.empty(n * tile, dtype=like.dtype, device=like.device) if half else None

    def logits(self, read: Tensor, weight: Tensor, bias: Tensor | None, head: FrozenHead) -> Tensor:
        """Logits (position, tile) in float32; valid until the next call."""
        shape = (len(read), len(weight))
        logits = self.float[: shape[0] * shape[1]].view(shape)
        if self.half is None:
            torch.mm(read, weight.t(), out=logits)
        else:
            half = self.half[: logits.numel()].view(shape)
            logits.copy_(torch.mm(read, weight.t(), out=half))
        if bias is not None:
            logits += bias
        if head.scale != 1.0:
            logits *= head.scale
        if head.softcap is not None:
            logits.div_(head.softcap).tanh_().mul_(head.softcap)
        return logits

    def add_product(self, mean: Tensor, weights: Tensor, weight: Tensor) -> None:
        """mean += weights @ weight."""
        if self.half is None:
            mean.addmm_(weights, weight)
        else:
            half = self.half[: weights.numel()].view_as(weights)
            mean += half.copy_(weights) @ weight
