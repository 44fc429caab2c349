"""Intervals and tests, against SciPy, statsmodels and hand-worked cases."""

from __future__ import annotations

import itertools
from itertools import pairwise
from math import comb

import numpy as np
import pytest
from scipy import stats as scipy_stats

from linguamap.scoring.stats import (
    clustered_rate,
    holm,
    least_p_value,
    mcnemar,
    newcombe,
    paired_bootstrap,
    paired_difference,
    paired_test,
    sign_flip,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 30), (5, 8), (30, 30), (123, 400)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, n: int, confidence: float) -> None:
    rate = wilson(successes, n, confidence)
    expected = scipy_stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert rate.value == successes / n
    assert rate.n == n
    assert rate.low == pytest.approx(expected.low, abs=1e-12)
    assert rate.high == pytest.approx(expected.high, abs=1e-12)


def test_no_data_is_none() -> None:
    for rate in (wilson(0, 0), clustered_rate([], [])):
        assert (rate.value, rate.low, rate.high, rate.n) == (None, None, None, 0)
    assert mcnemar([], []).p_value is None
    assert sign_flip([], [], []).p_value is None
    for difference in (
        paired_bootstrap([], [], []),
        newcombe([], []),
        paired_difference([], [], []),
    ):
        assert (difference.value, difference.low, difference.n) == (None, None, 0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"successes must be in \[0, 3\], found 4"):
        wilson(4, 3)
    with pytest.raises(ValueError, match="confidence must be in"):
        wilson(1, 3, 1.0)
    with pytest.raises(ValueError, match="2 values but 1 clusters"):
        clustered_rate([True, False], ["a"])
    with pytest.raises(ValueError, match="pairs needed"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="pairs needed: 1, 1, 0 values"):
        paired_bootstrap([1.0], [1.0], [])
    with pytest.raises(ValueError, match="pairs needed"):
        sign_flip([True], [True], [])
    with pytest.raises(ValueError, match="pairs needed"):
        newcombe([1.0], [])
    with pytest.raises(ValueError, match="pairs needed"):
        paired_difference([1.0], [1.0], [])


def _wilson_by_hand(share: float, size: float) -> tuple[float, float]:
    z = scipy_stats.norm.ppf(0.975)
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * (share * (1 - share) / size + z * z / (4 * size**2)) ** 0.5
    return centre - half, centre + half


def _few_clusters(m: int) -> float:
    """Korn and Graubard's factor: (z / t of m - 1 degrees of freedom) squared."""
    return (scipy_stats.norm.ppf(0.975) / scipy_stats.t.ppf(0.975, m - 1)) ** 2


def test_clustered_interval_by_hand() -> None:
    """Clusters (1, 1), (0, 0), (1, 0): p = 1/2, cluster sums of residuals 1, -1, 0.

    Variance = (1 + 1 + 0) / 36 * 3/2 = 1/12, so the observed size is (1/4) / (1/12) = 3, and so is the
    cautious one, the number of clusters: their average is 3 whatever the weights.
    """
    values = [True, True, False, False, True, False]
    rate = clustered_rate(values, list("aabbcc"))
    low, high = _wilson_by_hand(0.5, 3 * _few_clusters(3))
    assert (rate.value, rate.n) == (0.5, 6)
    assert (rate.low, rate.high) == (pytest.approx(low), pytest.approx(high))


