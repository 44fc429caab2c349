"""The curves of a run as the page draws them: arrays over layers, rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from linguamap.report.curve_readings import overtakings
from linguamap.report.rates import is_number
from linguamap.report.run_values import Json, RunData, Table, object_at

MAX_PAIRS = 28
"""Language pairs above which only those with English (or the first language) are embedded."""

MEASURE_ALIASES = {
    "raw": "cosine",
    "raw_baseline": "cosine_unrelated",
    "centred_baseline": "centred_unrelated",
}

CEILING_NAMES = ("ceilings", "identifier_ceilings", "ceiling", "identifier_ceiling")


def curve_data(data: RunData) -> Json:
    """Everything the page's curves need; a curve that was not measured is null."""
    pivot = "en" if "en" in data.languages else (data.languages or ["en"])[0]
    return {
        "n_layers": n_layers(data),
        "pivot": pivot,
        "lens": {"before": lens_curves(data.lens), "after": lens_curves(data.lens_after)},
        "mass": {
            "before": mass_curves(data.mass, object_at(data.probe, "mass", "coverage")),
            "after": mass_curves(data.mass_after),
        },
        "similarity": {
            "before": similarity_curves(data.similarity, pivot),
            "after": similarity_curves(data.similarity_after, pivot),
        },
        "handover": {
            "before": handover_curves(data.handover),
            "after": handover_curves(data.handover_after),
        },
        "ceilings": ceilings(data),
        "noise": _number(object_at(data.probe, "noise", "shares").get(pivot)),
        "overtakes": {
            "before": overtakings(data.lens, pivot),
            "after": overtakings(data.lens_after, pivot),
        },
        "late_start": late_start(data),
        "late_interval": _interval((data.layers or {}).get("late_start_interval")),
        "early_end": _number(object_at(data.layers, "phases").get("early_end")),
        "tuned": data.tuned_layers,
        "were_tuned": data.tuning is not None,
    }


def n_layers(data: RunData) -> int | None:
    """Number of blocks of the model, from layers.json or from the curves."""
    stated = (data.layers or {}).get("n_layers")
    if is_number(stated):
        return int(stated)
    seen = [
        int(row["layer"]) for row in data.lens + data.similarity if row.get("layer") is not None
    ]
    return max(seen, default=None)


def late_start(data: RunData) -> float | None:
    """First layer of the late phase; None if none was found or looked for."""
    return _number(object_at(data.layers, "phases").get("late_start"))


def ceilings(data: RunData) -> dict[str, float]:
    """Language -> share of its own gold words that the identifier places right."""
    for name in CEILING_NAMES:
        found = {
            code: value.get("value") if isinstance(value, dict) else value
            for code, value in object_at(data.probe, name).items()
        }
        if found:
            return {code: float(value) for code, value in found.items() if is_number(value)}
    return {}


def lens_curves(rows: Table) -> Json | None:
    """target -> {"n_items", "n_words", "curves": {word language or "": curve}}."""
    targets: Json = {}
    for target, group in _grouped(rows, lambda row: str(row["target_language"])).items():
        curves = {
            code or "": curve(part, "share")
            for code, part in _grouped(group, lambda row: row["word_language"]).items()
        }
        targets[target] = {
            "n_items": _most(group, "n_items"),
            "n_words": _most(group, "n_words"),
            "curves": curves,
        }
    return targets or None


def mass_curves(rows: Table, coverage: Json | None = None) -> Json | None:
    """target -> {"n_items", "coverage", "curves": {language of the tokens: curve of their mass}}.

    Args:
        coverage: language -> share of its own text that its tokens make up.
    """
    targets: Json = {}
    for target, group in _grouped(rows, lambda row: str(row.get("target_language"))).items():
        targets[target] = {
            "n_items": _most(group, "n_items"),
            "coverage": _number((coverage or {}).get(target)),
            "curves": {
                str(code): curve(part, "mass")
                for code, part in _grouped(group, lambda row: row.get("set_language")).items()
            },
        }
    return targets or None


def similarity_curves(rows: Table, pivot: str) -> list[Json] | None:
    """One entry for each pair, kind and measure; with many languages only the pivot's pairs."""
    pairs = {(row["language_a"], row["language_b"]) for row in rows}
    if len(pairs) > MAX_PAIRS:
        rows = [row for row in rows if pivot in (row["language_a"], row["language_b"])]
    groups = _grouped(
        rows,
        lambda row: (row["language_a"], row["language_b"], row["kind"], _measure(row["measure"])),
    )
    return [
        {"a": a, "b": b, "kind": kind, "measure": measure, "n": _most(part, "n")}
        | curve(part, "value")
        for (a, b, kind, measure), part in groups.items()
    ] or None


READ_OF_INTERVENTION = {"to_english": "english", "from_english": "target", "skip": "target"}
"""Intervention -> the language whose share among the first words tells what it did."""


def handover_rows(rows: Table) -> Table:
    """Handover as rows of direction, language, layer, share, low, high, n.

    The probe's table has a share of English and one of the target for each intervention; what is
    read is the language that the swapped-in state would bring, or, where a block is left out, the
    target. Rows that already name a direction pass through.
    """
    plain = []
    for row in rows:
        if "intervention" not in row:
            plain.append(row)
            continue
        read = READ_OF_INTERVENTION.get(str(row["intervention"]), "english")
        plain.append(
            {
                "direction": row["intervention"],
                "language": row["language"],
                "layer": row["layer"],
                "share": row.get(read),
                "low": row.get(f"{read}_low"),
                "high": row.get(f"{read}_high"),
                "n": row.get("n"),
            }
        )
    return plain


def handover_curves(rows: Table) -> list[Json] | None:
    """One entry for each direction and language; layer -1, where nothing was done, is ``plain``."""
    groups = _grouped(handover_rows(rows), lambda row: (row["direction"], row["language"]))
    found = []
    for (direction, language), part in groups.items():
        plain = [row.get("share") for row in part if int(row["layer"]) < 0]
        done = [row for row in part if int(row["layer"]) >= 0]
        found.append(
            {
                "direction": direction,
                "language": language,
                "n": _most(part, "n"),
                "plain": _rounded(plain[0]) if plain else None,
            }
            | curve(done, "share")
        )
    return found or None


def curve(rows: Table, name: str) -> Json:
    """Layers and values in order, with the band; null where there is no value."""
    ordered = sorted(rows, key=lambda row: int(row["layer"]))
    return {
        "x": [int(row["layer"]) for row in ordered],
        "y": [_rounded(row.get(name)) for row in ordered],
        "lo": [_rounded(row.get("low")) for row in ordered],
        "hi": [_rounded(row.get("high")) for row in ordered],
    }


def _grouped(
    rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], Any]
) -> dict[Any, Table]:
    groups: dict[Any, Table] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _measure(name: Any) -> str:
    return MEASURE_ALIASES.get(str(name), str(name))


def _most(rows: Table, name: str) -> int | None:
    return max((int(row[name]) for row in rows if row.get(name) is not None), default=None)


def _rounded(value: Any) -> float | None:
    return round(float(value), 4) if is_number(value) else None


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _interval(value: Any) -> list[float] | None:
    if isinstance(value, list) and len(value) == 2 and all(is_number(one) for one in value):
        return [float(one) for one in value]
    return None
