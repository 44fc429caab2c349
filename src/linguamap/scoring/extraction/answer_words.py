"""The words with which answers are put (``data/answer_words.toml``), as patterns over folded text.

Folded text has no capitals, accents, Arabic vowel signs or alef spellings; so have the patterns.
"""

from __future__ import annotations

import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import regex

NOTHING = r"(?!)"
"""A pattern that never matches, for a list without words."""
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code != 0xFF0C} | {
    0x3000: 0x20
}
"""Full-width forms to ASCII; not the comma, which also parts clauses and then is no number mark."""
INVISIBLE = regex.compile(r"[\u200b\u200e\u200f\u061c\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}]")
_LETTER_OR_MARK = regex.compile(r"[\p{L}\p{M}]")
_DROPPED_MARKS = regex.compile(r"[\u0300-\u036f\u064b-\u0652\u0670\u0640]")
_SPELLINGS = str.maketrans("أإآٱىı", "اااايi")
"""Alef's spellings; and the dotless i, whose capital is that of i."""


@cache
def _table() -> dict[str, Any]:
    path = resources.files("linguamap") / "data" / "answer_words.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def words(code: str, kind: str) -> tuple[str, ...]:
    """A language's words of one kind (the file's head lists them), the longest first."""
    listed = {unicodedata.normalize("NFC", word) for word in _table()[code][kind].split("|")}
    return tuple(sorted(listed - {""}, key=lambda word: (-len(word), word)))


@cache
def any_word(code: str, *kinds: str) -> str:
    """A pattern for any word of the kinds, in folded text."""
    return any_of(tuple(word for kind in kinds for word in words(code, kind)), code)


@cache
def any_word_in(codes: tuple[str, ...], *kinds: str) -> str:
    """The same in several languages; a later one's word that the first uses otherwise is left out.

    German "also" is "so".
    """
    first = codes[0]
    other = {word for kind in _table()[first] if kind not in kinds for word in words(first, kind)}
    patterns = [any_word(first, *kinds)]
    for code in codes[1:]:
        listed = tuple(w for kind in kinds for w in words(code, kind) if w not in other)
        patterns.append(any_of(listed, code))
    return "|".join(patterns)


def any_of(listed: tuple[str, ...], code: str) -> str:
    """A pattern for any of some words, the longest first, or one that never matches.

    Words with the same boundaries share them: patterns of hundreds of words compile fast that way.
    """
    folded = sorted(dict.fromkeys(map(fold, listed)), key=len, reverse=True)
    grouped: dict[tuple[str, str], list[str]] = {}
    for word in folded:
        before, body, after = _bounded(word, code)
        grouped.setdefault((before, after), []).append(body)
    groups = [f"{before}(?:{'|'.join(ws)}){after}" for (before, after), ws in grouped.items()]
    return f"(?:{'|'.join(groups) or NOTHING})"


@cache
def multipliers(code: str, kind: str = "times") -> dict[str, int]:
    """Folded word -> what it multiplies by."""
    pairs = (word.rsplit(":", 1) for word in words(code, kind))
    return {fold(word): 10 ** int(power) for word, power in pairs}


def expression(word: str, code: str) -> str:
    """A word as a pattern: any blanks, whole words where the language writes words apart.

    "stem-" stands for every word that begins so.
    """
    return "".join(_bounded(word, code))


def _bounded(word: str, code: str) -> tuple[str, str, str]:
    """A word's pattern in three: what must not stand before it, the word, what may follow."""
    if word == "-":
        return "", str(regex.escape("-")), ""
    is_stem, word = word.endswith("-"), word.removesuffix("-")
    body = r"\s+".join(regex.escape(part) for part in word.split())
    body = body.replace(r"\s+:", ":")
    if len(word) > 1 and body.endswith(":"):  # "Answer 12" and "Answer - 12" do without the colon
        body = body[:-1] + r"\s*(?::|(?<=\s)[-–—](?=\s)|(?<=\s)(?=\d))"
    if not written_apart(code):
        return (r"(?<!\d)" if word[0].isdigit() else ""), body, ""
    starts, ends = (bool(_LETTER_OR_MARK.match(word[place])) for place in (0, -1))
    before = r"(?<![\p{L}\p{M}\d])" if starts or word[0].isdigit() else ""
    if code in _table()["prefixed"]:
        before = r"(?:(?<![\p{L}\p{M}])|(?<=(?<![\p{L}\p{M}])[وف]))"
    if is_stem:
        return before, body, r"[\p{L}\p{M}]*+"
    return before, body, (r"(?![\p{L}\p{M}])" if ends else "")


def written_apart(code: str) -> bool:
    """Whether a language's words end where their letters end."""
    return code not in _table()["glued"]


def is_empty(text: str) -> bool:
    """No letter and no digit: nothing was said."""
    return _SAYS_SOMETHING.search(text) is None


def fold(text: str) -> str:
    """A text without capitals, accents, Arabic vowel signs and alef spellings."""
    return fold_with_places(text)[0]


def fold_with_places(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters (and its end) the place in the original."""
    characters: list[str] = []
    positions: list[int] = []
    for place, character in enumerate(text):
        simple = character.casefold() if character.isascii() else _fold_character(character)
        characters.append(simple)
        positions.extend([place] * len(simple))
    positions.append(len(text))
    return "".join(characters), positions


@lru_cache(maxsize=1 << 14)
def _fold_character(character: str) -> str:
    plain = unicodedata.normalize("NFD", character.translate(FULL_WIDTH).translate(_SPELLINGS))
    return unicodedata.normalize("NFC", _DROPPED_MARKS.sub("", plain)).casefold()
