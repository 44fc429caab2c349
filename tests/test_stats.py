"""Intervals and tests, against SciPy, statsmodels and hand-worked cases."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy import stats as scipy_stats

from linguamap.stats import clustered_rate, holm, mcnemar, paired_bootstrap, wilson


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
    difference = paired_bootstrap([], [], [])
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
    with pytest.raises(ValueError, match="pairs needed"):
        paired_bootstrap([1.0], [1.0], [])


def test_clustered_variance_by_hand() -> None:
    """Clusters (1, 1), (0, 0), (1, 0): p = 1/2, cluster sums of residuals 1, -1, 0.

    Variance = (1 + 1 + 0) / 36 * 3/2 = 1/12, so the effective size is (1/4) / (1/12) = 3.
    """
    values = [True, True, False, False, True, False]
    rate = clustered_rate(values, list("aabbcc"))
    expected = scipy_stats.binomtest(1, 2).proportion_ci(method="wilson")  # of size 2, for contrast
    z = scipy_stats.norm.ppf(0.975)
    half = z / (1 + z * z / 3) * (0.25 / 3 + z * z / 36) ** 0.5
    assert rate.value == 0.5
    assert rate.low == pytest.approx(0.5 - half)
    assert rate.high == pytest.approx(0.5 + half)
    assert rate.low is not None
    assert rate.low > expected.low


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
    effective = share * (1 - share) / variance
    z = scipy_stats.norm.ppf(0.975)
    centre = (share + z * z / (2 * effective)) / (1 + z * z / effective)
    rate = clustered_rate(values.tolist(), clusters.tolist())
    assert rate.low is not None
    assert rate.high is not None
    assert (rate.low + rate.high) / 2 == pytest.approx(centre)


def test_clusters_of_one_are_nearly_wilson_and_copies_add_nothing() -> None:
    values = [i % 3 == 0 for i in range(60)]
    alone = clustered_rate(values, range(60))
    plain = wilson(20, 60)
    assert alone.low == pytest.approx(plain.low, abs=0.003)
    copied = clustered_rate(
        [v for v in values for _ in range(6)], [i for i in range(60) for _ in range(6)]
    )
    assert copied.n == 360
    assert copied.low == pytest.approx(alone.low)
    assert copied.high == pytest.approx(alone.high)


def test_agreement_of_all_counts_clusters_not_observations() -> None:
    rate = clustered_rate([True] * 60, [i // 6 for i in range(60)])
    expected = wilson(10, 10)
    assert (rate.value, rate.low, rate.high, rate.n) == (1.0, expected.low, 1.0, 60)


def test_clustered_interval_covers() -> None:
    """Nominal 95 %, with strongly correlated clusters; a plain Wilson interval covers far less."""
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(50), 6)
    inside = plain_inside = 0
    for _ in range(400):
        values = random.random(300) < np.repeat(random.beta(1.4, 0.6, 50), 6)
        rate, plain = (
            clustered_rate(values.tolist(), clusters.tolist()),
            wilson(int(values.sum()), 300),
        )
        assert rate.low is not None and rate.high is not None  # noqa: PT018
        assert plain.low is not None and plain.high is not None  # noqa: PT018
        inside += rate.low <= 0.7 <= rate.high
        plain_inside += plain.low <= 0.7 <= plain.high
    assert 0.92 <= inside / 400 <= 0.98
    assert plain_inside / 400 < 0.85


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
