"""Layer numbers read off the curves for the text: where the target leads, where it is committed."""

from __future__ import annotations

from linguamap.report.run_values import Table

MIN_PROMPTS = 8
"""Below this many prompts a language, a share of one half says too little to be put into words."""

TO_ENGLISH = "to_english"
"""The direction in which the English twin's state is put into the target's prompt."""


def overtakings(lens: Table, pivot: str = "en") -> dict[str, int | None]:
    """Target language -> first layer from which its share stays above English's to the end.

    None where English leads at the last layer. The pivot itself is left out, as are targets whose
    table lacks one of the two curves.
    """
    shares: dict[str, dict[str | None, dict[int, float]]] = {}
    for row in lens:
        if row.get("share") is None:
            continue
        target = shares.setdefault(str(row["target_language"]), {})
        target.setdefault(row["word_language"], {})[int(row["layer"])] = float(row["share"])
    found: dict[str, int | None] = {}
    for code, curves in shares.items():
        if code == pivot or code not in curves or pivot not in curves:
            continue
        found[code] = _leads_from(curves[code], curves[pivot])
    return found


def _leads_from(own: dict[int, float], other: dict[int, float]) -> int | None:
    start: int | None = None
    for layer in sorted(own.keys() & other.keys(), reverse=True):
        if own[layer] <= other[layer]:
            break
        start = layer
    return start


def commitment(handover: Table, half: float = 0.5) -> dict[str, int]:
    """Language -> first layer from which the swapped-in English state turns half the words English.

    Languages that never reach one half are left out, those whose words are mostly English without
    any swap, and those with fewer than :data:`MIN_PROMPTS` prompts.

    Args:
        handover: rows of intervention, language, layer (-1: nothing swapped), share and n.
    """
    curves: dict[str, dict[int, float]] = {}
    for row in handover:
        if row.get("intervention") != TO_ENGLISH or row.get("share") is None:
            continue
        if (row.get("n") or 0) >= MIN_PROMPTS:
            curves.setdefault(str(row["language"]), {})[int(row["layer"])] = float(row["share"])
    found: dict[str, int] = {}
    for language, curve in curves.items():
        if curve.pop(-1, 0.0) >= half:
            continue
        start: int | None = None
        for layer in sorted(curve, reverse=True):
            if curve[layer] < half:
                break
            start = layer
        if start is not None:
            found[language] = start
    return found
