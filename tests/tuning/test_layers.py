"""Choosing blocks and what is frozen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from tuning_cases import tiny_lm

from linguamap.records import UserError
from linguamap.tuning.blocks import parse_layers
from linguamap.tuning.layers import choose_all, choose_parameters, is_tied


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


def test_random_draws_differ_until_all_were_drawn() -> None:
    """6 choices of 2 out of 4 blocks: six seeds draw all of them."""
    draws = [parse_layers("random:2", 4, seed) for seed in range(6)]
    assert sorted(draws) == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    many = {parse_layers("random:3", 64, seed) for seed in range(500)}
    assert len(many) == 500


@pytest.mark.parametrize("avoid", [(3, 4), (1, 2), (2, 3)])
def test_random_draws_are_never_the_located_blocks(avoid: tuple[int, int]) -> None:
    draws = [parse_layers("random:2", 4, seed, avoid) for seed in range(5)]
    assert avoid not in draws
    assert len(set(draws)) == 5
    assert parse_layers("random:4", 4, 0, (1, 2, 3, 4)) == (1, 2, 3, 4)  # no other choice
    assert parse_layers("random:3", 4, 0, avoid) in {(1, 2, 3), (1, 2, 4), (1, 3, 4), (2, 3, 4)}


def test_random_draws_take_every_block_equally_often() -> None:
    seeds = range(2000)
    counts = Counter(block for seed in seeds for block in parse_layers("random:2", 18, seed))
    assert set(counts) == set(range(1, 19))
    assert max(counts.values()) - min(counts.values()) < 0.3 * 2 * 2000 / 18


@pytest.mark.parametrize(("text", "blocks"), [("all", 4), ("2,4", 2), ("random:1", 1)])
def test_adapters_stand_in_the_chosen_blocks(text: str, blocks: int, tmp_path: Path) -> None:
    """Each of a Llama block's seven linear maps gets rank x (in + out) parameters."""
    pytest.importorskip("peft")
    from linguamap.tuning.layers import add_lora

    lm = tiny_lm(tmp_path, "llama")
    maps = [m for m in lm.structure.blocks[0].modules() if isinstance(m, torch.nn.Linear)]
    expected = sum(3 * (m.in_features + m.out_features) for m in maps)
    layers = parse_layers(text, 4)
    trainable = add_lora(lm, layers, rank=3)
    assert len(maps) == 7
    assert trainable.count == blocks * expected
    places = {int(name.split(".")[2]) + 1 for name in trainable.parameters}
    assert places == set(layers)
