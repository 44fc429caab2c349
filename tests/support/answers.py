"""Answers for tests of what is counted from them."""

from __future__ import annotations

from typing import Any

from linguamap.records import Answer


def plain_answer(**fields: Any) -> Answer:
    """A French sum, right in both, but for the fields given."""
    answer: dict[str, Any] = {
        "item_id": "1", "benchmark": "sums", "kind": "sums", "language": "fr",
        "scenario": "monolingual", "prompt": "?", "answer": "18", "task_correct": True,
        "language_correct": True, "outcome": "both", "answer_language": "fr", "line_pass": True,
    }  # fmt: skip
    answer |= fields
    names = (answer[name] for name in ("benchmark", "scenario", "language", "item_id"))
    return Answer(**{"prompt_id": "/".join(names), "group": answer["item_id"], **answer})
