"""The prompts of the Language Confusion Benchmark (for-ai/language-confusion)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linguamap.benchmarks.align import Sources, wanted_languages
from linguamap.benchmarks.rows import Origin, Reading, open_item
from linguamap.outside import csv_table, shown
from linguamap.records import UserError

TASKS = ("monolingual", "crosslingual")


def local_language_confusion(name: str, folder: Path, languages: Sequence[str]) -> Sources:
    """The prompts of one task (``lcb:monolingual``) or of both (``lcb``)."""
    for root in (folder / "language_confusion" / "test_sets", folder / "test_sets", folder):
        files = [path for task in TASKS for path in sorted(root.glob(f"{task}/*/*.csv"))]
        if files:
            break
    else:
        raise UserError(f"{folder} has no Language Confusion files (test_sets/*/*/*.csv)")
    task = name.partition(":")[2]
    files = [path for path in files if task in ("", path.parts[-3])]
    chosen, missing = wanted_languages(name, languages, {path.stem for path in files})
    readings = {code: Reading(Origin(name, code, "test")) for code in chosen if code in languages}
    for path in files:
        if path.stem in readings:
            _read(path, readings[path.stem])
    return Sources(readings, str(root), missing, aligned=task == "crosslingual")


def _read(path: Path, reading: Reading) -> None:
    """Add one prompt file.

    Crosslingual row *i* is the same request in each language's file; monolingual files have
    requests of their own, so their ids carry the language.

    Raises:
        UserError: there is no ``prompt`` column, or ``language`` is not the file's.
    """
    code, subject = reading.origin.language, f"{path.parts[-3]}/{path.parts[-2]}"
    stem = subject if path.parts[-3] == "crosslingual" else f"{subject}/{code}"
    for number, (place, row) in enumerate(csv_table(path, ("prompt", "language"))):
        if row["language"] != code:
            raise UserError(f"{place}: the language is '{shown(row['language'])}', not '{code}'")
        item = open_item(reading.origin, f"{stem}/{number:03d}", row["prompt"], subject)
        reading.add(item, place)
