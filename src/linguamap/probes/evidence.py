"""Where the curves of one language turn, and whether a turn counts: what :mod:`locate` rests on.

Turning points are found on the last axis (layer) and are real-valued layers, so that a bootstrap over
thousands of draws is one call and intervals are not tied to whole layers. NaN means "there is none".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from linguamap.probes.curves import Array, lens_counts, ratio

RIVAL = "en"
CLEAR_LEAD = 0.1
CLEAR_FALL = 0.1
CONFIDENCE = 0.95
PLATEAU = 3
"""Layers whose mean is a curve's level; one layer alone would make the level a noisy maximum."""


def last_crossing(curve: Array, level: Array | float = 0.0) -> Array:
    """Where a curve last goes from at or below a level to above it, and stays above.

    Args:
        curve: (..., layer).
        level: (...,) or a number.
    Returns:
        (...,) the layer, by linear interpolation; NaN if the curve does not end above the level
        or never was at or below it.
    """
    over = curve - np.asarray(level)[..., None]
    n_layers = curve.shape[-1]
    under = over <= 0
    last = n_layers - 1 - under[..., ::-1].argmax(-1)
    exists = under.any(-1) & ~under[..., -1] & np.isfinite(over).all(-1)
    last = np.where(exists, last, 0)
    here = np.take_along_axis(over, last[..., None], -1)[..., 0]
    after = np.take_along_axis(over, (last + 1)[..., None], -1)[..., 0]
    step = np.where(exists, after - here, 1.0)
    return np.asarray(np.where(exists, last - here / step, np.nan))


def plateau_start(curve: Array) -> int:
    """First layer of the :data:`PLATEAU` consecutive layers with the highest mean, layer 0 left out.

    Args:
        curve: (layer,). Layer 0 compares words, not what the model made of them.
    """
    width = min(PLATEAU, len(curve) - 1)
    means = np.convolve(curve[1:], np.ones(width) / width, mode="valid")
    return int(means.argmax()) + 1


def plateau_level(curve: Array, start: int) -> Array:
    """Mean of the plateau's layers: (..., layer) -> (...,)."""
    width = min(PLATEAU, curve.shape[-1] - 1)
    return np.asarray(curve[..., start : start + width].mean(-1))


def half_fall(curve: Array, start: int) -> Array:
    """Where half of the fall from the plateau to the last layer is done, for good.

    A step's half-way point is the step, a ramp's its middle, which is also where the best
    two-level fit puts it. NaN where the curve does not fall.
    """
    level, end = plateau_level(curve, start), curve[..., -1]
    return last_crossing(-curve[..., start:], -(level + end) / 2) + start


def half_rise(curve: Array, start: int) -> Array:
    """Where half of the rise from the lowest layer before the plateau to the plateau is done."""
    rising = curve[..., 1 : start + 1]
    if rising.shape[-1] < 2:
        return np.full(curve.shape[:-1], np.nan)
    level = plateau_level(curve, start)
    return last_crossing(rising, (rising.min(-1) + level) / 2) + 1


@dataclass(frozen=True)
class Evidence:
    """One curve of one language: its turning point, drawn again and again, and whether it counts.

    Attributes:
        curve: (layer,).
        turn: the turning point on all items; None if there is none.
        turns: (draw,) the same on bootstrap samples, NaN where there is none.
        reason: why it does not count; None if it does.
    """

    name: str
    curve: Array
    turn: float | None
    turns: Array
    reason: str | None


def lens_evidence(
    lens: pa.Table, target: str, groups: list[str], weights: Array, noise: float = 0.0
) -> Evidence:
    """Where the target language's words overtake the English ones for good."""
    found = lens_counts(_keyed(lens), target, groups)
    index = {name: i for i, name in enumerate(found.word_languages)}
    zero = np.zeros_like(found.totals)
    own = found.counts[:, index[target]] if target in index else zero
    rival = found.counts[:, index[RIVAL]] if RIVAL in index else zero

    def advantage(own: Array, rival: Array) -> Array:
        return np.nan_to_num(ratio(own - rival, own + rival))

    curve = advantage(own.sum(-1), rival.sum(-1))
    samples = advantage(weights @ own.T, weights @ rival.T)
    low, high = _interval(samples)
    leads = (curve <= -CLEAR_LEAD) & (high < 0)
    english, _ = _interval(ratio(weights @ rival.T, weights @ found.totals.T))
    turn = float(last_crossing(curve[1:]) + 1)
    reason = None
    if low[-1] <= 0:
        reason = "the target language does not clearly lead English in the last layer"
    elif not leads[1:].any():
        reason = "English never clearly leads, so nothing is overtaken"
    elif not (leads & (english > noise))[1:].any():
        reason = "English leads only where random tokens would look as English"
    return Evidence(
        "lens",
        curve,
        turn if np.isfinite(turn) else None,
        last_crossing(samples[:, 1:]) + 1,
        reason,
    )


