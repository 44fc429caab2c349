"""From the plain values of one row to an :class:`Item`, with the checks that all sources share."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from linguamap.languages import normalise_digits
from linguamap.records import Dropped, Item, Split, UserError

LETTERS = string.ascii_uppercase


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


def sums_item(
    origin: Origin,
    item_id: str,
    question: str,
    result: str,
    place: str,
    explanation: str | None = None,
    wrong: Sequence[str] = (),
    group: str | None = None,
) -> Item | Dropped:
    """A word problem. ``result`` may carry thousands commas and any decimal digits.

    Raises:
        UserError: the result is no number.
    """
    numbers = [plain_number(text) for text in (result, *wrong)]
    for text, number in zip((result, *wrong), numbers, strict=True):
        if number is None:
            raise UserError(f"{place}: the result {text!r} is no number such as 18 or 2,125")
    gold, *others = [number for number in numbers if number is not None]
    if not clean(question):
        return Dropped(origin.language, item_id, "the question is empty")
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="sums",
        language=origin.language,
        split=origin.split,
        question=clean(question),
        gold=(gold,),
        explanation=clean(explanation) or None,
        wrong=tuple(others),
        group=group,
    )


def choice_item(
    origin: Origin,
    item_id: str,
    question: str | None,
    options: Sequence[str | None],
    answer: str | int,
    subject: str | None = None,
    explanation: str | None = None,
    group: str | None = None,
) -> Item | Dropped:
    """A question with lettered options; ``answer`` is a letter or a 0-based index."""
    letters = LETTERS[: len(options)]
    letter = letters[answer : answer + 1] if isinstance(answer, int) else answer.strip().upper()
    texts = [clean(option) for option in options]
    fault = None
    if not clean(question):
        fault = "the question is empty"
    elif "" in texts:
        fault = f"option {letters[texts.index('')]} is empty"
    elif len(letter) != 1 or letter not in letters:
        fault = f"the answer is no option: {answer!r} is not one of {letters[0]} to {letters[-1]}"
    if fault is not None:
        return Dropped(origin.language, item_id, fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="choice",
        language=origin.language,
        split=origin.split,
        question=clean(question),
        gold=(letter,),
        options=tuple(texts),
        explanation=clean(explanation) or None,
        subject=subject,
        group=group,
    )


def passage_item(
    origin: Origin,
    item_id: str,
    question: str,
    passage: str,
    answers: Sequence[tuple[str, int | None]],
    subject: str | None = None,
    explanation: str | None = None,
    wrong: Sequence[str] = (),
    group: str | None = None,
) -> Item | Dropped:
    """A question whose answer is a span; ``answers`` are (text, start in characters or None)."""
    fault = None
    if not clean(question) or not clean(passage):
        fault = "the question or the passage is empty"
    elif not answers or not all(clean(text) for text, _ in answers):
        fault = "there is no answer text"
    for text, start in answers:
        found = text in passage if start is None else passage[start : start + len(text)] == text
        if fault is None and not found:
            where = "" if start is None else f" at {start}"
            fault = f"the answer is not in the passage: {text!r}{where}"
    if fault is not None:
        return Dropped(origin.language, item_id, fault)
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="passage",
        language=origin.language,
        split=origin.split,
        question=clean(question),
        gold=tuple(dict.fromkeys(clean(text) for text, _ in answers)),
        passage=clean(passage),
        explanation=clean(explanation) or None,
        wrong=tuple(clean(text) for text in wrong),
        subject=subject,
        group=group,
    )


def open_item(
    origin: Origin,
    item_id: str,
    request: str,
    subject: str | None = None,
    explanation: str | None = None,
    group: str | None = None,
) -> Item | Dropped:
    """A request without a right answer; only its language is judged."""
    if not clean(request):
        return Dropped(origin.language, item_id, "the request is empty")
    return Item(
        item_id=item_id,
        benchmark=origin.benchmark,
        kind="open",
        language=origin.language,
        split=origin.split,
        question=clean(request),
        gold=(),
        explanation=clean(explanation) or None,
        subject=subject,
        group=group,
    )


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
    if not re.fullmatch(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", digits):
        return None
    number = f"{Decimal(digits.replace(',', '')):f}"
    return number.rstrip("0").rstrip(".") if "." in number else number
