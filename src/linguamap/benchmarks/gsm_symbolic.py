"""Multilingual GSM-Symbolic: templated sums with step-by-step answers, for training.

Files ``{code}/synthetic.jsonl`` as the package ``multilingual-gsm-symbolic`` writes them: ``source_id``
(the template), ``variant``, ``question``, ``answer`` (steps, then ``#### N``), ``target``. The same
(``source_id``, ``variant``) is the same problem in every language. What is known to be wrong with them:

* the codes are ISO 639-3, and ``zho`` is traditional Chinese, which would teach a model another script
  than MGSM's and XQuAD's ``zh``: Chinese is left out;
* answers hold GSM8K's calculator marks (``<<20*6=120>>``), which are taken out;
* ``original.jsonl`` is not read: units are localised there, so results differ between languages. Spanish
  and Portuguese have no other file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from linguamap.benchmarks.align import Sources, align, wanted_languages
from linguamap.benchmarks.rows import Origin, Reading, first_fault, sums_item
from linguamap.languages import get_language
from linguamap.outside import json_rows
from linguamap.records import Benchmark, UserError

NAME = "gsm_symbolic"

CODES = {
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


class _Row(BaseModel):
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
        (path for path in (folder / NAME, folder) if any(path.glob("???/synthetic.jsonl"))), None
    )
    if root is None:
        raise UserError(
            f"tune: {folder} has no GSM-Symbolic files: neither {NAME}/eng/synthetic.jsonl nor "
            "eng/synthetic.jsonl; set tune.data to the folder that holds them"
        )
    paths = {code: root / three / "synthetic.jsonl" for code, three in CODES.items()}
    there = [code for code, path in paths.items() if path.is_file() and code != "zh"]
    wanted, missing = wanted_languages(f"tune: {root}", languages, there)
    missing |= {"zh": TRADITIONAL} if "zh" in missing else {}
    readings = {code: _read(paths[code], Origin(NAME, code, "train")) for code in wanted}
    return align(NAME, "sums", "train", languages, Sources(readings, str(root), missing))


def _read(path: Path, origin: Origin) -> Reading:
    reading = Reading(origin)
    for place, values in json_rows(path):
        try:
            row = _Row.model_validate(values)
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
