"""Intervals and tests for rates: one rate, a rate over clusters, two runs on the same items.

Every rate carries its denominator; with nothing to count the value and both limits are None.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from linguamap.records import Rate

NO_DATA = Rate(None, None, None, 0)

CAUTION = 2.0
"""How many of the rarer outcome weigh as much as the assumption that a cluster is one observation."""

Test = Literal["mcnemar", "sign_flip_by_item"]
Interval = Literal["newcombe", "bootstrap", "newcombe_by_item"]


@dataclass(frozen=True)
class PairedTest:
    """Two judgements of the same prompts: how often only one of them was right.

    Attributes:
        n: pairs.
        first_only: right in the first, wrong in the second.
        second_only: wrong in the first, right in the second.
        p_value: two-sided and exact; None without pairs, 1 if they never differ.
        test: where it comes from.
    """

    n: int
    first_only: int
    second_only: int
    p_value: float | None
    test: Test


@dataclass(frozen=True)
class Difference:
    """Second mean minus first mean with an interval, and its method; None if there are no pairs."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int
    interval: Interval


def harmonic_mean(first: float | None, second: float | None) -> float | None:
    """Harmonic mean of two rates; 0 if both are 0, None if one is missing."""
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second else 0.0


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
    with an effective sample size, which keeps it inside [0, 1] and sensible near the ends:

    * The observed size is p(1-p)/variance, at most n. It says little where few observations differ from
      the rest: one failure among 195 tells nothing about how failures cluster. So its reciprocal is
      averaged with that of the most cautious size, one observation a cluster, by weights e and
      :data:`CAUTION`, where e counts the rarer of right and wrong. With none of them, m is left; with
      many, the observed size. There is no jump between one failure and none.
    * The result is multiplied by (z / t)^2, the quantiles of the normal distribution and of Student's t
      with m - 1 degrees of freedom: a variance estimated from few clusters is itself uncertain.

    ``studies/rate_coverage.py`` simulates how often the interval holds the truth.

    Args:
        values: (observation,) right or wrong.
        clusters: (observation,) what belongs together.
    Returns:
        The pooled share; ``n`` counts observations, not clusters.
    Source: Korn and Graubard 1998 (effective size, degrees of freedom); Dean and Pagano 2015 (Wilson
        over clusters); the caution for rare outcomes is decided here.
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    n = len(values)
    if n == 0:
        return NO_DATA
    right = np.asarray(values, dtype=float)
    share = float(right.mean())
    effective = _effective_size(right, _cluster_index(clusters), confidence)
    low, high = _wilson_limits(share, effective, confidence)
    return Rate(share, low, high, n)


def _effective_size(right: np.ndarray, index: np.ndarray, confidence: float) -> float:
    """What clustered observations are worth in independent ones, as :func:`clustered_rate` says."""
    n, share = len(right), float(right.mean())
    n_clusters = int(index.max()) + 1
    if n_clusters == 1:
        return 1.0
    residuals = np.bincount(index, weights=right - share)
    variance = float(residuals @ residuals) / n**2 * n_clusters / (n_clusters - 1)
    observed = min(share * (1 - share) / variance, n) if variance > 0 else float(n)
    rarer = min(right.sum(), n - right.sum())
    weight = rarer / (rarer + CAUTION)
    size = 1 / (weight / observed + (1 - weight) / n_clusters)
    from scipy.stats import t  # here, since it makes every start a second slower

    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    return float(size * (normal / t.ppf((1 + confidence) / 2, n_clusters - 1)) ** 2)


def least_p_value(n: int) -> float | None:
    """The least two-sided p that an exact paired test of ``n`` pairs or clusters can give.

    All of them changed, and all one way: 2 ** (1 - n). None without pairs.
    """
    return 2.0 ** (1 - n) if n else None


