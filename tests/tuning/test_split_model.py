"""Tuning on kept boundary states gives what plain training with frozen blocks gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tuning_cases import ARCHITECTURES, plain_loss, some_examples, tiny_lm

from linguamap.tuning.activation_cache import ActivationCache
from linguamap.tuning.data.batches import collate
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.loss import frozen_head, head_loss
from linguamap.tuning.split_model import SplitModel

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
