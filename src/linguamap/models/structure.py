"""Where a causal language model keeps its blocks, final norm and head: found, not looked up.

No table of architectures: one small forward pass is watched. The blocks are the longest list of
modules in which each one is called once, in order, on what the one before it returned. What is
called on the way from the last block to the head is the tail (a final norm, sometimes a
projection). What the model does to the head's output (scale, soft-cap) is measured by putting
known numbers in its place. Whatever does not fit this picture is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from linguamap.models.trial_pass import submodule, trial_forward
from linguamap.records import UserError


@dataclass(frozen=True)
class Structure:
    """The parts of a decoder that the probes and the tuning touch.

    Attributes:
        embed: the token embedding.
        blocks: block i of the residual stream is ``blocks[i - 1]``; its output is layer i.
        block_path: dotted name of the list, e.g. ``model.layers``; block i is ``path.{i - 1}``.
        trunk: the largest part that runs embedding and blocks but not the head; the model itself
            if there is none.
        tail: modules between the last block and the head, in order; usually the final norm alone.
        head: the unembedding.
        head_gain: what the tail's output is multiplied by before the head.
        scale: what the head's output is multiplied by.
        softcap: c of ``c * tanh(x / c)`` after the scale, or None.
    """

    embed: nn.Module
    blocks: list[nn.Module]
    block_path: str
    trunk: nn.Module
    tail: list[nn.Module]
    head: nn.Module
    head_gain: float = 1.0
    scale: float = 1.0
    softcap: float | None = None

    @property
    def final_norm(self) -> nn.Module:
        """The first module after the last block; an identity if there is none."""
        return self.tail[0] if self.tail else nn.Identity()

    def before_head(self, hidden: Tensor) -> Tensor:
        """What the head reads: final norm (and projection, gain) of (..., d_model)."""
        for module in self.tail:
            hidden = module(hidden)
        if self.head_gain != 1.0:
            hidden = hidden * self.head_gain
        weight = getattr(self.head, "weight", hidden)  # a float32 residual in a half model
        return hidden.to(weight.dtype) if weight.is_floating_point() else hidden

    def after_head(self, logits: Tensor) -> Tensor:
        """The model's logits from the head's output (..., vocab): scale and soft-cap."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits


@dataclass(eq=False)
class Call:
    """One module call: when it began and ended, and the hidden states (batch, position, d_model)
    that went in and came out."""

    module: nn.Module
    began: int
    entered: Tensor | None
    ended: int = -1
    left: Tensor | None = None


def find_structure(model: nn.Module) -> Structure:
    """Find blocks, tail and head of a causal language model by one watched forward pass.

    Raises:
        UserError: no decoder with a residual stream and a head was found, and what was missing.
    """
    name = type(model).__name__
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"model: {name} is an encoder-decoder; its output is not one residual stream from "
            "embedding to head. Use a causal (decoder-only) language model"
        )
    head = submodule(model, "get_output_embeddings")
    embed = submodule(model, "get_input_embeddings")
    if head is None or embed is None:
        missing = "output head" if head is None else "token embedding"
        raise UserError(f"model: {name} has no {missing}; use a causal language model")
    calls = trace_forward(model)
    path, blocks = _find_blocks(model, calls, name)
    tail, gain = _find_tail(calls, blocks[-1], head, name)
    scale, softcap = _measure_logits(model, head, name)
    trunk = _find_trunk(model, path, embed, head)
    return Structure(embed, blocks, path, trunk, tail, head, gain, scale, softcap)


