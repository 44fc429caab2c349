"""From the plain values of one row to an :class:`Item`, with the checks that all sources share."""

from __future__ import annotations

import re
import string
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from pydantic import ValidationError

from linguamap.languages import LANGUAGES, normalise_digits
from linguamap.outside import MOST_DIGITS, as_text, shown
from linguamap.records import Dropped, Item, Kind, Split, UserError

LETTERS = string.ascii_uppercase
LONGEST_NAME = 300
"""Characters of a row's id."""
LONGEST_REFERENCE = 120
"""Characters of an option that speaks of others; longer ones say something of their own."""

PlacedRow = tuple[str, Mapping[str, Any]]
"""File and line, or data set and row; and the row."""


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

    def without(self, reasons: Mapping[str, str]) -> Reading:
        """A copy without the items that ``reasons`` names, noted as dropped."""
        kept = [item for item in self.items if item.item_id not in reasons]
        copy = Reading(self.origin, kept, list(self.dropped), self.places, self.rows)
        for item in self.items:
            if item.item_id in reasons:
                copy.drop(item.item_id, reasons[item.item_id])
        return copy


class _Row:
    """One row on its way to an item, and the first thing that is wrong with it.

    Args:
        about: the item's fields that need no reading (subject, group).
    """

    def __init__(
        self,
        origin: Origin,
        item_id: str,
        question: object,
        explanation: object,
        **about: str | None,
    ) -> None:
        self.origin = origin
        self.item_id = item_id
        self.fault: str | None = None
        self.question = self.needed("the question", question)
        self.explanation = self.text("the explanation", explanation) or None
        self.about: dict[str, Any] = about

    def needed(self, name: str, value: object) -> str:
        """A text that must be there, without outer blanks; empty where it is none."""
        text = self.text(name, value)
        if not text:
            self.fault = self.fault or f"{name} is empty"
        return text

    def text(self, name: str, value: object) -> str:
        try:
            return clean(as_text(value))
        except ValueError as error:
            self.fault = self.fault or f"{name} is {error}"
            return ""

    def item(self, kind: Kind, **fields: Any) -> Item | Dropped:
        origin = self.origin
        if self.fault is not None:
            return Dropped(origin.language, self.item_id, self.fault)
        return Item(
            item_id=self.item_id, benchmark=origin.benchmark, kind=kind, language=origin.language,
            split=origin.split, question=self.question, explanation=self.explanation,
            **self.about, **fields,
        )  # fmt: skip


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
    row = _Row(origin, item_id, question, explanation, group=group)
    numbers = []
    for text in [row.needed("the result", value) for value in (result, *wrong)]:
        number = plain_number(text)
        if number is None:
            raise UserError(f"{place}: the result '{shown(text)}' is no number such as 18 or 2,125")
        numbers.append(number)
    return row.item("sums", gold=(numbers[0],), wrong=tuple(numbers[1:]))


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
    row = _Row(origin, item_id, question, explanation, subject=subject, group=group)
    letters = LETTERS[: len(options)]
    offered = tuple(
        row.needed(f"option {letter}", text) for letter, text in zip(letters, options, strict=True)
    )
    if isinstance(answer, float) and answer.is_integer():  # pandas, of a column with gaps
        answer = int(answer)
    if isinstance(answer, int) and not isinstance(answer, bool):
        letter = letters[answer : answer + 1] if answer >= 0 else ""
    else:
        letter = row.needed("the answer", answer).upper()
    if row.fault is None and (len(letter) != 1 or letter not in letters):
        row.fault = f"the answer is no option: '{shown(answer)}' is not one of {letters[:1]} to {letters[-1:]}"
    for text in offered if row.fault is None else ():
        if refers_to_options(text, origin.language):
            row.fault = f"an option speaks of others: '{shown(text)}'"
            break
    return row.item("choice", gold=(letter,), options=offered)


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
    row = _Row(origin, item_id, question, explanation, subject=subject, group=group)
    read = row.needed("the passage", passage)
    others = tuple(row.text("a wrong answer", text) for text in wrong)
    gold = dict.fromkeys(row.needed("the answer", text) for text, _ in answers)
    if not gold:
        row.fault = row.fault or "there is no answer text"
    for text, start in answers if row.fault is None else ():
        span, whole = str(as_text(text)), str(passage)
        is_there = span in whole
        if isinstance(start, int):
            is_there = start >= 0 and whole[start : start + len(span)] == span
        if not is_there:
            where = "" if start is None else f" at {start}"
            row.fault = f"the answer is not in the passage: '{shown(span)}'{where}"
            break
    return row.item("passage", gold=tuple(gold), passage=read, wrong=others)


