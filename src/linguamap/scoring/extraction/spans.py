"""What an answer names: the words of a passage, how near they are to the gold words; options by place.

Normalisation is SQuAD's for English (lower case, ASCII punctuation and articles out) and MLQA's for
the other languages (Unicode punctuation out, articles from the table, Arabic ``ال`` at the start of a
word); Chinese, Japanese and Thai are compared by characters, Latin words and numbers inside them
as wholes, as MLQA's mixed segmentation does.
Source: Rajpurkar et al. 2016 and Lewis et al. 2020, their evaluation scripts.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import regex

from linguamap.languages import LANGUAGES, normalise_digits
from linguamap.records import Extraction, Option, Prompt
from linguamap.scoring.extraction.answer_words import (
    INVISIBLE,
    NOTHING,
    expression,
    fold,
    is_empty,
    written_apart,
)

if TYPE_CHECKING:
    from linguamap.scoring.extraction.answer_markers import Cue

_UNICODE_PUNCTUATION = regex.compile(rf"[\p{{P}}{regex.escape(string.punctuation)}]")
_ASCII_PUNCTUATION = regex.compile(f"[{regex.escape(string.punctuation)}]")
_LOOSE_PUNCTUATION = regex.compile(
    rf"(?!(?<=\d)[.,٫/:](?=\d)|(?<![\p{{L}}\d])-(?=\d))[\p{{P}}{regex.escape(string.punctuation)}]"
)
_ARABIC_ARTICLE = regex.compile(r"(?<!\S)ال(?=\S)")
_MIXED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}ー々]|[^\s\p{Han}\p{Hiragana}"
                       r"\p{Katakana}\p{Thai}ー々]+")  # fmt: skip
_EDGE = " \t\r\n:：\"'«»“”„‟‘’‚「」『』()（）[]{}<>*#$\\-–—=,،、;"
_FINAL = _EDGE + ".。．।॥؟?!！…"
_BOUNDARY = regex.compile(r"[.!?؟]\s+(?=[^\p{Ll}\s])|[。！？।॥]\s*")
_ABBREVIATION = regex.compile(
    r"(?:^|[\s.])(?:\p{Lu}\p{L}{0,2}|\p{Lo}{1,3}|\p{Ll}|\p{Ll}{2,3}(?=\.\s+\d))\."
)
"""A full stop behind these ends no sentence: "T.", "Dr.", "г.", and "ca." before a number."""


def normalise(text: str, language: str) -> str:
    """A span in the form in which two spans are compared."""
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text)).lower()
    elided, separate = _article_patterns(language)
    if elided:
        text = elided.sub("", text)
    text = (_ASCII_PUNCTUATION if language == "en" else _UNICODE_PUNCTUATION).sub("", text)
    if separate:
        text = separate.sub(" ", text)
    if language == "ar":
        text = _ARABIC_ARTICLE.sub("", text)
    return " ".join(text.split())


def tokens(text: str, language: str) -> list[str]:
    """What F1 counts: words, or characters in languages that put no blanks between words."""
    text = normalise(text, language)
    return text.split() if LANGUAGES[language].segmented else _MIXED.findall(text)


def exact_match(prediction: str, gold: str, language: str) -> bool:
    """Whether two spans are the same after normalisation."""
    return tokens(prediction, language) == tokens(gold, language)


def span_f1(prediction: str, gold: str, language: str) -> float:
    """Harmonic mean of precision and recall over the tokens of two spans, in [0, 1].

    If one of them has no token, it is 1 where both have none, else 0.
    """
    predicted, wanted = tokens(prediction, language), tokens(gold, language)
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted))


def extract_span(text: str, prompt: Prompt, cue: Cue | None) -> Extraction:
    """The answer's span in a cleaned text, whose last strong cue is given.

    1. ``answer_phrase``: what follows the last strong cue on its line, up to the end of the sentence
       unless more of it stands in the passage; quotes and final punctuation off.
    2. ``candidate``: without a cue, the one offered candidate that the answer holds.
    3. ``whole_answer``: else all of it; F1 decides.
    """
    offered = chosen_option_language(text, prompt)
    if cue is not None:
        lines = text[cue.end :].lstrip(_EDGE).splitlines()
        span = _trim(_sentence(lines[0], prompt), prompt, cue.language) if lines else ""
        if not is_empty(span):
            return Extraction(span, rule="answer_phrase", option_language=offered)
    held = contained_options(text, prompt.options)
    if len(held) == 1:
        return Extraction(held[0].text, rule="candidate", option_language=held[0].language)
    span = _trim(text, prompt, prompt.language)
    if is_empty(span):
        return Extraction(None, "empty")
    return Extraction(span, rule="whole_answer", option_language=offered)


def contained_options(text: str, options: Iterable[Option]) -> list[Option]:
    """Options whose text stands in a text, those left out that only do so within a longer one."""
    places = {option: _places(text, option) for option in options}
    held = []
    for option, own in places.items():
        others = [span for other, spans in places.items() if other != option for span in spans]
        if any(not any(_within(span, wider) for wider in others) for span in own):
            held.append(option)
    return held


def chosen_option_language(text: str, prompt: Prompt) -> str | None:
    """Language of the offered candidates that a text repeats, if they all have the same one."""
    held = {option.language for option in contained_options(text, prompt.options)}
    return held.pop() if len(held) == 1 else None


def searchable(text: str) -> str:
    """A text in which option texts are looked for: lower case, no punctuation but in numbers."""
    text = unicodedata.normalize("NFC", normalise_digits(text)).lower().replace("−", "-")
    return " ".join(_LOOSE_PUNCTUATION.sub(" ", text).split())


def _places(text: str, option: Option) -> list[tuple[int, int]]:
    """Where an option's text stands in a text, in characters of the searchable text."""
    language = option.language
    elided, separate = _article_patterns(language)
    needle = option.text.lower()
    needle = elided.sub("", needle, count=1) if elided else needle
    needle = searchable(needle)
    if separate and (article := separate.match(needle)) and article.end() < len(needle):
        needle = needle[article.end() :].strip()
    if not needle:
        return []
    before = after = ""
    if LANGUAGES[language].segmented:
        before = r"(?<![\p{L}\p{M}\p{N}])" if language != "ar" else r"(?<![\p{L}\p{N}]{2})"
        glued = language in ("bn", "ko", "te", "tr")
        after = "" if glued and not needle[-1].isdigit() else r"(?![\p{L}\p{M}\p{N}])"
    if needle[0].isdigit():
        before = r"(?<![\d-])(?<!\d[.,٫])"
    if needle[-1].isdigit():
        after = r"(?!\d|[.,٫]\d)"
    pattern = regex.compile(before + regex.escape(needle) + after)
    return [match.span() for match in pattern.finditer(searchable(text))]


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1] and inner != outer