def paired_test(
    first: Sequence[bool], second: Sequence[bool], clusters: Sequence[Hashable]
) -> PairedTest:
    """:func:`mcnemar` where each cluster has one pair, else :func:`sign_flip`."""
    if len(set(clusters)) == len(clusters):
        return mcnemar(first, second)
    return sign_flip(first, second, clusters)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedTest:
    """Exact McNemar test of two runs judged on the same items in the same order.

    The pairs must be independent: several prompts made from one item are not.

    Raises:
        ValueError: the two differ in length.
    Source: McNemar 1947, exact form: ``scipy.stats.binomtest`` on the pairs that differ.
    """
    _same_length(first, second)
    first_only, second_only = _differing(first, second)
    if not first:
        return PairedTest(0, 0, 0, None, "mcnemar")
    differing = first_only + second_only
    p_value = 1.0
    if differing:
        from scipy.stats import binomtest  # here, since it makes every start a second slower

        p_value = float(binomtest(first_only, differing, 0.5).pvalue)
    return PairedTest(len(first), first_only, second_only, p_value, "mcnemar")


def sign_flip(
    first: Sequence[bool], second: Sequence[bool], clusters: Sequence[Hashable]
) -> PairedTest:
    """McNemar's statistic when pairs come in clusters: an exact permutation test over clusters.

    If the two runs are alike, they may be swapped in any cluster, which turns the sign of its net
    change (gained minus lost). The p value is the share of all such swaps whose total net change
    is at least as far from 0 as the one found. Its distribution is built up cluster by cluster, so
    all swaps are counted and none is drawn. With one pair a cluster it is the exact McNemar test.

    Trap: k clusters that change cannot give less than 2 ** (1 - k).

    Args:
        clusters: (pair,) pairs that are swapped together, e.g. one item in all its languages.
    Raises:
        ValueError: lengths differ.
    Source: Fisher's randomisation test of pairs, with clusters for pairs; as
        ``scipy.stats.permutation_test(permutation_type="samples")`` of the clusters' net changes.
    """
    _same_length(first, second, clusters)
    first_only, second_only = _differing(first, second)
    if not first:
        return PairedTest(0, 0, 0, None, "sign_flip_by_item")
    change = [int(bool(b)) - int(bool(a)) for a, b in zip(first, second, strict=True)]
    net = np.bincount(_cluster_index(clusters), weights=change).astype(int)
    sizes = np.abs(net[net != 0])
    chances = np.ones(1)  # of each sum of the sizes whose sign is +
    for size in sizes:
        grown = np.zeros(len(chances) + size)
        grown[:-size] += chances / 2
        grown[size:] += chances / 2
        chances = grown
    totals = 2 * np.arange(len(chances)) - sizes.sum()
    p_value = float(chances[np.abs(totals) >= abs(net.sum())].sum())
    return PairedTest(len(first), first_only, second_only, min(1.0, p_value), "sign_flip_by_item")


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """Mean of second minus first over pairs in [0, 1], with the interval that suits them.

    Right-or-wrong pairs with one a cluster: :func:`newcombe`. All others: :func:`paired_bootstrap`;
    where that has no spread, because every cluster changed alike (mostly: not at all), Newcombe's
    interval with each cluster counted as one pair.

    Args:
        clusters: (pair,) pairs that belong together, e.g. one item in all its languages.
        seed: of the bootstrap.
    Raises:
        ValueError: lengths differ.
    """
    _same_length(first, second, clusters)
    alone = len(set(clusters)) == len(clusters)
    if alone and all(value in (0, 1) for value in (*first, *second)):
        return newcombe(first, second, confidence=confidence)
    found = paired_bootstrap(first, second, clusters, seed=seed, confidence=confidence)
    if found.low is None or found.high is None or found.high - found.low > 1e-9:
        return found
    return newcombe(first, second, n=found.n_clusters, confidence=confidence)