def open_item(
    origin: Origin,
    item_id: str,
    request: object,
    subject: str | None = None,
    explanation: object = None,
    group: str | None = None,
) -> Item | Dropped:
    """A request without a right answer; only its language is scored."""
    return _Row(origin, item_id, request, explanation, subject=subject, group=group).item(
        "open", gold=()
    )


def row_name(value: object, place: str) -> str:
    """A row's id as text; its place where it has none that can be used."""
    try:
        name = as_text(value)
    except ValueError:
        name = None
    return name if name and len(name) <= LONGEST_NAME else place


def require(place: str, row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Refuse a row without some columns, by its place."""
    if absent := [name for name in columns if name not in row]:
        found = shown(", ".join(map(str, row))) or "none"
        raise UserError(f"{place}: the columns {', '.join(absent)} are missing; found {found}")


def first_fault(error: ValidationError) -> str:
    """The first fault of a pydantic validation as one line, with the path of the key."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])


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


def refers_to_options(text: str, language: str) -> bool:
    """Whether an option speaks of others ("all of the above"), in its language or in English.

    Nothing of it may be left when the phrases and fillers of ``data/option_references.toml`` and option
    letters are taken out: "both A and B" refers, "vitamins A and B" does not.
    """
    if len(text) > LONGEST_REFERENCE:
        return False
    codes = dict.fromkeys((language, "en"))
    return any(_refers(text, code) for code in codes if code in _references())


def _refers(text: str, language: str) -> bool:
    phrases, fillers, letters = _references()[language]
    rest, n_phrases = phrases.subn(" ", _folded(text))
    rest, n_fillers = fillers.subn(" ", rest)
    words = rest.replace("&", " ").split()
    if not all(word in letters for word in words):
        return False
    joined = n_fillers > 0 or re.search(r"[,&/+،、]", text) is not None
    return n_phrases > 0 or (len(words) > 1 and joined)


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        c if c.isalnum() or unicodedata.category(c)[0] == "M" or c == "&" else " " for c in folded
    )
    return f" {' '.join(''.join(kept).split())} "


@cache
def _references() -> dict[str, tuple[re.Pattern[str], re.Pattern[str], frozenset[str]]]:
    """Language -> phrases, fillers, letters."""
    source = resources.files("linguamap") / "data" / "option_references.toml"
    table = {}
    for code, row in tomllib.loads(source.read_text(encoding="utf-8")).items():
        own = {_folded(sign).strip() for signs in LANGUAGES[code].option_letters for sign in signs}
        bounded = LANGUAGES[code].segmented and code != "ko"  # particles are glued to letters
        letters = frozenset({*"abcdefgh", *own})
        table[code] = (_any_of(row["phrases"], bounded), _any_of(row["fillers"], bounded), letters)
    return table


def _any_of(texts: list[str], bounded: bool) -> re.Pattern[str]:
    """The longest first; where words are written apart, whole words only."""
    ordered = sorted({_folded(text).strip() for text in texts}, key=len, reverse=True)
    pattern = "|".join(re.escape(text).replace(r"\ ", r"\s*") for text in ordered)
    return re.compile(rf"(?<!\S)(?:{pattern})(?!\S)" if bounded else f"(?:{pattern})")
