"""Language vectors: differences of means by hand, and added to the right rows of the right blocks."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from tuning_cases import some_examples, some_prompts, tiny_lm

from linguamap.config import ModelConfig, TuneConfig
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.records import UserError
from linguamap.tuning.data.batches import TrainingExample, answer_beginnings
from linguamap.tuning.delta import apply_delta, read_delta
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.serve import merge
from linguamap.tuning.untrained import (
    STRENGTHS,
    language_vectors,
    steered_loss,
)

KINDS = ("llama", "gpt2", "bloom", "gemma3_text")
IDS = torch.arange(3, 21).view(2, -1)


def _vectors(lm: LanguageModel, layers: tuple[int, ...] = (2, 4)) -> dict[tuple[int, str], Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        (layer, language): torch.randn(lm.d_model, generator=draw)
        for layer in layers
        for language in ("en", "hi")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_gets_its_own_languages_vector(kind: str, tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, kind)
    vectors = _vectors(lm, (3,))
    plain = lm.block_outputs(IDS, layers=[2, 3])
    with pytest.raises(ValueError, match="must be told the language of each row"):
        lm.steered(vectors, 0.5).block_outputs(IDS, layers=[3])
    below, steered = lm.steered(vectors, 0.5).block_outputs(
        IDS, layers=[2, 3], languages=["hi", "en"]
    )
    assert torch.equal(lm.block_outputs(IDS, layers=[3])[0], plain[1])  # the base stays plain
    assert torch.equal(below, plain[0])
    torch.testing.assert_close(steered[0], plain[1][0] + 0.5 * vectors[3, "hi"])
    torch.testing.assert_close(steered[1], plain[1][1] + 0.5 * vectors[3, "en"])


def test_the_model_goes_on_with_the_steered_states(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    vectors = _vectors(lm)
    with lm.steered(vectors, 2.0).speaking(["hi", "en"]):
        logits = lm.model(IDS).logits

    def add(layer: int, hidden: Tensor) -> Tensor:
        rows = torch.stack([vectors[layer, "hi"], vectors[layer, "en"]])
        return hidden + 2.0 * rows[:, None]

    with lm.watch([2, 4], add):
        torch.testing.assert_close(logits, lm.model(IDS).logits)


def test_after_speaking_the_model_is_the_plain_one(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    plain = lm.model(IDS).logits
    hooks = [len(block._forward_hooks) for block in lm.structure.blocks]
    with lm.steered(_vectors(lm), 1.0).speaking(["hi", "hi"]):
        assert not torch.allclose(lm.model(IDS).logits, plain)
    assert torch.equal(lm.model(IDS).logits, plain)
    assert [len(block._forward_hooks) for block in lm.structure.blocks] == hooks


def test_rows_may_change_as_rows_end(tmp_path: Path) -> None:
    """A batch that loses its first row goes on with the second row's language."""
    lm = tiny_lm(tmp_path, "llama")
    steered = lm.steered(_vectors(lm), 1.0)
    with steered.speaking(["hi", "en"]):
        both = lm.model(IDS).logits
    with steered.speaking(["en"]):
        torch.testing.assert_close(lm.model(IDS[1:]).logits[0], both[1], rtol=1e-4, atol=1e-4)


