"""Readers of the official file formats; each returns one language's :class:`Reading`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from linguamap.benchmarks.rows import (
    Origin,
    Reading,
    choice_item,
    open_item,
    passage_item,
    row_name,
    sums_item,
)
from linguamap.outside import csv_rows, csv_table, json_rows, lines, parquet_rows, read_json, shown
from linguamap.records import Dropped, UserError

MMLU_COLUMNS = ("Question", "A", "B", "C", "D", "Answer", "Subject")


def read_mgsm(path: Path, origin: Origin, template_size: int | None = None) -> Reading:
    """MGSM's TSV: question, result, and in our own files the worked reasoning; no quoting.

    Args:
        template_size: this many consecutive lines are one template, and so one group.
    Raises:
        UserError: a line without tab, with too many, or whose result is no number.
    """
    reading = Reading(origin)
    for number, line in lines(path):
        place = f"{path} line {number}"
        question, *rest = line.split("\t")
        if len(rest) not in (1, 2):
            raise UserError(
                f"{place}: found {len(rest)} tabs; a line is question, tab, result, and "
                "optionally tab, worked reasoning"
            )
        group = None
        if template_size is not None:
            group = f"{origin.split}-template-{(number - 1) // template_size + 1:02d}"
        item_id = f"{origin.benchmark}-{origin.split}-{number:03d}"
        explanation = rest[1] if len(rest) == 2 else None
        item = sums_item(origin, item_id, question, rest[0], place, explanation, group=group)
        reading.add(item, place)
    return reading


class _Answer(BaseModel):
    text: Any
    answer_start: int


class _Question(BaseModel):
    id: Any
    question: Any
    answers: list[_Answer]
    plausible_answers: list[_Answer] = []
    explanation: Any = None


class _Paragraph(BaseModel):
    context: Any
    qas: list[_Question]


class _Article(BaseModel):
    title: Any = ""
    paragraphs: list[_Paragraph]


class _Squad(BaseModel):
    data: list[_Article]


def read_squad(path: Path, origin: Origin) -> Reading:
    """SQuAD JSON, as XQuAD has it; a paragraph is a group.

    Our own files add ``explanation``, and ``plausible_answers`` (as in SQuAD 2.0) for wrong spans.

    Raises:
        UserError: no JSON, or a key is missing; the message names the key's path.
    """
    try:
        file = _Squad.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is not SQuAD JSON: {first_fault(error)}") from None
    reading = Reading(origin)
    for number, article in enumerate(file.data):
        for index, paragraph in enumerate(article.paragraphs):
            for question in paragraph.qas:
                place = f"{path} article {number} paragraph {index}"
                item_id = row_name(question.id, place)
                item = passage_item(
                    origin,
                    item_id,
                    question.question,
                    paragraph.context,
                    [(answer.text, answer.answer_start) for answer in question.answers],
                    subject=row_name(article.title, "") or None,
                    explanation=question.explanation,
                    wrong=[answer.text for answer in question.plausible_answers],
                    group=f"article-{number:02d}-paragraph-{index:02d}",
                )
                reading.add(item, f"{path} question {item_id}")
    return reading


def read_hendrycks(folder: Path, origin: Origin, part: str, subjects: Collection[str]) -> Reading:
    """Hendrycks' CSV files ``{subject}_{part}.csv``: question, options, answer letter, no header.

    Our own files add a seventh column, the explanation. The id is ``subject/part/row``.

    Args:
        folder: the language's folder of this part.
        part: ``test``, ``dev``, ``val`` or ``train``.
        subjects: the subjects to read.
    Raises:
        UserError: a row has not six or seven columns.
    """
    reading = Reading(origin)
    for path in sorted(folder.glob(f"*_{part}*.csv")):
        subject = subject_name(path.name)
        if subject not in subjects:
            continue
        for row, (line, cells) in enumerate(csv_rows(path)):
            place = f"{path} line {line}"
            if len(cells) not in (6, 7):
                raise UserError(
                    f"{place}: found {len(cells)} columns; a row is question, four options, "
                    "answer letter, and optionally an explanation"
                )
            item_id = f"{subject}/{part}/{row}"
            explanation = cells[6] if len(cells) == 7 else None
            item = choice_item(
                origin, item_id, cells[0], cells[1:5], cells[5], subject, explanation
            )
            reading.add(item, place)
    return reading


def read_mmmlu(path: Path, origin: Origin, subjects: Collection[str]) -> Reading:
    """OpenAI's MMMLU CSV; its first, unnamed column is the row's number within the subject.

    Raises:
        UserError: a column is missing.
    """
    return mmmlu_rows(csv_table(path, MMLU_COLUMNS), origin, subjects)


def mmmlu_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], origin: Origin, subjects: Collection[str]
) -> Reading:
    """MMMLU rows, each with its place; without a row number they are counted by subject.

    The library ``datasets`` reads the option "None" as a missing value; such rows are dropped.
    """
    reading = Reading(origin)
    counts: dict[str, int] = {}
    for place, row in rows:
        absent = [name for name in MMLU_COLUMNS if name not in row]
        if absent:
            raise UserError(f"{place}: the row has no {', '.join(absent)}")
        subject = subject_name(row["Subject"])
        if not subject:
            reading.add(Dropped(origin.language, place, "the subject is missing"), place)
            continue
        number = row.get("", row.get("Unnamed: 0"))
        if row_name(number, "") == "":
            number = counts.get(subject, 0)
        counts[subject] = counts.get(subject, 0) + 1
        if subject in subjects:
            options = [row[one] for one in "ABCD"]
            item_id = f"{subject}/{origin.split}/{row_name(number, place)}"
            item = choice_item(origin, item_id, row["Question"], options, row["Answer"], subject)
            reading.add(item, place)
    return reading


def read_global_mmlu(paths: Iterable[Path], origin: Origin, subjects: Collection[str]) -> Reading:
    """Global-MMLU(-Lite): Parquet as on the hub, or the same rows as JSON lines.

    Raises:
        UserError: no Parquet or JSON, or a column is missing.
    """
    rows = [
        row
        for path in paths
        for row in (parquet_rows(path) if path.suffix == ".parquet" else json_rows(path))
    ]
    return global_mmlu_rows(rows, origin, subjects)


def global_mmlu_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], origin: Origin, subjects: Collection[str]
) -> Reading:
    """Global-MMLU rows, each with its place."""
    reading = Reading(origin)
    names = [f"option_{letter}" for letter in "abcd"]
    for place, row in rows:
        absent = [
            name
            for name in ("sample_id", "subject", "question", "answer", *names)
            if name not in row
        ]
        if absent:
            raise UserError(f"{place}: the columns {', '.join(absent)} are missing")
        subject = subject_name(row["subject"])
        item_id = row_name(row["sample_id"], place)
        if not subject:
            reading.add(Dropped(origin.language, item_id, "the subject is missing"), place)
        elif subject in subjects:
            options = [row[name] for name in names]
            item = choice_item(origin, item_id, row["question"], options, row["answer"], subject)
            reading.add(item, place)
    return reading


def read_language_confusion(path: Path, origin: Origin, task: str, source: str) -> Reading:
    """One prompt file of the Language Confusion Benchmark.

    Crosslingual row *i* is the same request in each language's file; monolingual files have
    requests of their own, so their ids carry the language.

    Raises:
        UserError: there is no ``prompt`` column, or ``language`` is not the file's.
    """
    reading = Reading(origin)
    rows = csv_table(path, ("prompt", "language"))
    stem = f"{task}/{source}" if task == "crosslingual" else f"{task}/{source}/{origin.language}"
    for row, (place, values) in enumerate(rows):
        if values["language"] != origin.language:
            found = shown(values["language"])
            raise UserError(f"{place}: the language is '{found}', not '{origin.language}'")
        item = open_item(origin, f"{stem}/{row:03d}", values["prompt"], f"{task}/{source}")
        reading.add(item, place)
    return reading


def subject_name(cell: object) -> str:
    """The subject in ``marketing_test.csv`` or ``college_mathematics_test.csv_sw-KE.csv``; empty
    where the cell has none."""
    text = row_name(cell, "")
    for part in ("_test", "_dev", "_val", "_train"):
        text = text.partition(part)[0]
    return text.strip()


def first_fault(error: ValidationError) -> str:
    """The first fault of a pydantic validation as one line, with the path of the key."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])
