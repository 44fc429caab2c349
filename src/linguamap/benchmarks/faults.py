"""Rows that hold something else than their twins in other languages: known, listed or detected."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.languages import LANGUAGES, normalise_digits
from linguamap.outside import csv_table
from linguamap.records import Item

if TYPE_CHECKING:
    from linguamap.benchmarks.rows import Reading

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
