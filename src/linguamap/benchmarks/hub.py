"""The benchmarks' rows from the Hugging Face hub, through the library ``datasets``."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from linguamap.benchmarks.align import Sources
from linguamap.benchmarks.exemplars import exemplar_rows
from linguamap.benchmarks.formats import global_mmlu_rows, mmmlu_rows, subject_name
from linguamap.benchmarks.mmlu import FAMILIES, Family
from linguamap.benchmarks.rows import Origin, Reading, choice_item, passage_item, sums_item
from linguamap.languages import LANGUAGES
from linguamap.records import Split, UserError

REPOSITORIES = {
    "mgsm": "juletxara/mgsm",
    "xquad": "google/xquad",
    "global_mmlu_lite": "CohereLabs/Global-MMLU-Lite",
    "global_mmlu": "CohereLabs/Global-MMLU",
    "mmmlu": "openai/MMMLU",
    "mmlu": "cais/mmlu",
}

Revisions = str | Mapping[str, str] | None
"""One revision for every data set, or one for each by its name in :data:`REPOSITORIES`."""

CONVERTED = "refs/convert/parquet"
"""Branch with the hub's own Parquet copy, for data sets that are still a Python script."""


def hub_mgsm(split: Split, languages: Sequence[str], revision: Revisions) -> Sources:
    """``juletxara/mgsm``: configurations are languages; ``train`` holds the eight exemplars."""
    known = [code for code in _configurations("mgsm", revision) if code in LANGUAGES]
    readings = {}
    for code in _wanted("mgsm", languages, known):
        origin = Origin("mgsm", code, split)
        rows = _rows("mgsm", code, split, revision)
        if split == "train":
            pairs = [(row["question"], row["answer"]) for row in rows]
            results = [str(row["answer_number"]) for row in rows]
            readings[code] = exemplar_rows(origin, pairs, results, f"juletxara/mgsm {code}")
            continue
        reading = Reading(origin)
        for number, row in enumerate(rows, 1):
            place = f"juletxara/mgsm {code} row {number}"
            item_id = f"mgsm-{split}-{number:03d}"
            item = sums_item(origin, item_id, row["question"], str(row["answer_number"]), place)
            reading.add(item, place)
        readings[code] = reading
    return _sources("mgsm", readings, languages, revision, by_line=True)


def hub_xquad(languages: Sequence[str], revision: Revisions) -> Sources:
    """``google/xquad``: configurations ``xquad.en`` ..., one split called ``validation``."""
    names = {name.removeprefix("xquad."): name for name in _configurations("xquad", revision)}
    readings = {}
    for code in _wanted("xquad", languages, names):
        reading = Reading(Origin("xquad", code, "test"))
        passages: dict[str, int] = {}
        for row in _rows("xquad", names[code], "validation", revision):
            answers = row["answers"]
            number = passages.setdefault(row["context"], len(passages))
            item = passage_item(
                reading.origin,
                row["id"],
                row["question"],
                row["context"],
                list(zip(answers["text"], answers["answer_start"], strict=True)),
                group=f"paragraph-{number:03d}",
            )
            reading.add(item, f"google/xquad {code} {row['id']}")
        readings[code] = reading
    return _sources("xquad", readings, languages, revision)


def hub_families(
    name: str, split: Split, subjects: Collection[str], revision: Revisions
) -> list[Family]:
    """The MMLU families on the hub, or the one after ``mmlu:``; nothing is downloaded yet."""
    chosen = name.partition(":")[2]
    default = ("global_mmlu_lite", "mmmlu", "mmlu")
    part = "test" if split == "test" else "dev"
    families = []
    for family in FAMILIES:
        if family != chosen and (chosen or family not in default):
            continue
        if family == "mmmlu" and split != "test":
            continue
        configurations = ["all"] if family == "mmlu" else _configurations(family, revision)
        names = {"en": "all"} if family in ("mmlu", "mmmlu") else {}
        codes = {one[:2].lower(): one for one in configurations if len(one) in (2, 5)}
        names.update({code: one for code, one in codes.items() if code in LANGUAGES})
        load = _Loader(family, names, Origin(name, "", split), part, subjects, revision).load
        families.append(Family(family, tuple(names), load, REPOSITORIES[family], ranked=False))
    return families


