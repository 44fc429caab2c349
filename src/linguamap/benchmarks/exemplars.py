"""MGSM's eight worked examples, the only training items that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from linguamap.benchmarks.rows import Origin, Reading, sums_item
from linguamap.languages import LANGUAGES
from linguamap.outside import as_text, read_json
from linguamap.records import UserError

_LABEL = re.compile(r"^[^:：]{1,40}[:：]\s*")
"""``Question:``, ``Step-by-Step Answer:`` and the like, in each language, at the start."""


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
        readings = {
            code: exemplar_rows(
                Origin("mgsm", code, "train"),
                [(rows[str(n)]["q"], rows[str(n)]["a"]) for n in range(1, len(results) + 1)],
                results,
                str(path),
            )
            for code, rows in table["MGSM_EXEMPLARS"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not MGSM's exemplars as JSON: {error!r}") from None
    return readings


def exemplar_rows(
    origin: Origin, rows: list[tuple[Any, Any]], results: list[str], place: str
) -> Reading:
    """Items out of (question, worked answer) pairs that carry labels."""
    reading = Reading(origin)
    for number, ((question, answer), result) in enumerate(zip(rows, results, strict=True), 1):
        item = sums_item(
            origin,
            f"mgsm-train-{number:03d}",
            _LABEL.sub("", _text(question)),
            result,
            f"{place} example {number}",
            without_closing(_LABEL.sub("", _text(answer)), result, origin.language),
        )
        reading.add(item, f"{place} example {number}")
    return reading


def _text(cell: object) -> str:
    try:
        return as_text(cell) or ""
    except ValueError as error:
        raise UserError(f"mgsm: a text of its exemplars is {error}") from None


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
    found = re.search(rf"(?:{closing})[^\w]*{re.escape(result)}(?!\d)", answer, re.IGNORECASE)
    return answer[: found.start()].strip() or None if found else None