@torch.no_grad()
def trace_forward(model: nn.Module) -> list[Call]:
    """Run a few tokens through the model and note every module call, in order of beginning."""
    calls: list[Call] = []
    stack: list[Call] = []
    clock = itertools.count()

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = Call(module, next(clock), hidden_in(args, kwargs))
        stack.append(call)
        calls.append(call)

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        call = stack.pop()
        call.ended, call.left = next(clock), hidden_out(output)

    handles: list[RemovableHandle] = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        trial_forward(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def hidden_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The hidden states (batch, position, d_model) among a block's inputs."""
    for value in (*args[:1], kwargs.get("hidden_states"), *args[1:], *kwargs.values()):
        if isinstance(value, Tensor) and value.dim() == 3 and value.is_floating_point():
            return value
    return None


def hidden_out(output: Any) -> Tensor | None:
    """The hidden states among what a module returned: a tensor, or the first of a tuple."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        output = output[0] if output else None
    return output if isinstance(output, Tensor) else None


def replace_hidden(output: Any, hidden: Tensor) -> Any:
    """A block's output with its hidden states exchanged for ``hidden``."""
    if isinstance(output, Tensor):
        return hidden
    if isinstance(output, (tuple, list)):
        return type(output)([hidden, *output[1:]])
    raise TypeError(f"cannot replace hidden states in a {type(output).__name__}")


@contextmanager
def hooked(*handles: RemovableHandle) -> Iterator[None]:
    """Keep hooks for the length of a ``with`` block."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find_blocks(model: nn.Module, calls: list[Call], name: str) -> tuple[str, list[nn.Module]]:
    by_module: dict[int, list[Call]] = {}
    for call in calls:
        by_module.setdefault(id(call.module), []).append(call)
    best: tuple[int, int, str, list[nn.Module]] | None = None
    for path, candidate in model.named_modules():
        if not isinstance(candidate, (nn.ModuleList, nn.Sequential)) or len(candidate) == 0:
            continue
        members = list(candidate)
        once = [by_module.get(id(member), []) for member in members]
        if any(len(found) != 1 for found in once) or not _is_chain([c[0] for c in once]):
            continue
        key = (len(members), -path.count("."))
        if best is None or key > best[:2]:
            best = (*key, path, members)
    if best is None:
        raise UserError(
            f"model: {name} has no list of blocks that run one after the other on one residual "
            "stream; the probes need a decoder built that way"
        )
    return best[2], best[3]


def _is_chain(calls: list[Call]) -> bool:
    """Whether each call read what the one before it returned, at the same width throughout."""
    for call in calls:
        if call.entered is None or call.left is None or call.entered.shape != call.left.shape:
            return False
    return all(_same(a.left, b.entered) for a, b in itertools.pairwise(calls))


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return a is b or torch.equal(a, b.to(a.device))


def _find_tail(
    calls: list[Call], last: nn.Module, head: nn.Module, name: str
) -> tuple[list[nn.Module], float]:
    """Follow the hidden states from the last block through module calls to the head."""
    end = next(call for call in calls if call.module is last)
    hidden, now = end.left, end.ended
    assert hidden is not None  # _is_chain has seen it
    tail: list[nn.Module] = []
    for call in calls:
        if call.began < now:
            continue
        if call.module is head and call.entered is not None:
            return tail, _gain(hidden, call.entered, name)
        if call.left is not None and _same(call.entered, hidden):
            now = call.ended
            if not _same(call.left, hidden):
                tail.append(call.module)
                hidden = call.left
    raise UserError(f"model: the output head of {name} is not called as a module")


def _gain(hidden: Tensor, into_head: Tensor, name: str) -> float:
    if hidden.shape == into_head.shape:
        a, b = hidden.double(), into_head.to(hidden.device).double()
        gain = float((a * b).sum() / (a * a).sum().clamp_min(1e-30))
        if torch.equal(hidden, into_head.to(hidden.device)) or abs(gain - 1.0) < 2e-3:
            return 1.0  # in half precision the last bits differ
        if (a * gain - b).abs().max() <= 1e-2 * b.abs().max():
            return gain
    raise UserError(
        f"model: between the last block and the head {name} does something that is no module "
        "call and no plain factor; the lens cannot repeat it"
    )


@torch.no_grad()
def _measure_logits(model: nn.Module, head: nn.Module, name: str) -> tuple[float, float | None]:
    """Scale and soft-cap, read off by feeding known numbers in place of the head's output."""
    ladder = torch.tensor([1e6, -1e6, 1e-2, *torch.linspace(-200, 200, 41).tolist()])

    def known(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        put = torch.zeros_like(output, dtype=torch.float32)
        put[0, -1, : len(ladder)] = ladder.to(put)[: put.shape[-1]]
        return put

    with hooked(head.register_forward_hook(known)):
        logits = trial_forward(model).logits
    seen = logits[0, -1, : len(ladder)].double().cpu()
    given = ladder[: len(seen)].double()
    scale = float(seen[2] / given[2])
    softcap = float(seen[0]) if abs(float(seen[0])) < 1e5 * abs(scale) else None
    if softcap is not None:
        scale = softcap * float(torch.atanh(seen[2] / softcap)) / float(given[2])
    expected = given * scale
    if softcap is not None:
        expected = softcap * torch.tanh(expected / softcap)
    if not torch.allclose(seen, expected, rtol=1e-3, atol=1e-4):
        raise UserError(
            f"model: {name} turns the head's output into logits by something else than a factor "
            "and a soft-cap; the lens cannot repeat it"
        )
    return _tidy(scale), None if softcap is None else _tidy(softcap)


def _tidy(value: float) -> float:
    """Drop the float32 noise of a measured constant (or of its reciprocal)."""
    for power in (1.0, -1.0):
        rounded = float(float(f"{value**power:.5g}") ** power)
        if abs(rounded - value) <= 2e-6 * abs(value):
            return rounded
    return value


def _find_trunk(model: nn.Module, path: str, embed: nn.Module, head: nn.Module) -> nn.Module:
    """The outermost module on the way to the blocks that holds the embedding but not the head."""
    module = model
    for part in path.split(".")[:-1]:
        module = module.get_submodule(part)
        inside = set(map(id, module.modules()))
        if id(head) not in inside:
            return module if id(embed) in inside else model
    return model
