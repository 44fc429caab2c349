"""Rules that choose blocks: scores by hand and against plain autograd, blocks under the cap, every architecture."""

from __future__ import annotations

import copy
from dataclasses import replace
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
from linguamap.models.language_model import LanguageModel
from linguamap.records import UserError
from linguamap.run.contents import BlockScores, Layers, RuleName, TrainingCost, as_json, as_type
from linguamap.run.files import write_json
from linguamap.tuning.choosing import block_trials
from linguamap.tuning.choosing.block_rules import measure, readings
from linguamap.tuning.choosing.calibration import Calibration, calibration_parts, trial_examples
from linguamap.tuning.choosing.choose import (
    FREE,
    RULES,
    SIDE_BY_SIDE,
    Choice,
    Measured,
    mean_and_interval,
    rises,
    rule_names,
)
from linguamap.tuning.choosing.front import candidates, front, memory_bytes, operations
from linguamap.tuning.data.batches import TrainingData, TrainingExample, answer_beginnings
from linguamap.tuning.layers import add_lora

MEASURED: tuple[RuleName, ...] = tuple(name for name in RULES if name not in FREE)


def data_of(n: int) -> TrainingData:
    return TrainingData(some_examples(n), training=range(n), validation=[])


def calibration_of(lm: LanguageModel, n: int = 44, **settings: Any) -> Calibration:
    return Calibration(lm, data_of(n), 4, TuneConfig(dtype="float32", **settings))


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
    calibration = calibration_of(lm)
    found = readings(calibration, *(calibration.gradients(part) for part in parts))
    relative = [[float((g.norm() / s).detach()) for g, s in zip(half, sizes)] for half in (a, b)]
    np.testing.assert_allclose(found["gradient"], relative, rtol=1e-4)
    np.testing.assert_allclose(
        found["gradient_product"], [[float(x @ y) for x, y in zip(a, b)]], rtol=1e-3, atol=1e-7
    )
    signed = [float((x @ y.sign() + y @ x.sign()) / 2) for x, y in zip(a, b)]
    np.testing.assert_allclose(found["gradient_sign"], [signed], rtol=1e-3, atol=1e-6)


def scores_of(lm: LanguageModel, n: int, tune: TuneConfig, rule: RuleName) -> BlockScores:
    return measure(lm, data_of(n), 4, tune, [rule])[0][rule]


def test_a_step_lowers_the_other_halfs_loss_by_so_much_and_is_taken_back() -> None:
    lm = tiny_lm("llama")
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    tune = TuneConfig(dtype="float32", learning_rate=1e-3)
    found = scores_of(lm, 30, tune, "step").values  # two examples, so a single pair of parts
    assert found is not None
    one, other = calibration_parts(data_of(30), 4)
    model = copy.deepcopy(lm.model).requires_grad_(True)
    loss, n = plain_loss(model, one)
    (loss / n).backward()
    gradients = [parameter.grad for parameter in model.model.layers[2].parameters()]
    stepped = copy.deepcopy(lm.model)
    with torch.no_grad():
        loss, n = plain_loss(stepped, other)
        for parameter, gradient in zip(stepped.model.layers[2].parameters(), gradients):
            parameter -= 1e-3 * gradient.sign()  # type: ignore[union-attr]
        less, _ = plain_loss(stepped, other)
    assert found[2] == pytest.approx(float((loss - less) / n), abs=2e-5)
    for name, value in lm.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_has_scores_for_every_block(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, few in {"STEPS": (1, 2), "LORA_STEPS": 2, "GREEDY": 2}.items():
        monkeypatch.setattr(block_trials, name, few)
    lm = tiny_lm(kind)
    kept = {name: value.clone() for name, value in lm.model.state_dict().items()}
    found, cost = measure(lm, data_of(44), 4, TuneConfig(), MEASURED)
    assert cost is not None
    assert cost.seconds_per_operation > 0
    for name, value in lm.model.state_dict().items():  # as it was, names too
        assert torch.equal(value, kept.pop(name)), name
    assert not kept
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


def test_gradient_rules_run_each_example_once_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    plain = Calibration.loss

    def counted(self: Calibration, part: Any, *args: Any) -> torch.Tensor:
        read.extend(one.example_id for one in part)
        return plain(self, part, *args)

    monkeypatch.setattr(Calibration, "loss", counted)
    rules: tuple[RuleName, ...] = ("gradient", "gradient_product", "gradient_sign")
    measure(tiny_lm("llama"), data_of(44), 32, TuneConfig(), rules)
    assert len(read) == len(set(read)) == 4  # of the 44 of an epoch


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


# Rules that train a little ------------------------------------------------------------------------


def test_trials_train_on_other_groups_than_those_that_judge_them() -> None:
    examples = trial_examples(data_of(44), 8, seed=0)
    assert examples is not None
    held = {one.group for part in examples.held for one in part}
    training = {one.group for one in examples.training}
    assert (len(held), len(training)) == (6, 16)  # a quarter of 22 groups
    assert not held & training
    assert len(examples.batch(9, 4)) == 4  # after the last example the first one again
    one_group = TrainingData(some_examples(2), training=[0, 1], validation=[])
    assert trial_examples(one_group, 8, seed=0) is None
    found, _ = measure(tiny_lm("llama"), one_group, 4, TuneConfig(), ["trial", "lora"])
    assert "only one group of training examples" in str(found["trial"].reason)
    assert "only one group of training examples" in str(found["lora"].reason)


def test_a_trial_is_plain_training_of_one_block_judged_by_held_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_trials, "STEPS", (3,))
    tune = TuneConfig(dtype="float32", learning_rate=1e-2, clip_norm=None)
    lm = tiny_lm("llama")
    reference = copy.deepcopy(lm.model)
    found = scores_of(lm, 44, tune, "trial")
    assert found.values is not None
    examples = trial_examples(data_of(44), 4, seed=0)
    assert examples is not None
    reference.requires_grad_(False)
    block = reference.model.layers[1]
    block.requires_grad_(True)
    before = [plain_loss(reference, part) for part in examples.held]
    adam = torch.optim.AdamW(block.parameters(), lr=1e-2, weight_decay=0.0)
    for number in range(3):
        loss, n = plain_loss(reference, examples.batch(number, block_trials.BATCH))
        (loss / n).backward()
        adam.step()
        adam.zero_grad()
    after = [plain_loss(reference, part) for part in examples.held]
    falls = [float((a - b).detach() / n) for (a, n), (b, _) in zip(before, after)]
    assert found.values[1] == pytest.approx(sum(falls) / len(falls), abs=2e-4)
    assert found.n == sum(map(len, examples.held))


