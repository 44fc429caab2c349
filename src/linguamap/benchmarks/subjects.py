"""The 57 subjects of MMLU and their categories, by which a run may choose."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from linguamap.records import UserError

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
