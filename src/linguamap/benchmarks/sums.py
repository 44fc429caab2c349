"""Sums in MGSM's format: the package's own, MGSM's files, its rows on the hub, its exemplars; GSM-Symbolic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from linguamap.benchmarks.align import Sources, align, benchmark_root, wanted_languages
from linguamap.benchmarks.hub import (
    REPOSITORIES,
    Revisions,
    configurations,
    hub_description,
    hub_rows,
)
from linguamap.benchmarks.rows import Origin, Reading, first_fault, require, sums_item
from linguamap.languages import LANGUAGES, get_language
from linguamap.outside import as_text, json_rows, lines, read_json
from linguamap.records import Benchmark, Split, UserError

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


# Multilingual GSM-Symbolic -----------------------------------------------------------------------

# Templated sums with step-by-step answers, for training: ``{code}/synthetic.jsonl`` as the package
# ``multilingual-gsm-symbolic`` writes them, with ``source_id`` (the template), ``variant``, ``question``,
# ``answer`` (steps, then ``#### N``), ``target``. The same (``source_id``, ``variant``) is the same problem
# in every language. What is known to be wrong with them:
#
# * the codes are ISO 639-3, and ``zho`` is traditional Chinese, which would teach a model another script
#   than MGSM's and XQuAD's ``zh``: Chinese is left out;
# * answers hold GSM8K's calculator marks (``<<20*6=120>>``), which are taken out;
# * ``original.jsonl`` is not read: units are localised there, so results differ between languages. Spanish
#   and Portuguese have no other file.

GSM_SYMBOLIC = "gsm_symbolic"

FOLDER_CODES = {
    "ar": "ara", "bn": "ben", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "hi": "hin",
    "it": "ita", "ja": "jpn", "ko": "kor", "pt": "por", "ru": "rus", "sw": "swh", "te": "tel",
    "th": "tha", "tr": "tur", "vi": "vie", "zh": "zho",
}  # fmt: skip
"""ISO 639-1 -> the folders' ISO 639-3 codes."""

TRADITIONAL = "its zho files are in traditional Chinese, the run's zh is simplified"

_MARK = re.compile(r"<<[^>]*>>")
_RESULT = re.compile(r"\n?#{4}.*\Z", re.DOTALL)
_ENDED = re.compile(r"[.!?:;,。！？：；，।॥؟؛،]\s*\Z")
_STOPS = {"zh": "。", "ja": "。", "hi": "।", "bn": "।", "th": ""}


class _SymbolicRow(BaseModel):
    model_config = ConfigDict(extra="ignore")

    source_id: int
    variant: int
    question: str
    answer: str
    target: str


def load_gsm_symbolic(folder: Path, languages: Sequence[str]) -> Benchmark:
    """The training sums, the same (template, variant) in every language; a template is a group.

    Args:
        folder: the folder of the languages' folders, or the one that holds it as ``gsm_symbolic``.
        languages: ISO 639-1 codes; those without a usable file are named in ``missing_languages``.
    Raises:
        UserError: no such files, none of the languages is there, or a broken line.
    """
    root = next(
        (path for path in (folder / GSM_SYMBOLIC, folder) if any(path.glob("???/synthetic.jsonl"))),
        None,
    )
    if root is None:
        raise UserError(
            f"tune: {folder} has no GSM-Symbolic files: neither {GSM_SYMBOLIC}/eng/synthetic.jsonl nor "
            "eng/synthetic.jsonl; set tune.data to the folder that holds them"
        )
    paths = {code: root / three / "synthetic.jsonl" for code, three in FOLDER_CODES.items()}
    there = [code for code, path in paths.items() if path.is_file() and code != "zh"]
    wanted, missing = wanted_languages(f"tune: {root}", languages, there)
    missing |= {"zh": TRADITIONAL} if "zh" in missing else {}
    readings = {
        code: _read_symbolic(paths[code], Origin(GSM_SYMBOLIC, code, "train")) for code in wanted
    }
    return align(GSM_SYMBOLIC, "sums", "train", languages, Sources(readings, str(root), missing))


def _read_symbolic(path: Path, origin: Origin) -> Reading:
    reading = Reading(origin)
    for place, values in json_rows(path):
        try:
            row = _SymbolicRow.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{place}: {first_fault(error)}") from None
        item_id = f"gsm-{row.source_id}-{row.variant}"
        steps = worked_steps(row.answer, origin.language)
        item = sums_item(
            origin, item_id, row.question, row.target, place, steps, group=f"gsm-{row.source_id}"
        )
        reading.add(item, place)
    return reading


def worked_steps(answer: str, language: str) -> str:
    """The reasoning of an answer on one line, without calculator marks and the last ``#### N``.

    Lines become sentences: in the plain layout of a base model an answer ends with its line.
    """
    text = _RESULT.sub("", _MARK.sub("", answer))
    stop = _STOPS.get(language, ".")
    lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
    blank = " " if get_language(language).segmented or not stop else ""
    return blank.join(line if _ENDED.search(line) else f"{line}{stop}" for line in lines)