def similarity_evidence(
    table: pa.Table, target: str, groups: list[str], weights: Array
) -> tuple[list[Evidence], float | None]:
    """Where retrieval and centred cosine have done half of their late fall; end of the rise."""
    sums, count, chance = _pair_sums(_keyed(table), target, groups)
    if not count.any():
        return [], None
    found: list[Evidence] = []
    early = None
    for name, parts in sums.items():
        offset = chance if name == "retrieval" else 0.0
        curve = parts.sum(-1) / count.sum() - offset
        samples = ratio(weights @ parts.T, (weights @ count)[:, None]) - offset
        start = plateau_start(curve)
        level = float(plateau_level(curve, start))
        fall = level - curve[-1]
        low, _ = _interval(plateau_level(samples, start) - samples[:, -1])
        turn = float(half_fall(curve, start))
        reason = None
        if not np.isfinite(turn) or fall < CLEAR_FALL * level or float(low) <= 0:
            reason = "it does not clearly fall"
        found.append(
            Evidence(
                name,
                curve,
                turn if np.isfinite(turn) else None,
                half_fall(samples, start),
                reason,
            )
        )
        if name == "retrieval":
            rise = float(half_rise(curve, start))
            early = rise if np.isfinite(rise) else None
    return found, early


def _interval(samples: Array) -> tuple[Array, Array]:
    tail = (1 - CONFIDENCE) / 2
    usable = np.isfinite(samples).any(0)
    found = np.nanquantile(np.where(usable, samples, 0.0), [tail, 1 - tail], axis=0)
    low, high = np.where(usable, found, np.nan)
    return low, high


def _keyed(table: pa.Table) -> pa.Table:
    """The table with kind and group in one name: groups of different kinds never coincide."""
    names = [f"{k}/{g}" for k, g in zip(table["kind"].to_pylist(), table["group"].to_pylist())]
    return table.set_column(table.column_names.index("group"), "group", pa.array(names))


def group_names(table: pa.Table) -> set[str]:
    return set(_keyed(table)["group"].to_pylist())


def _pair_sums(
    table: pa.Table, target: str, groups: list[str]
) -> tuple[dict[str, Array], Array, float]:
    """Sums over items of one group: measure -> (layer, group), and (group,) counts of item-pairs.

    The pair with English where there is one, else all pairs of the language. Chance is that of
    finding the translation by guessing.
    """
    a, b = (np.array(table[f"language_{side}"].to_pylist(), dtype=str) for side in "ab")
    own = (a == target) | (b == target)
    english = own & ((a == RIVAL) | (b == RIVAL))
    part = table.filter(pa.array(english if english.any() else own, type=pa.bool_()))
    place = {group: i for i, group in enumerate(groups)}
    layer = part["layer"].to_numpy().astype(int)
    group = np.array([place[g] for g in part["group"].to_pylist()], dtype=int)
    n_layers = int(layer.max()) + 1 if len(layer) else 1
    count = np.zeros(len(groups))
    np.add.at(count, group[layer == 0], 1.0)
    sums = {}
    for name in ("retrieval", "centred", "centred_unrelated"):
        values = part[name].to_numpy(zero_copy_only=False).astype(np.float64)
        sums[name] = np.zeros((n_layers, len(groups)))
        np.add.at(sums[name], (layer, group), np.nan_to_num(values))
    sums["centred"] -= sums.pop("centred_unrelated")
    n_items = len(set(zip(part["kind"].to_pylist(), part["item_id"].to_pylist(), strict=True)))
    return sums, count, 1.0 / max(n_items, 1)
