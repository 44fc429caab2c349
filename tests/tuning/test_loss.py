"""The tiled loss against PyTorch's cross entropy on full logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from linguamap.models.structure import Structure
from linguamap.tuning.training import loss as loss_module
from linguamap.tuning.training.loss import FrozenHead, frozen_head, head_loss, tiled_cross_entropy

N, WIDTH, VOCAB = 13, 8, 101


def _structure(head: nn.Module, scale: float = 1.0, softcap: float | None = None) -> Structure:
    empty = nn.Identity()
    return Structure(nn.Embedding(VOCAB, WIDTH), [], "", empty, [], head, 1.0, scale, softcap)


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(N, WIDTH, requires_grad=True), torch.randint(0, VOCAB, (N,))


@pytest.mark.parametrize("tile", [7, 50, 4096])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.25, None), (1.0, 3.0), (2.0, 5.0)])
def test_loss_and_gradient_equal_cross_entropy(
    tile: int,
    bias: bool,
    scale: float,
    softcap: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(loss_module.VOCAB_TILE, "cpu", tile)
    monkeypatch.setattr(loss_module, "POSITION_BLOCK", 5)
    hidden, targets = _data()
    linear = nn.Linear(WIDTH, VOCAB, bias=bias).requires_grad_(False)
    nn.init.normal_(linear.weight, std=2.0)
    structure = _structure(linear, scale, softcap)
    logits = structure.after_head(linear(hidden))
    wanted = F.cross_entropy(logits, targets, reduction="sum")
    (wanted / 3).backward()
    gradient = hidden.grad
    hidden.grad = None
    head = frozen_head(structure, torch.float32)
    assert head is not None
    ours = head_loss(hidden, targets, structure, head)
    (ours / 3).backward()
    assert torch.allclose(ours, wanted, rtol=1e-6)
    assert hidden.grad is not None
    assert gradient is not None
    assert torch.allclose(hidden.grad, gradient, atol=2e-6)


def test_a_trained_head_gets_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "PLAIN_BLOCK", 4)
    hidden, targets = _data()
    linear = nn.Linear(WIDTH, VOCAB)
    structure = _structure(linear, softcap=3.0)
    logits = structure.after_head(linear(hidden))
    wanted = torch.autograd.grad(
        F.cross_entropy(logits, targets, reduction="sum"), [hidden, linear.weight, linear.bias]
    )
    assert frozen_head(structure, torch.float32) is None
    ours = head_loss(hidden, targets, structure, None)
    found = torch.autograd.grad(ours, [hidden, linear.weight, linear.bias])
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_head_of_another_kind_takes_the_general_way() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    hidden, targets = _data()
    head = Doubled(WIDTH, VOCAB).requires_grad_(False)
    structure = _structure(head)
    assert frozen_head(structure, torch.float32) is None
    wanted = F.cross_entropy(head(hidden), targets, reduction="sum")
    slope = torch.autograd.grad(wanted, hidden)[0]
    ours = head_loss(hidden, targets, structure, None)
    assert torch.allclose(ours, wanted, rtol=1e-6)
    assert torch.allclose(torch.autograd.grad(ours, hidden)[0], slope, atol=1e-5)


def test_huge_logits_stay_finite() -> None:
    head = FrozenHead(torch.eye(4) * 1e4)
    hidden = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    losses, slope = tiled_cross_entropy(hidden, torch.tensor([0, 2]), head, with_gradient=True)
    assert losses.tolist() == [0.0, 10000.0]
    assert slope is not None
    assert slope.tolist() == [[0.0] * 4, [0.0, 1e4, -1e4, 0.0]]


def test_bfloat16_products_stay_near() -> None:
    hidden, targets = _data()
    weight = torch.randn(VOCAB, WIDTH)
    exact, slope = tiled_cross_entropy(
        hidden.detach(), targets, FrozenHead(weight), with_gradient=True
    )
    half, half_slope = tiled_cross_entropy(
        hidden.detach(), targets, FrozenHead(weight.bfloat16()), with_gradient=True
    )
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.05
    assert slope is not None
    assert half_slope is not None
    assert (half_slope - slope).norm() < 0.02 * slope.norm()


def test_no_gradient_is_made_when_none_is_wanted() -> None:
    hidden, targets = _data()
    head = FrozenHead(torch.randn(VOCAB, WIDTH))
    assert tiled_cross_entropy(hidden, targets, head, with_gradient=False)[1] is None