def test_the_weaker_half_goes_out_and_a_killed_trial_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[tuple[int, int]] = []
    falls = {1: 0.1, 2: 0.4, 3: 0.3, 4: 0.2}

    def decreases(walk: Any, block: int) -> list[float]:
        if len(tried) == 5:
            raise KeyboardInterrupt
        tried.append((len(walk.batches), block))
        return [falls[block], falls[block] + 0.1]

    monkeypatch.setattr(block_trials._Walk, "decreases", decreases)
    notes = tmp_path / "rule_scores.json"

    def trial(most: int = 4) -> BlockScores:
        lm = tiny_lm("llama")
        return measure(lm, data_of(44), most, TuneConfig(), ["trial"], notes=notes)[0]["trial"]

    with pytest.raises(KeyboardInterrupt):
        trial()
    assert tried == [(2, 1), (2, 2), (2, 3), (2, 4), (4, 2)]
    tried.clear()
    found = trial()
    assert tried == [(4, 3), (8, 2)]  # nothing again
    assert found.order == (2, 3, 4, 1)
    assert found.values == pytest.approx((0.15, 0.45, 0.35, 0.25))
    tried.clear()
    with pytest.raises(KeyboardInterrupt):  # judged by other examples: all again
        trial(2)
    assert tried[0] == (2, 1)


def test_adapters_are_taken_out_in_turn_and_joined_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = {1: 0.0, 2: 3.0, 3: 2.9, 4: 1.0}

    def losses(adapters: Any, blocks: set[int]) -> list[float]:
        # 2 and 3 do the same: one of them is worth three, and both no more than that
        gain = sum(alone[block] for block in blocks) - (2.8 if {2, 3} <= blocks else 0.0)
        return [10.0 - gain]

    monkeypatch.setattr(block_trials._Adapters, "losses", losses)
    found = scores_of(tiny_lm("llama"), 44, TuneConfig(), "lora")
    assert found.values == pytest.approx((0.0, 0.2, 0.1, 1.0))
    assert found.order == (2, 4, 3, 1)  # 3 adds 0.1 to 2, and 4 adds 1


def test_a_switched_adapter_is_as_good_as_none() -> None:
    calibration = calibration_of(tiny_lm("llama"))
    assert calibration.trial is not None
    before = [float(calibration.loss(part).detach()) for part in calibration.trial.held]
    trainable = add_lora(calibration.lm, range(1, 5), 4)
    for name, parameter in trainable.parameters.items():
        if name.endswith("lora_B"):
            parameter.data.normal_()
    adapters = block_trials._Adapters(calibration, calibration.trial)
    assert adapters.losses({1, 2, 3, 4}) != pytest.approx(before, abs=1e-3)
    assert adapters.losses(set()) == pytest.approx(before, abs=1e-6)


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


COST = TrainingCost(100, 50, 40, 8, 20, 4, 0.001)


def given(names: Any) -> Measured:
    found = {name: BlockScores(values=(3.0, -1.0, 2.0, 5.0)) for name in names}
    return found | {n: s.ordered((3, 1, 4, 2)) for n, s in found.items() if n == "trial"}, COST


def rules_of(made: Choice, names: Any = RULES, known: Layers | None = None) -> Any:
    return as_type(Layers, as_json(made.layers(names, given, known)), "layers.json").rules


