"""The leak guard: no training example may be, or ask, what the run is tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from linguamap.records import Benchmark, Prompt

SHORTEST_QUESTION = 20
"""Characters; shorter test questions are looked for in free text only as whole questions."""


@dataclass(frozen=True)
class HeldOut:
    """What the run is tested on, in every language.

    Attributes:
        items: (benchmark, item id).
        questions: (question, passage or ""), blanks made single.
    """

    items: frozenset[tuple[str, str]]
    questions: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, benchmarks: Iterable[Benchmark]) -> HeldOut:
        """All items of the test benchmarks, those not drawn for this run too."""
        items = [
            item
            for benchmark in benchmarks
            for found in (*benchmark.items.values(), benchmark.english)
            for item in found
        ]
        return cls(
            frozenset((item.benchmark, item.item_id) for item in items),
            frozenset((_plain(item.question), _plain(item.passage or "")) for item in items),
        )

    def reason(self, prompt: Prompt) -> str | None:
        """Why a training prompt may not be used, or None."""
        if (prompt.benchmark, prompt.item_id) in self.items:
            return "its item is a test item"
        if (prompt.question, _plain(prompt.passage or "")) in self.questions:
            return "its question is a test item's"
        return None

    def reason_in_text(self, item_id: str, text: str) -> str | None:
        """Why a user's example may not be used, or None.

        Args:
            item_id: the id that the user gave; empty without one.
            text: the whole prompt. A test question inside it counts if its passage is there as well.
        """
        if item_id and any(item_id == known for _, known in self.items):
            return "its id is a test item's"
        plain = _plain(text)
        for question, passage in self.questions:
            inside = len(question) >= SHORTEST_QUESTION and question in plain
            if (inside and passage in plain) or plain == question:
                return "it holds a test item's question"
        return None


def _plain(text: str) -> str:
    return " ".join(text.split())


def some_left_out(left_out: Sequence[tuple[str, str]], shown: int = 20) -> dict[str, object]:
    """Count, and the first few names with their reasons, for ``tuning.json``."""
    return {
        "n": len(left_out),
        "first": [{"example": name, "reason": reason} for name, reason in left_out[:shown]],
    }
