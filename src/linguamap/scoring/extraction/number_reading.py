"""Numbers in any language's digits, marks and multiplier words.

Read are Unicode digits of any script; ``1.234,5`` and ``1,234.5``, ``1 234`` (also with the no-break
blanks), ``1,00,000``, ``1'234``, ``١٬٢٣٤٫٥``; a currency sign between minus and digits; ``12.0`` is
``12``. A mark before three digits can part thousands or decimals (``1.234``); that is decided by what
else the text shows (``1.234.567``, ``2,50``); else by a last zero, which nobody writes behind decimals
(``4,250``); else as the language writes it; a mark that it does not use is read as in English. Digits
joined by marks that make no number (``1,2,3``, a date) are separate numbers. Words multiply
(``70 mil``, ``2 crore``, ``elfu 5``, ``$1.5M``) and add up (``3万2000``, ``2億5千万``); "minus" is a sign
where nothing stands before it that it could be taken from.

A number that is a part of something else is marked so, for a part is never the answer: fractions and
mixed numbers, times, ratios, powers, ranges ("3 to 5", "between 3 and 5"), "2 and a half", "2 hours 30 minutes", and sums that are
not worked out. Number words are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

import regex

from linguamap.languages import LANGUAGES, Language, normalise_digits
from linguamap.scoring.extraction.answer_words import any_of, any_word, fold, multipliers

_BLANKS = " \u00a0\u202f\u2009"
_TOKEN = regex.compile(rf"\d+(?:(?:[.,،，٬٫'’]|[{_BLANKS}](?=\d{{3}}(?!\d)))\d+)*")
_MARK = regex.compile(r"\D")
_SIGN = regex.compile(
    r"(?:(?<![\p{L}\d)\]])|(?<=[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]))"
    r"(?<![\d)]\s)[-−–](?:\p{Sc}\s?)?$"
)
_EAST_ASIAN = ("ja", "ko", "zh")
_MULTIPLIERS_END = r"(?![克米瓦卡赫큼ธ])"
"""Thousand-signs that begin a unit: 千克, 千米, 千瓦, Thai พันธุ์; and Korean 만큼 ("as much as")."""
_MONEY_SUFFIXES = {"k": 10**3, "m": 10**6, "mm": 10**6, "b": 10**9}
_MONEY_SUFFIX = regex.compile(r"\s?(mm|[kmb])(?![\p{L}\p{M}])")
_BEFORE_MONEY = regex.compile(r"\p{Sc}\s?$")
_POWER_WORD = 10**4
"""Signs below it (十 百 千) count within a group of four digits, those from it on close the group."""

_PARTS = (
    r"\d[\d.,]*\s*[/⁄∕]\s*\d[\d.,]*(?!\s*=)|\d+\s+\d+\s*[/⁄∕]\s*\d+",
    r"\d\s?[¼½¾⅐-⅞]",
    r"\d{1,3}\s?:\s?\d+(?::\d+)?",
    r"\d[\d.,]*\s?(?:\^|\*\*|[⁰¹²³⁴-⁹])\s*\{?[-−]?\d*|\d[\d.,]*e[+-]?\d+",
    r"(?<![-–—~〜])\d[\d.,]*\s*[-–—~〜]\s*\d[\d.,]*+(?!\s*[-–—~〜]\s*\d)",
    r"\d+\s?h\s?\d{2}(?!\d)",
    r"\d[\d.,]*\)?\s*[+×÷·*−±]\s*\p{Sc}?\(?\d[\d.,]*|\d[\d.,]*\)?\s*x\s*\p{Sc}?\(?\d[\d.,]*"
    r"|\d\)?\s+[-–]\s+\p{Sc}?\(?\d[\d.,]*",
)
"""What a number can be a part of: fraction, half, time or ratio, power, range, hour, sum."""


@dataclass(frozen=True)
class Number:
    """A number in a text: its value as plain ASCII decimal, and where it stands.

    Attributes:
        part: it belongs to something that is not read, like the 3 of "3/4".
    """

    value: str
    start: int
    end: int
    part: bool = False


def find_numbers(text: str, *languages: str) -> list[Number]:
    """All numbers of a text, in order.

    Args:
        text: any text; numbers' places are those of the text if it is folded.
        languages: the first one's marks are read, the multiplier words of all of them.
    """
    text = normalise_digits(text)
    numbers: list[Number] = []
    roles = _shown_roles(text)
    for token in _TOKEN.finditer(text):
        value = _read(token.group(), LANGUAGES[languages[0]], roles)
        if value is not None:
            numbers.append(_signed(text, value, token.start(), token.end(), languages))
            continue
        for part in regex.finditer(r"\d+", token.group()):
            start, end = token.start() + part.start(), token.start() + part.end()
            numbers.append(_signed(text, Decimal(part.group()), start, end, languages))
    codes = tuple(dict.fromkeys((*languages, "en")))
    return _mark_parts(text, _multiplied(text, numbers, codes), codes)


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


def _signed(text: str, value: Decimal, start: int, end: int, languages: tuple[str, ...]) -> Number:
    sign = _SIGN.search(text, max(0, start - 5), start)
    sign = sign or _minus_pattern(languages).search(text, max(0, start - 24), start)
    if sign is None:
        return Number(plain(value), start, end)
    return Number(plain(-value), sign.end() - len(sign.group().lstrip()), end)


@lru_cache(maxsize=64)
def _minus_pattern(languages: tuple[str, ...]) -> regex.Pattern[str]:
    """ "minus" before a number, unless there is something just before it to be taken from."""
    words = "|".join(any_word(code, "minus") for code in dict.fromkeys((*languages, "en")))
    taken_from = r"(?<!\d\s*(?:[\p{L}\p{M}\p{Sc}%]+\s*){0,2})(?<![)\]]\s*)"
    return regex.compile(rf"{taken_from}(?:{words})\s*\p{{Sc}}?\s?$", regex.IGNORECASE)


@lru_cache(maxsize=64)
def _multiplier_patterns(
    codes: tuple[str, ...],
) -> tuple[regex.Pattern[str], regex.Pattern[str], dict[str, int]]:
    """Words behind a figure, words before one, and what each multiplies by."""
    sizes: dict[str, int] = {}
    for code in dict.fromkeys((*codes, *_EAST_ASIAN)):
        sizes = multipliers(code) | sizes
    listed = sorted(sizes, key=len, reverse=True)
    spaced = [word for word in listed if not regex.search(r"[\p{Han}\p{Hangul}\p{Thai}]", word)]
    glued = [word for word in listed if word not in spaced]
    apart = "|".join(map(regex.escape, spaced))
    together = "|".join(map(regex.escape, glued))
    behind = rf"[\s\u00a0-]?(?:(?P<word>{apart})(?![\p{{L}}\p{{M}}])|(?P<word>{together}){_MULTIPLIERS_END})"
    first = "|".join(
        regex.escape(word) for code in codes for word in multipliers(code, "times_first")
    )
    before = rf"(?<![\p{{L}}\p{{M}}\d])(?P<word>{first or '(?!)'})\s+$"
    return regex.compile(behind), regex.compile(before), sizes


def _multiplied(text: str, numbers: list[Number], codes: tuple[str, ...]) -> list[Number]:
    """Numbers with their multipliers, joined where one goes on from the one before.

    ``group`` holds what a sign from 万 on would still multiply: 2千 and 3百万 are 2300 × 万.
    """
    folded = fold(text)
    if len(folded) != len(
        text
    ):  # a capital that folds to two letters: words are then not looked for
        folded = text
    joined: list[Number] = []
    group, closed, last_size = Decimal(0), Decimal(0), 0
    for number in numbers:
        sizes, start, end = _sizes(folded, number, codes)
        value = Decimal(number.value)
        small, big = _product(sizes, below=True), _product(sizes, below=False)
        total = value * small * big
        between = text[joined[-1].end : number.start] if joined else "-"
        goes_on = not between.strip() and value >= 0 and total > 0 and last_size > 1
        if goes_on and (total < last_size or (small * value < _POWER_WORD <= big and group > 0)):
            group += value * small
            if big > 1:
                closed, group = closed + group * big, Decimal(0)
            joined[-1] = replace(joined[-1], value=plain(closed + group), end=end)
        else:
            group, closed = (value * small, Decimal(0)) if big == 1 else (Decimal(0), total)
            joined.append(Number(plain(total), start, end, number.part))
        last_size = small * big
    return joined


def _product(sizes: list[int], below: bool) -> int:
    """The product of the signs below 万, or of the rest; a small one before a big one is its factor."""
    chosen = [size for size in sizes if (size < _POWER_WORD) == below]
    product = 1
    for size in chosen:
        product *= size
    return product


def _sizes(folded: str, number: Number, codes: tuple[str, ...]) -> tuple[list[int], int, int]:
    """What multiplies a number, and its place with the words for that."""
    behind, before, known = _multiplier_patterns(codes)
    sizes, start, end = [], number.start, number.end
    if _BEFORE_MONEY.search(folded, max(0, start - 2), start) and (
        suffix := _MONEY_SUFFIX.match(folded, end)
    ):
        return [_MONEY_SUFFIXES[suffix.group(1)]], start, suffix.end()
    while match := behind.match(folded, end):
        sizes.append(known[match["word"]])
        end = match.end()
    if not sizes and (match := before.search(folded, max(0, start - 16), start)):
        return [known[match["word"]]], match.start("word"), end
    return sizes, start, end


def _mark_parts(text: str, numbers: list[Number], codes: tuple[str, ...]) -> list[Number]:
    spans = [match.span() for match in _parts_pattern(codes).finditer(fold(text), overlapped=True)]
    return [
        replace(number, part=True)
        if any(number.start < end and start < number.end for start, end in spans)
        else number
        for number in numbers
    ]


@lru_cache(maxsize=64)
def _parts_pattern(codes: tuple[str, ...]) -> regex.Pattern[str]:
    """Everything that a number can be a part of, in these languages; begins at a whole number."""
    parts = list(_PARTS)
    for code in codes:
        joint = rf"\s*(?:[,，、]|{any_word(code, 'and')})?\s*"
        number = r"\d[\d.,]*"
        hours, minutes = any_word(code, "hours"), any_word(code, "minutes")
        sizes = any_of(tuple(multipliers(code)), code)
        money, coins = any_word(code, "money"), any_word(code, "coins")
        between = any_word(code, "between")
        middle = rf"\s*\S{{0,12}}?\s*{any_word(code, 'and', 'to')}\s*\p{{Sc}}?\s?"
        parts += [
            rf"{number}\s*{hours}{joint}{number}\s*{minutes}",
            rf"(?:\p{{Sc}}\s?{number}|{number}\s*(?:{money}|\p{{Sc}})){joint}{number}\s*{coins}",
            rf"{number}\s*(?:(?:{hours}|{sizes})\s*)?{any_word(code, 'half')}",
            rf"{number}\s*{any_word(code, 'to')}\s*\p{{Sc}}?\s?{number}",
            rf"(?<={between}\s*\p{{Sc}}?\s?){number}{middle}{number}",
            rf"{number}{middle}{number}\s*\S{{0,6}}?\s*{between}",
        ]
    return regex.compile(rf"(?<!\d|\d[.,])(?:{'|'.join(parts)})")