def test_one_failure_by_hand() -> None:
    """One of 40 wrong, 8 clusters of 5: residual sums -7/8 and seven times 1/8, squares 7/8.

    Variance = 7/8 / 1600 * 8/7 = 1/1600; observed size (39/1600) * 1600 = 39; one failure weighs 1
    against 2: 1/size = (1/3)/39 + (2/3)/8.
    """
    rate = clustered_rate([False] + [True] * 39, [i // 5 for i in range(40)])
    size = 1 / (1 / 3 / 39 + 2 / 3 / 8)
    low, high = _wilson_by_hand(39 / 40, size * _few_clusters(8))
    assert (rate.low, rate.high) == (pytest.approx(low), pytest.approx(high))


def test_clustered_variance_is_that_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 6)
    values = random.random(240) < np.repeat(random.random(40), 6)
    fit = api.OLS(values.astype(float), np.ones(240)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    variance = float(fit.cov_params()[0, 0]) * 40 / 39
    share = values.mean()
    rarer = min(values.sum(), 240 - values.sum())
    weight = rarer / (rarer + 2)
    size = 1 / (weight * variance / (share * (1 - share)) + (1 - weight) / 40)
    low, high = _wilson_by_hand(share, size * _few_clusters(40))
    rate = clustered_rate(values.tolist(), clusters.tolist())
    assert (rate.low, rate.high) == (pytest.approx(low), pytest.approx(high))


def test_clusters_of_one_are_nearly_wilson_and_copies_add_nothing() -> None:
    values = [i % 3 == 0 for i in range(60)]
    alone = clustered_rate(values, range(60))
    plain = wilson(20, 60)
    assert alone.low == pytest.approx(plain.low, abs=0.005)
    copied = clustered_rate(
        [v for v in values for _ in range(6)], [i for i in range(60) for _ in range(6)]
    )
    assert copied.n == 360
    assert copied.low == pytest.approx(alone.low, abs=0.002)
    assert copied.high == pytest.approx(alone.high, abs=0.002)


def test_agreement_of_all_counts_clusters_not_observations() -> None:
    rate = clustered_rate([True] * 60, [i // 6 for i in range(60)])
    low, _ = _wilson_by_hand(1.0, 10 * _few_clusters(10))
    assert (rate.value, rate.low, rate.high, rate.n) == (1.0, pytest.approx(low), 1.0, 60)


def test_there_is_no_jump_between_one_failure_and_none() -> None:
    """195 answers to 9 items: by 0.1.0's rule 70 to 100 % without a failure, 97 to 100 % with one."""
    items = [i % 9 for i in range(195)]
    lows = [clustered_rate([i >= k for i in range(195)], items).low for k in range(4)]
    assert all(low is not None for low in lows)
    steps = [abs(b - a) for a, b in pairwise(low for low in lows if low is not None)]
    assert max(steps) < 0.1
    assert lows[0] is not None and lows[0] < 0.75  # noqa: PT018


@pytest.mark.parametrize("n_clusters", [8, 9, 24])
@pytest.mark.parametrize(("p", "icc"), [(0.25, 0.1), (0.25, 0.3), (0.97, 0.1), (0.97, 0.3)])
def test_clustered_interval_covers(n_clusters: int, p: float, icc: float) -> None:
    """Nominal 95 %; beta-binomial items of 21 prompts. 600 draws know a coverage to 1.8 points."""
    random = np.random.default_rng(1)
    a, b = p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc
    clusters = np.repeat(np.arange(n_clusters), 21).tolist()
    inside = 0
    for _ in range(600):
        values = random.random(21 * n_clusters) < np.repeat(random.beta(a, b, n_clusters), 21)
        rate = clustered_rate(values.tolist(), clusters)
        assert rate.low is not None and rate.high is not None  # noqa: PT018
        inside += rate.low <= p <= rate.high
    assert inside / 600 >= 0.93 - 0.018


def test_the_least_p_that_a_paired_test_can_reach() -> None:
    """Eight pairs that all change one way: 2 * (1/2)**8; over 72 cells Holm makes .5625 of it."""
    assert least_p_value(8) == mcnemar([False] * 8, [True] * 8).p_value == 2**-7
    assert least_p_value(1) == 1.0
    assert least_p_value(0) is None


def test_mcnemar_by_hand() -> None:
    """Three only in the second, none only in the first: two-sided exact p = 2 * (1/2)**3."""
    result = mcnemar([True, True, False, False, False], [True, True, True, True, True])
    assert (result.n, result.first_only, result.second_only) == (5, 0, 3)
    assert result.p_value == pytest.approx(0.25)
    assert mcnemar([True, False], [True, False]).p_value == 1.0


def test_mcnemar_is_statsmodels() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for b, c in itertools.product((0, 2, 7, 15), (1, 9)):
        first = [True] * b + [False] * c + [True] * 5
        second = [False] * b + [True] * c + [True] * 5
        expected = tables.mcnemar([[5, b], [c, 0]], exact=True).pvalue
        assert mcnemar(first, second).p_value == pytest.approx(expected)


def test_mcnemar_is_the_binomial_tail() -> None:
    first_only, second_only = 4, 12
    tail = sum(comb(16, k) for k in range(first_only + 1)) / 2**16
    result = mcnemar([True] * 4 + [False] * 12, [False] * 4 + [True] * 12)
    assert result.second_only == second_only
    assert result.p_value == pytest.approx(2 * tail)


def test_sign_flip_by_hand() -> None:
    """Items a (+2), b (+1), c (-1), d (0): |total| is 2. Of the 8 signs of a, b, c the totals are
    4, 2, 2, 0, 0, -2, -2, -4, so 6 of 8 are at least as far from 0.
    """
    first = [False, False, False, True, True, True, False]
    second = [True, True, True, False, True, False, True]
    result = sign_flip(first, second, list("aabcadd"))
    assert (result.n, result.first_only, result.second_only) == (7, 2, 4)
    assert result.p_value == pytest.approx(6 / 8)
    assert result.test == "sign_flip_by_item"
    same = sign_flip([True, True], [True, True], ["a", "a"])
    assert (same.p_value, same.first_only) == (1.0, 0)


@pytest.mark.parametrize(
    ("gained", "lost", "same"), [(0, 0, 4), (3, 0, 0), (6, 1, 9), (40, 61, 30)]
)
def test_sign_flip_of_one_pair_an_item_is_the_exact_mcnemar_test(
    gained: int, lost: int, same: int
) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    first = [False] * gained + [True] * lost + [True] * same
    second = [True] * gained + [False] * lost + [True] * same
    expected = tables.mcnemar([[same, lost], [gained, 0]], exact=True).pvalue
    found = sign_flip(first, second, range(len(first)))
    assert found.p_value == pytest.approx(expected, rel=1e-12)
    assert (found.first_only, found.second_only) == (lost, gained)


def test_sign_flip_is_scipys_exact_permutation_test() -> None:
    random = np.random.default_rng(8)
    for _ in range(5):
        clusters = random.integers(0, 9, 40)
        first, second = (random.random(40) < share for share in (0.4, 0.6))
        net = np.bincount(clusters, weights=second.astype(float) - first)
        expected = scipy_stats.permutation_test(
            (net,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        found = sign_flip(first.tolist(), second.tolist(), clusters.tolist())
        assert found.p_value == pytest.approx(expected)


def test_sign_flip_of_copies_says_no_more_than_one() -> None:
    first, second = [False] * 9 + [True], [True] * 9 + [False]
    copied = [i for i in range(10) for _ in range(6)]
    found = sign_flip([first[i] for i in copied], [second[i] for i in copied], copied)
    assert found.p_value == pytest.approx(mcnemar(first, second).p_value)


def test_sign_flip_errs_as_often_as_it_says() -> None:
    """24 items, 20 prompts each, no difference, in some items all flips go the same way.

    Regression: pooled rows took McNemar's test, as if prompts of one item were independent.
    """
    random = np.random.default_rng(9)
    by_pair = by_item = 0
    for _ in range(400):
        flipped = random.random((24, 20)) < 0.25
        together = random.random((24, 1)) < 0.6
        up = np.where(together, random.random((24, 1)), random.random((24, 20))) < 0.5
        first, second = (np.where(flipped, side, True).ravel().tolist() for side in (~up, up))
        by_pair += (mcnemar(first, second).p_value or 0) < 0.05
        by_item += (
            sign_flip(first, second, np.repeat(np.arange(24), 20).tolist()).p_value or 0
        ) < 0.05
    assert by_pair / 400 > 0.2
    assert 0.02 < by_item / 400 < 0.075  # 0.05, and 2.3 standard errors of 400 runs


def test_pairs_alone_take_mcnemar_and_newcombe_pooled_ones_what_knows_items() -> None:
    first, second = [True, False, False, True], [True, True, True, False]
    assert paired_test(first, second, range(4)).test == "mcnemar"
    assert paired_test(first, second, [0, 0, 1, 1]).test == "sign_flip_by_item"
    assert paired_difference(first, second, range(4)) == newcombe(first, second)
    pooled = paired_difference(first, second, [0, 0, 1, 2], seed=3)
    assert pooled == paired_bootstrap(first, second, [0, 0, 1, 2], seed=3)
    assert (pooled.interval, pooled.n_clusters) == ("bootstrap", 3)
    means = paired_difference([0.5, 1.0, 0.0], [1.0, 1.0, 0.5], range(3))  # of several seeds
    assert means.interval == "bootstrap"


# Both, first only, second only, neither right; first minus second and its limits as published.
PUBLISHED = [
    ((14, 5, 0, 22), 0.122, 0.011, 0.226, 3),  # Altman et al. 2000, table 6.2
    ((59, 6, 16, 80), -0.0621, -0.1186, -0.0046, 4),  # Fagerland et al. 2017, table 8.3 (Cavo)
]


@pytest.mark.parametrize(("table", "value", "low", "high", "digits"), PUBLISHED)
def test_newcombe_is_the_published_one(
    table: tuple[int, int, int, int], value: float, low: float, high: float, digits: int
) -> None:
    both, one, other, neither = table
    first = [True] * (both + one) + [False] * (other + neither)
    second = [True] * both + [False] * one + [True] * other + [False] * neither
    found = newcombe(second, first)
    assert (found.value, found.low, found.high) == tuple(
        pytest.approx(x, abs=0.5001 * 10**-digits) for x in (value, low, high)
    )
    mirrored = newcombe(first, second)
    assert (mirrored.low, mirrored.high) == pytest.approx((-(found.high or 0), -(found.low or 0)))


def test_newcombe_has_a_width_where_all_pairs_agree() -> None:
    """Two pairs, both wrong twice: no correlation is known, so Wilson's limits of 0 in 2 either way.

    Regression: the bootstrap gave 0 (0 to 0).
    """
    wrong = wilson(0, 2)
    found = paired_difference([False] * 2, [False] * 2, range(2))
    assert (found.value, found.interval) == (0.0, "newcombe")
    assert (found.low, found.high) == pytest.approx((-wrong.high, wrong.high))  # type: ignore[operator]
    for n, right in itertools.product(range(1, 12), range(12)):
        values = [i < right for i in range(n)]
        found = newcombe(values, values)
        assert found.low is not None and found.high is not None  # noqa: PT018
        assert -1 <= found.low < -0.01 < 0.01 < found.high <= 1


def test_items_that_all_change_alike_count_once_each() -> None:
    """Five items with six prompts, all gained: as five pairs, not thirty."""
    clusters = [i // 6 for i in range(30)]
    found = paired_difference([False] * 30, [True] * 30, clusters)
    expected = newcombe([False] * 5, [True] * 5)
    assert (found.value, found.low, found.high) == (1.0, expected.low, expected.high)
    assert (found.n, found.n_clusters, found.interval) == (30, 5, "newcombe_by_item")
    assert (expected.low or 0) < 0.5


def test_bootstrap_covers_with_eight_items() -> None:
    """Regression: the plain percentiles held the truth in less than 90 % of such runs."""
    random = np.random.default_rng(10)
    clusters = [i // 10 for i in range(80)]
    inside = 0
    for run in range(400):
        leaning = random.normal(0.0, 1.0, 8)
        change = np.repeat(leaning, 10) + random.normal(0.0, 1.0, 80)
        found = paired_bootstrap([0.0] * 80, change.tolist(), clusters, seed=run, draws=800)
        assert found.low is not None and found.high is not None  # noqa: PT018
        inside += found.low <= 0 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_bootstrap_of_a_constant_change_is_that_change() -> None:
    difference = paired_bootstrap([0.0] * 8, [0.25] * 8, range(8))
    assert (difference.value, difference.low, difference.high) == (0.25, 0.25, 0.25)
    assert (difference.n, difference.n_clusters) == (8, 8)


def test_bootstrap_width_is_the_normal_ones_for_many_clusters() -> None:
    random = np.random.default_rng(3)
    change = random.normal(0.2, 1.0, 400)
    difference = paired_bootstrap(np.zeros(400).tolist(), change.tolist(), range(400), draws=4000)
    error = change.std() / 20
    assert difference.value == pytest.approx(change.mean())
    assert difference.low == pytest.approx(change.mean() - 1.96 * error, abs=0.15 * error)
    assert difference.high == pytest.approx(change.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_draws_clusters() -> None:
    """Six copies of each pair say no more than one: the interval must not shrink."""
    random = np.random.default_rng(4)
    change = random.normal(0.0, 1.0, 60)
    once = paired_bootstrap([0.0] * 60, change.tolist(), range(60), seed=5)
    clusters = [i for i in range(60) for _ in range(6)]
    copied = paired_bootstrap([0.0] * 360, np.repeat(change, 6).tolist(), clusters, seed=5)
    assert copied.low == pytest.approx(once.low)
    assert copied.high == pytest.approx(once.high)


def test_bootstrap_is_seeded() -> None:
    first, second, clusters = [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0], list("abcd")
    assert paired_bootstrap(first, second, clusters) == paired_bootstrap(first, second, clusters)


def test_holm_by_hand() -> None:
    """Four p values: times 4, 3, 2, 1, never falling; a missing one does not count."""
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == [
        pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06), pytest.approx(0.02),
    ]  # fmt: skip
    assert holm([]) == []
    assert holm([None]) == [None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(6).random(20) ** 3
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values.tolist()) == pytest.approx(expected.tolist())
