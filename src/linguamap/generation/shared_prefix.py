"""Beginnings that several prompts share: read once, kept as keys and values.

The prompts of a cell open with the same preamble and instruction, and questions about one passage
share the passage. A beginning is always read alone, so its states do not depend on which prompts are
answered together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

from linguamap.generation.kv_cache import cache_bytes, has_plain_rows, new_cache, window

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

MIN_TOKENS = 8
"""Shorter beginnings cost more to look up than to read."""
KEPT_BYTES_SHARE = 0.25
"""Kept beginnings take at most this share of the weights' size; further ones are read anew."""


@dataclass(frozen=True)
class Beginning:
    """The first tokens of a text, as far as another text has them too."""

    token_ids: tuple[int, ...]


def shared_beginnings(texts: Sequence[Sequence[int]]) -> list[Beginning | None]:
    """For each text the beginning under which reading shared tokens once saves most.

    Sorted texts form a tree by their common beginnings. A node either reads its beginning once for
    all its texts, or leaves that to its branches, whichever saves more tokens.
    """
    order = sorted(range(len(texts)), key=lambda number: tuple(texts[number]))
    common = [_n_common(texts[a], texts[b]) for a, b in itertools.pairwise(order)]
    found: list[Beginning | None] = [None] * len(texts)
    for start, stop, length in _plan(common, 0, len(order))[1]:
        if length >= MIN_TOKENS:
            beginning = Beginning(tuple(texts[order[start]][:length]))
            for number in order[start:stop]:
                found[number] = beginning
    return found


def _plan(common: list[int], start: int, stop: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Tokens saved, and the ranges of sorted texts with their shared lengths."""
    if stop - start < 2:
        return 0, [(start, stop, 0)]
    length = min(common[start : stop - 1])
    cuts = [i + 1 for i in range(start, stop - 1) if common[i] == length]
    saved, parts = -length, []  # the beginning that the branches share is read once
    for a, b in zip([start, *cuts], [*cuts, stop], strict=True):
        own, ranges = _plan(common, a, b)
        if own > (b - a) * length:
            saved += own
            parts += ranges
        else:
            saved += (b - a) * length
            parts.append((a, b, length))
    return max(saved, 0), parts


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    # The last token is always read with its own text: its logits are wanted.
    limit = min(len(a), len(b)) - 1
    return next((i for i in range(limit) if a[i] != b[i]), max(limit, 0))


class BeginningStates:
    """Keys and values of beginnings, computed when first asked for."""

    def __init__(self, lm: LanguageModel, use_cache: bool = True) -> None:
        """Without the use of a cache there are no states, and every text is read whole."""
        self.lm = lm
        cache = new_cache(lm.model.config)
        self.possible = use_cache and has_plain_rows(cache)
        narrowest = window(cache) if self.possible else None
        self.longest = None if narrowest is None else narrowest - 1
        weights = sum(p.numel() * p.element_size() for p in lm.model.parameters())
        self._free = int(weights * KEPT_BYTES_SHARE)
        self._kept: dict[Beginning, DynamicCache] = {}

    def __getitem__(self, beginning: Beginning) -> DynamicCache:
        """A cache of one row that holds the beginning, as far as every layer can keep it."""
        kept = self._kept.get(beginning)
        if kept is not None:
            return kept
        cache = new_cache(self.lm.model.config)
        ids = torch.tensor([beginning.token_ids[: self.longest]], device=self.lm.device)
        trunk: Any = self.lm.structure.trunk
        trunk(input_ids=ids, past_key_values=cache, use_cache=True)
        size = cache_bytes(cache)
        if size <= self._free:
            self._free -= size
            self._kept[beginning] = cache
        return cache

    def n_tokens(self, beginning: Beginning | None) -> int:
        """How many tokens of a text need not be read."""
        if beginning is None or not self.possible:
            return 0
        return min(len(beginning.token_ids), self.longest or len(beginning.token_ids))
