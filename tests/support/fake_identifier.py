"""An identifier for tests that knows its words from a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from linguamap.records import Identification


class FakeIdentifier:
    """Names the language of a word by a rule given in the test."""

    name = "fake"

    def __init__(self, languages: tuple[str, ...], rule: Callable[[str], str | None]) -> None:
        self.languages = languages
        self.rule = rule
        self.asked: list[str] = []

    def identify(self, text: str, asked: str | None = None) -> Identification:
        return Identification(self.rule(text))

    def identify_words(self, words: Sequence[str]) -> list[str | None]:
        self.asked += words
        return [self.rule(word) for word in words]


def by_script(word: str) -> str | None:
    """Arabic letters are ar, Devanagari hi, words with o are es, other Latin en; else None."""
    if any("\u0600" <= c <= "\u06ff" for c in word):
        return "ar"
    if any("\u0900" <= c <= "\u097f" for c in word):
        return "hi"
    if word.isascii():
        return "es" if "o" in word else "en"
    return None
