"""The part of an answer that shows its language, and which language that is.

Taken out: code, formulas, links, numbers with their operators and units, option letters, spans copied
from the passage and the extracted span if the passage holds it. Offered option texts and candidates
stay, even if the passage holds them: a model that picks the English candidate has picked a language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import regex

from linguamap.languages import (
    SYLLABIC_SCRIPTS,
    UNSEGMENTED_SCRIPTS,
    script_counts,
    script_of,
)
from linguamap.records import Identification, Prompt
from linguamap.scoring.extraction.answer_markers import clean, find_cues, last_strong
from linguamap.scoring.extraction.answer_words import is_empty
from linguamap.scoring.extraction.segments import (
    SENTENCE_MARKS,
    language_shares,
    main_language,
    sentences,
)
from linguamap.scoring.extraction.spans import extract_span, searchable

if TYPE_CHECKING:
    from linguamap.scoring.language_id import Identifier

MIN_COPIED_WORDS = 4
"""Words in a row that the passage holds in the same order count as copied from this length on."""
MIN_COPIED_LETTERS = 8
"""The same in letters, for scripts that put no blanks between words."""
SYLLABIC_WEIGHT = 3
"""A syllabic or logographic letter counts as much as so many alphabetic ones."""

_NOT_PROSE = [
    regex.compile(pattern, regex.DOTALL)
    for pattern in (
        r"```.*?(?:```|$)",
        r"(?<!`)`[^`\n]+`",
        r"\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)",
        r"\$(?=[^$\n]*[\\^_=+*/])[^$\n]+\$",
        r"\\boxed\s*\{[^{}]*\}|\\[a-zA-Z]+",
        r"https?://\S+|www\.\S+|\S+@\S+\.\S+",
        r"(?m)^[ \t]*(?:(?:def|class|import|from|return|print|for|while|if|elif|const|let|var|function|public)\b"
        r"|#include|<\?php|SELECT\b)[^\n]*[(){};:=\[\]][^\n]*$|^[^\n]*[;{}][ \t]*$",
    )
]
_FORMULA = regex.compile(
    r"(?<![\p{L}\p{M}])(?:\p{Latin}\s*(?=[=^*/+<>]))+[\d\s=+\-−*×·÷/^<>().,]*"
    r"|[\p{N}][\p{N}\s.,٫٬'’:/%‰°=+\-−–*×·÷^<>()]*"
    r"(?:(?:kg|g|mg|km|m|cm|mm|l|ml|h|min|s|USD|EUR|x)(?![\p{L}\p{M}]))?"
)
_LONE_LETTER = regex.compile(r"(?<![\p{L}\p{M}'’])[A-J](?![\p{L}\p{M}'’])")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’\-][\p{L}\p{M}\p{N}]+)*")
_LETTER = regex.compile(r"\p{L}")


def prose(answer: str, prompt: Prompt) -> str:
    """What is left of an answer for language identification (module docstring), blanks joined."""
    text = answer
    for pattern in _NOT_PROSE:
        text = pattern.sub(" ", text)
    text = clean(text)
    if prompt.passage:
        text = _without_span(text, prompt)
        text = _without_copied_words(text, prompt, prompt.passage)
        text = _without_copied_letters(text, prompt, prompt.passage)
    text = _LONE_LETTER.sub(" ", _FORMULA.sub(_gap, text))
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip())


def _gap(formula: regex.Match[str]) -> str:
    """What is left of a number or formula: the end of its line or sentence, if it held that."""
    text = formula.group()
    return "\n" if "\n" in text else ". " if text.rstrip() != text and "." in text[-2:] else " "


@dataclass(frozen=True)
class AnswerLanguages:
    """Languages of an answer.

    Attributes:
        whole: of all of its prose.
        reasoning: of what stands before the closing phrase ("The answer is"); no language and reason
            ``too_short`` where nothing else was said.
    """

    whole: Identification
    reasoning: Identification


def answer_languages(
    answer: str, prompt: Prompt, identifier: Identifier, min_letters: int
) -> AnswerLanguages:
    """The language of an answer's prose, with and without its closing phrase.

    An answer that is nothing but one offered text has that text's language, however short it is:
    which language was picked needs no identifier. Else see :func:`text_language`. A closing phrase
    does not decide: where the reasoning before it is in another language than the whole, the answer is
    ``mixed``.
    """
    if is_empty(answer):
        return AnswerLanguages(Identification(None, "empty"), Identification(None, "empty"))
    said = searchable(clean(answer))
    picked = {option.language for option in prompt.options if searchable(option.text) == said}
    if len(picked) == 1 and _LETTER.search(said):
        return AnswerLanguages(Identification(picked.pop()), Identification(None, "too_short"))
    asked = prompt.language
    whole = text_language(prose(answer, prompt), identifier, min_letters, asked)
    reasoning = text_language(
        prose(_without_closing(clean(answer), asked), prompt), identifier, min_letters, asked
    )
    if whole.language == asked and reasoning.language not in (None, asked):
        whole = Identification(None, "mixed", shares=whole.shares)
    return AnswerLanguages(whole, reasoning)


def text_language(
    text: str, identifier: Identifier, min_letters: int, asked: str | None = None
) -> Identification:
    """The language of a text that is all prose: that of a clear majority of its words.

    Letters are counted first (syllabic and logographic ones three times): with fewer than
    ``min_letters`` the text is ``too_short``. Then :mod:`linguamap.scoring.extraction.segments` reads it
    clause by clause. A script that no language is known for is named ``und-`` and its code.

    Args:
        asked: the language that the text should be in; it is kept where another is not clearly likelier.
    Returns:
        A language, or None with the reason ``too_short``, ``ambiguous`` or ``mixed``; the shares of
        the languages are in it either way.
    """
    counts = script_counts(text)
    if sum(n * (SYLLABIC_WEIGHT if s in SYLLABIC_SCRIPTS else 1) for s, n in counts.items()) < (
        min_letters
    ):
        return Identification(None, "too_short")
    return main_language(*language_shares(text, identifier, asked))


def _without_closing(text: str, language: str) -> str:
    """A cleaned answer without the sentence that announces the final answer."""
    strong = [cue for cue in find_cues(text, language, "answer") if cue.strong and not cue.opening]
    if not strong:
        return text
    end = strong[-1].start
    return text[: max(text.rfind(mark, 0, end) + 1 for mark in SENTENCE_MARKS)]


def _is_offered(text: str, prompt: Prompt) -> bool:
    """Whether a text is an offered answer or part of one."""
    piece = searchable(text)
    return any(piece in searchable(option.text) for option in prompt.options)


def _without_span(text: str, prompt: Prompt) -> str:
    cue = last_strong(find_cues(text, prompt.language, "answer"))
    span = extract_span(text, prompt, cue).value
    if span is None or prompt.passage is None or _is_offered(span, prompt):
        return text
    if span.lower() not in prompt.passage.lower():
        return text
    start = text.lower().rfind(span.lower())
    return text if start < 0 else f"{text[:start]} {text[start + len(span) :]}"


def _without_copied_words(text: str, prompt: Prompt, passage: str) -> str:
    places = [match.span() for match in _WORD.finditer(text)]
    own = [text[start:end].lower() for start, end in places]
    source = [word.lower() for word in _WORD.findall(passage)]
    runs = _copied_runs(own, source, MIN_COPIED_WORDS)
    return _cut(text, [(places[first][0], places[last][1]) for first, last in runs], prompt)


def _without_copied_letters(text: str, prompt: Prompt, passage: str) -> str:
    places = [m.start() for m in _LETTER.finditer(text) if script_of(m[0]) in UNSEGMENTED_SCRIPTS]
    own = [text[place] for place in places]
    source = [x for x in _LETTER.findall(passage) if script_of(x) in UNSEGMENTED_SCRIPTS]
    runs = _copied_runs(own, source, MIN_COPIED_LETTERS)
    return _cut(text, [(places[first], places[last] + 1) for first, last in runs], prompt)


def _cut(text: str, stretches: list[tuple[int, int]], prompt: Prompt) -> str:
    for start, end in reversed(stretches):
        if not _is_offered(text[start:end], prompt):
            text = f"{text[:start]} {text[end:]}"
    return text


def _copied_runs(own: Sequence[str], source: Sequence[str], least: int) -> list[tuple[int, int]]:
    """Maximal runs of at least ``least`` units that also stand in the source, as (first, last)."""
    starts: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(source) - least + 1):
        starts.setdefault(tuple(source[place : place + least]), []).append(place)
    runs: list[tuple[int, int]] = []
    first = 0
    while first <= len(own) - least:
        longest = 0
        for place in starts.get(tuple(own[first : first + least]), ()):
            length = least
            while (
                first + length < len(own)
                and place + length < len(source)
                and own[first + length] == source[place + length]
            ):
                length += 1
            longest = max(longest, length)
        if longest:
            runs.append((first, first + longest - 1))
        first += longest or 1
    return runs


@dataclass(frozen=True)
class Drift:
    """Where an answer leaves the language that it began in.

    Attributes:
        sentence: number of the first sentence in another language, from 1.
        language: of that sentence.
        text: the sentence.
    """

    sentence: int
    language: str
    text: str


def drift(answer: str, language: str, identifier: Identifier, min_letters: int) -> Drift | None:
    """The first sentence in another language after one in the language asked for."""
    was_in = False
    for number, text in enumerate(sentences(answer), 1):
        found = text_language(text, identifier, min_letters, language).language
        if found == language:
            was_in = True
        elif was_in and found is not None:
            return Drift(number, found, text.strip())
    return None
