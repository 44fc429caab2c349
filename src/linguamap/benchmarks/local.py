"""Benchmarks from the package's starter items or from a local folder in the official formats."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path

from linguamap.benchmarks.align import Sources
from linguamap.benchmarks.exemplars import read_exemplars
from linguamap.benchmarks.faults import read_suspect_rows
from linguamap.benchmarks.formats import (
    read_global_mmlu,
    read_hendrycks,
    read_language_confusion,
    read_mgsm,
    read_mmmlu,
    read_squad,
)
from linguamap.benchmarks.mmlu import FAMILIES, Family
from linguamap.benchmarks.rows import Origin, Reading
from linguamap.languages import LANGUAGES
from linguamap.records import Split, UserError

STARTER_TEMPLATE_SIZE = 4
"""Consecutive training sums made from one template."""


def starter_sums(split: Split, languages: Sequence[str]) -> Sources:
    """Worked sums, written for this project."""
    folder = _starter() / "sums" / split
    size = STARTER_TEMPLATE_SIZE if split == "train" else None
    paths = {path.stem[5:]: path for path in folder.glob("mgsm_*.tsv")}
    readings = {
        code: read_mgsm(paths[code], Origin("sums", code, split), size)
        for code in _wanted("sums", languages, paths)
    }
    return Sources(readings, "starter items", _absent(languages, paths), by_line=True)


def starter_choice(split: Split, languages: Sequence[str]) -> Sources:
    """Four-option questions of general knowledge, written for this project."""
    paths = {path.name: path / split for path in (_starter() / "choice").iterdir()}
    readings = {
        code: read_hendrycks(
            paths[code], Origin("choice", code, split), split, ["general_knowledge"]
        )
        for code in _wanted("choice", languages, paths)
    }
    return Sources(readings, "starter items", _absent(languages, paths), by_line=True)


def starter_passage(split: Split, languages: Sequence[str]) -> Sources:
    """Questions about short passages, written for this project."""
    paths = _xquad_files(_starter() / "passage" / split)
    readings = {
        code: read_squad(paths[code], Origin("passage", code, split))
        for code in _wanted("passage", languages, paths)
    }
    return Sources(readings, "starter items", _absent(languages, paths))


def local_mgsm(folder: Path, split: Split, languages: Sequence[str]) -> Sources:
    """MGSM's TSV files; the training items are the eight exemplars of ``exemplars.json``."""
    root = _root(folder, "mgsm", "mgsm_*.tsv")
    if split == "train":
        readings = read_exemplars(root / "exemplars.json")
        known: Collection[str] = readings
        readings = {code: readings[code] for code in _wanted("mgsm", languages, known)}
    else:
        paths = {path.stem[5:]: path for path in root.glob("mgsm_*.tsv")}
        known = paths
        readings = {
            code: read_mgsm(paths[code], Origin("mgsm", code, split))
            for code in _wanted("mgsm", languages, known)
        }
    return Sources(readings, str(root), _absent(languages, known), by_line=True)


def local_xquad(folder: Path, languages: Sequence[str]) -> Sources:
    """XQuAD's JSON files."""
    root = _root(folder, "xquad", "xquad.*.json")
    paths = _xquad_files(root)
    readings = {
        code: read_squad(paths[code], Origin("xquad", code, "test"))
        for code in _wanted("xquad", languages, paths)
    }
    return Sources(readings, str(root), _absent(languages, paths))


def local_language_confusion(name: str, folder: Path, languages: Sequence[str]) -> Sources:
    """The prompts of the Language Confusion Benchmark, of one task or (``lcb``) of both.

    Raises:
        UserError: the task after ``lcb:`` is neither monolingual nor crosslingual.
    """
    tasks = ("monolingual", "crosslingual")
    wanted = name.partition(":")[2]
    if wanted and wanted not in tasks:
        raise UserError(f"benchmarks: '{name}' is unknown; known: lcb, lcb:{', lcb:'.join(tasks)}")
    for root in (folder / "language_confusion" / "test_sets", folder / "test_sets", folder):
        files = [path for task in tasks for path in sorted(root.glob(f"{task}/*/*.csv"))]
        if files:
            break
    else:
        raise UserError(f"{folder} has no Language Confusion files (test_sets/*/*/*.csv)")
    files = [path for path in files if not wanted or path.parts[-3] == wanted]
    known = {path.stem for path in files}
    readings: dict[str, Reading] = {}
    for path in files:
        code = path.stem
        if code in languages:
            origin = Origin(name, code, "test")
            more = read_language_confusion(path, origin, path.parts[-3], path.parts[-2])
            readings[code] = _joined(readings[code], more) if code in readings else more
    _wanted(name, languages, known)
    aligned = wanted == "crosslingual"
    return Sources(readings, str(root), _absent(languages, known), aligned=aligned)


