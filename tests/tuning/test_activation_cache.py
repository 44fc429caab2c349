"""The cache of boundary states: when it holds, what it costs, what it frees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tuning_cases import ARCHITECTURES, some_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.models.language_model import LanguageModel
from linguamap.run.files import load_tensors
from linguamap.tuning.data.batches import collate
from linguamap.tuning.layers import choose_all
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.training.activation_cache import ActivationCache
from linguamap.tuning.training.split_model import SplitModel


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return tiny_lm(tmp_path_factory.mktemp("m"), "llama")


def test_states_are_the_boundary_layers_outputs(lm: LanguageModel) -> None:
    examples = some_examples(5)
    cache = ActivationCache(SplitModel(lm, 3), examples, 10**9)
    cache.build()
    states = cache.batch([1, 4], 40)
    for row, index in enumerate([1, 4]):
        ids = torch.tensor([examples[index].token_ids])
        (wanted,) = lm.block_outputs(ids, layers=[2])
        assert torch.allclose(states[row, : ids.shape[1]], wanted[0], atol=1e-5)
        assert not states[row, ids.shape[1] :].any()
    assert cache.bytes == sum(len(e.token_ids) for e in examples) * 32 * 4


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_examples_begin_with_is_read_once_and_changes_no_state(
    tmp_path: Path, kind: str
) -> None:
    """Beginnings of 30 tokens (longer than Gemma's window here) and of 10, and texts of their own."""
    lm = tiny_lm(tmp_path, kind)
    long, short = (tuple(range(3, 3 + n)) for n in (30, 10))
    examples = [
        replace(one, token_ids=begin + one.token_ids, loss_mask=(False,) * len(begin) + one.loss_mask)
        for one, begin in zip(some_examples(8), [long] * 3 + [short[::-1]] * 3 + [()] * 2)
    ]  # fmt: skip
    split = SplitModel(lm, 3)
    cache = ActivationCache(split, examples, 10**9)
    read: list[int] = []
    plain = split.prefix

    def counted(ids: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        read.append(ids.numel())
        return plain(ids, *args, **options)

    split.prefix = counted  # type: ignore[method-assign]
    cache.build()
    for index, example in enumerate(examples):
        (wanted,) = lm.block_outputs(torch.tensor([example.token_ids]), layers=[2])
        found = cache.batch([index], len(example.token_ids))
        assert torch.allclose(found, wanted, atol=1e-5)
    assert sum(read[:-8]) < sum(len(example.token_ids) for example in examples) or not read[:-8]


def test_the_key_holds_weights_tokens_dtype_and_attention(tmp_path: Path) -> None:
    examples = some_examples(3)

    def key(lm: LanguageModel, first: int = 3, n: int = 3, autocast: object = None) -> str:
        split = SplitModel(lm, first, autocast)  # type: ignore[arg-type]
        return ActivationCache(split, examples[:n], 10**9).key()

    lm = tiny_lm(tmp_path, "llama")
    keys = {key(lm), key(lm, first=4), key(lm, n=2), key(lm, autocast=torch.bfloat16)}
    lm.model.set_attn_implementation("eager")
    keys.add(key(lm))
    lm = tiny_lm(tmp_path, "llama")
    assert key(lm) in keys
    with torch.no_grad():
        lm.structure.blocks[3].mlp.up_proj.weight += 1  # above the boundary
    assert key(lm) in keys
    with torch.no_grad():
        lm.structure.blocks[1].mlp.up_proj.weight[0, 0] += 1e-3
    assert key(lm) not in keys
    assert len(keys) == 5


@pytest.mark.parametrize("damage", ["one bit", "cut", "no marker", "broken marker", "foreign"])
def test_a_finished_file_is_used_again_and_a_damaged_one_is_not(
    lm: LanguageModel, tmp_path: Path, damage: str
) -> None:
    examples = some_examples(4)
    first = ActivationCache(SplitModel(lm, 3), examples, 10**9, tmp_path)
    first.build()
    again = ActivationCache(SplitModel(lm, 3), examples, 10**9, tmp_path)
    again.build()
    assert again.reused
    assert torch.equal(again.states, first.states)
    wanted = again.states.clone()
    marker, states = tmp_path / f"{first.key()}.json", tmp_path / f"{first.key()}.states"
    content = bytearray(states.read_bytes())
    states.unlink()  # the caches above still have the old file mapped
    content[100] ^= damage == "one bit"
    states.write_bytes(content[:-4] if damage == "cut" else content)
    if damage == "no marker":
        marker.unlink()
    elif damage == "broken marker":
        marker.write_text('{"bytes": 12')
    elif damage == "foreign":
        ActivationCache(SplitModel(lm, 2), examples, 10**9, tmp_path).build()
        other = next(path for path in tmp_path.glob("*.states") if path != states)
        other.replace(states)
    mended = ActivationCache(SplitModel(lm, 3), examples, 10**9, tmp_path)
    mended.build()
    assert not mended.reused
    assert torch.equal(mended.states, wanted)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_higher_boundary_goes_on_from_a_lower_one_bit_for_bit(tmp_path: Path, kind: str) -> None:
    lm = tiny_lm(tmp_path / "m", kind)
    examples = some_examples(7)
    alone = ActivationCache(SplitModel(lm, 4), examples, 10**9)
    alone.build()
    ActivationCache(SplitModel(lm, 2), examples, 10**9, tmp_path / "c").build()
    shared = ActivationCache(SplitModel(lm, 4), examples, 10**9, tmp_path / "c")
    lm.structure.blocks[0].mlp.register_forward_hook(_forbidden)
    shared.build()
    assert shared.built_from == 1
    assert torch.equal(shared.states, alone.states)


def _forbidden(*args: object, **kwargs: object) -> None:
    raise AssertionError("a block below the lower boundary was run again")


def test_what_was_used_longest_ago_makes_room(lm: LanguageModel, tmp_path: Path) -> None:
    examples = some_examples(6)
    size = ActivationCache(SplitModel(lm, 2), examples, 10**9).bytes
    budget = 2 * size + size // 2
    for first_tuned in (4, 3, 4, 2):  # a lower boundary cannot go on from a higher one
        ActivationCache(SplitModel(lm, first_tuned), examples, budget, tmp_path).build()
        assert sum(path.stat().st_size for path in tmp_path.glob("*.states")) <= budget
    keys = ActivationCache(SplitModel(lm, 4), examples, budget).keys()
    assert {path.stem for path in tmp_path.glob("*.states")} == {keys[0], keys[2]}


def test_a_shared_cache_changes_no_weight(tmp_path: Path) -> None:
    settings = TuneConfig(epochs=2, batch_size=4, dtype="float32", learning_rate=1e-2)
    facts = []
    for layers in ((3, 4), (4,), (2,)):
        weights = []
        for shared in (None, tmp_path / "cache"):
            lm, out = tiny_lm(tmp_path / "m", "gemma3_text"), tmp_path / f"{layers}{shared is None}"
            facts.append(
                tune(lm, some_examples(12), settings, layers, out, seed=1, shared_cache=shared)
            )
            weights.append(load_tensors(out / "delta.safetensors")[0])
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())
    assert [fact["cache_reused_layers"] for fact in facts] == [0, 0, 0, 2, 0, 0]


def test_released_blocks_hold_no_memory_and_are_not_needed(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "bloom")
    examples = some_examples(4)
    split = SplitModel(lm, 3)
    cache = ActivationCache(split, examples, 10**9)
    cache.build()
    batch = collate(examples, [0, 3], 0)
    states = cache.batch(batch.indices, batch.ids.shape[1])
    before = split.head_input(batch.ids, states, batch.rows, batch.columns)
    split.release()
    for block in lm.structure.blocks[:2]:
        assert all(parameter.device.type == "meta" for parameter in block.parameters())
    after = split.head_input(batch.ids, states, batch.rows, batch.columns)
    assert torch.equal(before, after)


def test_a_small_budget_changes_nothing_but_the_cost(tmp_path: Path) -> None:
    settings = {"epochs": 2, "batch_size": 4, "dtype": "float32"}
    results = [
        tune(
            tiny_lm(tmp_path / "m", "qwen3"),
            some_examples(12),
            TuneConfig.model_validate({**settings, "cache_gb": budget}),
            (4,),
            tmp_path / str(budget),
            seed=0,
        )
        for budget in (1.0, 2e-5, 0.0)
    ]
    assert [r["cached_examples"] for r in results][::2] == [12, 0]
    assert 0 < results[1]["cached_examples"] < 12
    for other in results[1:]:
        assert other["train_loss"] == pytest.approx(results[0]["train_loss"], rel=1e-5)


def test_states_seen_once_are_not_kept(tmp_path: Path) -> None:
    config = TuneConfig(epochs=1, batch_size=4)
    lm = tiny_lm(tmp_path / "m", "llama")
    assert tune(lm, some_examples(8), config, (4,), tmp_path / "t", seed=0)["cache_bytes"] == 0


def test_states_seen_once_are_kept_for_others(tmp_path: Path) -> None:
    config = TuneConfig(epochs=1, batch_size=4, dtype="float32")
    results = []
    for shared in (None, tmp_path / "c"):
        lm = tiny_lm(tmp_path / "m", "llama")
        out = tmp_path / str(shared is None)
        results.append(tune(lm, some_examples(8), config, (4,), out, seed=0, shared_cache=shared))
    assert results[1]["cached_examples"] == 8
    assert results[1]["train_loss"] == pytest.approx(results[0]["train_loss"], rel=1e-5)


def test_states_that_do_not_fit_are_computed_again(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "gemma3_text")
    examples = some_examples(8)
    choose_all(lm)
    split = SplitModel(lm, 3)
    whole = ActivationCache(split, examples, budget_bytes=10**9)
    half = ActivationCache(split, examples, budget_bytes=whole.bytes // 2)
    whole.build()
    half.build()
    assert whole.complete
    assert not half.complete
    assert 0 < sum(half.held) < 8
    for row in range(8):
        size = len(examples[row].token_ids)
        a, b = whole.batch([0, row], 40)[1, :size], half.batch([0, row], 40)[1, :size]
        _close(b, a)


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-6)
