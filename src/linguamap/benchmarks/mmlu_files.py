"""The files and hub data sets of MMLU and its translations; each gives one language's reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from linguamap.benchmarks.align import Sources, find_faults, read_suspect_rows, wanted_languages
from linguamap.benchmarks.hub import REPOSITORIES, Revisions, configurations, hub_rows
from linguamap.benchmarks.rows import (
    Origin,
    PlacedRow,
    Reading,
    choice_item,
    require,
    row_name,
)
from linguamap.languages import LANGUAGES
from linguamap.outside import csv_rows, csv_table, json_rows, parquet_rows
from linguamap.records import Dropped, Split, UserError

MMLU_COLUMNS = ("Question", "A", "B", "C", "D", "Answer", "Subject")
GLOBAL_COLUMNS = (
    "sample_id", "subject", "question", "answer", "option_a", "option_b", "option_c", "option_d",
)  # fmt: skip

FAMILIES = ("global_mmlu_lite", "global_mmlu", "mmmlu", "mmlu")
"""Names of the families, the best translated first."""


@dataclass
class Family:
    """One translation of MMLU.

    Attributes:
        languages: those that it has.
        load: reads one of its languages.
        ranked: reading is cheap, so that choices may be compared by what they leave.
        place: folder or hub name.
    """

    name: str
    languages: tuple[str, ...]
    load: Callable[[str], Reading]
    place: str
    ranked: bool = True
    _read: dict[str, Reading] = field(default_factory=dict)

    def read(self, language: str) -> Reading:
        """One language's rows without the faulty ones; read once."""
        if language not in self._read:
            original = language == "en" or "en" not in self.languages
            english = None if original else self.read("en")
            reading = self.load(language)
            faults = find_faults(reading, english, self.name)
            self._read[language] = reading.without(faults)
        return self._read[language]


def starter_choice(folder: Path, split: Split, languages: Sequence[str]) -> Sources:
    """Four-option questions of general knowledge, written for this project."""
    paths = {path.name: path / split for path in (folder / "choice").iterdir()}
    chosen, missing = wanted_languages("choice", languages, paths)
    readings = {
        code: read_hendrycks(
            paths[code], Origin("choice", code, split), split, ["general_knowledge"]
        )
        for code in chosen
    }
    return Sources(readings, "starter items", missing, by_line=True)


def hub_families(
    name: str, split: Split, subjects: Collection[str], revision: Revisions
) -> list[Family]:
    """The MMLU families on the hub, or the one after ``mmlu:``; nothing is downloaded yet."""
    variant = name.partition(":")[2]
    families = []
    for family in [variant] if variant else ["global_mmlu_lite", "mmmlu", "mmlu"]:
        if family == "mmmlu" and split != "test":
            continue
        names = {"en": "all"} if family in ("mmlu", "mmmlu") else {}
        if family != "mmlu":
            coded = [one for one in configurations(family, revision) if len(one) in (2, 5)]
            names |= {code: one for one in coded if (code := one[:2].lower()) in LANGUAGES}

        def load(code: str, family: str = family, names: dict[str, str] = names) -> Reading:
            origin, part = Origin(name, code, split), "test" if split == "test" else "dev"
            if family == "mmmlu" and code != "en":
                return mmmlu_rows(hub_rows(family, names[code], part, revision), origin, subjects)
            if family in ("mmlu", "mmmlu"):  # MMMLU has no English file and takes the original
                rows = hub_rows("mmlu", names[code], part, revision)
                return _original_rows(rows, origin, part, subjects)
            rows = hub_rows(family, names[code], part, revision)
            return global_mmlu_rows(rows, origin, subjects)

        families.append(Family(family, tuple(names), load, REPOSITORIES[family], ranked=False))
    return families


def local_families(
    folder: Path, name: str, split: Split, subjects: Collection[str]
) -> list[Family]:
    """All MMLU families in a folder, or the one that the folder itself is.

    Raises:
        UserError: there is none.
    """
    by_name = {_plain(path.name): path for path in _folders(folder)}
    families = {
        family: _family(family, by_name[family], name, split, subjects)
        for family in FAMILIES
        if family in by_name
    }
    if not any(family.languages for family in families.values()):
        whole = _plain(folder.name)
        for family in [whole] if whole in FAMILIES else ["global_mmlu", "mmmlu", "mmlu"]:
            families[family] = _family(family, folder, name, split, subjects)
    usable = [family for family in families.values() if family.languages]
    if not usable:
        raise UserError(
            f"{folder} has no MMLU {split} files: neither {', '.join(FAMILIES)} as subfolders, nor "
            "xx/test-*.parquet, xx/test.jsonl, test/mmlu_XX-XX.csv or xx/test/*_test.csv"
        )
    return usable


def _family(family: str, root: Path, name: str, split: Split, subjects: Collection[str]) -> Family:
    part = "test" if split == "test" else "dev"
    if family == "mmlu":
        return _hendrycks_family(root, name, split, part, subjects)
    if family == "mmmlu":
        files = sorted([*root.glob(f"{part}/mmlu_*.csv"), *root.glob("mmlu_*.csv")])
        paths = {path.stem[5:7].lower(): [path] for path in files if part == "test"}
    else:
        paths = {
            path.name: sorted(path.glob(f"{part}-*.parquet")) or sorted(path.glob(f"{part}.jsonl"))
            for path in _folders(root)
        }

    def load(code: str) -> Reading:
        origin = Origin(name, code, split)
        if family == "mmmlu":
            return mmmlu_rows(csv_table(paths[code][0], MMLU_COLUMNS), origin, subjects)
        placed = [
            row
            for path in paths[code]
            for row in (parquet_rows(path) if path.suffix == ".parquet" else json_rows(path))
        ]
        return global_mmlu_rows(placed, origin, subjects)

    known = tuple(code for code, files in paths.items() if files and code in LANGUAGES)
    return Family(family, known, load, str(root))


