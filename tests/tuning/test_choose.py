"""Rules that choose blocks: scores by hand and against plain autograd, blocks under the cap, every architecture."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from tiny import KINDS, tiny_lm
from tuning_cases import plain_loss, some_examples

from linguamap.config import RunConfig, TuneConfig
from linguamap.records import UserError
from linguamap.run.contents import BlockScores, Layers, RuleName, as_json, as_type
from linguamap.run.files import write_json
from linguamap.tuning.block_gradients import Blocks, calibration_parts, measure
from linguamap.tuning.choose import RULES, SIDE_BY_SIDE, Choice, mean_and_interval, rises
from linguamap.tuning.data.batches import TrainingData, TrainingExample, answer_beginnings

MEASURED: tuple[RuleName, ...] = ("gradient", "gradient_product", "gradient_sign", "step")


def data_of(n: int) -> TrainingData:
    return TrainingData(some_examples(n), training=range(n), validation=[])


def gradient_by_autograd(
    model: Any, part: list[TrainingExample], blocks: Any
) -> list[torch.Tensor]:
    """(block, parameter) of the mean loss, all in one batch, by the whole model's own logits."""
    model.zero_grad(set_to_none=True)
    loss, n = plain_loss(model, part)
    (loss / n).backward()
    return [
        torch.cat([p.grad.flatten() for p in b.parameters() if p.grad is not None]) for b in blocks
    ]


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2"])
def test_gradient_rules_are_those_of_plain_autograd(kind: str) -> None:
    parts = [answer_beginnings(some_examples(3, seed), 8) for seed in (0, 1)]
    lm = tiny_lm(kind)
    reference = copy.deepcopy(lm.model).requires_grad_(True)
    places = [lm.structure.block_path + f".{at}" for at in range(lm.n_layers)]
    modules = [reference.get_submodule(place) for place in places]
    a, b = (gradient_by_autograd(reference, part, modules) for part in parts)
    sizes = [torch.cat([p.flatten() for p in m.parameters()]).norm() for m in modules]
    blocks = Blocks(lm, "float32")
    found = blocks.readings(*(blocks.gradients(part) for part in parts))
    relative = [[float((g.norm() / s).detach()) for g, s in zip(half, sizes)] for half in (a, b)]
    np.testing.assert_allclose(found["gradient"], relative, rtol=1e-4)
    np.testing.assert_allclose(
        found["gradient_product"], [[float(x @ y) for x, y in zip(a, b)]], rtol=1e-3, atol=1e-7
    )
    signed = [float((x @ y.sign() + y @ x.sign()) / 2) for x, y in zip(a, b)]
    np.testing.assert_allclose(found["gradient_sign"], [signed], rtol=1e-3, atol=1e-6)


def test_a_step_lowers_the_other_halfs_loss_by_so_much_and_is_taken_back() -> None:
    one, other = (answer_beginnings(some_examples(3, seed), 8) for seed in (0, 1))
    lm = tiny_lm("llama")
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    blocks = Blocks(lm, "float32")
    gradients = blocks.gradients(one)
    found = blocks.decreases(gradients, other, 1e-3)
    stepped = copy.deepcopy(lm.model)
    with torch.no_grad():
        loss, n = plain_loss(stepped, other)
        for parameter, gradient in zip(stepped.model.layers[2].parameters(), gradients[2]):
            parameter -= 1e-3 * gradient.sign()  # type: ignore[union-attr]
        less, _ = plain_loss(stepped, other)
    assert found[2] == pytest.approx(float((loss - less) / n), abs=2e-5)
    for name, value in lm.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_has_scores_for_every_block(kind: str) -> None:
    lm = tiny_lm(kind)
    found = measure(lm, data_of(44), 4, TuneConfig(), MEASURED)
    for rule in MEASURED:
        scores = found[rule]
        assert scores.reason is None
        assert scores.values is not None
        assert scores.low is not None
        assert len(scores.values) == lm.n_layers
        assert all(low <= value for low, value in zip(scores.low, scores.values))
        assert np.isfinite(scores.values).all()
    assert found["gradient"].n == 4
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


