"""Answers that go round in circles, which a language identifier takes for good text."""

from __future__ import annotations

from collections import Counter

import regex

LOOKED_AT = 4000
"""Characters at an answer's end: a model that loops does not come out of it."""
LOOP = regex.compile(r"(.{2,300}?)\1{2,}", flags=regex.DOTALL)
SENTENCE_END = regex.compile(r"[.!?。！？।؟\n]+")
LETTER = regex.compile(r"\p{L}")
SYLLABLE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
LEAST_LETTERS = 18
"""Letters that three rounds, or three equal sentences, hold together; a syllable or logograph counts three."""


def repeats(answer: str) -> bool:
    """Whether an answer says the same thing three times: on end, or as three equal sentences.

    Blanks and case are of no account. What holds few letters ("very very very", "12 + 12 + 12") is no
    loop, and neither is a phrase that comes back within sentences that differ.
    """
    text = " ".join(answer[-LOOKED_AT:].casefold().split()) + " "
    if any(_letters(found[0]) >= LEAST_LETTERS for found in LOOP.finditer(text)):
        return True
    sentences = Counter(part.strip() for part in SENTENCE_END.split(answer[-LOOKED_AT:].casefold()))
    return any(n >= 3 and n * _letters(one) >= LEAST_LETTERS for one, n in sentences.items())


def _letters(text: str) -> int:
    return len(LETTER.findall(text)) + 2 * len(SYLLABLE.findall(text))
