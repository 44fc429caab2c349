"""A model cut in two: the frozen blocks below the boundary, and what runs above it.

No code per architecture: the model's own forward does both halves. Below, it is stopped once the
boundary's states are there. Above, the frozen blocks pass kept states through in place of their work,
so that positions, rotary tables, masks and sliding windows of the upper blocks are made by the model
itself; it is stopped where it would call the head. Dropout is off in both halves: the frozen part
could not be run once otherwise.

Texts are padded on the right. In a causal model no position sees what comes after it, so padding
needs no mask: an all-ones one is given, with which the model takes its fast path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from linguamap.models.structure import hidden_in, hidden_out, replace_hidden
from linguamap.tuning.training.row_skipper import RowSkipper, replaced_forward

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


class _ReachedError(Exception):
    """Stops a forward pass at the place whose value was wanted."""


class SplitModel:
    """A model whose blocks below ``first_tuned`` can be run once and left out afterwards."""

    def __init__(
        self, lm: LanguageModel, first_tuned: int, autocast: torch.dtype | None = None
    ) -> None:
        """Cut ``lm`` below block ``first_tuned`` (1..L); 1 leaves nothing below.

        Args:
            autocast: the dtype that products are made in, or None for that of the weights.
        """
        self.lm = lm
        self.autocast = autocast
        self.first_tuned = first_tuned
        self.below = lm.structure.blocks[: first_tuned - 1]
        self.pad = int(lm.tokenizer.pad_token_id or 0)
        self.released = False
        self._forms: list[Any] = []
        if self.below:
            self._forms = self._learn_forms()
        self.skipper = RowSkipper(lm.structure.blocks[-1])

    def prepare(self) -> None:
        """Find out which parts of the last block need only the target rows.

        Call it when it is settled which parameters are trained.
        """
        ids = self.probe_ids()
        states = self.prefix(ids) if self.below else None
        with self._cast():
            self.skipper.learn(lambda: self._above(ids, states))

    @torch.no_grad()
    def prefix(
        self,
        ids: Tensor,
        states: Tensor | None = None,
        layer: int = 0,
        *,
        mask: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """States at the boundary, layer ``first_tuned - 1``.

        Args:
            ids: (batch, position), padded on the right.
            states: (batch, position, d_model) at ``layer``, from which to go on; None starts from
                the token ids.
            layer: below the boundary.
            mask: (batch, column) with a cache, whose columns stand in front; padding is on the left.
            cache: keys and values of tokens before these.
        Returns:
            (batch, position, d_model); rows of padding hold values of no meaning.
        """
        kept: list[Tensor] = []

        def reached(module: nn.Module, args: Any, output: Any) -> None:
            hidden = hidden_out(output)
            assert hidden is not None
            kept.append(hidden)
            raise _ReachedError

        with ExitStack() as stack:
            stack.enter_context(_hook(self.below[-1].register_forward_hook(reached)))
            if states is not None:
                for block, form in zip(self.below[:layer], self._forms):
                    stack.enter_context(replaced_forward(block, _returning(form, states)))
            self._run(ids, mask, cache)
        return kept[0]

    def read_prefix(self, ids: Tensor, mask: Tensor, cache: Any) -> Tensor:
        """:meth:`prefix` into a cache."""
        return self.prefix(ids, mask=mask, cache=cache)

    def head_input(
        self, ids: Tensor, states: Tensor | None, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """What the head reads at the target positions, differentiable above the boundary.

        Args:
            ids: (batch, position), padded on the right.
            states: (batch, position, d_model) from :meth:`prefix`; None runs the lower blocks too.
            rows, columns: (target,) places in the batch.
        Returns:
            (target, d_model).
        """
        with self.skipper.only(rows * ids.shape[1] + columns, ids.shape):
            return self._above(ids, states)[rows, columns]

    def read_at_head(
        self,
        ids: Tensor,
        states: Tensor | None,
        rows: Tensor,
        columns: Tensor,
        read: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """What ``read`` makes of :meth:`head_input`, called inside the model's forward pass.

        Sharded weights, the head's among them, are whole only there; and the pass goes to its end,
        since sharding hangs on the ends of forward passes.
        """
        head = self.lm.structure.head
        plain = head.forward
        results: list[Tensor] = []

        def forward(hidden: Tensor) -> Tensor:
            device = self.lm.device.type
            with replaced_forward(head, plain), torch.autocast(device, enabled=False):
                results.append(read(hidden[rows, columns]))
            return hidden.detach()  # the backward pass begins at what was read

        with ExitStack() as stack:
            flat = rows * ids.shape[1] + columns
            stack.enter_context(self.skipper.only(flat, ids.shape))
            stack.enter_context(replaced_forward(head, forward))
            self._keep(stack, states)
            with self._cast():
                self._call(ids)
        return results[0]

    def release(self) -> None:
        """Free the lower blocks' memory. The model can no longer be run as a whole."""
        if self.below and not self.released:
            for block in self.below:
                block.to("meta")
            self.released = True

    def _above(self, ids: Tensor, states: Tensor | None) -> Tensor:
        kept: list[Tensor] = []

        def reached(module: nn.Module, args: Any, kwargs: Any) -> None:
            hidden = hidden_in(args, kwargs)
            assert hidden is not None
            kept.append(hidden)
            raise _ReachedError

        head = self.lm.structure.head
        with ExitStack() as stack:
            stack.enter_context(_hook(head.register_forward_pre_hook(reached, with_kwargs=True)))
            self._keep(stack, states)
            self._run(ids)
        return kept[0]

    def _keep(self, stack: ExitStack, states: Tensor | None) -> None:
        """Let the lower blocks pass kept states through, if there are any."""
        if states is not None:
            for block, form in zip(self.below, self._forms, strict=True):
                stack.enter_context(replaced_forward(block, _returning(form, states)))

    def _call(self, ids: Tensor, mask: Tensor | None = None, cache: Any = None) -> None:
        options: dict[str, Any] = {"use_cache": cache is not None}
        if cache is not None:
            options["past_key_values"] = cache
        if mask is None:
            mask = torch.ones_like(ids)
        elif "position_ids" in inspect.signature(self.lm.model.forward).parameters:
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        self.lm.model(input_ids=ids, attention_mask=mask, **options)

    def _run(self, ids: Tensor, mask: Tensor | None = None, cache: Any = None) -> None:
        try:
            with self._cast():
                self._call(ids, mask, cache)
        except _ReachedError:
            return
        raise AssertionError("the forward pass ended without reaching its stop")

    def _cast(self) -> torch.autocast:
        device = self.lm.device.type
        return torch.autocast(device, self.autocast, enabled=self.autocast is not None)

    def probe_ids(self) -> Tensor:
        """A few token ids (batch, position) for trying things out."""
        rows = int(next(self.lm.structure.embed.parameters()).shape[0])
        ids = (torch.arange(24, device=self.lm.device) * 5 + 3).remainder(rows)
        return ids.view(2, 12)

    @torch.no_grad()
    def _learn_forms(self) -> list[Any]:
        """What each lower block returns besides the states, its tensors left out."""
        forms: list[Any] = []

        def note(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                forms.append(output.new_empty(0))
            else:
                rest = [None if isinstance(value, Tensor) else value for value in output]
                forms.append(type(output)(rest))

        with ExitStack() as stack:
            for block in self.below:
                stack.enter_context(_hook(block.register_forward_hook(note)))
            self.prefix(self.probe_ids())
        return forms


def _returning(form: Any, states: Tensor) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return replace_hidden(form, states)

    return forward


@contextmanager
def _hook(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
