"""Users' own items: a file with one JSON object a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from linguamap.benchmarks.align import Sources, wanted_languages
from linguamap.benchmarks.rows import (
    LONGEST_NAME,
    Origin,
    Reading,
    choice_item,
    first_fault,
    open_item,
    passage_item,
    plain_number,
    sums_item,
)
from linguamap.languages import get_language, language_code
from linguamap.outside import as_text, json_rows, shown
from linguamap.records import Dropped, Item, Kind, Split, UserError


class Row(BaseModel):
    """One line of a user's file.

    Attributes:
        item_id: the same for the same item in every language; a number is read as its text.
        kind: ``sums``, ``choice``, ``passage`` or ``open``; one kind a file.
        language: ISO 639-1, or any usual name of the language (``fr-FR``, ``French``).
        question: the problem, question or request.
        gold: sums: the number; choice: the letter of the right option; passage: the span, or a
            list of accepted spans; open: nothing.
        options: choice: two to 26 texts.
        passage: passage: the text that holds every gold span.
        explanation: worked reasoning in the item's language; needed for tuning.
        wrong: wrong numbers or spans for the two scenarios that offer candidates.
        subject: a name to report by.
        group: items of one group are never divided between training and test.
        split: ``test`` (default) or ``train``.
    """

    model_config = ConfigDict(extra="forbid")

    item_id: str
    kind: Kind
    language: str
    question: str
    gold: list[str] = []
    options: list[str] = []
    passage: str | None = None
    explanation: str | None = None
    wrong: list[str] = []
    subject: str | None = None
    group: str | None = None
    split: Split = "test"

    @field_validator(
        "item_id", "question", "passage", "explanation", "subject", "group", mode="before"
    )
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return as_text(value)

    @field_validator("item_id")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not value.strip() or len(value) > LONGEST_NAME:
            raise ValueError(f"must have 1 to {LONGEST_NAME} characters")
        return value

    @field_validator("gold", "wrong", "options", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        return [as_text(one) for one in (value if isinstance(value, list) else [value])]

    @field_validator("language", mode="before")
    @classmethod
    def _as_code(cls, value: Any) -> Any:
        return language_code(value) or value if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Row:
        if self.kind != "open" and not self.gold:
            raise ValueError(f"a {self.kind} item needs gold")
        if self.kind in ("sums", "choice") and len(self.gold) != 1:
            raise ValueError(f"a {self.kind} item has one gold, found {len(self.gold)}")
        if self.kind == "sums":
            for number in [*self.gold, *self.wrong]:
                if plain_number(number) is None:
                    raise ValueError(f"'{shown(number)}' is no number such as 18 or 2,125")
        if self.kind == "choice" and not 2 <= len(self.options) <= 26:
            raise ValueError(f"a choice item needs 2 to 26 options, found {len(self.options)}")
        if self.kind == "passage" and self.passage is None:
            raise ValueError("a passage item needs passage")
        return self


def own_items(path: Path, split: Split, languages: Sequence[str]) -> tuple[Kind, Sources]:
    """The items of a user's file; the benchmark is called after the file.

    Returns:
        their kind, and the readings of the asked languages and of English.
    Raises:
        UserError: a line is not as :class:`Row` says, kinds are mixed, or the split or all
            languages are not in the file.
    """
    readings: dict[str, Reading] = {}
    kinds: set[Kind] = set()
    asked: dict[tuple[Any, ...], str] = {}
    for place, values in json_rows(path):
        try:
            row = Row.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{place}: {first_fault(error)}") from None
        try:
            code = get_language(row.language).code
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        kinds.add(row.kind)
        if len(kinds) > 1:
            raise UserError(f"{place}: kinds {' and '.join(sorted(kinds))}; a file has one kind")
        if row.split == split:
            reading = readings.setdefault(code, Reading(Origin(path.stem, code, split)))
            item = _item(reading.origin, row, place)
            if isinstance(item, Item):
                content = (code, item.question, item.passage, item.options)
                first = asked.setdefault(content, item.item_id)
                if first != item.item_id:
                    reason = f"its question is that of another item: {first}"
                    item = Dropped(code, item.item_id, reason)
            reading.add(item, place)
    if not readings:
        raise UserError(
            f'{path} has no {split} items; mark them with "split": "{split}" (default: test)'
        )
    wanted, missing = wanted_languages(str(path), languages, readings)
    missing = dict.fromkeys(missing, "no items in the file")
    return kinds.pop(), Sources({code: readings[code] for code in wanted}, str(path), missing)


def _item(origin: Origin, row: Row, place: str) -> Item | Dropped:
    if row.kind == "sums":
        return sums_item(
            origin, row.item_id, row.question, row.gold[0], place, row.explanation, row.wrong,
            row.group,
        )  # fmt: skip
    if row.kind == "choice":
        return choice_item(
            origin, row.item_id, row.question, row.options, row.gold[0], row.subject,
            row.explanation, row.group,
        )  # fmt: skip
    if row.kind == "passage":
        answers: list[tuple[str, int | None]] = [(text, None) for text in row.gold]
        return passage_item(
            origin, row.item_id, row.question, row.passage or "", answers, row.subject,
            row.explanation, row.wrong, row.group,
        )  # fmt: skip
    return open_item(origin, row.item_id, row.question, row.subject, row.explanation, row.group)
