"""Where an answer ends, and what a thinking model wrote for itself before it."""

from __future__ import annotations

import re
from collections.abc import Sequence

THINKING_END = re.compile(r"</think(?:ing)?>|<\|end_of_thought\|>")
THINKING_START = re.compile(r"^\s*<think(?:ing)?>|^\s*<\|begin_of_thought\|>")


def split_thinking(text: str) -> tuple[str | None, str]:
    """Split a reasoning block off: ``(thinking, answer)``.

    A block that was opened and never closed is all thinking, and the answer is empty: the token
    limit cut the model off before it answered.
    """
    end = THINKING_END.search(text)
    opened = THINKING_START.match(text)
    if end is not None:
        start = opened.end() if opened else 0
        return text[start : end.start()].strip(), text[end.end() :].strip()
    if opened is not None:
        return text[opened.end() :].strip(), ""
    return None, text.strip()


def cut_at_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text up to the first stop string after its first visible character; None without one."""
    start = len(text) - len(text.lstrip())
    found = [place for stop in stops if (place := text.find(stop, start)) >= 0]
    return text[: min(found)] if found else None
