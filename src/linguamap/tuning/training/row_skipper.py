"""Above the last attention, only target positions matter: the other rows need no work there.

The loss reads the last block's output at target positions only. Whatever maps each position by
itself after that block has read keys and values (query and output projections, norms, the MLP) can
therefore leave the other rows out. Which modules these are is told by two tests on a few
tokens, not by their names:

* the module maps rows one by one: fed with some rows only, it returns the same as for these rows
  among all;
* its output at other rows cannot reach a target one: the gradient there is exactly zero (for
  keys and values it is not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Relative; a matrix product may round otherwise when it has fewer rows."""
HALF_TOLERANCE = 2e-2


class RowSkipper:
    """Lets parts of a block work on chosen rows only."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.modules: list[nn.Module] = []

    def learn(self, run: Callable[[], Tensor]) -> None:
        """Find the modules that may skip rows.

        Args:
            run: a forward pass of a few tokens; returns (batch, position, d_model) behind the block.
        """
        self.modules = []
        calls = _record(self.block, run)
        is_target = _some_rows(calls.shape)
        free = [
            module
            for module in self.block.modules()
            if module in calls.outputs
            and _is_unread(calls.grads[module], is_target)
            and _maps_rows(module, calls.inputs[module], calls.outputs[module], is_target)
        ]
        inside: set[int] = set()
        for module in free:  # outermost first
            if module is not self.block and id(module) not in inside:
                self.modules.append(module)
                inside.update(id(inner) for inner in module.modules())

    @contextmanager
    def only(self, rows: Tensor, shape: torch.Size) -> Iterator[None]:
        """Within the ``with`` block, the modules found compute only some rows.

        Args:
            rows: (target,) indices into batch * position.
            shape: (batch, position) of the pass.
        """
        with ExitStack() as stack:
            if len(rows) < shape.numel():
                for module in self.modules:
                    stack.enter_context(_on_rows(module, rows, shape))
            yield


class _Calls:
    """What the block's modules were called with, returned, and the gradient of that."""

    def __init__(self) -> None:
        self.inputs: dict[nn.Module, tuple[Any, ...]] = {}
        self.outputs: dict[nn.Module, Tensor] = {}
        self.grads: dict[nn.Module, Tensor | None] = {}
        self.shape = torch.Size()


def _record(block: nn.Module, run: Callable[[], Tensor]) -> _Calls:
    calls = _Calls()
    twice: set[nn.Module] = set()

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module in calls.outputs:
            twice.add(module)
        inputs = (*args, *(value for value in kwargs.values() if value is not None))
        if inputs and all(_is_states(value) for value in (*inputs, output)):
            calls.inputs[module] = args
            if not kwargs and output.requires_grad:
                calls.outputs[module] = output

    handles = [
        module.register_forward_hook(note, with_kwargs=True)
        for module in block.modules()
        if module is not block
    ]
    try:
        with torch.enable_grad():
            end = run()
    finally:
        for handle in handles:
            handle.remove()
    calls.shape = end.shape[:2]
    for module in twice:
        calls.outputs.pop(module, None)
    modules = list(calls.outputs)
    if not end.requires_grad or not modules:
        calls.outputs.clear()
        return calls
    is_target = _some_rows(calls.shape)
    generator = torch.Generator().manual_seed(0)
    push = torch.randn(end.shape, generator=generator).to(end) * is_target[..., None].to(end)
    outputs = [calls.outputs[module] for module in modules]
    grads = torch.autograd.grad(end, outputs, grad_outputs=push, allow_unused=True)
    calls.grads = dict(zip(modules, grads, strict=True))
    return calls


def _is_states(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point()


def _some_rows(shape: torch.Size) -> Tensor:
    """(batch, position) true in the later half, and every third before it in row 1 on."""
    is_target = torch.zeros(shape, dtype=torch.bool)
    is_target[:, shape[1] // 2 :] = True
    is_target[1:, 1::3] = True
    return is_target


def _is_unread(grad: Tensor | None, is_target: Tensor) -> bool:
    if grad is None or grad.shape[:2] != is_target.shape:  # a convolution has channels in front
        return False
    return not bool(grad.detach()[~is_target.to(grad.device)].any())


@torch.no_grad()
def _maps_rows(module: nn.Module, args: tuple[Any, ...], output: Tensor, is_target: Tensor) -> bool:
    is_target = is_target.to(output.device)
    if any(value.shape[:2] != is_target.shape for value in (*args, output)):
        return False
    alone = module(*(value[is_target][None] for value in args))
    among = output[is_target][None]
    if not isinstance(alone, Tensor) or alone.shape != among.shape:
        return False
    allowed = TOLERANCE.get(output.dtype, HALF_TOLERANCE)
    largest = among.abs().amax().clamp_min(1e-30)
    return bool((alone - among).abs().amax() <= allowed * largest)


@contextmanager
def _on_rows(module: nn.Module, rows: Tensor, shape: torch.Size) -> Iterator[None]:
    inner = module.forward

    def forward(*args: Tensor) -> Tensor:
        some = [value.reshape(shape.numel(), -1)[rows][None] for value in args]
        result: Tensor = inner(*some)[0]
        full = result.new_zeros((shape.numel(), result.shape[-1]))
        return full.index_copy(0, rows, result).view(*shape, -1)

    with replaced_forward(module, forward):
        yield


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module do something else for the length of a ``with`` block; it stays where it is, with
    all attributes that the model may ask it for."""
    replaced = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if replaced is None:
            del module.forward
        else:
            module.forward = replaced
