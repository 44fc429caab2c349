"""Intervals and tests for rates: one rate, a rate over clusters, two runs on the same items.

Every rate carries its denominator; with nothing to count the value and both limits are None.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from linguamap.records import Rate

NO_DATA = Rate(None, None, None, 0)


@dataclass(frozen=True)
class McNemar:
    """Two judgements of the same items: how often only one of them was right.

    Attributes:
        n: pairs.
        first_only: right in the first, wrong in the second.
        second_only: wrong in the first, right in the second.
        p_value: two-sided exact binomial; None without pairs, 1 if they never differ.
    """

    n: int
    first_only: int
    second_only: int
    p_value: float | None


@dataclass(frozen=True)
class Difference:
    """Second mean minus first mean, with a bootstrap interval; None if there are no pairs."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int


def wilson(successes: float, n: int, confidence: float = 0.95) -> Rate:
    """A share with Wilson's score interval.

    Args:
        successes: count in [0, n].
        n: trials; 0 gives a rate without a value.
        confidence: of the two-sided interval, in (0, 1).
    Raises:
        ValueError: ``successes`` or ``confidence`` out of range.
    Source: Wilson 1927; the same as ``scipy.stats.binomtest(...).proportion_ci(method="wilson")``.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in [0, {n}], found {successes}")
    if n == 0:
        return NO_DATA
    low, high = _wilson_limits(successes / n, float(n), confidence)
    return Rate(successes / n, low, high, n)


def clustered_rate(
    values: Sequence[bool], clusters: Sequence[Hashable], confidence: float = 0.95
) -> Rate:
    """A share over observations that come in clusters (one item asked in several languages).

    The variance of the pooled share is the linearised, cluster-robust one (Taylor series, the
    sandwich of an intercept-only regression, times m/(m-1) for m clusters). The interval is Wilson's
    with the effective sample size p(1-p)/variance, which keeps it inside [0, 1] and sensible near the
    ends. The effective size is never more than n. Where all observations agree the variance is 0
    and says nothing; then, and with a single cluster, each cluster counts as one observation.

    Args:
        values: (observation,) right or wrong.
        clusters: (observation,) what belongs together.
    Returns:
        The pooled share; ``n`` counts observations, not clusters.
    Source: Korn and Graubard 1998 (effective size); Dean and Pagano 2015 (Wilson over clusters).
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    n = len(values)
    if n == 0:
        return NO_DATA
    right = np.asarray(values, dtype=float)
    share = float(right.mean())
    index = _cluster_index(clusters)
    n_clusters = int(index.max()) + 1
    effective = float(n_clusters)
    if 0.0 < share < 1.0 and n_clusters > 1:
        residuals = np.bincount(index, weights=right - share)
        variance = float(residuals @ residuals) / n**2 * n_clusters / (n_clusters - 1)
        effective = share * (1 - share) / variance if variance > 0 else float(n)
    low, high = _wilson_limits(share, min(effective, float(n)), confidence)
    return Rate(share, low, high, n)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Exact McNemar test of two runs judged on the same items in the same order.

    Raises:
        ValueError: the two differ in length.
    Source: McNemar 1947, exact form: ``scipy.stats.binomtest`` on the pairs that differ.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs needed: {len(first)} values against {len(second)}")
    first_only = sum(bool(a) and not b for a, b in zip(first, second))
    second_only = sum(bool(b) and not a for a, b in zip(first, second))
    if not first:
        return McNemar(0, 0, 0, None)
    differing = first_only + second_only
    p_value = 1.0
    if differing:
        from scipy.stats import binomtest  # here, since it makes every start a second slower

        p_value = float(binomtest(first_only, differing, 0.5).pvalue)
    return McNemar(len(first), first_only, second_only, p_value)


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    draws: int = 2000,
    confidence: float = 0.95,
) -> Difference:
    """Mean of second minus first over pairs, with a percentile interval over resampled clusters.

    Args:
        first, second: (pair,) the same items, scored twice.
        clusters: (pair,) items that are drawn together, e.g. one item in all its languages.
        draws: bootstrap samples.
    Raises:
        ValueError: lengths differ.
    Source: Efron and Tibshirani 1993, chapter 13; clusters drawn with replacement.
    """
    if not len(first) == len(second) == len(clusters):
        raise ValueError(f"pairs needed: {len(first)}, {len(second)}, {len(clusters)} values")
    if not first:
        return Difference(None, None, None, 0, 0)
    index = _cluster_index(clusters)
    change = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    totals = np.bincount(index, weights=change)
    sizes = np.bincount(index)
    n_clusters = len(sizes)
    random = np.random.default_rng(seed)
    counts = random.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=draws)
    means = (counts @ totals) / (counts @ sizes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(float(change.mean()), float(low), float(high), len(first), n_clusters)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm's step-down); None stays None and does not count.

    Source: Holm 1979; the same as ``statsmodels.stats.multitest.multipletests(method="holm")``.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, position) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[position] = highest
    return corrected


def _wilson_limits(share: float, n: float, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), found {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _cluster_index(clusters: Sequence[Hashable]) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.asarray([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
