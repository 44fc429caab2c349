"""Phrases that announce an answer ("the answer is", "Option"), found in a model's text.

Cues of the target language and of English are looked for first, since an inconsistent model falls
back on English; those of all other languages only if neither is there. Capitals, accents, Arabic
vowel signs and the spellings of alef do not matter.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import regex

from linguamap.languages import LANGUAGES, Language

CueKind = Literal["answer", "option"]

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code != 0xFF0C} | {
    0x3000: 0x20
}
"""Full-width forms to ASCII; not the comma, which also parts clauses and then is no number mark."""
INVISIBLE = regex.compile(r"[\u200b\u200e\u200f\u061c\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_LATEX_TEXT = regex.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_TAG = regex.compile(r"</?[A-Za-z][^<>]{0,40}>")
_EMPHASIS = regex.compile(r"\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)|`")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}]")
_LETTER_OR_MARK = regex.compile(r"[\p{L}\p{M}]")
_DROPPED_MARKS = regex.compile(r"[\u0300-\u036f\u064b-\u0652\u0670\u0640]")
_ALEF = str.maketrans("أإآٱى", "ااااي")
_OPENING = regex.compile(r"[^.!?。！？।:\n\d]{0,40}")
_UNIVERSAL = ("\\boxed{", "####")


@dataclass(frozen=True)
class Cue:
    """A cue in a text.

    Attributes:
        start, end: characters in the cleaned text.
        rank: place in the language's list, 0 the surest.
        strong: announces the final answer; "therefore" and "the result is" are weak, for they
            also stand before intermediate results.
        opening: a label ("Answer:") that the text begins with; then the reasoning may follow it.
    """

    start: int
    end: int
    language: str
    rank: int
    strong: bool
    opening: bool = False


def clean(answer: str) -> str:
    """Make an answer uniform: NFC, no bold marks, tags or invisible signs, ASCII forms of full-width.

    Nothing that could be an answer is taken out.
    """
    text = unicodedata.normalize("NFC", answer).translate(_FULL_WIDTH)
    text = INVISIBLE.sub("", text)
    text = _LATEX_TEXT.sub(r"\1", text).replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    return str(_EMPHASIS.sub("", _TAG.sub(" ", text))).strip()


def is_empty(text: str) -> bool:
    """No letter and no digit: nothing was said."""
    return _SAYS_SOMETHING.search(text) is None


def find_cues(text: str, language: str, kind: CueKind) -> list[Cue]:
    """Cues of one kind in a cleaned text, by position; other languages' only if need be."""
    folded, positions = _fold(text)
    found = _search(folded, positions, (language, "en"), kind)
    if not any(cue.strong for cue in found):
        others = tuple(code for code in LANGUAGES if code not in (language, "en"))
        found += [cue for cue in _search(folded, positions, others, kind) if cue.strong]
    return sorted(found, key=lambda cue: (cue.start, -cue.end))


def last_strong(cues: list[Cue]) -> Cue | None:
    """The cue that announces the final answer, if there is one."""
    strong = [cue for cue in cues if cue.strong]
    return max(strong, key=lambda cue: cue.end, default=None)


def _search(
    folded: str, positions: list[int], languages: tuple[str, ...], kind: CueKind
) -> list[Cue]:
    found = []
    for code in dict.fromkeys(languages):
        pattern, cues = _pattern(code, kind)
        for match in pattern.finditer(folded):
            rank, strong = cues[str(match.lastgroup)]
            start, end = positions[match.start()], positions[match.end()]
            opening = folded[: match.end()].endswith(":") and _OPENING.fullmatch(
                folded, 0, match.start()
            )
            found.append(Cue(start, end, code, rank, strong, bool(opening)))
    return found


@lru_cache(maxsize=256)
def _pattern(code: str, kind: CueKind) -> tuple[regex.Pattern[str], dict[str, tuple[int, bool]]]:
    """A pattern with one named group per cue, the longest first, and each group's rank."""
    language = LANGUAGES[code]
    listed = list(language.answer_cues)
    if kind == "option":
        listed = list(dict.fromkeys(language.option_cues + language.option_nouns))
    strong = {fold(cue): kind == "option" or not _is_weak(cue, language) for cue in listed}
    if kind == "answer":
        lead_in = language.texts.answer_phrase.split("{answer}")[0].strip(" :：")
        listed += [lead_in] if fold(lead_in) not in strong else []
        strong[fold(lead_in)] = True
        if code == "en":
            listed += _UNIVERSAL
            strong |= dict.fromkeys(_UNIVERSAL, True)
    groups, cues = [], {}
    for rank, cue in sorted(enumerate(listed), key=lambda pair: -len(fold(pair[1]))):
        name = f"cue{rank}"
        cues[name] = (rank, strong[fold(cue)])
        groups.append(f"(?P<{name}>{expression(fold(cue), language)})")
    return regex.compile("|".join(groups)), cues


def _is_weak(cue: str, language: Language) -> bool:
    result = " ".join(language.texts.result_sentence.replace("{number}", " ").split())
    return cue == language.answer_cues[-1] or fold(cue) in fold(result)


def expression(cue: str, language: Language) -> str:
    """A cue as a pattern: any blanks, whole words where the language writes words apart.

    "stem-" stands for every word that begins so.
    """
    is_stem, cue = cue.endswith("-"), cue.removesuffix("-")
    body = r"\s+".join(regex.escape(word) for word in cue.split())
    body = body.replace(r"\s+:", ":")
    if body.endswith(":"):  # "Answer 12" and "Answer - 12" do without the colon
        body = body[:-1] + r"\s*(?::|(?<=\s)[-–—](?=\s)|(?<=\s)(?=\d))"
    if not written_apart(language):
        return rf"(?<!\d){body}" if cue[0].isdigit() else body
    starts, ends = (bool(_LETTER_OR_MARK.match(cue[place])) for place in (0, -1))
    before = r"(?<![\p{L}\p{M}\d])" if starts or cue[0].isdigit() else ""
    if "Arab" in language.scripts:  # "and" and "so" are written together with the next word
        before = r"(?:(?<![\p{L}\p{M}])|(?<=(?<![\p{L}\p{M}])[وف]))"
    if is_stem:
        return before + body + r"[\p{L}\p{M}]*+"
    return before + body + (r"(?![\p{L}\p{M}])" if ends else "")


def written_apart(language: Language) -> bool:
    """Whether a word ends where its letters end: not so in Korean, which adds particles."""
    return language.segmented and "Hang" not in language.scripts


def fold(text: str) -> str:
    """A text without capitals, accents, Arabic vowel signs and alef spellings."""
    return _fold(text)[0]


def _fold(text: str) -> tuple[str, list[int]]:
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
    plain = unicodedata.normalize("NFD", character.translate(_FULL_WIDTH).translate(_ALEF))
    return unicodedata.normalize("NFC", _DROPPED_MARKS.sub("", plain)).casefold()
