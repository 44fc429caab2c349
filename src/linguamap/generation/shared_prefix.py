"""Prefixes that several prompts share, so that they are read once.

The prompts of a cell open with the same preamble and instruction, and questions about one passage
share the passage.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

MIN_TOKENS = 8
"""Shorter prefixes cost more to look up than to read."""


@dataclass(frozen=True)
class SharedPrefix:
    """The first tokens of a text, as far as another text has them too."""

    token_ids: tuple[int, ...]


def shared_prefixes(texts: Sequence[Sequence[int]]) -> list[SharedPrefix | None]:
    """For each text the prefix under which reading shared tokens once saves most.

    Sorted texts form a tree by their common prefixes. A node either reads its prefix once for
    all its texts, or leaves that to its branches, whichever saves more tokens.
    """
    order = sorted(range(len(texts)), key=lambda number: tuple(texts[number]))
    common = [_n_common(texts[a], texts[b]) for a, b in itertools.pairwise(order)]
    prefixes: list[SharedPrefix | None] = [None] * len(texts)
    for start, stop, length in _plan(common, 0, len(order))[1]:
        if length >= MIN_TOKENS:
            prefix = SharedPrefix(tuple(texts[order[start]][:length]))
            for number in order[start:stop]:
                prefixes[number] = prefix
    return prefixes


def _plan(common: list[int], start: int, stop: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Tokens saved, and the ranges of sorted texts with their shared lengths."""
    if stop - start < 2:
        return 0, [(start, stop, 0)]
    length = min(common[start : stop - 1])
    cuts = [i + 1 for i in range(start, stop - 1) if common[i] == length]
    saved, parts = -length, []  # the prefix that the branches share is read once
    for a, b in zip([start, *cuts], [*cuts, stop], strict=True):
        branch_saves, ranges = _plan(common, a, b)
        if branch_saves > (b - a) * length:
            saved += branch_saves
            parts += ranges
        else:
            saved += (b - a) * length
            parts.append((a, b, length))
    return max(saved, 0), parts


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    # The last token is always read with its own text: its logits are wanted.
    limit = min(len(a), len(b)) - 1
    return next((i for i in range(limit) if a[i] != b[i]), max(limit, 0))
