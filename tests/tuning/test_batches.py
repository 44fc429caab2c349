"""Batches of training examples, their order, and the split between training and validation."""

from __future__ import annotations

import pytest
from tuning_cases import some_examples, tiny_lm

from linguamap.models.language_model import LanguageModel
from linguamap.tuning.data.batches import (
    epoch_order,
    forward_passes,
    split_groups,
)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return tiny_lm(tmp_path_factory.mktemp("m"), "llama")


def test_passes_are_cut_by_padded_tokens() -> None:
    lengths = [5, 9, 2, 9, 30, 1]
    step = [[0, 1, 2], [3, 4, 5]]
    assert forward_passes(step, lengths, None) == step
    assert forward_passes([[], [3]], lengths, None) == [[3]]
    # longest first: 30 is over the limit and alone; 9 + 9 fill 18 of 20; 3 x 5 = 15
    assert forward_passes(step, lengths, 20) == [[4], [1, 3], [0, 2, 5]]
    assert forward_passes(step, lengths, 9) == [[4], [1], [3], [0], [2, 5]]


def test_epochs_differ_and_repeat(lm: LanguageModel) -> None:
    lengths = [len(example.token_ids) for example in some_examples(50)]
    order = epoch_order(lengths, 8, seed=1, epoch=0)
    assert order == epoch_order(lengths, 8, seed=1, epoch=0)
    assert order != epoch_order(lengths, 8, seed=1, epoch=1)
    assert order != epoch_order(lengths, 8, seed=2, epoch=0)
    assert sorted(index for batch in order for index in batch) == list(range(50))


def test_groups_are_not_divided() -> None:
    examples = some_examples(40)
    held_out = split_groups(examples, 0.2, seed=0)
    groups = {e.group for e in examples if e.example_id in held_out}
    assert len(groups) == 4
    assert held_out == {e.example_id for e in examples if e.group in groups}
    assert split_groups(examples, 0.0, seed=0) == set()
    assert len(split_groups(examples[:4], 0.01, seed=0)) == 2
