"""MMLU's subjects, and which of its several translations a run uses.

All families number their rows as the original English files do (``subject/part/row``), so that rows of
two families belong together if they have the same id. Whether they truly do is checked on the
English question, which every family carries.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import TYPE_CHECKING

from linguamap.benchmarks.align import Sources, align
from linguamap.records import Benchmark, Split, UserError

if TYPE_CHECKING:
    from linguamap.benchmarks.mmlu_files import Family

CATEGORIES: dict[str, tuple[str, ...]] = {
    "business": ("business_ethics", "management", "marketing", "professional_accounting"),
    "humanities": (
        "formal_logic", "high_school_european_history", "high_school_us_history",
        "high_school_world_history", "international_law", "jurisprudence", "logical_fallacies",
        "moral_disputes", "moral_scenarios", "philosophy", "prehistory", "professional_law",
        "world_religions",
    ),
    "medical": (
        "clinical_knowledge", "college_medicine", "human_aging", "medical_genetics", "nutrition",
        "professional_medicine", "virology",
    ),
    "other": ("global_facts", "miscellaneous"),
    "stem": (
        "abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry",
        "college_computer_science", "college_mathematics", "college_physics", "computer_security",
        "conceptual_physics", "electrical_engineering", "elementary_mathematics",
        "high_school_biology", "high_school_chemistry", "high_school_computer_science",
        "high_school_mathematics", "high_school_physics", "high_school_statistics",
        "machine_learning",
    ),
    "social_sciences": (
        "econometrics", "high_school_geography", "high_school_government_and_politics",
        "high_school_macroeconomics", "high_school_microeconomics", "high_school_psychology",
        "human_sexuality", "professional_psychology", "public_relations", "security_studies",
        "sociology", "us_foreign_policy",
    ),
}  # fmt: skip
"""Category -> subjects, as Global-MMLU groups them (its column ``subject_category``)."""

SUBJECTS: tuple[str, ...] = tuple(sorted(name for group in CATEGORIES.values() for name in group))

ECONOMICS = ("econometrics", "high_school_macroeconomics", "high_school_microeconomics")
"""Hendrycks' own group; a part of the social sciences here."""

GROUPS = {**CATEGORIES, "economics": ECONOMICS}


def select_subjects(names: Sequence[str] | None) -> frozenset[str]:
    """The subjects that a list of subjects and categories names.

    Args:
        names: subjects or categories in any case; ``-`` in front leaves one out, and a list of
            such names only starts from all subjects. None is all 57.
    Raises:
        UserError: a name is neither, or nothing is left.
    """
    chosen: set[str] = set()
    excluded: set[str] = set()
    for name in names or ():
        key = name.strip().lower().replace(" ", "_")
        target = excluded if key.startswith("-") else chosen
        target.update(_subjects_of(key.removeprefix("-"), name))
    selected = frozenset((chosen or set(SUBJECTS)) - excluded)
    if not selected:
        raise UserError(f"subjects: {', '.join(names or ())} leaves no subject; name one to keep")
    return selected


def _subjects_of(key: str, name: str) -> tuple[str, ...]:
    if key in GROUPS:
        return GROUPS[key]
    if key in SUBJECTS:
        return (key,)
    near = difflib.get_close_matches(key, [*GROUPS, *SUBJECTS], n=1)
    hint = f" did you mean '{near[0]}'?" if near else ""
    raise UserError(
        f"subjects: '{name}' is unknown;{hint} Categories: {', '.join(GROUPS)}; "
        f"subjects: {', '.join(SUBJECTS)}"
    )


def load_mmlu(
    name: str, split: Split, languages: Sequence[str], families: Sequence[Family]
) -> Benchmark:
    """The items of the families that serve the languages best.

    The choice covers as many of the languages as possible, with as few families as possible, and
    among equals leaves the most rows; families on the hub are not compared by rows but taken in
    their order. With several families, each language comes from the largest that
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
