"""One benchmark out of the readings of several languages: the same ids in each of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.languages import LANGUAGES, normalise_digits
from linguamap.outside import csv_table
from linguamap.records import Benchmark, Dropped, Item, Kind, Split, UserError

if TYPE_CHECKING:
    from linguamap.benchmarks.rows import Reading

SHIFTED_SHARE = 0.2
SHIFTED_ROWS = 5
"""A language whose answers differ from English in more rows than both of these is refused: its file
is shifted against the others, and rows that agree do so by chance."""


@dataclass(frozen=True)
class Sources:
    """What :func:`align` works on.

    Attributes:
        readings: language -> reading; English is among them wherever it exists.
        description: where the rows come from.
        missing: language that was asked for -> why it is not here.
        by_line: rows belong together by their line number, so all files must be equally long.
        aligned: False if the languages have items of their own.
    """

    readings: dict[str, Reading]
    description: str
    missing: dict[str, str] = field(default_factory=dict)
    by_line: bool = False
    aligned: bool = True


def benchmark_root(folder: Path, name: str, pattern: str) -> Path:
    """The benchmark's folder: ``folder`` or the subfolder with its name."""
    for root in (folder / name, folder):
        if any(root.glob(pattern)):
            return root
    raise UserError(f"{folder} has no {name} files: neither {name}/{pattern} nor {pattern}")


