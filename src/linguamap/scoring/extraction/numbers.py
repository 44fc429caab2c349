"""Which number of an answer is its result.

Numbers are read by :mod:`~linguamap.scoring.extraction.number_reading`, with the marks of the cue's language
("the answer is" is English), else those of the language that the text is written in.
"""

from __future__ import annotations

from functools import lru_cache

import regex

from linguamap.languages import normalise_digits
from linguamap.records import Extraction, Prompt
from linguamap.scoring.extraction.answer_markers import Cue, find_cues, last_strong
from linguamap.scoring.extraction.answer_words import any_word, any_word_in, fold, is_empty
from linguamap.scoring.extraction.number_reading import Number, find_numbers
from linguamap.scoring.extraction.spans import chosen_option_language

_SENTENCE_END = regex.compile(r"[\n。！？।؟!?]|\.(?=\s|$)")
_DIRECTLY = regex.compile(
    r"[\s:\-–—=≈~\"'«»“”„「『(\[{<\p{Sc}]*"
    r"(?:(?:usd|eur|gbp|jpy|inr|cny|brl|[\p{L}]{1,2}(?=\p{Sc})|tl|rp|rs\.?|k[s]h)[\s\p{Sc}]*)?"
)
"""What may stand between a cue and "the number right after it": marks and a currency."""
_EQUALS = regex.compile(r"[=≈]")
_CALCULATES = regex.compile(
    r"\s*(?:[\p{L}\p{M}\p{Sc}%]+\.?\s*){0,2}?(?:[-+−–*/×÷·:=≈]|x\b)\s*[\p{Sc}(]?\d"
)
_STEPS = regex.compile(r"[=≈]|\d\s*[+*×÷·]\s*\d|\d\s+[-−–/x]\s+\d")
_ENDS_SENTENCE = regex.compile(r"\s*(?:[!。！।]|\.(?=\s))")
_OPENS_REASONING = regex.compile(r"\s*:?\s*\n")
"""A cue with nothing behind it on its line: "The solution is:"."""
_ASIDE = regex.compile(r"[,;:，、،(]")
_LIST_MARK = regex.compile(r"(?m)^\s*\d{1,2}[.)](?=\s+\p{L})")
_BRACKETS = regex.compile(r"[(\[（［【][^()\[\]（）［］【】\n]*[)\]）］】]")
MAX_BARE_WORDS = 6
"""So many words ("It is 18 dollars a day.") can be an answer by themselves."""
_ATTRIBUTE = regex.compile(r"[-‐‑]\p{L}")
"""Behind the number of "the 400-meter run"."""
_WORD = r"(?:[\p{L}\p{M}'’\-]+\.?\s+)"


def extract_number(text: str, prompt: Prompt) -> Extraction:
    """The answer's number in a cleaned text.

    1. ``answer_phrase``: in the first sentence after the last strong cue that holds a number, the
       one right after the cue, unless a calculation begins there; else :func:`_result`. So what a
       model says after its answer does no harm. A label that opens the text ("Answer:") counts only
       if a number stands right after it and all others are an aside in the same sentence
       ("45 hours, almost 2 days"); else reasoning follows.
    2. ``conclusion``: the result of the last sentence that begins with "so", if all that follows is one
       sentence with a number of another kind (an amount of money, then "she works 7 days").
    3. ``last_number``: else the result of the last sentence with a number (a list's "3." only if
       there is no other).

    Numbers in a bracket that explains what stands before it ("60 (40 + 20)") are left out. A number
    that is only a part (number_reading) is no answer: the reason is then ``no_number``.
    """
    if is_empty(text):
        return Extraction(None, "empty")
    folded = fold(normalise_digits(text))
    cues = find_cues(folded, prompt.language, "answer")
    cue = last_strong(cues)
    language = _language_of_marks(folded, cues, cue, prompt.language)
    codes = tuple(dict.fromkeys((language, prompt.language)))
    numbers = _without_explanations(folded, find_numbers(folded, *codes), codes)
    chosen = _after_cue(folded, numbers, cue, codes) if cue else None
    rule = "answer_phrase"
    if chosen is None:
        listed = {match.end() - 1 for match in _LIST_MARK.finditer(folded)}
        numbers = [number for number in numbers if number.end not in listed] or numbers
        asked = fold(normalise_digits("".join(p.text for p in prompt.parts if p.role == "Q")))
        given = {number.value for number in find_numbers(asked, *codes)}
        rule, chosen = _at_the_end(folded, numbers, codes, given)
    if chosen is None or chosen.part:
        return Extraction(None, "no_number")
    return Extraction(chosen.value, rule=rule, option_language=chosen_option_language(text, prompt))


def is_conclusion(text: str, language: str) -> bool:
    """Whether a text without an answer cue may end in an answer: it is short, calculates or concludes."""
    folded = fold(text.strip())
    last = folded[[begin for begin, _ in _sentences(folded)][-1] :] if folded else ""
    if len(folded.split()) <= MAX_BARE_WORDS or _EQUALS.search(last):
        return True
    concluding = _conclusion((language,)).match(last)
    return bool(concluding or _kind_pattern("total", (language,)).search(last))