def _hendrycks_family(
    root: Path, name: str, split: Split, part: str, subjects: Collection[str]
) -> Family:
    """``root/xx/test/*_test.csv``, or the original archive's ``root/test/*_test.csv``."""
    folders = {path.name: path for path in _folders(root) if path.name in LANGUAGES}
    if (root / part).is_dir():
        folders["en"] = root
    having = {
        code: path
        for code, path in folders.items()
        if any((path / part / f"{subject}_{part}.csv").exists() for subject in subjects)
    }
    sizes: Counter[str] = Counter()

    def load(code: str) -> Reading:
        reading = read_hendrycks(having[code] / part, Origin(name, code, split), part, subjects)
        rows_by_subject = Counter(item_id.partition("/")[0] for item_id in reading.places)
        suspects = having[code] / "suspect_rows.tsv"
        if suspects.exists():
            reading = reading.without(read_suspect_rows(suspects))
        if code == "en":
            sizes.update(rows_by_subject)
        for subject, rows in rows_by_subject.items():
            if sizes[subject] not in (0, rows):
                raise UserError(
                    f"{having[code] / part}: {subject} has {rows} rows, but {sizes[subject]} in "
                    "English; rows belong together by their number, so restore the missing ones"
                )
        return reading

    return Family("mmlu", tuple(having), load, str(root))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def read_hendrycks(folder: Path, origin: Origin, part: str, subjects: Collection[str]) -> Reading:
    """Hendrycks' CSV files ``{subject}_{part}.csv``: question, options, answer letter, no header.

    Our own files add a seventh column, the explanation. The id is ``subject/part/row``.

    Args:
        folder: the language's folder of this part.
        part: ``test``, ``dev``, ``val`` or ``train``.
    Raises:
        UserError: a row has not six or seven columns.
    """
    reading = Reading(origin)
    for path in sorted(folder.glob(f"*_{part}*.csv")):
        subject = subject_name(path.name)
        if subject not in subjects:
            continue
        for number, (line, cells) in enumerate(csv_rows(path)):
            place = f"{path} line {line}"
            if len(cells) not in (6, 7):
                raise UserError(
                    f"{place}: found {len(cells)} columns; a row is question, four options, "
                    "answer letter, and optionally an explanation"
                )
            question, *options, answer = cells[:6]
            item = choice_item(
                origin, f"{subject}/{part}/{number}", question, options, answer, subject, *cells[6:]
            )
            reading.add(item, place)
    return reading


def _original_rows(
    rows: Iterable[PlacedRow], origin: Origin, part: str, subjects: Collection[str]
) -> Reading:
    """The original English rows as the hub has them, numbered within their subject."""
    reading = Reading(origin)
    counts: Counter[str] = Counter()
    for place, row in rows:
        require(place, row, ("question", "subject", "choices", "answer"))
        subject = subject_name(row["subject"])
        if subject in subjects:
            item_id = f"{subject}/{part}/{counts[subject]}"
            options = row["choices"] if isinstance(row["choices"], list) else []
            item = choice_item(origin, item_id, row["question"], options, row["answer"], subject)
            reading.add(item, place)
        counts[subject] += 1
    return reading


def mmmlu_rows(rows: Iterable[PlacedRow], origin: Origin, subjects: Collection[str]) -> Reading:
    """OpenAI's MMMLU; the first, unnamed column is the row's number within the subject.

    Without it rows are counted by subject. The library ``datasets`` reads the option "None" as a
    missing value; such rows are dropped.

    Raises:
        UserError: a column is missing.
    """
    reading = Reading(origin)
    counts: Counter[str] = Counter()
    for place, row in rows:
        require(place, row, MMLU_COLUMNS)
        subject = subject_name(row["Subject"])
        if not subject:
            reading.add(Dropped(origin.language, place, "the subject is missing"), place)
            continue
        number = row.get("", row.get("Unnamed: 0"))
        name = row_name(counts[subject] if row_name(number, "") == "" else number, place)
        counts[subject] += 1
        if subject in subjects:
            options = [row[letter] for letter in "ABCD"]
            item_id = f"{subject}/{origin.split}/{name}"
            item = choice_item(origin, item_id, row["Question"], options, row["Answer"], subject)
            reading.add(item, place)
    return reading


def global_mmlu_rows(
    rows: Iterable[PlacedRow], origin: Origin, subjects: Collection[str]
) -> Reading:
    """Global-MMLU(-Lite): Parquet as on the hub, or the same rows as JSON lines.

    Raises:
        UserError: a column is missing.
    """
    reading = Reading(origin)
    for place, row in rows:
        require(place, row, GLOBAL_COLUMNS)
        subject = subject_name(row["subject"])
        item_id = row_name(row["sample_id"], place)
        if not subject:
            reading.add(Dropped(origin.language, item_id, "the subject is missing"), place)
        elif subject in subjects:
            options = [row[name] for name in GLOBAL_COLUMNS[4:]]
            item = choice_item(origin, item_id, row["question"], options, row["answer"], subject)
            reading.add(item, place)
    return reading


def subject_name(cell: object) -> str:
    """The subject in ``marketing_test.csv`` or ``college_mathematics_test.csv_sw-KE.csv``; empty
    where the cell has none."""
    text = row_name(cell, "")
    for part in ("_test", "_dev", "_val", "_train"):
        text = text.partition(part)[0]
    return text.strip()