@lru_cache(maxsize=64)
def _article_patterns(
    language: str,
) -> tuple[regex.Pattern[str] | None, regex.Pattern[str] | None]:
    """Elided articles (before punctuation is taken out) and separate ones."""
    articles = sorted(LANGUAGES[language].articles, key=len, reverse=True)
    elided = [regex.escape(article) for article in articles if article[-1] in "'’"]
    separate = [regex.escape(article) for article in articles if article[-1] not in "'’"]
    return (
        regex.compile(rf"(?<!\w)(?:{'|'.join(elided)})") if elided else None,
        regex.compile(rf"\b(?:{'|'.join(separate)})\b") if separate else None,
    )


def _sentence(line: str, prompt: Prompt) -> str:
    """The longest run of sentences from the start that the passage holds, else the first one."""
    ends = [
        match.start()
        for match in _BOUNDARY.finditer(line)
        if not any(found.end() == match.start() + 1 for found in _ABBREVIATION.finditer(line))
    ]
    ends.append(len(line))
    if prompt.passage:
        passage = normalise(prompt.passage, prompt.language)
        for end in reversed(ends):
            if normalise(line[:end], prompt.language) in passage:
                return line[:end]
    return line[: ends[0]]


def _trim(span: str, prompt: Prompt, language: str) -> str:
    """A span without quotes, final punctuation and a copula that the passage does not have there."""
    span = span.strip(_FINAL)
    if prompt.passage and span in prompt.passage:
        return span
    for ending in LANGUAGES[language].answer_endings:
        if span.endswith(ending) and len(span) > len(ending):
            return span.removesuffix(ending).strip(_FINAL)
    return span


# Options named by their place --------------------------------------------------------------------

# "the second option", "la dernière", "3번". An ordinal counts beside a noun for "option", right after a
# cue, or where nothing else is said. The words are those of the table of languages: the target
# language's and English ones first, those of all other languages only if neither is there.

_MARKS = r"[\s:\-–—\"'“”„«»「『‘’(\[{<.]*"
_CLOSING = r"(?=\s*(?:[).,;:!?\]}\"'»”」』。।،؛؟]|$))"


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
        places = {place for code in codes for place in _ordinals_named(folded, code, where)}
        letters = [prompt.options[place].letter for place in places if place < len(prompt.options)]
        if letters:
            return letters
    return []


def _ordinals_named(folded: str, code: str, where: Where) -> list[int]:
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
        return NOTHING
    return rf"(?:{listed})" + (r"(?![\p{L}\p{M}])" if written_apart(code) else "")


def fillers(code: str) -> str:
    """Articles and nouns between a cue and what it announces: "la lettre", "the option"."""
    language = LANGUAGES[code]
    words = _alternatives(language.articles + language.option_nouns, code)
    return rf"(?i:(?:{words})[\s:\-–—]*){{0,3}}"


def _alternatives(words: tuple[str, ...], code: str) -> str:
    """Any of some words, the longest first."""
    listed = sorted(words, key=len, reverse=True)
    return "|".join(expression(word, code) for word in listed) or NOTHING


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
        start = rf"{before}(?:{beside}|(?:{ordinal})(?:{ending(code)}|{_CLOSING}))"
        whole = rf"{before}(?:{beside}|{ordinal})(?:{ending(code)})?[\s.!?。।]*"
        found.append(tuple(map(regex.compile, (beside, start, whole))))
    return tuple(found)
