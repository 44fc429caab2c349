"""Sums in MGSM's format: the package's own, MGSM's files, its rows on the hub and its exemplars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from linguamap.benchmarks.align import Sources, benchmark_root, wanted_languages
from linguamap.benchmarks.hub import (
    REPOSITORIES,
    Revisions,
    configurations,
    hub_description,
    hub_rows,
)
from linguamap.benchmarks.rows import Origin, Reading, require, sums_item
from linguamap.languages import LANGUAGES
from linguamap.outside import as_text, lines, read_json
from linguamap.records import Split, UserError

STARTER_TEMPLATE_SIZE = 4
"""Consecutive training sums made from one template."""

_LABEL = re.compile(r"^[^:：]{1,40}[:：]\s*")
"""``Question:``, ``Step-by-Step Answer:`` and the like, in each language, at the start."""


def starter_sums(folder: Path, split: Split, languages: Sequence[str]) -> Sources:
    """Worked sums, written for this project."""
    size = STARTER_TEMPLATE_SIZE if split == "train" else None
    return _from_files("sums", folder / "sums" / split, "starter items", split, languages, size)


def local_mgsm(folder: Path, split: Split, languages: Sequence[str]) -> Sources:
    """MGSM's TSV files; the training items are the eight exemplars of ``exemplars.json``."""
    root = benchmark_root(folder, "mgsm", "mgsm_*.tsv")
    if split == "test":
        return _from_files("mgsm", root, str(root), split, languages)
    readings = read_exemplars(root / "exemplars.json")
    chosen, missing = wanted_languages("mgsm", languages, readings)
    return Sources({code: readings[code] for code in chosen}, str(root), missing, by_line=True)


def _from_files(
    name: str,
    root: Path,
    description: str,
    split: Split,
    languages: Sequence[str],
    size: int | None = None,
) -> Sources:
    paths = {path.stem[5:]: path for path in root.glob("mgsm_*.tsv")}
    chosen, missing = wanted_languages(name, languages, paths)
    readings = {code: read_mgsm(paths[code], Origin(name, code, split), size) for code in chosen}
    return Sources(readings, description, missing, by_line=True)


def hub_mgsm(split: Split, languages: Sequence[str], revision: Revisions) -> Sources:
    """``juletxara/mgsm``: configurations are languages; ``train`` holds the eight exemplars."""
    known = [code for code in configurations("mgsm", revision) if code in LANGUAGES]
    chosen, missing = wanted_languages("mgsm", languages, known, REPOSITORIES["mgsm"])
    readings = {}
    for code in chosen:
        origin = Origin("mgsm", code, split)
        rows = hub_rows("mgsm", code, split, revision)
        for place, row in rows:
            require(place, row, ("question", "answer_number", *["answer"] * (split == "train")))
        if split == "train":
            readings[code] = _exemplars(
                origin,
                ((p, row["question"], row["answer"], str(row["answer_number"])) for p, row in rows),
            )
            continue
        readings[code] = Reading(origin)
        for number, (place, row) in enumerate(rows, 1):
            item_id = f"mgsm-{split}-{number:03d}"
            item = sums_item(origin, item_id, row["question"], str(row["answer_number"]), place)
            readings[code].add(item, place)
    return Sources(readings, hub_description("mgsm", revision), missing, by_line=True)


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


def read_exemplars(path: Path) -> dict[str, Reading]:
    """``exemplars.json``: the literals of the upstream's ``exemplars.py``.

    Returns:
        language -> its eight items, labels and closing sentences taken off.
    Raises:
        UserError: the file is missing, no JSON, or of another form.
    """
    if not path.exists():
        raise UserError(f"mgsm: training items need {path}, which does not exist")
    try:
        table = read_json(path)
        results = [str(result) for result in table["EXEMPLAR_NUMBER_ANSWERS"]]
        return {
            code: _exemplars(
                Origin("mgsm", code, "train"),
                [
                    (f"{path} example {n}", rows[str(n)]["q"], rows[str(n)]["a"], result)
                    for n, result in enumerate(results, 1)
                ],
            )
            for code, rows in table["MGSM_EXEMPLARS"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not MGSM's exemplars as JSON: {error!r}") from None


def _exemplars(origin: Origin, rows: Iterable[tuple[str, Any, Any, str]]) -> Reading:
    """Items out of (place, question, worked answer, result), whose texts carry labels."""
    reading = Reading(origin)
    for number, (place, *labelled, result) in enumerate(rows, 1):
        try:
            question, answer = (_LABEL.sub("", as_text(cell) or "") for cell in labelled)
        except ValueError as error:
            raise UserError(f"mgsm: a text of its exemplars is {error}") from None
        steps = without_closing(answer, result, origin.language)
        item_id = f"mgsm-train-{number:03d}"
        reading.add(sums_item(origin, item_id, question, result, place, steps), place)
    return reading


def without_closing(answer: str, result: str, language: str) -> str | None:
    """The reasoning without the last "The answer is N."; None if that is not found.

    The sentence begins at the language's word for "answer" or one of its answer cues, and goes on
    with the result.
    """
    if language not in LANGUAGES:
        return None
    known = LANGUAGES[language]
    cues = (*known.answer_cues, known.texts.label_answer.rstrip(":： "))
    closing = "|".join(re.escape(cue) for cue in cues)
    match = re.search(rf"(?:{closing})[^\w]*{re.escape(result)}(?!\d)", answer, re.IGNORECASE)
    return answer[: match.start()].strip() or None if match else None
