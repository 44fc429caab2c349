"""The model as it is and the tuned one, in the memory of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from linguamap.models.language_model import LanguageModel
from linguamap.tuning.delta import check_base, new_weights, read_delta
from linguamap.tuning.layers import is_tied, untie_head
from linguamap.tuning.methods import method_of

When = Literal["before", "after"]


class Variants:
    """One loaded model whose weights and a delta's change places; steering goes on and off.

    Attributes:
        names: ``before``, and ``after`` if there is a delta that can be shown.
        note: why there is no ``after`` although a delta was given, or None.
    """

    def __init__(self, lm: LanguageModel, delta: Path | None = None) -> None:
        """Take the model over.

        Raises:
            UserError: the delta is broken, or belongs to another model.
        """
        self.lm = lm
        self.names: list[When] = ["before"]
        self.note: str | None = None
        self._aside: dict[str, Tensor] = {}
        self._steered: LanguageModel | None = None
        if delta is not None:
            self._take(delta)

    def _take(self, path: Path) -> None:
        delta = read_delta(path)
        check_base(self.lm.identity, delta, path)
        applies = method_of(delta.method).applies
        if applies == "examples":
            self.note = (
                "The run's method, few-shot prompting, changes the prompt and not the model."
            )
            return
        if applies == "vectors":
            self._steered = self.lm.steered(delta.vectors, delta.strength or 0.0)
        else:
            if delta.untied and is_tied(self.lm):
                untie_head(
                    self.lm
                )  # its weights stay those of the embedding until they are swapped
            parameters = dict(self.lm.model.named_parameters())
            with torch.no_grad():
                weights = new_weights(delta, parameters)
            self._aside = {n: value.to(parameters[n].device) for n, value in weights.items()}
        self.names.append("after")

    @contextmanager
    def use(self, when: When) -> Iterator[LanguageModel]:
        """The model in this state; afterwards it is as it was."""
        if when == "before":
            yield self.lm
            return
        self._swap()
        try:
            yield self._steered or self.lm
        finally:
            self._swap()

    def _swap(self) -> None:
        """Exchange the weights in the model for those aside; nothing is copied."""
        parameters = dict(self.lm.model.named_parameters())
        for name, value in self._aside.items():
            self._aside[name], parameters[name].data = parameters[name].data, value
