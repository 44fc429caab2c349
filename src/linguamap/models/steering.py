"""Steering: a language's vector added to the output of some blocks, row by row.

Nothing is trained. The vector of a language at a layer is a difference of means of hidden states (see
:mod:`linguamap.tuning.steer`); here it is only added. A model that was loaded with a ``steer`` delta
has a :class:`Steering` as ``lm.steering`` (else None). Whoever runs the model says which language each
batch row is to speak, before each forward pass whose rows changed::

    lm.steering.set_rows([prompt.language for prompt in rows])
    lm.model(...)
    lm.steering.set_rows([])   # the plain model again

The vectors are added at every position of a row, prompt and answer alike, so that a text gives the
same states whether it runs in one pass or token by token on a key-value cache, and whatever padding
it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from linguamap.models.structure import hidden_out, replace_hidden
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


class Steering:
    """Forward hooks on a model's blocks that add vectors, and the rows they are added to."""

    def __init__(
        self, lm: LanguageModel, vectors: Mapping[tuple[int, str], Tensor], strength: float
    ) -> None:
        """Hook the blocks; until :meth:`set_rows` is called nothing is added.

        Args:
            vectors: (layer 1..L, language) -> (d_model,).
            strength: what the vectors are multiplied by.
        Raises:
            UserError: a layer that the model does not have, or a vector of another width.
        """
        self.strength = strength
        self.languages = tuple(sorted({language for _, language in vectors}))
        self.layers = tuple(sorted({layer for layer, _ in vectors}))
        for (layer, _), vector in vectors.items():
            if not 1 <= layer <= lm.n_layers or vector.shape != (lm.d_model,):
                raise UserError(
                    f"steering: a vector of {tuple(vector.shape)} for block {layer} does not fit "
                    f"the model, whose {lm.n_layers} blocks are {lm.d_model} wide"
                )
        self._vectors = {key: vector.float() for key, vector in vectors.items()}
        self._rows: tuple[str, ...] = ()
        self._added: dict[int, Tensor] = {}
        self._handles = [
            lm.structure.blocks[layer - 1].register_forward_hook(self._hook(layer))
            for layer in self.layers
        ]

    @property
    def rows(self) -> tuple[str, ...]:
        """The language of each batch row; empty while nothing is added."""
        return self._rows

    def set_rows(self, languages: Sequence[str]) -> None:
        """Say what each batch row of the next forward passes is to speak; none switches steering off.

        Raises:
            UserError: there is no vector for one of the languages.
        """
        unknown = sorted(set(languages) - set(self.languages))
        if unknown:
            raise UserError(
                f"steering: no vector for {', '.join(unknown)}; this delta has "
                f"{', '.join(self.languages)}; make one from training items in every language"
            )
        if tuple(languages) != self._rows:
            self._rows = tuple(languages)
            self._added.clear()

    def remove(self) -> None:
        """Take the hooks off; the model is the plain one again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.set_rows([])

    def _hook(self, layer: int) -> Any:
        def add(module: torch.nn.Module, args: Any, output: Any) -> Any:
            if not self._rows:
                return None
            hidden = hidden_out(output)
            assert hidden is not None
            if hidden.shape[0] != len(self._rows):
                raise ValueError(
                    f"steering: {len(self._rows)} rows were set, the batch has {hidden.shape[0]}"
                )
            return replace_hidden(output, hidden + self._of_rows(layer, hidden)[:, None])

        return add

    def _of_rows(self, layer: int, hidden: Tensor) -> Tensor:
        """(batch, d_model) in the dtype of ``hidden`` and on its device."""
        added = self._added.get(layer)
        if added is None or added.device != hidden.device or added.dtype != hidden.dtype:
            vectors = [self._vectors[layer, language] for language in self._rows]
            added = (torch.stack(vectors) * self.strength).to(hidden)
            self._added[layer] = added
        return added
