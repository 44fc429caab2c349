"""Options named by their place in the list: "the second option", "la dernière", "3번".

An ordinal counts beside a noun for "option", right after a cue, or where nothing else is said. The
words are those of the table of languages: the target language's and English ones first, those of all
other languages only if neither is there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import regex

from linguamap.languages import LANGUAGES
from linguamap.records import Prompt
from linguamap.scoring.extraction.answer_words import expression, fold, written_apart

_NOTHING = r"(?!)"
_MARKS = r"[\s:\-–—\"'“”„«»「『‘’(\[{<.]*"
_CLOSED = r"(?=\s*(?:[).,;:!?\]}\"'»”」』。।،؛؟]|$))"


Where = Literal["whole", "start", "anywhere"]


def by_position(text: str, prompt: Prompt, where: Where) -> list[str]:
    """Letters of the options that a text names by their place.

    Args:
        where: ``whole``: it says nothing else; ``start``: at its start, as after a cue; ``anywhere``:
            beside a noun.
    """
    folded = fold(text).strip()
    own = tuple(dict.fromkeys((prompt.language, "en")))
    others = tuple(code for code in LANGUAGES if code not in own)
    for codes in (own, others):
        places = {place for code in codes for place in _places(folded, code, where)}
        letters = [prompt.options[place].letter for place in places if place < len(prompt.options)]
        if letters:
            return letters
    return []


def _places(folded: str, code: str, where: Where) -> list[int]:
    places = []
    for place, (beside, start, whole) in zip((0, 1, 2, 3, -1), _patterns(code)):
        found = {"whole": whole.fullmatch, "start": start.match, "anywhere": beside.search}[where]
        if found(folded):
            places.append(place)
    return places


def noun(code: str) -> str:
    """A pattern of the language's nouns for an option, never the empty text."""
    return _alternatives(LANGUAGES[code].option_nouns, code)


def ending(code: str) -> str:
    """A pattern of what may follow an answer in its sentence (``answer_endings``)."""
    listed = "|".join(map(regex.escape, LANGUAGES[code].answer_endings))
    if not listed:
        return _NOTHING
    return rf"(?:{listed})" + (r"(?![\p{L}\p{M}])" if written_apart(code) else "")


def fillers(code: str) -> str:
    """Articles and nouns between a cue and what it announces: "la lettre", "the option"."""
    language = LANGUAGES[code]
    words = _alternatives(language.articles + language.option_nouns, code)
    return rf"(?i:(?:{words})[\s:\-–—]*){{0,3}}"


def _alternatives(words: tuple[str, ...], code: str) -> str:
    """Any of some words, the longest first."""
    listed = sorted(words, key=len, reverse=True)
    return "|".join(expression(word, code) for word in listed) or _NOTHING


@lru_cache(maxsize=64)
def _patterns(code: str) -> tuple[tuple[regex.Pattern[str], ...], ...]:
    """For each ordinal, for folded text: beside a noun, at the start, and with nothing else."""
    language = LANGUAGES[code]
    nouns, articles = (
        _alternatives(tuple(map(fold, words)), code)
        for words in (language.option_nouns, language.articles)
    )
    found = []
    for forms in language.ordinals:
        ordinal = _alternatives(tuple(map(fold, forms)), code)
        beside = rf"(?:(?:{ordinal})\s*(?:{nouns})|(?:{nouns})\s*(?:{ordinal}))"
        before = rf"{_MARKS}(?:(?:{articles})\s*)?"
        start = rf"{before}(?:{beside}|(?:{ordinal})(?:{ending(code)}|{_CLOSED}))"
        whole = rf"{before}(?:{beside}|{ordinal})(?:{ending(code)})?[\s.!?。।]*"
        found.append(tuple(map(regex.compile, (beside, start, whole))))
    return tuple(found)