class _Loader:
    """Reads one language of one MMLU family; MMMLU has no English file and takes the original."""

    def __init__(
        self,
        family: str,
        names: Mapping[str, str],
        origin: Origin,
        part: str,
        subjects: Collection[str],
        revision: Revisions,
    ) -> None:
        self.family = family
        self.names = names
        self.origin = origin
        self.part = part
        self.subjects = subjects
        self.revision = revision

    def load(self, code: str) -> Reading:
        family = "mmlu" if self.family == "mmmlu" and code == "en" else self.family
        origin = Origin(self.origin.benchmark, code, self.origin.split)
        rows = _rows(family, self.names[code], self.part, self.revision)
        placed = ((f"{REPOSITORIES[family]} {code} row {n}", row) for n, row in enumerate(rows))
        if family == "mmmlu":
            return mmmlu_rows(placed, origin, self.subjects)
        if family == "mmlu":
            return _cais_rows(placed, origin, self.part, self.subjects)
        return global_mmlu_rows(placed, origin, self.subjects)


def _cais_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    origin: Origin,
    part: str,
    subjects: Collection[str],
) -> Reading:
    reading = Reading(origin)
    counts: dict[str, int] = {}
    for place, row in rows:
        subject = subject_name(row["subject"])
        number = counts.get(subject, 0)
        counts[subject] = number + 1
        if subject in subjects:
            item_id = f"{subject}/{part}/{number}"
            options = row["choices"] if isinstance(row["choices"], list) else []
            item = choice_item(origin, item_id, row["question"], options, row["answer"], subject)
            reading.add(item, place)
    return reading


def _sources(
    name: str,
    readings: dict[str, Reading],
    languages: Sequence[str],
    revision: Revisions,
    by_line: bool = False,
) -> Sources:
    at = revision_of(name, revision)
    description = REPOSITORIES[name] + (f" at {at}" if at else "")
    missing = {code: "not on the hub" for code in languages if code not in readings}
    return Sources(readings, description, missing, by_line=by_line)


def _wanted(name: str, languages: Sequence[str], known: Collection[str]) -> list[str]:
    if not any(code in known for code in languages):
        raise UserError(
            f"{name}: none of {', '.join(languages)} is in {REPOSITORIES[name]}, which has "
            f"{', '.join(sorted(known))}"
        )
    return [code for code in dict.fromkeys(["en", *languages]) if code in known]


def revision_of(name: str, revisions: Revisions) -> str | None:
    """The revision of one data set.

    Raises:
        UserError: a revision is given for a data set that there is not.
    """
    if revisions is None or isinstance(revisions, str):
        return revisions
    if unknown := sorted(set(revisions) - set(REPOSITORIES)):
        raise UserError(
            f"data.revision: no data set is called {', '.join(unknown)}; there are "
            f"{', '.join(REPOSITORIES)}"
        )
    return revisions.get(name)


def _configurations(name: str, revisions: Revisions) -> list[str]:
    datasets = _library()
    revision = revision_of(name, revisions)
    try:
        found: list[str] = datasets.get_dataset_config_names(REPOSITORIES[name], revision=revision)
    except (OSError, ValueError, RuntimeError) as error:
        if revision is None and "scripts are no longer supported" in str(error):
            return _configurations(name, CONVERTED)
        raise _refused(name, error) from None
    return found


def _rows(
    name: str, configuration: str, split: str, revisions: Revisions
) -> list[Mapping[str, Any]]:
    datasets = _library()
    revision = revision_of(name, revisions)
    repository = REPOSITORIES[name]
    try:
        try:
            found = datasets.load_dataset(repository, configuration, split=split, revision=revision)
        except RuntimeError as error:
            if revision is not None or "scripts are no longer supported" not in str(error):
                raise
            found = datasets.load_dataset(
                repository, data_dir=configuration, split=split, revision=CONVERTED
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _refused(name, error) from None
    return list(found)


def _refused(name: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(
        f"{name}: {REPOSITORIES[name]} cannot be read from the hub ({reason}); check the network "
        "and the revision, or give a local folder with --data"
    )


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            "benchmarks from the hub need the package datasets: pip install 'linguamap[hub]', "
            "or give a local folder with --data"
        ) from None
