"""Questions about passages in XQuAD's format: the package's own, XQuAD's files and its rows on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from linguamap.benchmarks.align import Sources, benchmark_root, wanted_languages
from linguamap.benchmarks.hub import (
    REPOSITORIES,
    Revisions,
    configurations,
    hub_description,
    hub_rows,
)
from linguamap.benchmarks.rows import (
    Origin,
    Reading,
    first_fault,
    passage_item,
    require,
    row_name,
)
from linguamap.outside import read_json, shown
from linguamap.records import Split, UserError


def starter_passage(folder: Path, split: Split, languages: Sequence[str]) -> Sources:
    """Questions about short passages, written for this project."""
    return _from_files("passage", folder / "passage" / split, "starter items", split, languages)


def local_xquad(folder: Path, languages: Sequence[str]) -> Sources:
    """XQuAD's JSON files."""
    root = benchmark_root(folder, "xquad", "xquad.*.json")
    return _from_files("xquad", root, str(root), "test", languages)


def _from_files(
    name: str, root: Path, description: str, split: Split, languages: Sequence[str]
) -> Sources:
    paths = {path.name.split(".")[1]: path for path in sorted(root.glob("xquad.*.json"))}
    chosen, missing = wanted_languages(name, languages, paths)
    readings = {code: read_squad(paths[code], Origin(name, code, split)) for code in chosen}
    return Sources(readings, description, missing)


def hub_xquad(languages: Sequence[str], revision: Revisions) -> Sources:
    """``google/xquad``: configurations ``xquad.en`` ..., one split called ``validation``."""
    names = {name.removeprefix("xquad."): name for name in configurations("xquad", revision)}
    chosen, missing = wanted_languages("xquad", languages, names, REPOSITORIES["xquad"])
    readings = {}
    for code in chosen:
        reading = readings[code] = Reading(Origin("xquad", code, "test"))
        passages: dict[object, int] = {}
        for place, row in hub_rows("xquad", names[code], "validation", revision):
            require(place, row, ("id", "question", "context", "answers"))
            number = passages.setdefault(str(row["context"]), len(passages))
            item = passage_item(
                reading.origin,
                row_name(row["id"], place),
                row["question"],
                row["context"],
                _answers(row["answers"], place),
                group=f"paragraph-{number:03d}",
            )
            reading.add(item, place)
    return Sources(readings, hub_description("xquad", revision), missing)


def _answers(cell: Any, place: str) -> list[tuple[object, object]]:
    """(text, start) pairs of the hub's two lists."""
    try:
        return list(zip(cell["text"], cell["answer_start"], strict=True))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{place}: answers are not lists text and answer_start of one length: {shown(cell)}"
        ) from None


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
                item_id = row_name(question.id, f"{path} article {number} paragraph {index}")
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