@pytest.mark.parametrize(
    ("n", "most", "read"), [(800, 32, 32), (200, 32, 19), (30, 32, 2), (3, 32, 2)]
)
def test_less_than_a_tenth_of_the_training_examples_is_read(n: int, most: int, read: int) -> None:
    data = TrainingData(some_examples(4) * (n // 4 + 1), training=range(n), validation=[])
    parts = calibration_parts(data, most)
    assert sum(map(len, parts)) == read
    assert len(parts) % 2 == 0
    assert all(parts)


def test_validation_examples_are_never_read_and_two_are_needed() -> None:
    examples = some_examples(40)
    data = TrainingData(examples, training=range(0, 40, 2), validation=range(1, 40, 2))
    ids = {example.example_id for part in calibration_parts(data, 32) for example in part}
    assert ids <= {examples[at].example_id for at in range(0, 40, 2)}
    with pytest.raises(UserError, match="two training examples or more"):
        calibration_parts(TrainingData(examples, training=[0], validation=[]), 32)


def test_rises_by_hand() -> None:
    found = rises({"fr": [0.0, 0.5, 0.4], "hi": [0.0, 0.1, 0.4], "ja": [0.0, None, 1.0]}, 2)
    assert found.values == pytest.approx((0.3, 0.1))
    assert found.low == pytest.approx((0.1, -0.1))
    assert found.high == pytest.approx((0.5, 0.3))
    assert found.n == 2
    assert rises({"ja": [None, 1.0]}, 1).reason == "no language has a whole curve"


def test_intervals_are_students() -> None:
    rows = [[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]
    found = mean_and_interval(rows, 12)
    low, high = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem([1.0, 2.0, 6.0]))
    assert (found.low, found.high) == (pytest.approx((low, 5.0)), pytest.approx((high, 5.0)))
    assert mean_and_interval(rows[:1], 4).low is None


# Blocks under the cap ---------------------------------------------------------------------------


def located(**changes: Any) -> dict[str, Any]:
    curves = {"lens": {"values": [-1.0, -1.0, -0.5, 0.0, 1.0], "turn": 3.0, "turn_interval": None,
                       "counts": True, "reason": None}}  # fmt: skip
    return {
        "n_layers": 4, "phases": {"early_end": 1, "late_start": 3}, "tune_layers": [4],
        "fallback_layers": [4], "trainable_share": 0.1,
        "evidence": {"reason": None, "languages": {"fr": {"boundary": 3.0, "reason": None, "curves": curves}}},
        **changes,
    }  # fmt: skip


def choice(folder: Path, cap: float = 0.25, rule: str = "lens", **facts: Any) -> Choice:
    write_json(
        folder / "probe.json", {"block_parameters": [10] * 4, "total_parameters": 100, **facts}
    )
    rows = [
        {"language": "fr", "intervention": "to_english", "layer": layer, "shift": shift}
        for layer, shift in enumerate([0.0, 0.0, 0.1, 0.7, 0.9, 1.0], start=-1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "handover.parquet")  # type: ignore[no-untyped-call]
    config = RunConfig.model_validate(
        {"choose": {"rule": rule}, "locate": {"max_trainable_share": cap}}
    )
    return Choice(located(), folder, config, seed=0)


def given(names: Any) -> dict[RuleName, BlockScores]:
    return {name: BlockScores(values=(3.0, -1.0, 2.0, 5.0)) for name in names}


def test_each_rule_takes_its_best_blocks_under_the_cap(tmp_path: Path) -> None:
    found = choice(tmp_path).scores(RULES, given)
    blocks = {name: scores.blocks for name, scores in found.items()}
    assert blocks["lens"] == (4,)
    assert blocks["handover"] == (2, 3)  # rises .1, .6, .2, .1
    assert blocks["gradient"] == (1, 4)  # neighbours or not
    assert blocks["last"] == (3, 4)
    assert blocks["middle"] == (2, 3)
    assert len(blocks["random"]) == 2
    assert {
        name: scores.share for name, scores in found.items() if name != "lens"
    } == pytest.approx({name: 0.2 for name in RULES if name != "lens"})
    assert found["lens"].values == pytest.approx((0.0, 0.5, 0.5, 1.0))
    assert list(found) == list(RULES)


def test_blocks_without_a_gain_are_not_taken(tmp_path: Path) -> None:
    assert choice(tmp_path, cap=1.0).scores(["step"], given)["step"].blocks == (1, 3, 4)


def test_the_rule_decides_and_all_that_was_computed_is_kept(tmp_path: Path) -> None:
    for rule, blocks, share in (
        ("lens", (4,), 0.1),
        ("gradient", (1, 4), 0.2),
        ("last", (3, 4), 0.2),
    ):
        made = choice(tmp_path, rule=rule)
        layers = made.layers(made.scores(SIDE_BY_SIDE, given))
        read = as_type(Layers, as_json(layers), "layers.json")
        assert (read.rule, read.tune_layers) == (rule, blocks)
        assert read.trainable_share == pytest.approx(share)
        assert set(read.rules) == set(SIDE_BY_SIDE)
        assert read.phases.late_start == 3


def test_a_rule_that_chooses_nothing_is_one_line(tmp_path: Path) -> None:
    made = choice(tmp_path, cap=0.05, rule="gradient")
    rules = made.scores(["gradient", "middle"], given)
    assert "above the cap of 5.0%; raise locate.max_trainable_share" in str(rules["middle"].reason)
    with pytest.raises(
        UserError, match=r"the rule gradient chooses no block \(one block alone is 10.0%"
    ):
        made.layers(rules)
    (tmp_path / "handover.parquet").unlink()
    assert made.scores(["handover"], given)["handover"].reason == "no language has a whole curve"
