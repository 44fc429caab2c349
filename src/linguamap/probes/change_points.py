"""Where curves over layers turn: crossings, falls and rises, for one curve or many draws at once.

All functions work on the last axis (layer) and return real-valued layers, so that a bootstrap over
thousands of draws is one call and intervals are not tied to whole layers. NaN means "there is none".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from linguamap.probes.curves import Array

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
