"""Similarity measures against scikit-learn and literal definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from tiny import TEXT, tiny_lm

from linguamap.probes.curves import Array
from linguamap.probes.similarity import (
    CURVES_SCHEMA,
    ITEMS_SCHEMA,
    SimilarityResult,
    compare_states,
    debiased_cka,
    gram,
    pooled_states,
    similarity,
    unbiased_hsic,
)
from linguamap.probes.texts import ParallelItem
from linguamap.records import UserError

N_ITEMS, N_LAYERS, WIDTH = 7, 3, 12


def make_items(n: int = N_ITEMS, kinds: str = "sums", languages: str = "ab") -> list[ParallelItem]:
    texts = dict.fromkeys(languages, "")
    return [ParallelItem(f"i{i}", f"g{i}", kinds, texts) for i in range(n)]


def random_states(seed: int = 0, n: int = N_ITEMS) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(N_LAYERS, n, WIDTH))
    return {
        code: meaning + 0.5 * rng.normal(size=meaning.shape) + 3 * rng.normal(size=(1, 1, WIDTH))
        for code in "ab"
    }


def value(result: SimilarityResult, measure: str, layer: int, kind: str = "all") -> float:
    (found,) = [
        r["value"]
        for r in result.curves.to_pylist()
        if (r["measure"], r["layer"], r["kind"]) == (measure, layer, kind)
    ]
    return float(found)


def test_measures_agree_with_their_definitions() -> None:
    states = random_states()
    result = compare_states(states, make_items(), bootstrap=50)
    off = ~np.eye(N_ITEMS, dtype=bool)
    for layer in range(N_LAYERS):
        a, b = states["a"][layer], states["b"][layer]
        raw = cosine_similarity(a, b)
        flat = cosine_similarity(a - a.mean(0), b - b.mean(0))
        hits = [flat[i].argmax() == i for i in range(N_ITEMS)]
        hits += [flat[:, i].argmax() == i for i in range(N_ITEMS)]
        assert value(result, "cosine", layer) == pytest.approx(np.diag(raw).mean())
        assert value(result, "cosine_unrelated", layer) == pytest.approx(raw[off].mean())
        assert value(result, "centred", layer) == pytest.approx(np.diag(flat).mean())
        assert value(result, "centred_unrelated", layer) == pytest.approx(flat[off].mean())
        assert value(result, "retrieval", layer) == pytest.approx(np.mean(hits))


def literal_unbiased_hsic(k: Array, l: Array) -> float:  # noqa: E741
    """The U-statistic over all ordered quadruples of different items (Song et al. 2012)."""
    n = len(k)
    terms = [
        k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(n), 4)
    ]
    return float(np.mean(terms))


def test_hsic_equals_the_literal_u_statistic() -> None:
    rng = np.random.default_rng(1)
    k, l = gram(rng.normal(size=(7, 4))), gram(rng.normal(size=(7, 9)))  # noqa: E741
    assert unbiased_hsic(k, l) == pytest.approx(literal_unbiased_hsic(k, l))
    assert unbiased_hsic(k, k) == pytest.approx(literal_unbiased_hsic(k, k))
    expected = literal_unbiased_hsic(k, l) / np.sqrt(
        literal_unbiased_hsic(k, k) * literal_unbiased_hsic(l, l)
    )
    assert debiased_cka(k, l) == pytest.approx(expected)


def test_debiased_cka_is_near_0_where_the_biased_one_is_near_1() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 2000)), rng.normal(size=(30, 2000))
    k, l = gram(x - x.mean(0)), gram(y - y.mean(0))  # noqa: E741
    biased = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    assert biased > 0.9
    assert abs(float(debiased_cka(k, l))) < 0.1


def test_cka_is_1_for_itself_and_blind_to_rotation_shift_and_scale() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 5))
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    other = 7 * (x @ turn) + rng.normal(size=5)
    assert debiased_cka(gram(x), gram(x)) == pytest.approx(1.0)
    assert debiased_cka(gram(x), gram(other)) == pytest.approx(1.0)
    assert np.isnan(debiased_cka(gram(x[:3]), gram(x[:3])))
    assert np.isnan(debiased_cka(np.ones((6, 6)), gram(x[:6])))


def test_equal_texts_are_found_and_unrelated_ones_are_not() -> None:
    same = random_states()
    same["b"] = same["a"]
    result = compare_states(same, make_items(), bootstrap=20)
    assert value(result, "retrieval", 1) == 1.0
    assert value(result, "cosine", 1) == pytest.approx(1.0)
    assert value(result, "cka", 1) == pytest.approx(1.0)
    rng = np.random.default_rng(4)
    n = 60
    unrelated = {code: rng.normal(size=(N_LAYERS, n, WIDTH)) for code in "ab"}
    result = compare_states(unrelated, make_items(n), bootstrap=20)
    assert value(result, "retrieval", 1) < 0.1
    assert abs(value(result, "cka", 1)) < 0.1
    assert abs(value(result, "centred", 1)) < 0.15


def test_an_offset_between_languages_hides_nothing_after_centring() -> None:
    states = random_states(5)
    moved = {"a": states["a"], "b": states["b"] + 100.0}
    first, second = (compare_states(s, make_items(), bootstrap=20) for s in (states, moved))
    assert value(first, "centred", 2) == pytest.approx(value(second, "centred", 2))
    assert value(first, "cosine", 2) != pytest.approx(value(second, "cosine", 2), abs=0.1)


def test_kinds_have_their_own_rows_and_items_of_one_group_are_not_unrelated() -> None:
    states = random_states(6, 10)
    items = [
        ParallelItem(f"i{i}", "same" if i < 4 else f"g{i}", kind, {"a": "", "b": ""})
        for i, kind in enumerate(["sums"] * 5 + ["choice"] * 5)
    ]
    result = compare_states(states, items, bootstrap=20)
    assert {r["kind"] for r in result.curves.to_pylist()} == {"all", "choice", "sums"}
    raw = cosine_similarity(states["a"][0], states["b"][0])
    # Among the sums only item 4 is unrelated to items 0..3, and they to it.
    pairs = [(i, 4) for i in range(4)] + [(4, i) for i in range(4)]
    by_item = [np.mean([raw[i, 4], raw[4, i]]) for i in range(4)]
    by_item.append(np.mean([raw[i, j] for i, j in pairs]))
    assert value(result, "cosine_unrelated", 0, "sums") == pytest.approx(np.mean(by_item))
    assert result.items.schema.equals(ITEMS_SCHEMA)
    assert result.curves.schema.equals(CURVES_SCHEMA)


def test_pairs_are_compared_over_the_items_that_both_have() -> None:
    states = random_states(7, 12)
    items = [
        ParallelItem(f"i{i}", f"g{i}", "sums", {"a": ""} if i < 4 else {"a": "", "b": ""})
        for i in range(12)
    ]
    result = compare_states(states, items, bootstrap=20)
    assert {r["n"] for r in result.curves.to_pylist()} == {8}
    part = {code: s[:, 4:] for code, s in states.items()}
    again = compare_states(part, items[4:], bootstrap=20)
    assert result.curves.equals(again.curves)


def test_bands_hold_the_value_and_shrink_with_more_items() -> None:
    widths = []
    for n in (10, 90):
        result = compare_states(random_states(8, n), make_items(n), bootstrap=200)
        for r in result.curves.to_pylist():
            assert r["low"] - 1e-9 <= r["value"] <= r["high"] + 1e-9
        widths.append(
            np.mean(
                [r["high"] - r["low"] for r in result.curves.to_pylist() if r["measure"] == "cka"]
            )
        )
    assert widths[1] < 0.6 * widths[0]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pooled_states_equal_transformers(pooling: str) -> None:
    lm = tiny_lm("qwen3")
    items = [
        ParallelItem(f"i{i}", f"g{i}", "open", {"en": TEXT[i], "es": TEXT[-1 - i]})
        for i in range(4)
    ]
    states = pooled_states(lm, items, ["en", "es"], pooling=pooling, batch_tokens=64)  # type: ignore[arg-type]
    assert states["en"].shape == (5, 4, 32)
    for i, item in enumerate(items):
        ids = torch.tensor([lm.tokenizer(item.texts["es"])["input_ids"]])
        with torch.no_grad():
            reference = lm.model(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in range(4):
            hidden = reference[layer][0]
            expected = hidden[1:].mean(0) if pooling == "mean" else hidden[-1]
            np.testing.assert_allclose(states["es"][layer, i], expected, atol=1e-4)


def test_whole_similarity_runs_and_too_little_is_refused() -> None:
    lm = tiny_lm("llama")
    items = [
        ParallelItem(f"i{i}", f"g{i}", "open", {"en": TEXT[i], "es": TEXT[i + 4], "fr": TEXT[i]})
        for i in range(4)
    ]
    result = similarity(lm, items, ["en", "es", "fr"], bootstrap=20)
    pairs = {(r["language_a"], r["language_b"]) for r in result.curves.to_pylist()}
    assert pairs == {("en", "es"), ("en", "fr"), ("es", "fr")}
    assert result.items.num_rows == 3 * 4 * 5
    with pytest.raises(UserError, match="needs at least 2 and 4"):
        similarity(lm, items[:3], ["en", "es"])