def newcombe(
    first: Sequence[float],
    second: Sequence[float],
    *,
    n: int | None = None,
    confidence: float = 0.95,
) -> Difference:
    """Difference of two shares over the same pairs, with Newcombe's square-and-add interval.

    It joins the two shares' Wilson intervals by the correlation of the pairs, so it has a width
    even where all pairs agree, and stays in [-1, 1].

    Args:
        first, second: (pair,) in [0, 1].
        n: what the pairs are worth, if they are not independent; None: their number.
    Raises:
        ValueError: lengths differ.
    Source: Newcombe 1998, Statistics in Medicine 17:2635, method 10.
    """
    _same_length(first, second)
    interval: Interval = "newcombe" if n is None else "newcombe_by_item"
    if not first:
        return Difference(None, None, None, 0, 0, interval)
    size = float(len(first) if n is None else n)
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    p, q = float(one.mean()), float(two.mean())
    covariance = float((one * two).mean()) - p * q
    if covariance > 0:  # his continuity correction, of shares instead of counts
        covariance = max(0.0, covariance - 1 / (2 * size))
    spread = (p * (1 - p) * q * (1 - q)) ** 0.5
    phi = covariance / spread if spread > 0 else 0.0
    (p_low, p_high), (q_low, q_high) = (_wilson_limits(x, size, confidence) for x in (p, q))
    low = q - p - _joined(q - q_low, p_high - p, phi)
    high = q - p + _joined(q_high - q, p - p_low, phi)
    return Difference(q - p, low, high, len(first), int(size), interval)


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

    The percentiles are expanded for few clusters. Where every cluster changed alike the interval
    has no width, which says nothing; :func:`paired_difference` then takes another.

    Args:
        first, second: (pair,) the same items, scored twice.
        clusters: (pair,) items that are drawn together, e.g. one item in all its languages.
        draws: bootstrap samples.
    Raises:
        ValueError: lengths differ.
    Source: Efron and Tibshirani 1993, chapter 13; clusters drawn with replacement. Hesterberg 2015
        for the expanded percentiles.
    """
    _same_length(first, second, clusters)
    if not first:
        return Difference(None, None, None, 0, 0, "bootstrap")
    index = _cluster_index(clusters)
    change = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    totals = np.bincount(index, weights=change)
    sizes = np.bincount(index)
    n_clusters = len(sizes)
    random = np.random.default_rng(seed)
    counts = random.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=draws)
    means = (counts @ totals) / (counts @ sizes)
    tail = expanded_tail(n_clusters, confidence)
    low, high = np.quantile(means, [tail, 1 - tail])
    value = float(change.mean())
    return Difference(value, float(low), float(high), len(first), n_clusters, "bootstrap")


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


def expanded_tail(n_clusters: int, confidence: float = 0.95) -> float:
    """Share of bootstrap draws to leave out on each side of an interval.

    The bootstrap's spread is too small by sqrt((n - 1) / n), and a normal quantile is too small for
    a spread that is estimated from n clusters; both matter for few clusters only.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap", the expanded
    percentile interval.
    """
    tail = (1 - confidence) / 2
    if n_clusters < 2:
        return tail
    from scipy.stats import t  # here, since it makes every start a second slower

    quantile = float(t.ppf(tail, n_clusters - 1)) * (n_clusters / (n_clusters - 1)) ** 0.5
    return NormalDist().cdf(quantile)


def _joined(one: float, other: float, correlation: float) -> float:
    """Half-width of a difference from the half-widths of its two parts."""
    return float(max(0.0, one * one - 2 * correlation * one * other + other * other) ** 0.5)


def _differing(first: Sequence[bool], second: Sequence[bool]) -> tuple[int, int]:
    """Pairs right in the first only, and in the second only."""
    pairs = list(zip(first, second, strict=True))
    return sum(bool(a) and not b for a, b in pairs), sum(bool(b) and not a for a, b in pairs)


def _same_length(*columns: Sequence[object]) -> None:
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"pairs needed: {lengths} values")


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
