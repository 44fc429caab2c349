"""The part of an answer that shows its language, and which language that is.

Taken out: code, formulas, links, numbers with their operators and units, option letters, spans copied
from the passage and the extracted span if the passage holds it. Offered option texts and candidates
stay, even if the passage holds them: a model that picks the English candidate has picked a language.
"""

from __future__ import annotations

from collections.abc import Sequence

import regex

from linguamap.languages import (
    LANGUAGES,
    SYLLABIC_SCRIPTS,
    UNSEGMENTED_SCRIPTS,
    script_counts,
    script_of,
)
from linguamap.records import Identification, Prompt
from linguamap.scoring.extraction.answer_markers import clean, is_empty
from linguamap.scoring.extraction.spans import extract_span, searchable
from linguamap.scoring.language_id import Identifier

MIN_COPIED_WORDS = 4
"""Words in a row that the passage holds in the same order count as copied from this length on."""
MIN_COPIED_LETTERS = 8
"""The same in letters, for scripts that put no blanks between words."""
SYLLABIC_WEIGHT = 3
"""A syllabic or logographic letter counts as much as so many alphabetic ones."""
_JAPANESE_CHINESE = frozenset({"Hani", "Hira", "Kana", "Bopo"})

_NOT_PROSE = [
    regex.compile(pattern, regex.DOTALL)
    for pattern in (
        r"```.*?(?:```|$)",
        r"(?<!`)`[^`\n]+`",
        r"\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)",
        r"\$(?=[^$\n]*[\\^_=+*/])[^$\n]+\$",
        r"\\boxed\s*\{[^{}]*\}|\\[a-zA-Z]+",
        r"https?://\S+|www\.\S+",
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
    text = _LONE_LETTER.sub(" ", _FORMULA.sub(" ", text))
    return " ".join(text.split())


def answer_language(
    answer: str, prompt: Prompt, identifier: Identifier, min_letters: int
) -> Identification:
    """The language of an answer's prose.

    Letters are counted (syllabic and logographic ones three times), and the script with most of them
    decides first: if none of the identifier's candidates is written in it, the language is given
    as ``und-`` and the script (``und-Cyrl``), which no target language equals; lingua over six
    candidates would otherwise be forced to choose one of them. Else the identifier judges the words in
    that script, so that a few foreign words do not turn a text. Within one script a mixture gets
    the language that the identifier finds in the whole. An answer that is nothing but one offered
    text has that text's language, however short it is: which language was picked needs no identifier.

    Returns:
        A language, or None with the reason ``empty`` (no letter or digit in the answer),
        ``too_short`` (fewer than ``min_letters``) or ``ambiguous``.
    """
    if is_empty(answer):
        return Identification(None, "empty")
    said = searchable(clean(answer))
    picked = {option.language for option in prompt.options if searchable(option.text) == said}
    if len(picked) == 1 and _LETTER.search(said):
        return Identification(picked.pop())
    return text_language(prose(answer, prompt), identifier, min_letters)


def text_language(text: str, identifier: Identifier, min_letters: int) -> Identification:
    """The language of a text that is all prose, by the same rule."""
    weights: dict[str, int] = {}
    for script, count in script_counts(text).items():
        group = "Hani" if script in _JAPANESE_CHINESE else script
        weight = SYLLABIC_WEIGHT if script in SYLLABIC_SCRIPTS else 1
        weights[group] = weights.get(group, 0) + weight * count
    if sum(weights.values()) < min_letters:
        return Identification(None, "too_short")
    main = max(weights, key=lambda group: weights[group])
    scripts = _JAPANESE_CHINESE if main == "Hani" else frozenset({main})
    if not any(scripts.intersection(_scripts(code)) for code in identifier.languages):
        return Identification(f"und-{main}")
    return identifier.identify(_in_scripts(text, scripts))


def _scripts(code: str) -> tuple[str, ...]:
    return LANGUAGES[code].scripts if code in LANGUAGES else ()


def _in_scripts(text: str, scripts: frozenset[str]) -> str:
    """A text without the words that are written in other scripts."""

    def keep(match: regex.Match[str]) -> str:
        word = match.group()
        mine = sum((script_of(letter) or "Zyyy") in scripts for letter in _LETTER.findall(word))
        return str(word) if mine else " "

    return str(_WORD.sub(keep, text))


def _is_offered(text: str, prompt: Prompt) -> bool:
    """Whether a text is an offered answer or part of one."""
    piece = searchable(text)
    return any(piece in searchable(option.text) for option in prompt.options)


def _without_span(text: str, prompt: Prompt) -> str:
    span = extract_span(text, prompt).value
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
