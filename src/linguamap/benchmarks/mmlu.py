"""Which of MMLU's several translations a run uses, and how they are put together.

All families number their rows as the original English files do (``subject/part/row``), so that rows of
two families belong together if they have the same id. Whether they truly do is checked on the
English question, which every family carries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby

from linguamap.benchmarks.align import Sources, align
from linguamap.benchmarks.faults import find_faults
from linguamap.benchmarks.rows import Reading
from linguamap.records import Benchmark, Split, UserError

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


def load_mmlu(
    name: str, split: Split, languages: Sequence[str], families: Sequence[Family]
) -> Benchmark:
    """The items of the families that serve the languages best.

    The choice covers as many of the languages as possible, with as few families as possible, and
    among equals leaves the most rows; families on the hub are not compared by rows but taken in
    the order of :data:`FAMILIES`. With several families, each language comes from the largest that
    has it, and rows are those whose ids all of them share.

    Raises:
        UserError: no family has any of the languages, or no row is left.
    """
    best: Benchmark | None = None
    for group in _choices(languages, families):
        for chosen in group:
            benchmark = _align(name, split, languages, chosen)
            if best is None or len(benchmark.english) > len(best.english):
                best = benchmark
            if not all(family.ranked for family in chosen):
                break
        if best is not None and all(best.items.values()):
            return best
    if best is None:
        known = sorted({code for family in families for code in family.languages})
        raise UserError(
            f"{name}: none of {', '.join(languages)} is there; found {', '.join(known) or 'none'}"
        )
    return best


def _choices(
    languages: Sequence[str], families: Sequence[Family]
) -> Iterator[list[tuple[Family, ...]]]:
    """Sets of families, the best first; those that are equally good come together."""

    def cost(chosen: tuple[Family, ...]) -> tuple[int, int]:
        covered = {code for family in chosen for code in family.languages}
        return -sum(code in covered for code in languages), len(chosen)

    subsets = [
        chosen
        for size in range(1, len(families) + 1)
        for chosen in combinations(families, size)
        if any(code in family.languages for family in chosen for code in languages)
    ]
    for _, group in groupby(sorted(subsets, key=cost), key=cost):
        yield list(group)


def _align(
    name: str, split: Split, languages: Sequence[str], chosen: Sequence[Family]
) -> Benchmark:
    sources: dict[str, Family] = {}
    for code in dict.fromkeys(["en", *languages]):
        having = [family for family in chosen if code in family.languages]
        if having:
            ranked = all(family.ranked for family in having)
            sources[code] = (
                max(having, key=lambda one: len(one.read(code).items)) if ranked else having[0]
            )
    readings = {
        code: family.read(code).without(_other_original(family, sources.get("en")))
        for code, family in sources.items()
    }
    used = {
        family.name: [code for code in languages if sources.get(code) is family]
        for family in chosen
    }
    places = {family.name: family.place for family in chosen}
    description = ", ".join(
        f"{family}: {' '.join(codes)} from {places[family]}"
        for family, codes in used.items()
        if codes
    )
    missing = {code: "not in these translations" for code in languages if code not in readings}
    return align(name, "choice", split, languages, Sources(readings, description, missing))


def _other_original(family: Family, english: Family | None) -> dict[str, str]:
    """Ids under which a family has another English question than the chosen English."""
    if english is None or english is family or "en" not in family.languages:
        return {}
    chosen = {item.item_id: item.question for item in english.read("en").items}
    return {
        item.item_id: f"another English original: {family.name} differs from {english.name}"
        for item in family.read("en").items
        if not _same_text(item.question, chosen.get(item.item_id, item.question))
    }


def _same_text(one: str, other: str) -> bool:
    """Whether two texts have the same letters and digits; families differ in blanks."""
    return one == other or re.sub(r"[\W_]", "", one).lower() == re.sub(r"[\W_]", "", other).lower()