def local_families(
    folder: Path, name: str, split: Split, subjects: Collection[str]
) -> list[Family]:
    """All MMLU families in a folder, or the one that the folder itself is.

    Raises:
        UserError: there is none.
    """
    found = {}
    for family in FAMILIES:
        for root in [path for path in _folders(folder) if _plain(path.name) == family]:
            found[family] = _family(family, root, name, split, subjects)
    if not any(one.languages for one in found.values()):
        own = _plain(folder.name)
        for family in [own] if own in FAMILIES else ["global_mmlu", "mmmlu", "mmlu"]:
            found[family] = _family(family, folder, name, split, subjects)
    families = [one for one in found.values() if one.languages]
    if not families:
        raise UserError(
            f"{folder} has no MMLU {split} files: neither {', '.join(FAMILIES)} as subfolders, nor "
            "xx/test-*.parquet, xx/test.jsonl, test/mmlu_XX-XX.csv or xx/test/*_test.csv"
        )
    return families


def _family(family: str, root: Path, name: str, split: Split, subjects: Collection[str]) -> Family:
    part = "test" if split == "test" else "dev"
    if family == "mmlu":
        return _hendrycks_family(root, name, split, part, subjects)
    if family == "mmmlu":
        files = sorted([*root.glob(f"{part}/mmlu_*.csv"), *root.glob("mmlu_*.csv")])
        named = {path.stem[5:7].lower(): path for path in files if part == "test"}
        paths = {code: [path] for code, path in named.items() if code in LANGUAGES}
    else:
        paths = {path.name: _global_files(path, part) for path in _folders(root)}
        paths = {code: files for code, files in paths.items() if files and code in LANGUAGES}

    def load(code: str) -> Reading:
        origin = Origin(name, code, split)
        if family == "mmmlu":
            return read_mmmlu(paths[code][0], origin, subjects)
        return read_global_mmlu(paths[code], origin, subjects)

    return Family(family, tuple(paths), load, str(root))


def _hendrycks_family(
    root: Path, name: str, split: Split, part: str, subjects: Collection[str]
) -> Family:
    """``root/xx/test/*_test.csv``, or the original archive's ``root/test/*_test.csv``."""
    folders = {path.name: path for path in _folders(root) if path.name in LANGUAGES}
    if (root / part).is_dir():
        folders["en"] = root
    has = {
        code: path
        for code, path in folders.items()
        if any((path / part / f"{subject}_{part}.csv").exists() for subject in subjects)
    }
    sizes: dict[str, int] = {}

    def load(code: str) -> Reading:
        reading = read_hendrycks(has[code] / part, Origin(name, code, split), part, subjects)
        suspects = has[code] / "suspect_rows.tsv"
        if suspects.exists():
            reading = reading.without(read_suspect_rows(suspects))
        if code == "en":
            sizes.update(_sizes(reading))
        for subject, rows in _sizes(reading).items():
            if rows != sizes.get(subject, rows):
                raise UserError(
                    f"{has[code] / part}: {subject} has {rows} rows, but {sizes[subject]} in "
                    "English; rows belong together by their number, so restore the missing ones"
                )
        return reading

    return Family("mmlu", tuple(has), load, str(root))


def _sizes(reading: Reading) -> dict[str, int]:
    """Rows read per subject."""
    sizes: dict[str, int] = {}
    for item_id in reading.places:
        subject = item_id.partition("/")[0]
        sizes[subject] = sizes.get(subject, 0) + 1
    return sizes


def _global_files(folder: Path, part: str) -> list[Path]:
    return sorted(folder.glob(f"{part}-*.parquet")) or sorted(folder.glob(f"{part}.jsonl"))


def _joined(one: Reading, other: Reading) -> Reading:
    return Reading(
        one.origin,
        [*one.items, *other.items],
        [*one.dropped, *other.dropped],
        {**one.places, **other.places},
        one.rows + other.rows,
    )


def _starter() -> Path:
    return Path(str(resources.files("linguamap"))) / "data" / "starter"


def _xquad_files(folder: Path) -> dict[str, Path]:
    return {path.name.split(".")[1]: path for path in sorted(folder.glob("xquad.*.json"))}


def _root(folder: Path, name: str, pattern: str) -> Path:
    """The benchmark's folder: ``folder`` or the subfolder with its name."""
    for root in (folder / name, folder):
        if any(root.glob(pattern)):
            return root
    raise UserError(f"{folder} has no {name} files: neither {name}/{pattern} nor {pattern}")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _wanted(name: str, languages: Sequence[str], known: Collection[str]) -> list[str]:
    """The languages to read: English first where there is any, then those asked for.

    Raises:
        UserError: none of those asked for is there.
    """
    if not any(code in known for code in languages):
        raise UserError(
            f"{name}: none of {', '.join(languages)} is there; it has {', '.join(sorted(known))}"
        )
    return [code for code in dict.fromkeys(["en", *languages]) if code in known]


def _absent(languages: Sequence[str], known: Collection[str]) -> dict[str, str]:
    return {code: "no file" for code in languages if code not in known}
