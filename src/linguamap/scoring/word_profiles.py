"""What the commonest words of a text say of its language, in more languages than identifiers know.

A profile of ``data/word_profiles.toml`` holds a language's commonest words, the endings of its longer
words and the letters that not every language of its script has, each with how frequent it is:
class k is 2^k times a floor that stands for "not in the profile". A text's score in a language is the
sum of the classes of what it holds, so the difference of two scores is the log ratio (base 2) of
a naive Bayes over these marks. ``studies/word_profiles.py`` counts them from public texts.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import regex

MOST_OF_ONE_MARK = 5
MOST_OF_AN_ENDING = 3
"""No mark counts for more than 2^5 against "not in the profile", no ending for more than 2^3: one
word does not decide."""

_WORD = regex.compile(
    r"\p{Han}|[\p{Hiragana}\p{Katakana}ー]+|\p{Thai}+|[\p{L}\p{M}]+(?:['ʼ·][\p{L}\p{M}]+)*"
)
_LETTER = regex.compile(
    r"[[\p{Latin}\p{Cyrillic}]--[a-zа-я]]|\p{Arabic}|[ৰৱळ]", regex.VERSION1
)  # fmt: skip
LEAST_KANA_SHARE = 0.1
"""Of the letters; below it, kana are a name inside another language's text."""

SHORT_HAN_TEXT = 8
"""Up to so many Han characters may stand without kana in Japanese: names, dates, headings."""

CHARACTERS_A_SIGN = 15
"""A text is Cantonese with one of its signs in so many characters."""

_HAN_OR_KANA = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー]")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}ー]")
_ANY_LETTER = regex.compile(r"\p{L}")
_LONG_WORD = 5
_ENDING = 3


def marks(text: str) -> Iterator[str]:
    """Words in lower case, ``-end`` for the last three letters of longer ones, ``*x`` for letters."""
    lowered = text.lower().replace("’", "'")
    for word in _WORD.findall(lowered):
        yield word
        if len(word) >= _LONG_WORD:
            yield f"-{word[-_ENDING:]}"
    for letter in _LETTER.findall(lowered):
        yield f"*{letter}"


def profile_scores(text: str) -> Counter[str]:
    """Score of a text in every language with a profile that shares a mark with it (log base 2)."""
    known = _by_mark()
    scores: Counter[str] = Counter()
    for mark in marks(text):
        for language, points in known.get(mark, ()):
            scores[language] += points
    return scores


@cache
def profile_languages() -> frozenset[str]:
    """Languages that have a profile; ``hi-Latn`` is Hindi in Latin letters."""
    return frozenset(language for rows in _by_mark().values() for language, _ in rows)


def read_profiles() -> dict[str, dict[str, str]]:
    """Language -> class -> its marks, as in the file."""
    profiles: dict[str, dict[str, str]] = _read_data("word_profiles.toml")
    return profiles


@cache
def _by_mark() -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for language, classes in read_profiles().items():
        for points, words in classes.items():
            for mark in words.split():
                most = MOST_OF_AN_ENDING if mark[0] == "-" else MOST_OF_ONE_MARK
                found.setdefault(mark, []).append((language, min(int(points), most)))
    return found


def han_language(text: str, asked: str | None) -> str | None:
    """``ja``, ``zh`` or ``yue`` for a text mainly in Han characters or kana; None if it is not, or may be another.

    Kana mean Japanese unless they are a name in a Chinese sentence; without them signs decide that only one
    of the two writes (``data/han_signs.toml``). A few characters without any (a name, a date) are right in both.

    Args:
        asked: ``ja`` settles what would be right in both.
    """
    letters = _ANY_LETTER.findall(text)
    own = _HAN_OR_KANA.findall(text)
    if not own or len(own) * 2 < len(letters):
        return None
    signs = _han_signs()
    kana = len(_KANA.findall(text))
    japanese = sum(sign in signs["japanese"] for sign in own)
    chinese = sum(sign in signs["chinese"] for sign in own)
    first, *more = signs["cantonese"].split("|")
    cantonese = sum(map(text.count, (*first, *more)))
    if cantonese * CHARACTERS_A_SIGN >= len(own):
        return "yue"
    if kana >= LEAST_KANA_SHARE * len(own):
        return "ja" if kana > 2 * chinese else "zh" if chinese > japanese + 1 else None
    if japanese > chinese:
        return "ja"
    few = sum(sign not in signs["counted"] for sign in own) <= SHORT_HAN_TEXT
    return "ja" if asked == "ja" and not chinese and few else None


@cache
def _han_signs() -> dict[str, str]:
    signs: dict[str, str] = _read_data("han_signs.toml")
    return signs


def _read_data(name: str) -> Any:
    source = resources.files("linguamap") / "data" / name
    return tomllib.loads(source.read_text(encoding="utf-8"))
