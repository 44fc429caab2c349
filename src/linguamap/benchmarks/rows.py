"""From the plain values of one row to an :class:`Item`, with the checks that all sources share."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from linguamap.benchmarks.option_references import refers_to_options
from linguamap.languages import normalise_digits
from linguamap.outside import MOST_DIGITS, as_text, shown
from linguamap.records import Dropped, Item, Split, UserError

LETTERS = string.ascii_uppercase
LONGEST_NAME = 300
"""Characters of a row's id."""


@dataclass(frozen=True)
class Origin:
    """What all rows of one reading have in common."""

    benchmark: str
    language: str
    split: Split


@dataclass
class Reading:
    """What one language's rows hold, before languages are compared.

    Attributes:
        items: usable rows, in file order, each id once.
        dropped: unusable rows.
        places: item id -> file and line, for error messages.
        rows: rows read, used or not.
    """

    origin: Origin
    items: list[Item] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    rows: int = 0

    def add(self, row: Item | Dropped, place: str) -> None:
        """Take one more row; the second row of an id is dropped."""
        self.rows += 1
        if isinstance(row, Dropped):
            self.dropped.append(row)
            self.places.setdefault(row.item_id, place)
        elif row.item_id in self.places:
            first = self.places[row.item_id]
            self.drop(row.item_id, f"duplicate id: at {place}, first at {first}")
        else:
            self.items.append(row)
            self.places[row.item_id] = place

    def drop(self, item_id: str, reason: str) -> None:
        """Note that a row is not used."""
        self.dropped.append(Dropped(self.origin.language, item_id, reason))

    def without(self, reasons: dict[str, str]) -> Reading:
        """A copy without the items that ``reasons`` names, noted as dropped."""
        kept = [item for item in self.items if item.item_id not in reasons]
        copy = Reading(self.origin, kept, list(self.dropped), self.places, self.rows)
        for item in self.items:
            if item.item_id in reasons:
                copy.drop(item.item_id, reasons[item.item_id])
        return copy


class _Texts:
    """The texts of one row, and the first thing that is wrong with it."""

    def __init__(self) -> None:
        self.fault: str | None = None

    def needed(self, name: str, value: object) -> str:
        """A text that must be there, without outer blanks; empty where it is none."""
        text = self.optional(name, value)
        if not text:
            self.fault = self.fault or f"{name} is empty"
        return text

    def optional(self, name: str, value: object) -> str:
        try:
            return clean(as_text(value))
        except ValueError as error:
            self.fault = self.fault or f"{name} is {error}"
            return ""


def sums_item(
    origin: Origin,
    item_id: str,
    question: object,
    result: object,
    place: str,
    explanation: object = None,
    wrong: Sequence[str] = (),
    group: str | None = None,
) -> Item | Dropped:
    """A word problem. ``result`` may carry thousands commas and any decimal digits.

    Raises:
        UserError: the result is no number.
    """
    texts = _Texts()
    results = [texts.needed("the result", one) for one in (result, *wrong)]
    numbers = [plain_number(text) for text in results]
    for text, number in zip(results, numbers, strict=True):
        if number is None:
            raise UserError(f"{place}: the result '{shown(text)}' is no number such as 18 or 2,125")
    gold, *others = [number for number in numbers if number is not None]
    asked, worked = (
        texts.needed("the question", question),
        texts.optional("the reasoning", explanation),
    )
    if texts.fault is not None:
        return Dropped(origin.language, item_id, texts.fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="sums",
        language=origin.language,
        split=origin.split,
        question=asked,
        gold=(gold,),
        explanation=worked or None,
        wrong=tuple(others),
        group=group,
    )


