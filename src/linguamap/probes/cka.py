"""Linear centred kernel alignment between two sets of representations, with HSIC debiased.

Sources: Kornblith et al. 2019, "Similarity of neural network representations revisited"
(arXiv:1905.00414), for linear CKA; Song et al. 2012, "Feature selection via dependence
maximization", for the unbiased HSIC; Murphy, Zylberberg and Fyshe 2024, "Correcting biased centered
kernel alignment measures in biological and artificial neural networks" (arXiv:2405.01012), for why
the plain one must not be used with more dimensions than items: it tends to 1 whatever the data.
"""

from __future__ import annotations

import numpy as np

from linguamap.probes.curves import Array

LEAST_ITEMS = 4


def gram(states: Array) -> Array:
    """(item, item) inner products of (item, d_model) states."""
    return states @ states.T


def unbiased_hsic(k: Array, l: Array) -> Array:  # noqa: E741
    """Song et al.'s unbiased estimate of HSIC; at least four items.

    ``[tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n(n-3))`` with zero diagonals.

    Args:
        k, l: (..., item, item) Gram matrices of two views of the same items.
    """
    n = k.shape[-1]
    off = 1.0 - np.eye(n)
    k, l = k * off, l * off  # noqa: E741
    trace = (k * l).sum((-1, -2))
    sums = k.sum((-1, -2)) * l.sum((-1, -2)) / ((n - 1) * (n - 2))
    cross = (k.sum(-1) * l.sum(-1)).sum(-1) * 2 / (n - 2)
    return np.asarray((trace + sums - cross) / (n * (n - 3)))


def debiased_cka(k: Array, l: Array) -> Array:  # noqa: E741
    """Debiased linear CKA of Gram matrices (..., item, item), about 0 for unrelated views.

    It may be slightly negative; NaN where a view has no variance or there are under four items.
    """
    if k.shape[-1] < LEAST_ITEMS:
        return np.full(k.shape[:-2], np.nan)
    scale = unbiased_hsic(k, k) * unbiased_hsic(l, l)
    usable = scale > 0
    root = np.sqrt(np.where(usable, scale, 1.0))
    return np.asarray(np.where(usable, unbiased_hsic(k, l) / root, np.nan))


def half_sample_cka(k: Array, l: Array, halves: Array) -> Array:  # noqa: E741
    """Debiased CKA of random halves of the items, for its interval.

    The ordinary bootstrap draws some items twice, and two equal items count as evidence for any
    similarity. A half drawn without replacement has no doubles, and its estimate scatters around
    the full one as the full one scatters around the truth (delete-half jackknife: (1 - 1/2) / (n/2)
    = 1/n; Shao and Wu 1989, "A general theory for jackknife variance estimation").

    Args:
        k, l: (..., item, item).
        halves: (draw, item) booleans.
    Returns:
        (draw, ...) values.
    """
    chosen = [np.flatnonzero(half) for half in halves]
    return np.stack([debiased_cka(k[..., c[:, None], c], l[..., c[:, None], c]) for c in chosen])
