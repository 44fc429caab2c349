"""Which blocks: reading a choice of them, without a model."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.config import TuneConfig
    from linguamap.run.contents import Layers

FORMS = "all, last:2, first:2, middle:2, random:2 or block numbers like 17,18"


def parse_layers(
    text: str, n_layers: int, seed: int = 0, avoid: Sequence[int] = ()
) -> tuple[int, ...]:
    """Read a choice of blocks.

    Args:
        text: ``all``, ``last:k``, ``first:k``, ``middle:k`` (k blocks around the centre), ``random:k`` (drawn
            with ``seed``), or block numbers with commas.
        n_layers: L; blocks are numbered 1..L, block i makes layer i.
        seed: of the random draw. Other seeds draw other blocks, until all choices were drawn.
        avoid: blocks that a random draw must not equal as a whole (the located ones), unless there
            is no other choice.
    Returns:
        Block numbers in rising order.
    Raises:
        UserError: another form, or blocks that the model does not have.
    """
    word, mark, count = text.strip().partition(":")
    if word == "all" and not mark:
        return tuple(range(1, n_layers + 1))
    if mark and word in ("last", "first", "middle", "random"):
        if not re.fullmatch(r"[0-9]+", count.strip()) or not 1 <= int(count) <= n_layers:
            raise UserError(
                f"layers: '{text}' asks for {count!r} blocks; the model has {n_layers}, "
                f"give a number from 1 to {n_layers}"
            )
        return _placed(word, int(count), n_layers, seed, tuple(sorted(avoid)))
    if not re.fullmatch(r"\s*[0-9]+(\s*,\s*[0-9]+)*\s*", text):
        raise UserError(f"layers: '{text}' is not understood; use {FORMS}")
    return check_layers([int(number) for number in text.split(",")], n_layers)


def blocks_to_tune(located: Layers, config: TuneConfig, seed: int) -> tuple[tuple[int, ...], str]:
    """The blocks, and why these: named in the config, located, or the last ones instead.

    Args:
        seed: of blocks that are drawn.
    """
    if config.layers:
        avoid = located.tune_layers or located.fallback_layers
        return parse_layers(config.layers, located.n_layers, seed, avoid), "config"
    if located.tune_layers:
        return located.tune_layers, "located" if located.rule == "lens" else located.rule
    reason = located.evidence.reason or "locate proposed none"
    return located.fallback_layers, f"fallback: {reason}"


def check_layers(layers: Sequence[int], n_layers: int) -> tuple[int, ...]:
    """Block numbers in rising order, each once.

    Raises:
        UserError: none are given, or one is not in 1..n_layers.
    """
    chosen = tuple(sorted(set(layers)))
    if not chosen:
        raise UserError(f"layers: no block is chosen, nothing would be trained; use {FORMS}")
    wrong = [layer for layer in chosen if not 1 <= layer <= n_layers]
    if wrong:
        raise UserError(
            f"layers: block {wrong[0]} does not exist; the model's blocks are 1 to {n_layers}"
        )
    return chosen


def _placed(
    word: str, count: int, n_layers: int, seed: int, avoid: tuple[int, ...]
) -> tuple[int, ...]:
    if word == "random":
        return _drawn(count, n_layers, seed, avoid)
    first = {"first": 1, "last": n_layers - count + 1, "middle": (n_layers - count) // 2 + 1}[word]
    return tuple(range(first, first + count))


def _drawn(count: int, n_layers: int, seed: int, avoid: tuple[int, ...]) -> tuple[int, ...]:
    """The choice with number ``offset + step * seed`` in the list of all choices of ``count`` blocks.

    ``step`` has no factor in common with the list's length, so seeds come round to the same choice
    only after all others.
    """
    total = math.comb(n_layers, count)
    # The avoided choice gives its place to the last of the list, which is then one shorter.
    kept = total - 1 if len(avoid) == count and total > 1 else total
    draw = random.Random(f"blocks/{n_layers}/{count}")
    offset, step = draw.randrange(total), draw.randrange(total) + 1
    while math.gcd(step, kept) != 1:
        step += 1
    chosen = _choice(count, n_layers, (offset + step * seed) % kept)
    return _choice(count, n_layers, kept) if chosen == avoid and kept < total else chosen


def _choice(count: int, n_layers: int, number: int) -> tuple[int, ...]:
    """Choice ``number`` of ``count`` blocks out of 1..n_layers, in lexicographic order."""
    chosen: list[int] = []
    block = 1
    while len(chosen) < count:
        with_block = math.comb(n_layers - block, count - len(chosen) - 1)
        if number < with_block:
            chosen.append(block)
        else:
            number -= with_block
        block += 1
    return tuple(chosen)
