"""Tuning on kept boundary states gives what plain training with frozen blocks gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tuning_cases import ARCHITECTURES, plain_loss, some_examples, tiny_lm

from linguamap.tuning.data.batches import collate
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.training.activation_cache import ActivationCache
from linguamap.tuning.training.loss import frozen_head, head_loss
from linguamap.tuning.training.split_model import SplitModel

STATES = ("mamba", "recurrent_gemma", "jamba", "rwkv")
MORE = ("mistral", "gemma2", "opt", "phi", "gptj", "falcon", "cohere", "granite", "qwen3_moe")


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-6)


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *MORE, *STATES])
def test_loss_and_gradients_equal_plain_training(kind: str, tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, kind)
    examples = some_examples(6)
    trainable = choose_parameters(lm, (3, 4))
    split = SplitModel(lm, 3)
    cache = ActivationCache(split, examples, budget_bytes=10**9)
    cache.build()
    split.prepare()
    order = [4, 0, 2, 5]
    batch = collate(examples, order, pad=0)
    states = cache.batch(order, batch.ids.shape[1])
    hidden = split.head_input(batch.ids, states, batch.rows, batch.columns)
    head = frozen_head(lm.structure, torch.float32)
    assert head is not None
    loss = head_loss(hidden, batch.targets, lm.structure, head)
    loss.backward()
    ours = {name: p.grad.clone() for name, p in trainable.parameters.items() if p.grad is not None}
    lm.model.zero_grad()
    wanted, counted = plain_loss(lm.model, [examples[index] for index in order])
    wanted.backward()
    assert counted == len(batch.targets)
    _close(loss.detach(), wanted.detach())
    largest = max(p.grad.abs().max() for p in trainable.parameters.values() if p.grad is not None)
    for name, parameter in trainable.parameters.items():
        if parameter.grad is None:
            assert name not in ours
            continue
        assert (ours[name] - parameter.grad).abs().max() <= 1e-5 * largest, name


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_parts_of_the_last_block_skip_uncounted_rows(kind: str, tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, kind)
    choose_parameters(lm, (4,))
    split = SplitModel(lm, 4)
    split.prepare()
    names = {id(module): name for name, module in lm.structure.blocks[-1].named_modules()}
    skipping = [names[id(module)] for module in split.skipper.modules]
    assert any("mlp" in name for name in skipping)
    for name in skipping:
        assert not any(part in name for part in ("k_proj", "v_proj", "query_key_value", "c_attn"))


def _saved_bytes(split: SplitModel, layers: tuple[int, ...]) -> int:
    """What a forward pass keeps for its backward pass, weights left out, when some blocks are trained."""
    lm, examples = split.lm, some_examples(4)
    choose_parameters(lm, layers)
    weights = {parameter.untyped_storage().data_ptr() for parameter in lm.model.parameters()}
    batch = collate(examples, range(4), pad=0)
    states = split.prefix(batch.ids)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = split.head_input(batch.ids, states, batch.rows, batch.columns)
    hidden.sum().backward()  # type: ignore[no-untyped-call]
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text"])
def test_middle_blocks_begin_at_the_lowest_and_train_nothing_above(
    kind: str, tmp_path: Path
) -> None:
    """Of four blocks the second: the first is not run, the third and fourth only pass gradients on."""
    lm = tiny_lm(tmp_path, kind)
    examples = some_examples(6)
    trainable = choose_parameters(lm, (2,))
    split = SplitModel(lm, 2)
    cache = ActivationCache(split, examples, budget_bytes=10**9)
    cache.build()
    split.prepare()
    order = [3, 1, 5]
    batch = collate(examples, order, pad=0)
    inner = [module for module in lm.structure.blocks[0].modules() if not list(module.children())]
    called: list[torch.nn.Module] = []
    handles = [module.register_forward_hook(lambda m, a, o: called.append(m)) for module in inner]
    states = cache.batch(order, batch.ids.shape[1])
    hidden = split.head_input(batch.ids, states, batch.rows, batch.columns)
    loss = head_loss(hidden, batch.targets, lm.structure, frozen_head(lm.structure, torch.float32))
    loss.backward()
    for handle in handles:
        handle.remove()
    assert not called
    with_gradient = {name for name, p in lm.model.named_parameters() if p.grad is not None}
    assert with_gradient == set(trainable.parameters)
    ours = {name: p.grad.clone() for name, p in trainable.parameters.items() if p.grad is not None}
    lm.model.zero_grad()
    wanted, _ = plain_loss(lm.model, [examples[index] for index in order])
    wanted.backward()
    largest = max(gradient.abs().max() for gradient in ours.values())
    for name, gradient in ours.items():
        other = trainable.parameters[name].grad
        assert other is not None
        assert (gradient - other).abs().max() <= 1e-5 * largest, name
    assert _saved_bytes(split, (2,)) < _saved_bytes(split, (2, 3, 4))
