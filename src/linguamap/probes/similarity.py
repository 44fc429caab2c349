"""Similarity of translations per layer, with the controls that the raw cosine needs.

The raw cosine of mean-pooled states is close to 1 for any two sentences (see docs/methods/probes.md), so each
curve comes with its baseline of unrelated items, a cosine after each language's mean is taken off,
retrieval of the translation among all candidates, and debiased linear CKA.

Sources: Kornblith et al. 2019, "Similarity of neural network representations revisited"
(arXiv:1905.00414), for linear CKA; Song et al. 2012, "Feature selection via dependence
maximization", for the unbiased HSIC; Murphy, Zylberberg and Fyshe 2024, "Correcting biased centered
kernel alignment measures in biological and artificial neural networks" (arXiv:2405.01012), for why
the plain one must not be used with more dimensions than items: it tends to 1 whatever the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from linguamap.models.batching import batches_by_length, right_padded
from linguamap.probes.curves import Array, Band, bands, ratio_bands
from linguamap.progress import Progress, silent
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import ParallelItem

Pooling = Literal["mean", "last"]
Indices = npt.NDArray[np.intp]
Names = npt.NDArray[np.str_]
MEASURES = ("cosine", "cosine_unrelated", "centred", "centred_unrelated", "retrieval")
"""What is known of each item and pair; ``cka`` is known of sets of items only."""

CKA_DRAWS = 200
LEAST_ITEMS = 4

CURVES_SCHEMA = pa.schema(
    [
        ("layer", pa.int32()),
        ("language_a", pa.string()),
        ("language_b", pa.string()),
        ("kind", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int32()),
    ]
)

ITEMS_SCHEMA = pa.schema(
    [
        ("layer", pa.int32()),
        ("language_a", pa.string()),
        ("language_b", pa.string()),
        ("item_id", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),
        *((measure, pa.float64()) for measure in MEASURES),
    ]
)


@dataclass(frozen=True)
class SimilarityResult:
    """Curves with bands (:data:`CURVES_SCHEMA`) and the item values (:data:`ITEMS_SCHEMA`)."""

    curves: pa.Table
    items: pa.Table


def similarity(
    lm: LanguageModel,
    items: Sequence[ParallelItem],
    languages: Sequence[str],
    *,
    pooling: Pooling = "mean",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    batch_tokens: int = 2048,
    progress: Progress = silent,
) -> SimilarityResult:
    """Compare every pair of languages over parallel items, at every layer.

    Args:
        items: texts of the same meaning.
        pooling: ``mean`` over positions without the first (it holds the massive activations), as in
            the paper; or the ``last`` position.
    Raises:
        UserError: under two languages or four items.
    """
    if len(languages) < 2 or len(items) < LEAST_ITEMS:
        raise UserError(
            f"probe: similarity compares languages over items; found {len(languages)} language(s) "
            f"and {len(items)} item(s), needs at least 2 and 4"
        )
    states = pooled_states(
        lm, items, languages, pooling=pooling, batch_tokens=batch_tokens, progress=progress
    )
    return compare_states(states, items, bootstrap=bootstrap, seed=seed, confidence=confidence)


def pooled_states(
    lm: LanguageModel,
    items: Sequence[ParallelItem],
    languages: Sequence[str],
    *,
    pooling: Pooling = "mean",
    batch_tokens: int = 2048,
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> dict[str, Array]:
    """One vector per language, layer and item: language -> (layer, item, d_model) float32.

    Args:
        share: (rank, count): only the batches whose number modulo count is rank; the vectors of
            the others are 0, so that the shares' sum is the whole.
    """
    jobs = [
        (name, i, item.texts[name])
        for name in languages
        for i, item in enumerate(items)
        if name in item.texts
    ]
    token_ids = lm.tokenizer([text for _, _, text in jobs])["input_ids"]
    shape = (lm.n_layers + 1, len(items), lm.d_model)
    states = {name: np.zeros(shape, dtype=np.float32) for name in languages}
    batches = batches_by_length(list(map(len, token_ids)), batch_tokens)[share[0] :: share[1]]
    total, done = sum(map(len, batches)), 0
    for batch in batches:
        ids, mask = right_padded([token_ids[j] for j in batch], lm.tokenizer.pad_token_id or 0)
        weights = _pooling_weights(mask, pooling)

        def see(
            layer: int, hidden: Tensor, batch: list[int] = batch, weights: Tensor = weights
        ) -> None:
            pooled = torch.bmm(weights.to(hidden.device)[:, None], hidden.float())[:, 0].cpu()
            for j, vector in zip(batch, pooled.numpy(), strict=True):
                states[jobs[j][0]][layer, jobs[j][1]] = vector

        with lm.watch(range(lm.n_layers + 1), see):
            lm.run(ids, mask)
        done += len(batch)
        progress("similarity", done, total, "texts")
    return {name: np.asarray(value) for name, value in states.items()}


def _pooling_weights(mask: Tensor, pooling: Pooling) -> Tensor:
    """(batch, position) weights that add up to 1 in each row."""
    lengths = mask.sum(1)
    weights = mask.float().clone()
    if pooling == "last":
        weights.zero_()
        weights[range(len(mask)), lengths - 1] = 1.0
        return weights
    weights[lengths > 1, 0] = 0.0
    return weights / weights.sum(1, keepdim=True)


def compare_states(
    states: Mapping[str, Array],
    items: Sequence[ParallelItem],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> SimilarityResult:
    """All measures for all pairs of languages, from pooled states (layer, item, d_model)."""
    rows: list[dict[str, object]] = []
    tables: list[pa.Table] = []
    for a, b in combinations(states, 2):
        both = np.array([i for i, it in enumerate(items) if a in it.texts and b in it.texts], int)
        if len(both) < LEAST_ITEMS:
            continue
        part = [items[i] for i in both]
        names, table = _compare_pair(
            states[a][:, both], states[b][:, both], part, bootstrap, seed, confidence
        )
        rows += [{"language_a": a, "language_b": b} | row for row in names]
        tables.append(_items_table(a, b, part, table))
    curves = pa.Table.from_pylist(rows, CURVES_SCHEMA)
    return SimilarityResult(curves, pa.concat_tables([ITEMS_SCHEMA.empty_table(), *tables]))


def _compare_pair(
    a: Array,
    b: Array,
    items: Sequence[ParallelItem],
    bootstrap: int,
    seed: int,
    confidence: float,
) -> tuple[list[dict[str, object]], dict[str, Array]]:
    """Rows of the curves and (layer, item) values of one pair of languages."""
    kinds = np.array([item.kind for item in items])
    groups = np.array([f"{item.kind}/{item.group}" for item in items])
    values = _pair_values(
        _unit(a), _unit(b), _unit(_centre(a, kinds)), _unit(_centre(b, kinds)), kinds, groups
    )
    grams = [np.stack([gram(layer.astype(np.float64)) for layer in side]) for side in (a, b)]
    rows: list[dict[str, object]] = []
    for kind in ("all", *sorted(set(kinds))) if len(set(kinds)) > 1 else ("all",):
        chosen = np.flatnonzero(np.ones(len(kinds), bool) if kind == "all" else kinds == kind)
        found = _mean_bands(values, chosen, groups, bootstrap, seed, confidence)
        found["cka"] = _cka_bands(grams[0], grams[1], chosen, groups, seed, confidence)
        rows += [
            {"layer": layer, "kind": str(kind), "measure": measure, "n": len(chosen)}
            | band._asdict()
            for measure, curve in found.items()
            for layer, band in enumerate(curve)
        ]
    return rows, values


def _unit(states: Array) -> Array:
    norms = np.linalg.norm(states.astype(np.float64), axis=-1, keepdims=True)
    return np.asarray(states / np.where(norms > 0, norms, 1.0))


def _centre(states: Array, kinds: Names) -> Array:
    """Take the mean over the items of each kind off (layer, item, d_model)."""
    out = states.astype(np.float64)
    for kind in set(kinds):
        out[:, kinds == kind] -= out[:, kinds == kind].mean(1, keepdims=True)
    return out


def _pair_values(
    plain_a: Array, plain_b: Array, centred_a: Array, centred_b: Array, kinds: Names, groups: Names
) -> dict[str, Array]:
    """(layer, item) values of each of :data:`MEASURES` for one pair of languages."""
    unrelated = (kinds[:, None] == kinds) & (groups[:, None] != groups)
    raw = plain_a @ plain_b.transpose(0, 2, 1)
    flat = centred_a @ centred_b.transpose(0, 2, 1)
    own = np.arange(len(kinds))
    forth = flat.argmax(2) == own
    back = flat.argmax(1) == own
    return {
        "cosine": raw[:, own, own],
        "cosine_unrelated": _off_diagonal(raw, unrelated),
        "centred": flat[:, own, own],
        "centred_unrelated": _off_diagonal(flat, unrelated),
        "retrieval": (forth.astype(np.float64) + back) / 2,
    }


def _off_diagonal(values: Array, unrelated: Array) -> Array:
    """Mean of each item with the items unrelated to it, both ways; NaN if there are none."""
    count = unrelated.sum(1)
    both = (values * unrelated).sum(2) + (values * unrelated).sum(1)
    return np.asarray(np.where(count > 0, both / np.maximum(2 * count, 1), np.nan))


def _mean_bands(
    values: Mapping[str, Array],
    chosen: Indices,
    groups: Names,
    bootstrap: int,
    seed: int,
    confidence: float,
) -> dict[str, list[Band]]:
    """Means over the chosen items per layer, with the cluster bootstrap over their groups."""
    names, inverse = np.unique(groups[chosen], return_inverse=True)
    member = np.zeros((len(chosen), len(names)))
    member[np.arange(len(chosen)), inverse] = 1.0
    found = {}
    for measure, value in values.items():
        part = value[:, chosen]
        known = np.isfinite(part)
        found[measure] = ratio_bands(
            np.where(known, part, 0.0) @ member, known @ member, bootstrap, seed, confidence
        )
    return found


def _cka_bands(
    grams_a: Array,
    grams_b: Array,
    chosen: Indices,
    groups: Names,
    seed: int,
    confidence: float,
) -> list[Band]:
    """Debiased CKA per layer; its band from random halves of the groups."""
    k, l = (g[:, chosen[:, None], chosen] for g in (grams_a, grams_b))  # noqa: E741
    names, inverse = np.unique(groups[chosen], return_inverse=True)
    rng = np.random.default_rng(seed)
    halves = np.zeros((CKA_DRAWS, len(names)), dtype=bool)
    for half in halves:
        half[rng.choice(len(names), len(names) // 2, replace=False)] = True
    members = halves[:, inverse]
    members = members[members.sum(1) >= LEAST_ITEMS]
    values = debiased_cka(k, l)
    if not len(members):
        return [Band(float(v) if np.isfinite(v) else None, None, None) for v in values]
    return bands(values, half_sample_cka(k, l, members), confidence)


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


def _items_table(
    a: str, b: str, items: Sequence[ParallelItem], values: Mapping[str, Array]
) -> pa.Table:
    n_layers, n_items = values["cosine"].shape
    repeated = list(items) * n_layers
    columns: dict[str, object] = {
        "layer": np.repeat(np.arange(n_layers, dtype=np.int32), n_items),
        "language_a": [a] * len(repeated),
        "language_b": [b] * len(repeated),
        "item_id": [item.item_id for item in repeated],
        "group": [item.group for item in repeated],
        "kind": [item.kind for item in repeated],
    }
    for measure, value in values.items():
        flat = value.reshape(-1)
        columns[measure] = pa.array(flat, mask=~np.isfinite(flat))
    return pa.Table.from_pydict(columns, ITEMS_SCHEMA)