def choice_item(
    origin: Origin,
    item_id: str,
    question: object,
    options: Sequence[object],
    answer: object,
    subject: str | None = None,
    explanation: object = None,
    group: str | None = None,
) -> Item | Dropped:
    """A question with lettered options; ``answer`` is a letter or a 0-based index.

    An item with an option that speaks of others ("all of the above") is dropped: options are shuffled.
    """
    letters = LETTERS[: len(options)]
    texts = _Texts()
    asked = texts.needed("the question", question)
    offered = [
        texts.needed(f"option {letter}", one) for letter, one in zip(letters, options, strict=True)
    ]
    worked = texts.optional("the explanation", explanation)
    if isinstance(answer, float) and answer.is_integer():  # pandas, of a column with gaps
        answer = int(answer)
    if isinstance(answer, int) and not isinstance(answer, bool):
        letter = letters[answer : answer + 1] if answer >= 0 else ""
    else:
        letter = texts.needed("the answer", answer).upper()
    fault = texts.fault
    if fault is None and (len(letter) != 1 or letter not in letters):
        fault = f"the answer is no option: '{shown(answer)}' is not one of {letters[:1]} to {letters[-1:]}"
    if fault is None:
        referring = [text for text in offered if refers_to_options(text, origin.language)]
        fault = f"an option speaks of others: '{shown(referring[0])}'" if referring else None
    if fault is not None:
        return Dropped(origin.language, item_id, fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="choice",
        language=origin.language,
        split=origin.split,
        question=asked,
        gold=(letter,),
        options=tuple(offered),
        explanation=worked or None,
        subject=subject,
        group=group,
    )


def passage_item(
    origin: Origin,
    item_id: str,
    question: object,
    passage: object,
    answers: Sequence[tuple[object, object]],
    subject: str | None = None,
    explanation: object = None,
    wrong: Sequence[object] = (),
    group: str | None = None,
) -> Item | Dropped:
    """A question whose answer is a span; ``answers`` are (text, start in characters or None)."""
    texts = _Texts()
    asked = texts.needed("the question", question)
    read = texts.needed("the passage", passage)
    worked = texts.optional("the explanation", explanation)
    others = tuple(texts.optional("a wrong answer", text) for text in wrong)
    gold = [texts.needed("the answer", text) for text, _ in answers]
    fault = texts.fault or (None if gold else "there is no answer text")
    for text, start in answers if fault is None else ():
        span, whole = str(as_text(text)), str(passage)
        found = span in whole
        if isinstance(start, int):
            found = start >= 0 and whole[start : start + len(span)] == span
        if fault is None and not found:
            where = "" if start is None else f" at {start}"
            fault = f"the answer is not in the passage: '{shown(span)}'{where}"
    if fault is not None:
        return Dropped(origin.language, item_id, fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="passage",
        language=origin.language,
        split=origin.split,
        question=asked,
        gold=tuple(dict.fromkeys(gold)),
        passage=read,
        explanation=worked or None,
        wrong=others,
        subject=subject,
        group=group,
    )


def open_item(
    origin: Origin,
    item_id: str,
    request: object,
    subject: str | None = None,
    explanation: object = None,
    group: str | None = None,
) -> Item | Dropped:
    """A request without a right answer; only its language is judged."""
    texts = _Texts()
    asked, worked = texts.needed("the request", request), texts.optional("the answer", explanation)
    if texts.fault is not None:
        return Dropped(origin.language, item_id, texts.fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="open",
        language=origin.language,
        split=origin.split,
        question=asked,
        gold=(),
        explanation=worked or None,
        subject=subject,
        group=group,
    )


def row_name(value: object, place: str) -> str:
    """A row's id as text; its place where it has none that can be used."""
    try:
        name = as_text(value)
    except ValueError:
        name = None
    return name if name and len(name) <= LONGEST_NAME else place


_BROKEN = str.maketrans({"\ufeff": None, "\x85": "…", "\u2028": "\n", "\u2029": "\n"})
"""Byte order marks, and characters that line-wise readers of our files would trip over; U+0085
in these files is a Windows-1252 ellipsis."""


def clean(text: str | None) -> str:
    """The text without outer blanks, byte order marks and odd line separators."""
    return (text or "").translate(_BROKEN).strip()


def plain_number(text: str) -> str | None:
    """An ASCII decimal without thousands commas and trailing zeros, or None if it is no number.

    Digits of any script are read; ``.`` is the decimal mark, as in MGSM's files.
    """
    digits = normalise_digits(text.strip().replace("\u2212", "-"))
    if len(digits) > MOST_DIGITS or not re.fullmatch(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", digits):
        return None
    number = f"{Decimal(digits.replace(',', '')):f}"
    return number.rstrip("0").rstrip(".") if "." in number else number
