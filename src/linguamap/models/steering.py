"""Steering: a language's vector, added to the output of some blocks, row by row.

Nothing is trained. The vector of a language at a layer is a difference of means of hidden states (see
:mod:`linguamap.tuning.untrained`); here it is only added. A model that has vectors
(:meth:`linguamap.models.language_model.LanguageModel.steered`) does not run unless it is told which
language each batch row is to speak::

    with lm.speaking([prompt.language for prompt in rows]):
        lm.model(...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from linguamap.records import UserError


class Steering:
    """Language vectors of some layers, and how strongly they are added.

    Attributes:
        layers: 1..L, whose outputs are changed.
        languages: those that have vectors.
    """

    def __init__(self, vectors: Mapping[tuple[int, str], Tensor], strength: float) -> None:
        """Take vectors: (layer, language) -> (d_model,)."""
        self.strength = strength
        self.languages = tuple(sorted({language for _, language in vectors}))
        self.layers = tuple(sorted({layer for layer, _ in vectors}))
        self._tables = {
            layer: torch.stack([vectors[layer, code].float() for code in self.languages])
            for layer in self.layers
        }

    def adder(self, languages: Sequence[str]) -> Callable[[int, Tensor], Tensor]:
        """What turns a layer's (batch, position, d_model) into that of these rows.

        Raises:
            UserError: there is no vector for one of the languages.
        """
        unknown = sorted(set(languages) - set(self.languages))
        if unknown:
            raise UserError(
                f"steering: no vector for {', '.join(unknown)}; this delta has "
                f"{', '.join(self.languages)}; make one from training items in every language"
            )
        rows = [self.languages.index(code) for code in languages]

        def add(layer: int, hidden: Tensor) -> Tensor:
            if hidden.shape[0] != len(rows):
                raise ValueError(
                    f"steering: languages of {len(rows)} rows, but the batch has {hidden.shape[0]}"
                )
            table = self._tables[layer]
            if table.device != hidden.device:
                table = self._tables[layer] = table.to(hidden.device)
            return hidden + (table[rows] * self.strength).to(hidden)[:, None]

        return add
