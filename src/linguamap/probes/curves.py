"""From per-item values to curves over layers with bootstrap bands over item groups.

Items of one group (a passage, a template) are drawn together, the same draw for every layer and
language, so that bands of different curves may be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from linguamap.records import UserError

Array = npt.NDArray[np.float64]


def _schema(name: str, value: str, total: str) -> pa.Schema:
    names = [("layer", pa.int32()), ("target_language", pa.string()), (name, pa.string())]
    numbers = [(one, pa.float64()) for one in (value, "low", "high")]
    return pa.schema([*names, *numbers, ("n_items", pa.int32()), (total, pa.int64())])


CURVES_SCHEMA = _schema("word_language", "share", "n_words")
SET_CURVES_SCHEMA = _schema("set_language", "probability", "n_positions")


class Band(NamedTuple):
    """A value with its percentile interval; None where there is no data or only one group."""

    value: float | None
    low: float | None
    high: float | None


def read_table(path: Path) -> pa.Table:
    """A table of a run folder.

    Raises:
        UserError: the file is torn or no Parquet.
    """
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError):  # pages that cannot be read are an OSError
        raise UserError(f"{path} is broken; delete it and run the stage again") from None


@dataclass(frozen=True)
class LensCounts:
    """The lens's word counts of one target language, summed within groups.

    Attributes:
        word_languages: axis 1 of ``counts``; the last entry, None, is "not placed".
        counts: (layer, word language, group) words.
        totals: (layer, group) words.
        n_items: items read.
    """

    word_languages: list[str | None]
    groups: list[str]
    counts: Array
    totals: Array
    n_items: int


def draws(n_groups: int, n_draws: int, seed: int) -> Array:
    """(draw, group) how often each group is drawn, with replacement, in each bootstrap sample."""
    probs = np.full(n_groups, 1.0 / n_groups)
    rng = np.random.default_rng(seed)
    return np.asarray(rng.multinomial(n_groups, probs, size=n_draws), dtype=np.float64)


def ratio(numerators: Array, totals: Array) -> Array:
    """``numerators / totals``, NaN where a total is 0; shapes broadcast."""
    numerators, totals = np.broadcast_arrays(numerators, totals)
    out: Array = np.full(numerators.shape, np.nan)
    np.divide(numerators, totals, out=out, where=totals > 0)
    return out


def ratio_bands(
    numerators: Array, totals: Array, n_draws: int, seed: int, confidence: float
) -> list[Band]:
    """Pooled ratios with their percentile bootstrap over groups.

    Args:
        numerators: (curve, group) sums of what is counted.
        totals: (group,) or (curve, group) sums of what it is counted among.
    """
    totals = np.broadcast_to(totals, numerators.shape)
    values = ratio(numerators.sum(-1), totals.sum(-1))
    n_groups = numerators.shape[-1]
    if n_groups < 2:
        return [Band(_number(value), None, None) for value in values]
    weights = draws(n_groups, n_draws, seed)
    samples = ratio(weights @ numerators.T, weights @ totals.T)
    return bands(values, samples, confidence)


def bands(values: Array, samples: Array, confidence: float) -> list[Band]:
    """Percentile intervals: values (curve,), samples (draw, curve); NaN samples are left out."""
    tail = (1.0 - confidence) / 2
    usable: npt.NDArray[np.bool_] = np.asarray(np.isfinite(samples).any(0))
    filled = np.where(usable, samples, 0.0)
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return [
        Band(_number(v), float(lo) if ok else None, float(hi) if ok else None)
        for v, lo, hi, ok in zip(values, low, high, usable, strict=True)
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def lens_counts(table: pa.Table, target: str, groups: list[str] | None = None) -> LensCounts:
    """Sum a table of items of one target language within groups.

    Args:
        table: columns of ``lens.ITEMS_SCHEMA``, or of ``lens.SET_ITEMS_SCHEMA``: then a count is a
            probability, summed over positions.
        groups: the order of groups; None takes those that occur, sorted.
    """
    table = table.filter(pc.equal(table["target_language"], target))
    columns = {name: np.array(table[name].to_pylist(), dtype=object) for name in table.column_names}
    sets = "set_language" in columns
    language = columns["set_language" if sets else "word_language"]
    names: list[str | None] = sorted({name for name in language if name is not None})
    names += [] if sets else [None]
    groups = sorted(set(columns["group"])) if groups is None else groups
    place = {group: i for i, group in enumerate(groups)}
    index = {name: i for i, name in enumerate(names)}
    layer = columns["layer"].astype(int)
    shape = (int(layer.max()) + 1 if len(layer) else 0, len(names), len(groups))
    group = np.array([place[g] for g in columns["group"]], dtype=int)
    total = columns["n_positions" if sets else "n"].astype(float)
    counts, totals = np.zeros(shape), np.zeros((shape[0], shape[2]))
    n = columns["probability"].astype(float) * total if sets else total
    np.add.at(counts, (layer, np.array([index[x] for x in language], dtype=int), group), n)
    np.add.at(totals, (layer, group), total / len(names) if sets else total)
    items = set(zip(columns["item_id"], columns["scenario"], columns["kind"], strict=True))
    return LensCounts(names, groups, counts, totals, len(items))


def lens_curves(
    table: pa.Table, *, bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> pa.Table:
    """Share of words, or mean probability, per language at each layer, with a bootstrap band over
    item groups.

    Args:
        table: as :func:`lens_counts` takes it.
    Returns:
        Columns of :data:`CURVES_SCHEMA` (share: words in that language, null for not placed, among all
        words, pooled over items) or of :data:`SET_CURVES_SCHEMA`. Value and band are null where
        nothing was read; the band also where there is only one group.
    """
    sets = "set_language" in table.column_names
    schema = SET_CURVES_SCHEMA if sets else CURVES_SCHEMA
    rows: list[list[object]] = []
    for target in sorted(set(table["target_language"].to_pylist())):
        found = lens_counts(table, target)
        for layer, (counts, totals) in enumerate(zip(found.counts, found.totals, strict=True)):
            shares = ratio_bands(counts, totals, bootstrap, seed, confidence)
            rows += [
                [layer, target, name, *band, found.n_items, round(totals.sum())]
                for name, band in zip(found.word_languages, shares, strict=True)
            ]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def no_change(reason: str) -> dict[str, Any]:
    """What :func:`change_outside` returns where there are no other curves: nulls, and why."""
    names = ("share_in_tuned", "share_below", "share_downstream", "largest_below")
    return {**dict.fromkeys(names), "tuned": [], "curves": {}, "reason": reason}


def change_outside(before: Path, after: Path, tune_layers: Sequence[int]) -> dict[str, Any]:
    """How much of the change of the curves between two probes lies in the tuned blocks.

    Where all blocks from the first tuned one on were tuned it lies nowhere else, and no share is given.

    The change of a curve at a layer is the absolute difference. Layers below the first tuned block
    cannot change; those above one that are not tuned themselves change because of it.

    Returns:
        ``share_in_tuned``, ``share_below`` and ``share_downstream`` of the summed change of the
        lens curves (null if nothing changed), ``largest_below``, the same per curve under
        ``curves``, and the mean change of each layer. Handover is left out: its curve at a layer
        depends on all blocks above it.
    """
    if not tune_layers:
        raise UserError("change: no layers were tuned, so there is nothing to compare")
    keys = {
        "lens": (["target_language", "word_language"], "share"),
        "token_set_probability": (["target_language", "set_language"], "probability"),
        "similarity": (["language_a", "language_b", "kind", "measure"], "value"),
    }
    curves = {
        name: _change(
            read_table(before / f"{name}.parquet"),
            read_table(after / f"{name}.parquet"),
            columns,
            value,
            sorted(tune_layers),
        )
        for name, (columns, value) in keys.items()
        if (before / f"{name}.parquet").is_file() and (after / f"{name}.parquet").is_file()
    }
    lens = {k: v for k, v in curves["lens"].items() if k != "by_layer"}
    last = max(map(int, curves["lens"]["by_layer"]))
    reason = None
    if lens["largest_below"] == 0 and sorted(tune_layers) == [*range(min(tune_layers), last + 1)]:
        reason = (
            "all blocks from the first tuned one on were tuned: the curves can move nowhere else"
        )
        lens |= {"share_in_tuned": None, "share_downstream": None}
    return {**lens, "tuned": sorted(tune_layers), "curves": curves, "reason": reason}


def _change(
    before: pa.Table, after: pa.Table, keys: list[str], value: str, tuned: list[int]
) -> dict[str, Any]:
    def by_key(table: pa.Table) -> dict[tuple[Any, ...], float]:
        rows = table.to_pylist()
        return {(r["layer"], *(r[k] for k in keys)): r[value] for r in rows if r[value] is not None}

    first, second = by_key(before), by_key(after)
    moved: dict[int, list[float]] = {}
    for key in dict.fromkeys([*first, *second]):
        # A language in which no word was read has no row: its share is 0 there.
        difference = abs(first.get(key, 0.0) - second.get(key, 0.0))
        moved.setdefault(int(key[0]), []).append(difference)
    total = sum(map(sum, moved.values()))
    below = [sum(v) for layer, v in moved.items() if layer < tuned[0]]
    inside = [sum(v) for layer, v in moved.items() if layer in tuned]
    largest = max((max(v) for layer, v in moved.items() if layer < tuned[0]), default=0.0)
    return {
        "share_in_tuned": sum(inside) / total if total else None,
        "share_below": sum(below) / total if total else None,
        "share_downstream": (total - sum(inside) - sum(below)) / total if total else None,
        "largest_below": largest,
        "by_layer": {str(layer): float(np.mean(v)) for layer, v in sorted(moved.items())},
    }


Rows = Sequence[Mapping[str, Any]]

MIN_PROMPTS = 8
"""Below this many prompts a language, a half-way point says too little to be put into words."""

TO_ENGLISH = "to_english"
"""The direction in which the English twin's state is put into the target's prompt."""


def overtakings(lens: Rows, pivot: str = "en") -> dict[str, int | None]:
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
        own, other = curves[code], curves[pivot]
        found[code] = _holds_from(
            {layer: own[layer] > other[layer] for layer in own.keys() & other}
        )
    return found


def _holds_from(holds: Mapping[int, bool]) -> int | None:
    """The first layer from which something holds to the end."""
    start: int | None = None
    for layer in sorted(holds, reverse=True):
        if not holds[layer]:
            break
        start = layer
    return start


def commitment(handover: Rows) -> dict[str, int | None]:
    """Language -> first layer from which the exchanged English state does half of what it can do.

    Half of the curve's own range: 0 where nothing is exchanged, 1 where the last layer's state is.
    None where the whole exchange does not clearly move the log-odds; languages with fewer than
    :data:`MIN_PROMPTS` prompts are left out.

    Args:
        handover: rows of ``handover.CURVES_SCHEMA``.
    """
    curves: dict[str, dict[int, float]] = {}
    for row in handover:
        if row["intervention"] != TO_ENGLISH or row["n"] < MIN_PROMPTS:
            continue
        curve = curves.setdefault(str(row["language"]), {})
        if row["layer"] >= 0 and row["shift"] is not None:
            curve[int(row["layer"])] = float(row["shift"])
    return {
        code: _holds_from({layer: shift >= 0.5 for layer, shift in curve.items()})
        for code, curve in curves.items()
    }