def _language_of_marks(text: str, cues: list[Cue], chosen: Cue | None, target: str) -> str:
    """The cue's language; for a sign that has none (a box), that of the text: English or the target."""
    spoken = [cue for cue in cues if not cue.universal]
    if chosen is not None and not chosen.universal:
        return chosen.language
    if spoken:
        return spoken[-1].language
    counts = [len(_common_words(code).findall(text)) for code in (target, "en")]
    return "en" if counts[1] > counts[0] else target


@lru_cache(maxsize=64)
def _common_words(code: str) -> regex.Pattern[str]:
    return regex.compile(
        any_word(code, "is", "so", "and", "about", "about_after", "because", "total")
    )


def _without_explanations(text: str, numbers: list[Number], codes: tuple[str, ...]) -> list[Number]:
    """Numbers without those in a bracket that explains a number before it on the line.

    A bracket whose sum comes to something else than the number before it says more than that: it stays,
    and so does one number that says the same in another unit, or the total ("4 machines (or 20 %)").
    """
    kept = numbers
    restates = regex.compile(rf"[=≈]|{any_word_in(_with_english(codes), 'or', 'total')}")
    for bracket in _BRACKETS.finditer(text):
        start, end = bracket.span()
        sentence = max((m.end() for m in _SENTENCE_END.finditer(text, 0, start)), default=0)
        before = [n for n in kept if sentence <= n.start < start and not n.part]
        inside = [n for n in kept if start <= n.start < end]
        if not before or not inside or (len(inside) == 1 and restates.search(text, start, end)):
            continue
        equals = text.rfind("=", start, end)
        if equals >= 0 and inside[-1].start > equals and inside[-1].value != before[-1].value:
            continue
        kept = [n for n in kept if n not in inside]
    return kept


def _after_cue(text: str, numbers: list[Number], cue: Cue, codes: tuple[str, ...]) -> Number | None:
    start = cue.end
    if cue.opening:
        end = text.find("\n", start + 1) if text[start:].strip() else -1
        line = [n for n in numbers if start <= n.start < (end if end >= 0 else len(text))]
        return line[0] if line and _is_answer(text, line, start) else None
    for begin, end in _sentences(text, start):
        inside = [number for number in numbers if begin <= number.start < end]
        if inside:
            first = inside[0]
            direct = _DIRECTLY.fullmatch(text, cue.end, first.start)
            if direct and (first.part or not _CALCULATES.match(text, first.end)):
                return _worked_out(text, inside)[0] if first.part else first
            if _OPENS_REASONING.match(text, cue.end):
                return None
            if _EQUALS.search(text, begin, inside[-1].start):
                return _worked_out(text, inside)[0]
            return _result(text, inside, codes, begin, concludes=True)
    return None


def _sentences(text: str, start: int = 0) -> list[tuple[int, int]]:
    spans = []
    while start < len(text):
        mark = _SENTENCE_END.search(text, start)
        end = mark.end() if mark else len(text)
        spans.append((start, end))
        start = end
    return spans


def _is_answer(text: str, line: list[Number], start: int) -> bool:
    """Whether the first number of a line with a label in front is the answer, not a first step."""
    first, *rest = line
    if not _DIRECTLY.fullmatch(text, start, first.start):
        return False
    if not rest or _ENDS_SENTENCE.match(text, first.end):
        return True
    aside = _ASIDE.search(text, first.end, rest[0].start)
    if aside is None or _SENTENCE_END.search(text, first.end, rest[-1].start):
        return False
    in_brackets = aside.group() == "(" and text.find(")", aside.end()) > rest[-1].start
    return in_brackets or not _STEPS.search(text, start, rest[-1].end)


def _worked_out(text: str, inside: list[Number]) -> list[Number]:
    """Numbers from the last equals sign on that has a whole one behind it ("15 = 3 x 5" has none)."""
    ends = [match.start() for match in _EQUALS.finditer(text, inside[0].start, inside[-1].start)]
    for equals in reversed(ends):
        behind = [number for number in inside if number.start > equals]
        if not behind[0].part:
            return behind
    return [inside[0]] if ends and not inside[0].part else inside


def _result(
    text: str, inside: list[Number], codes: tuple[str, ...], begin: int, concludes: bool
) -> Number:
    """Which number of a sentence is what it comes to.

    Numbers in front of the last equals sign are steps. Of the rest it is the last one; in a sentence
    that concludes, the last that is neither in a clause with "because" behind another number
    nor in a circumstance ("on the 14 vans", "in 7 days").
    """
    inside = _worked_out(text, inside)
    concludes = concludes or bool(
        _kind_pattern("total", codes).search(text, begin, inside[0].start)
    )
    if not concludes:
        return inside[-1]
    because = _kind_pattern("because", codes).search(text, inside[0].end, inside[-1].start)
    if because:
        inside = [number for number in inside if number.start < because.start()]
    while len(inside) > 1 and _is_circumstance(text, inside, codes):
        inside = inside[:-1]
    return inside[-1]


