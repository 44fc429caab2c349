"""What a thinking model wrote for itself, and what it answered."""

from __future__ import annotations

import re

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