def test_left_padding_and_the_cache_change_nothing(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    steered = lm.steered(_vectors(lm), 1.0)
    short, long = IDS[0, :5], IDS[1]
    with steered.speaking(["hi"]):
        alone = lm.model(short[None]).logits[0, -1]
    ids = torch.stack([torch.cat([torch.zeros(4, dtype=torch.long), short]), long])
    mask = torch.tensor([[0] * 4 + [1] * 5, [1] * 9])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    more = torch.tensor([[7], [8]])
    with steered.speaking(["hi", "en"]):
        padded = lm.model(ids, attention_mask=mask, position_ids=positions, use_cache=True)
        stepped = lm.model(
            more,
            attention_mask=torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], 1),
            position_ids=positions[:, -1:] + 1,
            past_key_values=padded.past_key_values,
        ).logits[0, -1]
    torch.testing.assert_close(padded.logits[0, -1], alone, rtol=1e-4, atol=1e-4)
    with steered.speaking(["hi"]):
        whole = lm.model(torch.cat([short, more[0]])[None]).logits[0, -1]
    torch.testing.assert_close(stepped, whole, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    with pytest.raises(UserError, match=r"vector of \(5,\) for block 2 does not fit"):
        lm.steered({(2, "en"): torch.zeros(5)}, 1.0)
    with pytest.raises(UserError, match="block 9 does not fit the model, whose 4 blocks"):
        lm.steered({(9, "en"): torch.zeros(lm.d_model)}, 1.0)
    steered = lm.steered(_vectors(lm), 1.0)
    with pytest.raises(UserError, match="no vector for fr, ja; this delta has en, hi"):
        steered.run(IDS, languages=["fr", "hi", "ja"])
    with pytest.raises(ValueError, match="languages of 1 rows, but the batch has 2"):
        steered.run(IDS, languages=["hi"])


def _in_languages(*codes: str) -> list[TrainingExample]:
    """Two examples a language, of different lengths."""
    examples = some_examples(2 * len(codes))
    return [
        dataclasses.replace(one, language=codes[place // 2]) for place, one in enumerate(examples)
    ]


def test_vectors_are_differences_of_means(tmp_path: Path) -> None:
    """By hand: one text at a time, mean over its answer's positions, over texts, over languages."""
    lm = tiny_lm(tmp_path, "llama")
    examples = _in_languages("en", "fr", "hi")
    vectors = language_vectors(lm, examples, (2, 4))
    assert set(vectors) == {(layer, code) for layer in (2, 4) for code in ("en", "fr", "hi")}
    for place, layer in enumerate((2, 4)):
        means = []
        for one in examples:
            states = lm.block_outputs(torch.tensor([one.token_ids]), layers=[2, 4])[place][0]
            means.append(states[torch.tensor(one.loss_mask)].mean(0))
        en, fr, hi = ((means[i] + means[i + 1]) / 2 for i in (0, 2, 4))
        torch.testing.assert_close(vectors[layer, "fr"], fr - (en + hi) / 2, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(vectors[layer, "en"], en - (fr + hi) / 2, rtol=1e-4, atol=1e-5)


def test_one_language_or_none_makes_no_vector(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    with pytest.raises(UserError, match="two languages or more, found en"):
        language_vectors(lm, _in_languages("en"), (2,))
    with pytest.raises(UserError, match="e0 has no language"):
        language_vectors(lm, some_examples(2), (2,))


def test_steered_loss_is_that_of_the_hooked_model(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    examples = _in_languages("en", "hi")
    vectors = _vectors(lm)
    total, counted = 0.0, 0
    for one in examples:
        ids = torch.tensor([one.token_ids])
        with lm.steered(vectors, 2.0).speaking([str(one.language)]):
            logits = lm.model(ids).logits[0, :-1]
        labels = torch.where(torch.tensor(one.loss_mask), ids[0], -100)[1:]
        total += F.cross_entropy(logits, labels, reduction="sum").item()
        counted += one.n_targets
    assert math.isclose(steered_loss(lm, examples, vectors, 2.0), total / counted, rel_tol=1e-4)


def _steered(folder: Path, **changes: Any) -> dict[str, Any]:
    config = TuneConfig.model_validate({"method": "steer", **changes})
    lm = tiny_lm(folder / "base", "llama")
    return tune(lm, some_prompts(10), config, (3, 4), folder / "tuned", seed=0)


def test_a_run_ends_in_the_files_of_every_method(tmp_path: Path) -> None:
    tuning = _steered(tmp_path, strength=0.5)
    delta = read_delta(tmp_path / "tuned" / "delta.safetensors")
    assert set(delta.vectors) == {(layer, code) for layer in (3, 4) for code in ("en", "es")}
    assert (delta.method, delta.layers, delta.strength) == ("steer", (3, 4), 0.5)
    assert (tuning["strength"], tuning["strength_source"]) == (0.5, "config")
    assert tuning["layers"] == [3, 4]
    assert (tuning["trainable_parameters"], tuning["trainable_share"]) == (0, 0.0)
    assert (tuning["epochs"], tuning["seconds_per_epoch"], tuning["train_loss"]) == (0, [], [])
    assert tuning["delta_bytes"] == (tmp_path / "tuned" / "delta.safetensors").stat().st_size
    assert tuning["total_parameters"] > 0
    assert tuning["training_examples"] == 18
    assert tuning["validation_examples"] == 2


def test_the_loaded_model_is_steered_and_its_weights_are_the_bases(tmp_path: Path) -> None:
    _steered(tmp_path)
    base = ModelConfig(name=str(tmp_path / "base"), dtype="float32")
    plain = load_model(base)
    steered = apply_delta(load_model(base), tmp_path / "tuned" / "delta.safetensors")
    assert torch.equal(steered.model(IDS).logits, plain.model(IDS).logits)
    with steered.speaking(["es", "en"]):
        assert not torch.allclose(steered.model(IDS).logits, plain.model(IDS).logits)
    with plain.speaking(["es", "en"]):
        assert torch.equal(steered.model(IDS).logits, plain.model(IDS).logits)


def test_the_strength_can_be_chosen_on_validation_items(tmp_path: Path) -> None:
    tuning = _steered(tmp_path)
    losses = {float(name): loss for name, loss in tuning["strength_losses"].items()}
    assert set(losses) == {0.0, *STRENGTHS}
    assert tuning["strength"] == min(STRENGTHS, key=losses.__getitem__)
    assert tuning["strength_source"].startswith("lowest loss of the first tokens")
    assert read_delta(tmp_path / "tuned" / "delta.safetensors").strength == tuning["strength"]
    with pytest.raises(UserError, match=r"there are none; set tune\.strength"):
        _steered(tmp_path, validation_share=0.0)


def test_the_strength_is_chosen_at_the_first_tokens() -> None:
    example = TrainingExample("a", tuple(range(10)), (False,) * 3 + (True,) * 7, "g", "en")
    short = TrainingExample("b", (1, 2, 3), (False, False, True), "g", "hi")
    first, second = answer_beginnings([example, short], 4)
    assert first.token_ids == tuple(range(7))
    assert first.loss_mask == (False,) * 3 + (True,) * 4
    assert second == short


def test_there_is_nothing_to_merge(tmp_path: Path) -> None:
    _steered(tmp_path)
    base = ModelConfig(name=str(tmp_path / "base"))
    with pytest.raises(UserError, match="of the method steer, which changes no weight"):
        merge(
            lambda: load_model(base), tmp_path / "tuned" / "delta.safetensors", tmp_path / "merged"
        )
    assert not (tmp_path / "merged").exists()