def _is_circumstance(text: str, inside: list[Number], codes: tuple[str, ...]) -> bool:
    """Whether the last of some numbers stands in an adverbial behind the one that matters."""
    number, before = inside[-1], inside[-2]
    if _ATTRIBUTE.match(text, before.end):
        return False
    line_end = _SENTENCE_END.search(text, number.end)
    rest = text[number.end : line_end.start() if line_end else len(text)]
    opened = _circumstance_before(codes).search(text, before.end, number.start)
    begin = opened.start() if opened else max(before.end, number.start - 30)
    total = _kind_pattern("total", codes)
    if total.search(text, begin, number.start) or total.search(rest):
        return False
    if _is_money(text, number, codes) and not any(_is_money(text, n, codes) for n in inside[:-1]):
        return False
    return bool(opened or _circumstance_behind(codes).fullmatch(rest))


def _is_money(text: str, number: Number, codes: tuple[str, ...]) -> bool:
    before = regex.search(r"\p{Sc}\s?-?$", text[max(0, number.start - 3) : number.start])
    behind = _kind_behind("money", codes).match(text, number.end)
    return before is not None or behind is not None


def _at_the_end(
    text: str, numbers: list[Number], codes: tuple[str, ...], given: set[str]
) -> tuple[str, Number | None]:
    """The result of the last sentence, or of the conclusion before it (rules 2 and 3).

    The last sentence concludes where it is the only one, and where it ends in a number that was given
    in the question or before (``given``), behind one that was not ("9 litres for the 3 cars").
    """
    spans = [
        (begin, inside, text[end - 1] in "?؟")
        for begin, end in _sentences(text)
        if (inside := [number for number in numbers if begin <= number.start < end])
    ]
    spans = _without_notes(text, spans, codes)
    stated = []
    for begin, inside, is_question in spans:
        concludes = bool(_conclusion(codes).match(text, begin))
        is_last = begin == spans[-1][0] and not is_question
        restated = len(inside) > 1 and inside[-1].value in given and inside[-2].value not in given
        result = _result(
            text, inside, codes, begin, concludes or (is_last and (len(spans) == 1 or restated))
        )
        given = given | {number.value for number in inside}
        stated.append((result, concludes, len(inside)))
    if not stated:
        return "last_number", None
    last = stated[-1][0]
    if len(stated) > 1 and stated[-2][1] and stated[-1][1:] == (False, 1):
        concluded = stated[-2][0]
        money = [_is_money(text, number, codes) for number in (concluded, last)]
        hours = _kind_behind("hours", codes)
        time = [bool(hours.match(text, number.end)) for number in (concluded, last)]
        if money == [True, False] or (time == [False, True] and not money[1]):
            return "conclusion", concluded
    return "last_number", last


def _without_notes(
    text: str, spans: list[tuple[int, list[Number], bool]], codes: tuple[str, ...]
) -> list[tuple[int, list[Number], bool]]:
    """Sentences before a line that begins with "Note:", if there are any."""
    note = regex.compile(
        rf"(?m:^)\W*(?:{any_word_in(_with_english(codes), 'note')})\s*(?:[:：,]|\s)"
    )
    found = note.search(text, spans[0][0] + 1) if spans else None
    before = [span for span in spans if found is not None and span[0] < found.start()]
    return before or spans


@lru_cache(maxsize=256)
def _kind_pattern(kind: str, codes: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile(any_word_in(_with_english(codes), kind))


@lru_cache(maxsize=256)
def _kind_behind(kind: str, codes: tuple[str, ...]) -> regex.Pattern[str]:
    words = any_word_in(_with_english(codes), kind)
    signs = r"|\p{Sc}" if kind == "money" else ""
    return regex.compile(rf"\s*(?:{words}{signs})")


@lru_cache(maxsize=64)
def _circumstance_before(codes: tuple[str, ...]) -> regex.Pattern[str]:
    words = any_word_in(_with_english(codes), "about")
    of = any_word_in(_with_english(codes), "of")
    return regex.compile(rf"(?:{words})\s*(?:{_WORD}?|{_WORD}{{1,3}}(?:{of})\s*)\p{{Sc}}?\s*$")


@lru_cache(maxsize=64)
def _circumstance_behind(codes: tuple[str, ...]) -> regex.Pattern[str]:
    words = any_word_in(_with_english(codes), "about_after")
    return regex.compile(rf"\s*[\p{{L}}\p{{M}}]*\s*(?:{words})\s*\W*")


@lru_cache(maxsize=64)
def _conclusion(codes: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile(rf"\W*(?:{any_word_in(_with_english(codes), 'so')})")


def _with_english(codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*codes, "en")))
