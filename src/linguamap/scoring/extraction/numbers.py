"""Numbers in any language's digits and marks, and which of them is the answer.

Reading a number: Unicode digits of any script; ``1.234,5`` and ``1,234.5``, ``1 234`` (also with the
no-break blanks), ``1,00,000``, ``1'234``, ``١٬٢٣٤٫٥``, ``3万2000``; a currency sign between minus and
digits; ``12.0`` is ``12``. A mark before three digits can part thousands or decimals (``1.234``); that is
decided by what else the text shows (``1.234.567``, ``2,50``); else by a last zero, which nobody writes
behind decimals (``4,250``); else as the language writes it: the language of the cue in front of it
("the answer is" is English) or the target language; a mark that it does not use is read as in English.
Digits joined by marks that make no number (``1,2,3``, a date) are separate numbers. Number words,
fractions and sums that are not worked out are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import regex

from linguamap.languages import LANGUAGES, Language, normalise_digits
from linguamap.records import Extraction, Prompt
from linguamap.scoring.extraction.answer_markers import Cue, find_cues, is_empty, last_strong
from linguamap.scoring.extraction.spans import chosen_option_language

_BLANKS = " \u00a0\u202f\u2009"
_TOKEN = regex.compile(rf"\d+(?:(?:[.,،，٬٫'’]|[{_BLANKS}](?=\d{{3}}(?!\d)))\d+)*")
_MARK = regex.compile(r"\D")
_SIGN = regex.compile(
    r"(?:(?<![\p{L}\d)\]])|(?<=[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]))"
    r"(?<![\d)]\s)[-−–](?:\p{Sc}\s?)?$"
)
_MYRIADS = {"万": 10**4, "萬": 10**4, "만": 10**4, "億": 10**8, "亿": 10**8, "억": 10**8,
            "千": 10**3, "천": 10**3}  # fmt: skip
_MYRIAD = regex.compile(r"\s?([万萬億亿억]|만(?!큼)|[千천](?![克米瓦卡赫]))")
_SENTENCE_END = regex.compile(r"[\n。！？।؟!?]|\.(?=\s|$)")
_DIRECTLY = regex.compile(
    r"[\s:\-–—=≈~\"'«»“”„「『(\[{<\p{Sc}]*"
    r"(?:(?:\p{Lu}{3}|\p{L}{1,2}(?=\p{Sc})|TL|Rp|Rs\.?|K[Ss]h)[\s\p{Sc}]*)?"
)
"""What may stand between a cue and "the number right after it": marks and a currency."""
_EQUALS = regex.compile(r"[=≈]")
_CALCULATES = regex.compile(
    r"\s*(?:[\p{L}\p{M}\p{Sc}%]+\.?\s*){0,2}?(?:[-+−–*/×÷·:=≈]|x\b)\s*[\p{Sc}(]?\d"
)
_STEPS = regex.compile(r"[=≈]|\d\s*[+*×÷·]\s*\d|\d\s+[-−–/x]\s+\d")
_ASIDE = regex.compile(r"[,;:，、،(]")
_LIST_MARK = regex.compile(r"(?m)^\s*\d{1,2}[.)](?=\s+\p{L})")


@dataclass(frozen=True)
class Number:
    """A number in a text: its value as plain ASCII decimal, and where it stands."""

    value: str
    start: int
    end: int


def extract_number(text: str, prompt: Prompt) -> Extraction:
    """The answer's number in a cleaned text.

    1. ``answer_phrase``: in the first sentence after the last strong cue that holds a number, the
       one right after the cue, unless a calculation begins there; else the one after the last equals
       sign; else the last one. So what a model says after its answer does no harm. A label that opens
       the text ("Answer:") counts only if a number stands right after it and all others are an aside
       in the same sentence ("45 hours, almost 2 days"); else reasoning follows.
    2. ``last_number``: else the last number of the text (a list's "3." only if there is no other).
    """
    if is_empty(text):
        return Extraction(None, "empty")
    text = normalise_digits(text)
    cues = find_cues(text, prompt.language, "answer")
    cue = last_strong(cues)
    language = _language_of_marks(cues, cue, prompt.language)
    numbers = find_numbers(text, language)
    if not numbers:
        return Extraction(None, "no_number")
    chosen = _after_cue(text, numbers, cue) if cue else None
    rule = "answer_phrase"
    if chosen is None:
        listed = {match.end() - 1 for match in _LIST_MARK.finditer(text)}
        chosen = ([number for number in numbers if number.end not in listed] or numbers)[-1]
        rule = "last_number"
    return Extraction(chosen.value, rule=rule, option_language=chosen_option_language(text, prompt))


def find_numbers(text: str, language: str) -> list[Number]:
    """All numbers of a text, in order, read with a language's marks."""
    text = normalise_digits(text)
    numbers: list[Number] = []
    roles = _shown_roles(text)
    for token in _TOKEN.finditer(text):
        value = _read(token.group(), LANGUAGES[language], roles)
        if value is not None:
            numbers.append(_signed(text, value, token.start(), token.end()))
            continue
        for part in regex.finditer(r"\d+", token.group()):
            start, end = token.start() + part.start(), token.start() + part.end()
            numbers.append(_signed(text, Decimal(part.group()), start, end))
    return _join_myriads(text, numbers)


def plain(value: Decimal) -> str:
    """A decimal as ASCII digits without exponent, trailing zeros or a negative zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _shown_roles(text: str) -> dict[str, bool]:
    """Whether a text's numbers show a mark to part decimals (True) or thousands (False)."""
    seen: dict[str, set[bool]] = {".": set(), ",": set()}
    for token in _TOKEN.findall(text):
        groups, marks = _MARK.split(token), [_plain_mark(mark) for mark in _MARK.findall(token)]
        if not marks or marks[-1] not in seen:
            continue
        kinds, last = len(set(marks)), marks[-1]
        if kinds == 1 and len(marks) > 1 and _grouped(groups, last):
            seen[last].add(False)
        plain_decimals = len(marks) == 1 and (len(groups[1]) != 3 or groups[0] == "0")
        if plain_decimals or (kinds == 2 and marks.count(last) == 1):
            seen[last].add(True)
            seen["," if last == "." else "."].add(False)
    return {mark: found.pop() for mark, found in seen.items() if len(found) == 1}


def _read(token: str, language: Language, roles: Mapping[str, bool]) -> Decimal | None:
    """A token's value, or None if its marks make no number."""
    groups = _MARK.split(token)
    marks = [_plain_mark(mark) for mark in _MARK.findall(token)]
    if not marks:
        return Decimal(groups[0])
    last, before = marks[-1], marks[:-1]
    if last not in before and last in ".,٫" and len(set(before)) <= 1:
        is_decimal = bool(before) or _is_decimal(last, groups[0], groups[1], language, roles)
        if is_decimal and (not before or _grouped(groups[:-1], before[0])):
            return Decimal("".join(groups[:-1]) + "." + groups[-1])
    if len(set(marks)) == 1 and last != "٫" and _grouped(groups, last):
        return Decimal("".join(groups))
    return None


def _plain_mark(mark: str) -> str:
    if mark in _BLANKS:
        return " "
    return {"’": "'", "،": ",", "，": "，"}.get(mark, mark)


def _is_decimal(
    mark: str, whole: str, rest: str, language: Language, roles: Mapping[str, bool]
) -> bool:
    """Whether a number's only mark parts the decimals (module docstring)."""
    if mark == "٫" or len(rest) != 3 or len(whole) > 3 or whole.startswith("0"):
        return True
    if mark in roles:
        return roles[mark]
    if rest.endswith("0"):
        return False
    for known in (language, LANGUAGES["en"]):
        if mark in known.thousands_marks:
            return False
        if mark == known.decimal_mark:
            return True
    return True


def _grouped(groups: list[str], mark: str) -> bool:
    """Groups of three digits, or the Indian 1,00,000; the first may be shorter."""
    first, *rest = groups
    if not rest or not 1 <= len(first) <= 3 or (first.startswith("0") and len(groups) > 1):
        return False
    if all(len(group) == 3 for group in rest):
        return True
    indian = len(rest[-1]) == 3 and all(len(group) == 2 for group in rest[:-1]) and len(first) <= 2
    return mark == "," and indian


def _signed(text: str, value: Decimal, start: int, end: int) -> Number:
    sign = _SIGN.search(text, max(0, start - 5), start)
    if sign is None:
        return Number(plain(value), start, end)
    return Number(plain(-value), sign.start(), end)


def _join_myriads(text: str, numbers: list[Number]) -> list[Number]:
    """``3万2000`` is one number: East Asian units multiply what stands before them."""
    joined: list[Number] = []
    unit_before = 0
    for number in numbers:
        unit = _MYRIAD.match(text, number.end)
        size = _MYRIADS[unit.group(1)] if unit else 1
        end = unit.end() if unit else number.end
        value = Decimal(number.value) * size
        follows = bool(joined) and not text[joined[-1].end : number.start].strip()
        if follows and unit_before > abs(value) and value >= 0:
            value += Decimal(joined[-1].value)
            joined[-1] = Number(plain(value), joined[-1].start, end)
        else:
            joined.append(Number(plain(value), number.start, end))
        unit_before = size if size > 1 else 0
    return joined


def _language_of_marks(cues: list[Cue], chosen: Cue | None, target: str) -> str:
    if chosen is not None:
        return chosen.language
    return cues[-1].language if cues else target


def _after_cue(text: str, numbers: list[Number], cue: Cue) -> Number | None:
    start = cue.end
    if cue.opening:
        end = text.find("\n", start + 1) if text[start:].strip() else -1
        line = [n for n in numbers if start <= n.start < (end if end >= 0 else len(text))]
        return line[0] if line and _is_answer(text, line, start) else None
    while start < len(text):
        end_mark = _SENTENCE_END.search(text, start)
        end = end_mark.end() if end_mark else len(text)
        inside = [number for number in numbers if start <= number.start < end]
        if inside:
            return _in_sentence(text, inside, cue.end)
        start = end
    return None


def _in_sentence(text: str, inside: list[Number], cue_end: int) -> Number:
    """Which number of the sentence: the one right after the cue, the result, or the last."""
    first = inside[0]
    direct = _DIRECTLY.fullmatch(text, cue_end, first.start)
    if direct and not _CALCULATES.match(text, first.end):
        return first
    equals = list(_EQUALS.finditer(text, cue_end, inside[-1].start))
    if equals:
        return next(number for number in inside if number.start >= equals[-1].end())
    return first if direct else inside[-1]


def _is_answer(text: str, line: list[Number], start: int) -> bool:
    """Whether the first number of a line with a label in front is the answer, not a first step."""
    first, *rest = line
    if not _DIRECTLY.fullmatch(text, start, first.start):
        return False
    if not rest:
        return True
    aside = _ASIDE.search(text, first.end, rest[0].start)
    if aside is None or _SENTENCE_END.search(text, first.end, rest[-1].start):
        return False
    in_brackets = aside.group() == "(" and text.find(")", aside.end()) > rest[-1].start
    return in_brackets or not _STEPS.search(text, start, rest[-1].end)
