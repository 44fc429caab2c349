"""Official files -> items aligned by id, in every language that a run asks for.

=============  =====================================================================================
name           items
=============  =====================================================================================
sums           worked sums written for this project (MGSM's format)
choice         four-option questions written for this project (MMLU's format)
passage        questions about passages, written for this project (XQuAD's format)
mgsm           MGSM; training items are its eight exemplars
mmlu           MMLU from the translations that fit the languages, or ``mmlu:global_mmlu_lite``,
               ``mmlu:global_mmlu``, ``mmlu:mmmlu``, ``mmlu:mmlu``; training items are ``dev``
xquad          XQuAD; no training items
lcb            prompts of the Language Confusion Benchmark, or ``lcb:monolingual``,
               ``lcb:crosslingual``; no training items
*file*.jsonl   a user's own items (:class:`linguamap.benchmarks.own.Row`)
=============  =====================================================================================
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from linguamap import seeding
from linguamap.benchmarks.align import Sources, align, describe_use, wanted_languages
from linguamap.benchmarks.mmlu import CATEGORIES, SUBJECTS, load_mmlu, select_subjects
from linguamap.benchmarks.mmlu_files import (
    FAMILIES,
    hub_families,
    local_families,
    starter_choice,
)
from linguamap.benchmarks.own import own_items
from linguamap.benchmarks.passages import hub_xquad, local_xquad, starter_passage
from linguamap.benchmarks.rows import Origin, Reading, open_item
from linguamap.benchmarks.sums import hub_mgsm, local_mgsm, starter_sums
from linguamap.languages import LANGUAGES, get_language
from linguamap.outside import csv_table, nearest, shown
from linguamap.records import Benchmark, Item, Kind, Split, UserError

__all__ = [
    "CATEGORIES",
    "REAL",
    "STARTER",
    "SUBJECTS",
    "describe_use",
    "load_benchmark",
    "select_subjects",
    "starter_benchmarks",
]

STARTER: dict[str, Kind] = {"sums": "sums", "choice": "choice", "passage": "passage"}
"""The package's own items; they need no folder and no network."""

REAL: dict[str, Kind] = {"mgsm": "sums", "mmlu": "choice", "xquad": "passage", "lcb": "open"}
"""Benchmarks that are read from a folder or from the hub."""

LCB_TASKS = ("monolingual", "crosslingual")


def load_benchmark(
    name: str,
    languages: Sequence[str],
    split: Split,
    folder: Path | None = None,
    revision: Mapping[str, str] | str | None = None,
    subjects: Sequence[str] | None = None,
    halves: bool = False,
) -> Benchmark:
    """The items of one benchmark, the same ids in every language.

    Languages that the benchmark lacks are left out and named in ``missing_languages``; English is
    read too, into ``english``, for the scenarios that offer English answers.

    Args:
        name: see the table above.
        languages: ISO 639-1 codes.
        folder: a folder of benchmark folders, or of one format; None reads from the hub.
        revision: of the hub's data sets: one for all, or one for each by its name in
            :data:`linguamap.benchmarks.hub.REPOSITORIES`.
        subjects: subjects or categories of MMLU; other benchmarks have none.
        halves: divide the test items of a real benchmark, by group and id and so alike in
            every language and run: half become training items (beside the official ones), and are
            then no test items.
    Raises:
        UserError: an unknown name, language or subject; a missing, broken or misaligned file; no
            row is left.
    """
    for code in languages:
        get_language(code)
    check_name(name)
    if name.endswith(".jsonl"):
        kind, sources = own_items(Path(name), split, languages)
        benchmark = align(Path(name).stem, kind, split, languages, sources)
    elif name in STARTER:
        benchmark = align(name, STARTER[name], split, languages, _starter(name, split, languages))
    elif halves:
        benchmark = _half(name, languages, split, folder, revision, subjects)
    else:
        benchmark = _real(name, languages, split, folder, revision, subjects)
    if not all(benchmark.items.values()):
        raise UserError(f"{name}: no row is left to use. {describe_use(benchmark)}")
    return benchmark


def starter_benchmarks() -> list[Benchmark]:
    """The package's own items, both splits, in all of their languages."""
    splits: tuple[Split, ...] = ("train", "test")
    return [load_benchmark(name, list(LANGUAGES), split) for name in STARTER for split in splits]


