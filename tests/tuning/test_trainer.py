"""The training loop ends where plain training with frozen blocks ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tuning_cases import (
    ARCHITECTURES,
    plain_training,
    some_examples,
    spoken_examples,
    tiny_lm,
)

from linguamap.config import TuneConfig
from linguamap.records import UserError
from linguamap.run.files import read_rows
from linguamap.tuning.check import Checker
from linguamap.tuning.data.batches import (
    TrainingData,
)
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.training.master_weights import MasterWeights, Precision
from linguamap.tuning.training.split_model import SplitModel
from linguamap.tuning.training.trainer import Trainer


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_final_weights_equal_plain_training(kind: str, tmp_path: Path) -> None:
    config = TuneConfig(
        epochs=2, batch_size=4, learning_rate=1e-3, validation_share=0.0, dtype="float32"
    )
    examples = some_examples(14)
    tuned = tmp_path / "tuned"
    result = tune(tiny_lm(tmp_path / "m", kind), examples, config, (3, 4), tuned, seed=5)
    delta = load_file(tuned / "delta.safetensors")
    reference = tiny_lm(tmp_path / "m", kind).model
    before = {name: p.detach().clone() for name, p in reference.named_parameters()}
    losses = plain_training(reference, list(delta), examples, config, seed=5)
    assert result["train_loss"] == pytest.approx(losses, rel=1e-5)
    after = dict(reference.named_parameters())
    for name, value in delta.items():
        if name.endswith(("query_key_value.bias", "c_attn.bias")):
            continue  # softmax cancels a key bias: its gradient is rounding, which AdamW blows up
        moved = (after[name] - before[name]).abs().max()
        assert moved > 1e-4
        assert (value - after[name]).abs().max() <= 2e-3 * moved, name


@pytest.mark.parametrize("layers", [(1,), (2, 3), (1, 2, 3, 4)])
def test_any_choice_of_blocks_is_exact(layers: tuple[int, ...], tmp_path: Path) -> None:
    config = TuneConfig(
        epochs=2, batch_size=4, validation_share=0.0, dtype="float32", accumulation=1
    )
    examples = some_examples(10)
    result = tune(
        tiny_lm(tmp_path / "m", "llama"), examples, config, layers, tmp_path / "t", seed=1
    )
    names = list(load_file(tmp_path / "t" / "delta.safetensors"))
    reference = tiny_lm(tmp_path / "m", "llama").model
    losses = plain_training(reference, names, examples, config, seed=1)
    assert result["train_loss"] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_full_tuning_trains_every_parameter_exactly(kind: str, tmp_path: Path) -> None:
    config = TuneConfig(
        method="full", epochs=2, batch_size=4, validation_share=0.0, dtype="float32"
    )
    examples = some_examples(10)
    result = tune(tiny_lm(tmp_path / "m", kind), examples, config, (), tmp_path / "t", seed=1)
    reference = tiny_lm(tmp_path / "m", kind).model
    names = [name for name, _ in reference.named_parameters()]
    assert set(load_file(tmp_path / "t" / "delta.safetensors")) == set(names)
    assert result["trainable_share"] == 1.0
    losses = plain_training(reference, names, examples, config, seed=1)
    assert result["train_loss"] == pytest.approx(losses, rel=1e-5)


def test_accumulation_equals_a_larger_batch(tmp_path: Path) -> None:
    # One window of equal lengths, so that both runs see the same examples in each step.
    examples = some_examples(8, length=(30, 31))
    results = []
    for size, passes in ((8, 1), (2, 4)):
        config = TuneConfig(
            epochs=2, batch_size=size, accumulation=passes, validation_share=0.0, dtype="float32"
        )
        out = tmp_path / str(size)
        results.append(tune(tiny_lm(tmp_path / "m", "llama"), examples, config, (4,), out, seed=0))
    assert results[0]["steps"] == results[1]["steps"] == 2
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], rel=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 90, 10_000])
def test_gradients_do_not_depend_on_the_cut(batch_tokens: int, tmp_path: Path) -> None:
    examples = some_examples(9)
    gradients: list[dict[str, torch.Tensor]] = []
    losses = []
    for tokens in (None, batch_tokens):
        lm = tiny_lm(tmp_path, "qwen3")
        masters = MasterWeights(choose_parameters(lm, (3, 4)).parameters)
        split = SplitModel(lm, 3)
        split.prepare()
        config = TuneConfig(batch_size=9, batch_tokens=tokens, clip_norm=None)
        trainer = Trainer(
            split, None, TrainingData(examples, range(9), []), masters, Precision(torch.float32, None),
            config, tmp_path / str(tokens), seed=0, key="k",
        )  # fmt: skip
        (tmp_path / str(tokens)).mkdir(exist_ok=True)
        kept: dict[str, torch.Tensor] = {}

        def keep(masters: MasterWeights = masters, kept: dict[str, torch.Tensor] = kept) -> None:
            kept.update(
                {n: t.grad.clone() for n, t in masters.tensors.items() if t.grad is not None}
            )

        trainer.optimizer.step = keep  # type: ignore[method-assign, assignment]
        losses.append(trainer._step([list(range(9))])["loss"])
        gradients.append(kept)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert gradients[0].keys() == gradients[1].keys() != set()
    largest = max(float(g.abs().max()) for g in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert (gradients[1][name] - gradient).abs().max() <= 1e-6 * largest, name


def test_the_kept_epoch_may_be_the_most_consistent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.1, 0.5, 0.75, 0.7, 0.6, 0.9])
    plain = Checker.summary

    def planned(self: Checker, epoch: int, numbers: Any) -> dict[str, Any]:
        return plain(self, epoch, numbers) | {"teacher_forced_consistency": next(shares)}

    monkeypatch.setattr(Checker, "summary", planned)
    losses = iter([5.0, 4.0, 3.0, 2.0, 1.0])
    monkeypatch.setattr(Trainer, "validate", lambda self: next(losses))
    config = TuneConfig(epochs=5, batch_size=8, best_by="consistency", patience=2)
    lm = tiny_lm(tmp_path / "m", "llama")
    result = tune(lm, spoken_examples(16), config, (4,), tmp_path / "t", seed=0)
    assert result["best_epoch"] == 2  # 0.75, though the loss went on falling
    assert result["stopped"] == "no better consistency in 2 epochs"
    with pytest.raises(UserError, match="the validation examples name no known language; set"):
        tune(
            tiny_lm(tmp_path / "m", "llama"), some_examples(8), config, (4,), tmp_path / "u", seed=0
        )


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    """AdamW's first step does not depend on the gradient's size; its first moment does."""
    out = tmp_path / "t"
    config = TuneConfig(epochs=1, batch_size=8, clip_norm=0.01, dtype="float32", validation_share=0)
    moments: list[float] = []
    finish = Trainer._finish_epoch

    def look(self: Trainer) -> None:
        states = [self.optimizer.state[t]["exp_avg"] for t in self.masters.tensors.values()]
        moments.append(float(torch.stack([one.norm() for one in states]).norm()))
        finish(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_finish_epoch", look)
        tune(tiny_lm(tmp_path / "m", "llama"), some_examples(8), config, (4,), out, seed=0)
    (row,) = [row for row in read_rows(out / "log.jsonl") if "gradient_norm" in row]
    assert row["gradient_norm"] > 0.02  # as it was before clipping
    assert moments[0] == pytest.approx(0.1 * 0.01, rel=1e-3)  # (1 - beta1) x clipped gradient
