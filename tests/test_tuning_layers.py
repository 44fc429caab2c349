"""Choosing blocks and what is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from linguamap.records import UserError
from linguamap.tuning.layers import choose_all, choose_parameters, is_tied, parse_layers
from tuning_cases import tiny_lm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("last:2", (17, 18)),
        ("first:3", (1, 2, 3)),
        ("middle:2", (9, 10)),
        ("middle:3", (8, 9, 10)),
        ("17,18", (17, 18)),
        (" 18 , 3,3", (3, 18)),
        ("all", tuple(range(1, 19))),
        ("last:18", tuple(range(1, 19))),
    ],
)
def test_parse_layers(text: str, expected: tuple[int, ...]) -> None:
    assert parse_layers(text, 18) == expected


def test_random_layers_depend_on_the_seed_alone() -> None:
    draws = [parse_layers("random:2", 18, seed) for seed in range(20)]
    assert draws == [parse_layers("random:2", 18, seed) for seed in range(20)]
    assert len(set(draws)) > 10
    assert all(1 <= a < b <= 18 for a, b in draws)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("last:0", "from 1 to 18"),
        ("last:19", "from 1 to 18"),
        ("last:two", "'two' blocks"),
        ("0,1", "block 0 does not exist"),
        ("18,19", "block 19 does not exist"),
        ("top:2", "is not understood; use all, last:2"),
        ("", "is not understood"),
    ],
)
def test_bad_layers_are_refused(text: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        parse_layers(text, 18)


@pytest.mark.parametrize("kind", ["llama", "qwen3_moe", "gpt2"])
def test_only_the_chosen_blocks_get_gradients(kind: str, tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, kind)
    trainable = choose_parameters(lm, (4,))
    path = f"{lm.structure.block_path}.3."
    expected = {name for name, _ in lm.model.named_parameters() if name.startswith(path)}
    open_ = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    assert set(trainable.parameters) == expected == open_
    block = sum(p.numel() for p in lm.structure.blocks[3].parameters())
    assert trainable.count == block
    assert trainable.share == block / sum(p.numel() for p in lm.model.parameters())


def test_norm_and_head_only_if_asked_for(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "gpt2")
    assert is_tied(lm)
    trainable = choose_parameters(lm, (4,), train_norm=True, train_head=True)
    extra = [n for n in trainable.parameters if not n.startswith("transformer.h.3.")]
    assert sorted(extra) == ["lm_head.weight", "transformer.ln_f.bias", "transformer.ln_f.weight"]
    assert trainable.untied
    assert not is_tied(lm)
    assert not lm.structure.embed.weight.requires_grad


def test_full_is_every_parameter(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "gemma3_text")
    trainable = choose_all(lm)
    assert trainable.share == 1.0
    assert all(parameter.requires_grad for parameter in lm.model.parameters())


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    with pytest.raises(UserError, match="nothing would be trained"):
        choose_parameters(lm, ())


def test_weights_shared_with_a_frozen_block_are_refused(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    lm.structure.blocks[0].mlp.up_proj.weight = lm.structure.blocks[3].mlp.up_proj.weight
    with pytest.raises(UserError, match="share weights with frozen ones"):
        choose_parameters(lm, (4,))
