"""Phrases that announce an answer ("the answer is", "Option"), found in a model's text.

Cues of the target language and of English are looked for first, since an inconsistent model falls
back on English; those of all other languages only if neither is there. Capitals, accents, Arabic
vowel signs and the spellings of alef do not matter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import regex

from linguamap.languages import LANGUAGES, Language
from linguamap.scoring.extraction.answer_words import (
    FULL_WIDTH,
    INVISIBLE,
    any_word,
    expression,
    fold,
    fold_with_places,
    words,
)

CueKind = Literal["answer", "option"]

_LATEX_TEXT = regex.compile(
    r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}"
)
_LATEX_FRACTION = regex.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_LATEX_BLANK = regex.compile(r"(?<=\d)(?:\\[,;: ]|~|\{\\[,;:]\})(?=\d)")
_LATEX_SIGNS = {
    "{,}": ",", "{.}": ".", "\\$": "$", "\\%": "%", "\\!": "", "\\,": " ", "\\;": " ", "\\ ": " ",
    "\\times": "×", "\\cdot": "·", "\\div": "÷", "\\approx": "≈", "\\left": "", "\\right": "",
    "\\quad": " ", "\\euro": "€", "\\pounds": "£", "\\fbox{": "\\boxed{",
}  # fmt: skip
_TAG = regex.compile(r"</?[A-Za-z][^<>]{0,40}>")
_EMPHASIS = regex.compile(r"\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)|`")
_OPENING = regex.compile(r"[^.!?。！？।:\n\d]{0,40}")
MIN_FOREIGN_LABEL = 2
"""A shorter label of a language that is not the target is too likely to be something else."""
_UNIVERSAL = ("\\boxed{", "####")


@dataclass(frozen=True)
class Cue:
    """A cue in a text.

    Attributes:
        start, end: characters in the cleaned text.
        language: the cue's; the target language for signs that have none.
        rank: place in the language's list, 0 the surest.
        strong: announces the final answer; "therefore" and "the result is" are weak, for they
            also stand before intermediate results.
        opening: a label ("Answer:") that the text begins with; then the reasoning may follow it.
        universal: a sign of no language ("####", a box).
    """

    start: int
    end: int
    language: str
    rank: int
    strong: bool
    opening: bool = False
    universal: bool = False


def clean(answer: str) -> str:
    """Make an answer uniform: NFC, no bold marks, tags or invisible signs, ASCII forms of full-width.

    Nothing that could be an answer is taken out.
    """
    text = unicodedata.normalize("NFC", answer).translate(FULL_WIDTH)
    text = INVISIBLE.sub("", text)
    text = _plain_formulas(text)
    return str(_EMPHASIS.sub("", _TAG.sub(" ", text))).strip()


def _plain_formulas(text: str) -> str:
    """LaTeX as it is read aloud: blanks in numbers, fractions, operators and words in formulas."""
    if "\\" not in text and "{" not in text and "~" not in text:
        return text
    text = _LATEX_TEXT.sub(r"\1", text)
    text = _LATEX_FRACTION.sub(r" \1/\2", text)
    text = _LATEX_BLANK.sub("\u202f", text)
    for command, sign in _LATEX_SIGNS.items():
        text = text.replace(command, sign)
    return text


def next_questions(text: str, language: str) -> list[int]:
    """Where a model that runs on puts a next question ("Question:", a chat template's marks)."""
    return [match.start() for match in _question_pattern(language).finditer(text) if match.start()]


@lru_cache(maxsize=64)
def _question_pattern(language: str) -> regex.Pattern[str]:
    """A label with its colon where a line or sentence begins; short labels in own and English only."""
    labels, numbered = (
        _alternatives(
            word
            for code, known in LANGUAGES.items()
            for word in (
                *words(code, kind),
                *(known.texts.label_question.strip(" :："),) * own_label,
            )
            if code in (language, "en") or len(word) >= MIN_FOREIGN_LABEL
        )
        for kind, own_label in (("question", 1), ("example", 0))
    )
    label = rf"(?:(?:{labels})\s*(?:\d+\s*)?|(?:{numbered})\s*\d+\s*)"
    return regex.compile(
        rf"<\|[^|\n]*\|>|\[/?INST\]|</s>"
        rf"|(?:(?m:^)|(?<=[.!?。！？।]\s))[#>\s]*(?:{label}[:：]|\#+\s*{label}\n)",
        regex.IGNORECASE,
    )


def _alternatives(listed: Iterable[str]) -> str:
    return "|".join(map(regex.escape, sorted(set(listed), key=len, reverse=True)))


def find_cues(text: str, language: str, kind: CueKind) -> list[Cue]:
    """Cues of one kind in a cleaned text, by position; other languages' only if need be."""
    folded, positions = fold_with_places(text)
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
            universal = match.group() in _UNIVERSAL
            spoken = languages[0] if universal else code
            found.append(Cue(start, end, spoken, rank, strong, bool(opening), universal))
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
        groups.append(f"(?P<{name}>{expression(fold(cue), code)})")
    if kind == "answer":
        cues["grammar"] = (len(listed), True)
        groups.append(f"(?P<grammar>{_stated(code)})")
    return regex.compile("|".join(groups)), cues


def _stated(code: str) -> str:
    """ "(my final) answer (here) would be", "Ans: 18", "ans: c": noun, what may stand beside it, copula."""
    beside = any_word(code, "final", "right")
    return (
        rf"{any_word(code, 'answer')}(?:\s*{beside})*"
        rf"\s*(?:{any_word(code, 'is')}|[:=](?=\s*[\p{{Sc}}(\[]?\s*(?:[-−]?\d|[a-j](?:[)\]]|\W*(?:$|\n)))))"
    )


def _is_weak(cue: str, language: Language) -> bool:
    result = " ".join(language.texts.result_sentence.replace("{number}", " ").split())
    return cue == language.answer_cues[-1] or fold(cue) in fold(result)