def _starter(name: str, split: Split, languages: Sequence[str]) -> Sources:
    load = {"sums": starter_sums, "choice": starter_choice, "passage": starter_passage}[name]
    folder = Path(str(resources.files("linguamap"))) / "data" / "starter"
    return load(folder, split, languages)


def _real(
    name: str,
    languages: Sequence[str],
    split: Split,
    folder: Path | None,
    revision: Mapping[str, str] | str | None,
    subjects: Sequence[str] | None,
) -> Benchmark:
    if folder is not None and not folder.is_dir():
        raise UserError(f"benchmarks: the folder {folder} does not exist")
    base, _, variant = name.partition(":")
    if split == "train" and base in ("xquad", "lcb"):
        raise UserError(
            f"{name} has no training items; use half of its test items (halves), or take the "
            f"training items from another benchmark: {', '.join(STARTER)}, mgsm, mmlu"
        )
    if base == "mmlu":
        selected = select_subjects(subjects)
        if folder is None:
            families = hub_families(name, split, selected, revision)
        else:
            families = local_families(folder, name, split, selected)
        if variant:
            families = [family for family in families if family.name == variant]
        return load_mmlu(name, split, languages, families)
    if base == "lcb":
        if folder is None:
            raise UserError(
                f"{name} is not read from the hub; give a folder of the project "
                "for-ai/language-confusion with --data"
            )
        sources = _language_confusion(name, folder, languages)
    elif folder is None:
        if base == "mgsm":
            sources = hub_mgsm(split, languages, revision)
        else:
            sources = hub_xquad(languages, revision)
    elif base == "mgsm":
        sources = local_mgsm(folder, split, languages)
    else:
        sources = local_xquad(folder, languages)
    benchmark = align(name, REAL[base], split, languages, sources)
    return dataclasses.replace(benchmark, bare=base == "lcb")


def _language_confusion(name: str, folder: Path, languages: Sequence[str]) -> Sources:
    """The prompts of one task of the Language Confusion Benchmark (``lcb:monolingual``) or of both."""
    for root in (folder / "language_confusion" / "test_sets", folder / "test_sets", folder):
        files = [path for task in LCB_TASKS for path in sorted(root.glob(f"{task}/*/*.csv"))]
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
            _read_requests(path, readings[path.stem])
    return Sources(readings, str(root), missing, aligned=task == "crosslingual")


def _read_requests(path: Path, reading: Reading) -> None:
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


def _half(
    name: str,
    languages: Sequence[str],
    split: Split,
    folder: Path | None,
    revision: Mapping[str, str] | str | None,
    subjects: Sequence[str] | None,
) -> Benchmark:
    """The training or the test half of a real benchmark's test items."""
    whole = _real(name, languages, "test", folder, revision, subjects)

    def chosen(items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(
            dataclasses.replace(item, split=split)
            for item in items
            if (seeding.number("half", item.group or item.item_id) % 2 == 0) == (split == "train")
        )

    half = dataclasses.replace(
        whole,
        split=split,
        items={code: chosen(items) for code, items in whole.items.items()},
        english=chosen(whole.english),
        source=f"{whole.source} ({split} half of the test items)",
    )
    if split == "train" and name == "mgsm":
        return _with_exemplars(half, _real(name, languages, "train", folder, revision, subjects))
    return half


def _with_exemplars(half: Benchmark, exemplars: Benchmark) -> Benchmark:
    return dataclasses.replace(
        half,
        items={code: exemplars.items[code] + items for code, items in half.items.items()},
        english=exemplars.english + half.english,
        source=f"{half.source} and exemplars",
    )


def check_name(name: str) -> None:
    """Refuse a benchmark that there is not, or a .jsonl file that does not exist."""
    base = name.partition(":")[0]
    variants: tuple[str, ...] = ()
    if base == "mmlu":
        variants = FAMILIES
    elif base == "lcb":
        variants = LCB_TASKS
    if name.endswith(".jsonl"):
        if not Path(name).is_file():
            raise UserError(f"benchmarks: the file {name} does not exist{nearest(Path(name))}")
        return
    known = [*STARTER, *REAL, *(f"{base}:{one}" for one in variants)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"benchmarks: '{name}' is unknown;{hint} Known: {', '.join(known)}, or a .jsonl file"
        )