def test_each_rule_takes_its_best_blocks_under_the_cap(tmp_path: Path) -> None:
    found = rules_of(choice(tmp_path))
    blocks = {name: scores.blocks for name, scores in found.items()}
    assert blocks["lens"] == (4,)
    assert blocks["handover"] == (2, 3)  # rises .1, .6, .2, .1
    assert blocks["gradient"] == (1, 4)  # neighbours or not
    assert blocks["trial"] == (1, 3)  # by its own order
    assert blocks["last"] == (3, 4)
    assert blocks["middle"] == (2, 3)
    assert len(blocks["random"]) == 2
    assert {
        name: scores.share for name, scores in found.items() if name != "lens"
    } == pytest.approx({name: 0.2 for name in RULES if name != "lens"})
    assert found["lens"].values == pytest.approx((0.0, 0.5, 0.5, 1.0))
    assert list(found) == list(RULES)


def test_blocks_without_a_gain_are_not_taken(tmp_path: Path) -> None:
    made = choice(tmp_path, cap=1.0, rule="step")
    assert rules_of(made, ["step"])["step"].blocks == (1, 3, 4)


def test_the_rule_decides_and_all_that_was_computed_is_kept(tmp_path: Path) -> None:
    for rule, blocks, share in (
        ("lens", (4,), 0.1),
        ("gradient", (1, 4), 0.2),
        ("last", (3, 4), 0.2),
    ):
        made = choice(tmp_path, rule=rule)
        layers = made.layers(SIDE_BY_SIDE, given)
        read = as_type(Layers, as_json(layers), "layers.json")
        assert (read.rule, read.tune_layers) == (rule, blocks)
        assert read.trainable_share == pytest.approx(share)
        assert set(read.rules) == set(SIDE_BY_SIDE)
        assert read.phases.late_start == 3


def test_a_rule_that_chooses_nothing_is_one_line(tmp_path: Path) -> None:
    made = choice(tmp_path, cap=0.05, rule="gradient")
    rules = rules_of(choice(tmp_path, cap=0.05), ["lens", "middle"])
    assert "above the cap of 5.0%; raise locate.max_trainable_share" in str(rules["middle"].reason)
    with pytest.raises(
        UserError, match=r"the rule gradient chooses no block \(one block alone is 10.0%"
    ):
        made.layers(["gradient"], given)
    made = choice(tmp_path)
    (tmp_path / "handover.parquet").unlink()
    rules = rules_of(made, ["lens", "handover"])
    assert rules["handover"].reason == "no language has a whole curve"


# Gain against cost ------------------------------------------------------------------------------


def test_operations_and_memory_by_hand() -> None:
    sizes = [10, 10, 10, 10]
    # the states of blocks 2, 3, 4 forth and back, the weights of 2 and 4, and the head both ways
    assert (
        operations([2, 4], sizes, head=20, tokens=100, target_tokens=50) == 100 * (60 + 20) + 2000
    )
    # weights without block 1; gradient and moments; 17 numbers a token, block and d_model
    assert memory_bytes([2, 4], sizes, 100, COST) == 90 * 4 + 20 * 12 + 40 * 8 * 17 * 3 * 4
    half = replace(COST, weight_bytes=2)
    assert memory_bytes([4], sizes, 100, half) == 70 * 2 + 10 * 18 + 40 * 8 * 17 * 1 * 2


def test_a_front_has_no_set_that_another_outdoes() -> None:
    scores = BlockScores(values=(3.0, -1.0, 2.0, 5.0))
    sets = candidates([4, 1, 3], scores, [10] * 4, 100, cap=0.25)
    assert {blocks: gain for blocks, gain, _ in sets} == pytest.approx(
        {(4,): 0.5, (3, 4): 0.7, (1, 4): 0.8}
    )
    found = front([*sets, ((1,), 0.3, 0.1), ((1, 3), 0.5, 0.2)], [10] * 4, 100, COST)
    assert [one.blocks for one in found] == [(4,), (3, 4), (1, 4)]
    assert [one.seconds_per_epoch for one in found] == pytest.approx([5.0, 8.0, 12.0])
    assert candidates([], BlockScores(values=(-1.0,)), [10], 100, 0.25) == []


def test_for_cost_the_most_gain_a_second_is_taken(tmp_path: Path) -> None:
    made = choice(tmp_path, rule="gradient")
    made.aim = "cost"
    layers = as_type(Layers, as_json(made.layers(["lens", "gradient"], given)), "layers.json")
    # .5 / 5 s, .7 / 8 s, .8 / 12 s
    assert (layers.aim, layers.tune_layers) == ("cost", (4,))
    assert layers.trainable_share == pytest.approx(0.1)
    again = rules_of(made, ["trial"], layers)  # fronts of what was known are kept
    assert again["gradient"].blocks == (4,)
    assert [one.blocks for one in again["lens"].front] == [(4,)]
    assert made.layers(["lens", "gradient"], given)["cost"]["tokens"] == 100


def test_named_rules_are_compared_besides_the_cheap_ones() -> None:
    assert set(rule_names(None)) == set(SIDE_BY_SIDE)
    assert set(rule_names("trial, lora")) == {*SIDE_BY_SIDE, "trial", "lora"}
    assert rule_names("all") == RULES
    with pytest.raises(UserError, match="there is no rule 'tryal'; use all, or of lens"):
        rule_names("tryal")