def wanted_languages(
    name: str, languages: Sequence[str], known: Collection[str], repository: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """The languages to read (English first where there is any), and why those asked for are missing.

    Args:
        known: languages with a file, or in the data set ``repository`` of the hub.
    Raises:
        UserError: none of those asked for is there.
    """
    if not any(code in known for code in languages):
        there = f"in {repository}, which" if repository else "there; it"
        raise UserError(
            f"{name}: none of {', '.join(languages)} is {there} has {', '.join(sorted(known))}"
        )
    reason = "not on the hub" if repository else "no file"
    wanted = [code for code in dict.fromkeys(["en", *languages]) if code in known]
    return wanted, {code: reason for code in languages if code not in known}


def align(
    name: str, kind: Kind, split: Split, languages: Sequence[str], sources: Sources
) -> Benchmark:
    """Keep the items that every language has with the same answer, and say why others go.

    Args:
        languages: those asked for; those without a reading are left out.
    Raises:
        UserError: files that belong together by line differ in length; a file is shifted against
            the others.
    """
    readings = sources.readings
    if sources.by_line:
        _check_lengths(readings)
    dropped = [row for reading in readings.values() for row in reading.dropped]
    items = {c: {item.item_id: item for item in reading.items} for c, reading in readings.items()}
    if sources.aligned:
        differing = _disagreements(kind, readings, items)
        dropped.extend(differing)
        common = set.intersection(*map(set, items.values())) - {row.item_id for row in differing}
        dropped.extend(_unmatched(items, common | {row.item_id for row in dropped}))
        order = [item_id for item_id in next(iter(items.values())) if item_id in common]
        items = {code: {i: by_id[i] for i in order} for code, by_id in items.items()}
    used = {code: tuple(items[code].values()) for code in languages if code in items}
    return Benchmark(
        name=name,
        kind=kind,
        split=split,
        items=used,
        rows_read={code: reading.rows for code, reading in readings.items()},
        dropped=tuple(dropped),
        source=sources.description,
        english=tuple(items.get("en", {}).values()) if sources.aligned else (),
        missing_languages=sources.missing,
        aligned=sources.aligned,
    )


def describe_use(benchmark: Benchmark) -> str:
    """One line: how many rows of which source are used, and why others are not.

    Reasons are counted by their text before the colon; what follows it is about one row.
    """
    used = {code: len(items) for code, items in benchmark.items.items()}
    read = {code: benchmark.rows_read.get(code, 0) for code in used}
    counts = ", ".join(f"{code} {used[code]} of {read[code]}" for code in used)
    reasons: Counter[str] = Counter()
    for row in benchmark.dropped:
        reasons[f"{row.language}: {row.reason.partition(':')[0]}"] += row.rows
    text = f"{benchmark.name} ({benchmark.source}): rows used: {counts}"
    if reasons:
        text += "; left out: " + "; ".join(f"{n} ({why})" for why, n in reasons.most_common())
    if benchmark.missing_languages:
        absent = (f"{code} ({why})" for code, why in benchmark.missing_languages.items())
        text += "; languages left out: " + ", ".join(absent)
    return text


def _check_lengths(readings: Mapping[str, Reading]) -> None:
    lengths = Counter(reading.rows for reading in readings.values())
    usual = readings["en"].rows if "en" in readings else lengths.most_common(1)[0][0]
    for code, reading in readings.items():
        if reading.rows != usual:
            last = list(reading.places.values())[-1] if reading.places else f"the {code} file"
            raise UserError(
                f"{last} is the last of {reading.rows} lines, but the other languages have "
                f"{usual}; lines belong together by their number, so restore the missing ones"
            )


def _disagreements(
    kind: Kind, readings: Mapping[str, Reading], items: Mapping[str, Mapping[str, Item]]
) -> list[Dropped]:
    """Items whose number or letter, or number of options, is not the same in all languages."""
    if kind not in ("sums", "choice"):
        return []
    reference = "en" if "en" in items else next(iter(items))
    differing: list[Dropped] = []
    faults: Counter[str] = Counter()
    for item_id in dict.fromkeys(item_id for by_id in items.values() for item_id in by_id):
        answers = {
            code: (by_id[item_id].gold[0], len(by_id[item_id].options))
            for code, by_id in items.items()
            if item_id in by_id
        }
        if len(set(answers.values())) == 1:
            continue
        usual = _usual(answers, reference)
        codes = [code for code, answer in answers.items() if answer != usual]
        faults.update(codes)
        others = " and ".join(sorted({_say(answers[code]) for code in codes}))
        reason = f"the answer differs: {others}, but {_say(usual)} in the other languages"
        differing.append(Dropped(",".join(codes), item_id, reason))
    for code, count in faults.items():
        if count > SHIFTED_ROWS and count > SHIFTED_SHARE * len(items[code]):
            first = next(row for row in differing if code in row.language.split(","))
            raise UserError(
                f"{readings[code].places[first.item_id]}: {first.reason}; {count} of "
                f"{len(items[code])} rows in {code} differ, so this file is shifted against the "
                "others: restore the original"
            )
    return differing


def _usual(answers: Mapping[str, tuple[str, int]], reference: str) -> tuple[str, int]:
    """The most frequent answer; the reference language's if several are."""
    counts = Counter(answers.values())
    most = max(counts.values())
    preferred = answers.get(reference)
    if preferred is not None and counts[preferred] == most:
        return preferred
    return counts.most_common(1)[0][0]


def _say(answer: tuple[str, int]) -> str:
    text, options = answer
    return f"{text} of {options} options" if options not in (0, 4) else text


def _unmatched(items: Mapping[str, Mapping[str, Item]], known: set[str]) -> list[Dropped]:
    """Ids that some language lacks, counted by subject and by the languages that lack them."""
    counts: Counter[tuple[str, str]] = Counter()
    subjects = {i: item.subject or "" for by_id in items.values() for i, item in by_id.items()}
    for item_id, subject in subjects.items():
        if item_id not in known:
            lacking = ",".join(code for code, by_id in items.items() if item_id not in by_id)
            counts[lacking, subject] += 1
    return [
        Dropped(lacking, f"{subject}/*" if subject else "*", "not in these files", rows)
        for (lacking, subject), rows in counts.items()
    ]


# Rows that hold something else than their twins in other languages: known, listed or detected ----


KNOWN_FAULTS: dict[tuple[str, str, str], str] = {
    ("global_mmlu_lite", "zh", "high_school_world_history"): (
        "known fault: a different question than in the other languages"
    ),
}
"""(data set, language, subject) -> reason, for faults of which the rows themselves show only a part.

Global-MMLU-Lite: all ten Chinese rows of the subject are other questions; in seven the answer letter
gives it away. Wherever the subject is loaded together with Chinese, it is left out."""

SIMILAR = 0.3
"""Share of common words from which two English questions count as one question, reworded."""

MACHINE_TRANSLATED = ("mmlu",)
"""Data sets whose translations never convert units, so that their numbers must be the original's."""


def find_faults(reading: Reading, english: Reading | None, data_set: str) -> dict[str, str]:
    """Items of one MMLU reading that are not the question their id says.

    A row is at fault if it is in :data:`KNOWN_FAULTS`, or against the English row of its id:

    * its question occurs in several rows although the English questions have little in common (the
      translation prompt's own example was stored instead of the question);
    * a text in another script has Latin words, none of which the English row has;
    * (machine translations) it has none of the numbers of the English row.

    Returns:
        item id -> reason.
    """
    reasons = {
        item.item_id: reason
        for item in reading.items
        if (reason := KNOWN_FAULTS.get((data_set, item.language, item.subject or "")))
    }
    if english is None or english is reading:
        return reasons
    twins = {item.item_id: item for item in english.items}
    pairs = [(item, twins[item.item_id]) for item in reading.items if item.item_id in twins]
    for item_id in _repeated(pairs):
        reasons.setdefault(item_id, "the question is repeated where the English ones differ")
    for item, twin in pairs:
        if _foreign_words(item, twin):
            reasons.setdefault(item.item_id, "its Latin words are not in the English row")
        elif data_set in MACHINE_TRANSLATED and _other_numbers(item, twin):
            reasons.setdefault(item.item_id, "it has no number of the English row")
    return reasons


def read_suspect_rows(path: Path) -> dict[str, str]:
    """A hand-kept list of bad rows beside Hendrycks-style files: item id -> reason.

    Raises:
        UserError: the columns split, subject, row and reason are not all there.
    """
    reasons = {}
    for _, row in csv_table(path, ("split", "subject", "row", "reason"), delimiter="\t"):
        item_id = f"{row['subject']}/{row['split']}/{row['row']}"
        reasons[item_id] = f"listed in {path.name}: {row['reason']}"
    return reasons


def _repeated(pairs: list[tuple[Item, Item]]) -> list[str]:
    groups: dict[str, list[tuple[Item, Item]]] = defaultdict(list)
    for item, twin in pairs:
        groups[" ".join(item.question.split())].append((item, twin))
    repeated = []
    for group in groups.values():
        words = [set(re.findall(r"\w+", twin.question.lower())) for _, twin in group]
        for (item, _), its in zip(group, words, strict=True):
            if any(_overlap(its, other) < SIMILAR for other in words):
                repeated.append(item.item_id)
    return repeated


def _overlap(first: set[str], second: set[str]) -> float:
    """Jaccard index; two empty sets are the same."""
    union = first | second
    return len(first & second) / len(union) if union else 1.0


def _foreign_words(item: Item, twin: Item) -> bool:
    if LANGUAGES[item.language].scripts[0] == "Latn":
        return False
    words = {word.lower() for word in re.findall(r"[A-Za-z]{2,}", _whole(item))}
    squeezed = re.sub(r"[^a-z]", "", _whole(twin).lower())
    return len(words) >= 2 and not any(word in squeezed for word in words)


def _other_numbers(item: Item, twin: Item) -> bool:
    expected = _numbers(twin)
    return len(expected) >= 2 and not expected & _numbers(item)


def _numbers(item: Item) -> set[str]:
    """Numbers of two or more digits, thousands marks taken out."""
    joined = re.sub(r"(?<=\d)[,.٬،\u00a0\u202f](?=\d{3}(?!\d))", "", _whole(item))
    digits = [normalise_digits(number).lstrip("0") for number in re.findall(r"\d+", joined)]
    return {number for number in digits if len(number) > 1}


def _whole(item: Item) -> str:
    return "\n".join([item.question, *item.options])
