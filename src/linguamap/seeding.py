"""Seeded draws that do not depend on platform, library version or what else is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def number(*key: object) -> int:
    """A 64-bit number that depends on ``key`` only; keys are told apart by their text."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def shuffled(values: Iterable[T], *key: object) -> list[T]:
    """The values in a random order fixed by ``key`` and by each value's own text.

    A value keeps its rank when others come or go, so that a draw of 8 is part of a draw of 16.
    """
    return sorted(values, key=lambda value: (number(*key, value), str(value)))
