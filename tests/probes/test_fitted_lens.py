"""The fitted lens: it reads a middle layer in another basis as the last one, where the plain lens cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from sklearn.linear_model import Ridge
from tiny import TEXT, tiny_lm

from linguamap.models.language_model import LanguageModel
from linguamap.probes import fitted_lens
from linguamap.probes.fitted_lens import _fit, fit_lens
from linguamap.probes.lens import language_lens
from linguamap.probes.texts import LensText

IDENTIFIER = FakeIdentifier(("en", "es", "ar", "hi"), by_script)


def turned_lm() -> LanguageModel:
    """A model whose last block turns and shifts the states, and whose others leave them as they are."""
    lm = tiny_lm("llama")
    random = torch.Generator().manual_seed(1)
    turn, _ = torch.linalg.qr(torch.randn(lm.d_model, lm.d_model, generator=random))
    shift = torch.randn(lm.d_model, generator=random) * 0.1
    with torch.no_grad():
        lm.structure.embed.weight.copy_(torch.randn(384, lm.d_model, generator=random))
        for block in lm.structure.blocks:
            for parameter in block.parameters():
                parameter.zero_()

    def last(module: Any, args: Any, output: Any) -> Any:
        return output @ turn + shift

    lm.structure.blocks[-1].register_forward_hook(last)
    return lm


def texts() -> list[LensText]:
    codes = ["en", "en", "es", "es", "fr", "ar", "hi", "ja"]
    return [
        LensText(f"i{i}", f"g{i}", code, "monolingual", "open", text[:12], text[12:])
        for i, (code, text) in enumerate(zip(codes, TEXT, strict=True))
    ]


def other_texts() -> dict[str, list[str]]:
    """The same words in other places."""
    return {"en": [" ".join(reversed(text.split())) * 2 for text in TEXT] + TEXT}


def words_at(table: Any, layer: int) -> set[tuple[str, str | None, int]]:
    return {
        (row["item_id"], row["word_language"], row["n"])
        for row in table.to_pylist()
        if row["layer"] == layer
    }


def test_a_turned_copy_of_the_last_layer_is_read_as_that_layer_and_not_by_the_plain_lens() -> None:
    lm = turned_lm()
    mapped = fit_lens(lm, other_texts())
    assert mapped is not None
    assert min(mapped.explained) > 0.999
    ids = torch.tensor([lm.tokenizer(TEXT[0])["input_ids"]])
    last = lm.project(lm.block_outputs(ids, layers=[4])[0][0, 1:]).argmax(-1)
    for layer in (0, 1, 2, 3):
        states = lm.block_outputs(ids, layers=[layer])[0][0, 1:]
        assert torch.equal(lm.project(mapped(layer, states)).argmax(-1), last)
        assert (lm.project(states).argmax(-1) == last).float().mean() < 0.2
    plain = language_lens(lm, texts(), IDENTIFIER)
    fitted = language_lens(lm, texts(), IDENTIFIER, mapped=mapped)
    assert words_at(fitted, 2) == words_at(fitted, 4) == words_at(plain, 4)
    assert words_at(plain, 2) != words_at(plain, 4)


def test_it_is_scikit_learns_ridge_on_weighted_rows_and_standardised_dimensions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitted_lens, "PENALTIES", (1e-2,))
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 5)) * [1, 2, 3, 4, 50]
    y = x @ random.normal(size=(5, 5)) + random.normal(size=(60, 5))
    held = torch.zeros(60, dtype=torch.bool)
    held[50:] = True
    weight, bias, penalty, explained = _fit(torch.tensor(x), torch.tensor(y), held)
    share = 1 / (y**2).mean(1)
    share /= share.mean()
    fit = slice(0, 50)
    mean = np.average(x[fit], axis=0, weights=share[fit])
    deviation = np.sqrt((share[fit, None] * (x[fit] - mean) ** 2).mean(0))
    ridge = Ridge(alpha=1e-2 * 50).fit(x[fit] / deviation, y[fit], sample_weight=share[fit])
    np.testing.assert_allclose(weight.T, ridge.coef_ / deviation, rtol=1e-4)
    np.testing.assert_allclose(bias, ridge.intercept_, rtol=1e-4, atol=1e-5)
    rest = y[50:] - ridge.predict(x[50:] / deviation)
    centred = y[50:] - np.average(y[fit], axis=0, weights=share[fit])
    lost = (share[50:, None] * rest**2).sum() / (share[50:, None] * centred**2).sum()
    assert (penalty, explained) == (1e-2, pytest.approx(1 - lost, rel=1e-5))


def test_noise_is_not_fitted_and_too_few_texts_give_none() -> None:
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(80, 30, generator=random) for _ in range(2))
    held = torch.arange(80) % 5 == 4
    _, _, penalty, explained = _fit(x, y, held)
    assert penalty == max(fitted_lens.PENALTIES)
    assert explained < 0.1
    assert fit_lens(tiny_lm("llama"), {"en": ["one text"], "es": []}) is None
    assert fit_lens(tiny_lm("llama"), {}) is None
