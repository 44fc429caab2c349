"""Batches by tokens, the check after each epoch, and trackers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tuning_cases import some_examples, spoken_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.records import Identification, UserError
from linguamap.run.files import read_rows
from linguamap.run.processes import ProcessGroup
from linguamap.tuning.check import Checker, best_tokens, make_checker
from linguamap.tuning.data.batches import TrainingData, TrainingExample, forward_passes
from linguamap.tuning.distributed import split_work
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.master_weights import MasterWeights, Precision
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.split_model import SplitModel
from linguamap.tuning.tracking import check_tracker, open_tracker
from linguamap.tuning.trainer import Trainer


def test_passes_are_cut_by_padded_tokens() -> None:
    lengths = [5, 9, 2, 9, 30, 1]
    step = [[0, 1, 2], [3, 4, 5]]
    assert forward_passes(step, lengths, None) == step
    assert forward_passes([[], [3]], lengths, None) == [[3]]
    # longest first: 30 is over the limit and alone; 9 + 9 fill 18 of 20; 3 x 5 = 15
    assert forward_passes(step, lengths, 20) == [[4], [1, 3], [0, 2, 5]]
    assert forward_passes(step, lengths, 9) == [[4], [1], [3], [0], [2, 5]]


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


def test_each_process_runs_its_own_examples_and_all_are_run_once() -> None:
    data = TrainingData(some_examples(7), [0, 2, 3, 5, 6], [1, 4])
    shares = [split_work(ProcessGroup(rank, 3), data) for rank in range(3)]
    # by place: training 0, 2, 3, 5, 6 -> ranks 0, 1, 2, 0, 1; validation 1, 4 -> 0, 1
    assert [share.indices for share in shares] == [[0, 1, 5], [2, 4, 6], [3]]
    step = [[6, 0, 3], [2, 5]]
    assert [[one.indices for one in share.passes(step)] for share in shares] == [
        [(0,), (5,)], [(6,), (2,)], [(3,)]
    ]  # fmt: skip
    in_step = split_work(ProcessGroup(2, 3), data, in_step=True)
    assert [(one.indices, one.counts) for one in in_step.passes(step)] == [
        ((3,), True), ((3,), False)
    ]  # fmt: skip
    with pytest.raises(UserError, match="3 processes were launched for 2 examples, 1 of them"):
        split_work(ProcessGroup(0, 3), TrainingData(data.examples, [0, 1], []))


class Words:
    """English words are those that begin with a vowel, Spanish the others."""

    name = "words"
    languages = ("en", "es")

    def identify(self, text: str) -> Identification:
        return Identification(None, "empty")

    def identify_words(self, words: Any) -> list[str | None]:
        return ["en" if word[0] in "aeiou" else "es" for word in words]


class Letters:
    """A tokenizer of whole words."""

    words = ("<pad>", "apple ", "one ", "casa ", "tres ")

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return "".join(self.words[i] for i in ids)


def test_a_check_counts_words_and_tokens_by_hand() -> None:
    examples = [
        TrainingExample("a", (3, 4, 1, 2, 2), (False, True, False, True, True), "g", "en"),
        TrainingExample("b", (1, 1, 3), (False, True, True), "g", "es"),
        TrainingExample("c", (1, 1, 3), (False, True, True), "g", None),
    ]
    checker = make_checker(examples, [0, 1, 2], 2, Letters(), Words())
    assert isinstance(checker, Checker)
    # the example's last trained stretch is its answer
    assert {i: one.loss_mask for i, one in checker.items.items()} == {
        0: (False, False, False, True, True), 1: (False, True, True)
    }  # fmt: skip
    found = torch.tensor([2, 3, 1, 4])  # a: "one casa", b: "apple tres"
    checker.add([0, 1], torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 1, 3]), found)
    summary = checker.summary(4, checker.numbers())
    assert summary["epoch"] == 4
    assert (summary["teacher_forced_consistency"], summary["n_words"]) == (0.5, 4)
    assert (summary["teacher_forced_accuracy"], summary["n_positions"]) == (0.5, 4)
    assert summary["languages"]["en"]["teacher_forced_consistency"] == 0.5
    assert summary["languages"]["es"]["n_items"] == 1
    assert make_checker(examples, [2], 2, Letters(), Words()) == (
        "the validation examples name no known language"
    )
    assert make_checker(examples, [], 2, Letters()) == "there are no validation examples"
    assert make_checker(examples, [0], 0, Letters()) == "tune.check_items is 0"


def test_the_check_reads_what_the_whole_model_would_write(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "m", "gemma2")
    examples = spoken_examples(16)
    config = TuneConfig(epochs=1, batch_size=4, dtype="float32", learning_rate=1e-30)
    seen: list[list[int]] = []

    plain = Checker.add

    def note(self: Checker, indices: Any, rows: Any, targets: Any, found: Any) -> None:
        for row, index in enumerate(indices):
            seen.append([index, *found[rows == row].tolist()])
        plain(self, indices, rows, targets, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checker, "add", note)
        result = tune(lm, examples, config, (3, 4), tmp_path / "t", seed=0, identifier=Words())
    assert [one["epoch"] for one in result["checks"]] == [0, 1]
    assert result["checks"][0]["n_items"] == len({one[0] for one in seen}) > 0
    reference = tiny_lm(tmp_path / "m", "gemma2").model
    for index, *tokens in seen:
        example = examples[index]
        logits = reference(input_ids=torch.tensor([example.token_ids])).logits[0]
        places = [place - 1 for place, trained in enumerate(example.loss_mask) if trained]
        assert tokens == logits[places].argmax(-1).tolist()
    (epoch,) = [row for row in read_rows(tmp_path / "t" / "log.jsonl") if "train_loss" in row]
    for key in ("teacher_forced_consistency", "n_words", "teacher_forced_accuracy"):
        assert epoch[key] == result["checks"][1][key]


def test_best_tokens_go_by_blocks(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    hidden = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
    wanted = (hidden @ lm.structure.head.weight.T).argmax(-1)
    assert torch.equal(best_tokens(hidden, lm.structure), wanted)


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


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "t"
    config = TuneConfig(epochs=2, batch_size=4, tracker="tensorboard")
    lm = tiny_lm(tmp_path / "m", "llama")
    result = tune(lm, spoken_examples(16), config, (4,), out, seed=0)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    rows = read_rows(out / "log.jsonl")
    steps = [row for row in rows if "loss" in row]
    assert [one.step for one in events.Scalars("loss")] == [row["step"] for row in steps]
    assert [one.value for one in events.Scalars("loss")] == pytest.approx(
        [row["loss"] for row in steps]
    )
    assert [one.value for one in events.Scalars("validation_loss")] == pytest.approx(
        result["validation_loss"]
    )
    assert {"learning_rate", "gradient_norm", "tokens_per_second"} <= set(events.Tags()["scalars"])


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is not installed here: its tracker is not tested")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = TuneConfig(epochs=1, batch_size=4, tracker="wandb")
    lm = tiny_lm(tmp_path / "m", "llama")
    tune(lm, some_examples(8), config, (4,), tmp_path / "t", seed=0)
    assert list((tmp_path / "t" / "wandb").glob("offline-run-*"))


def test_a_missing_tracker_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linguamap.tuning.tracking.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'linguamap\[tensorboard\]', or set"):
        check_tracker("tensorboard")
    with pytest.raises(UserError, match="pip install wandb"):
        check_tracker("wandb")
    check_tracker("none")
    config = TuneConfig(tracker="tensorboard")
    with pytest.raises(UserError, match="tracker=tensorboard needs the package tensorboard"):
        tune(
            tiny_lm(tmp_path / "m", "llama"), some_examples(8), config, (4,), tmp_path / "t", seed=0
        )
    assert not (tmp_path / "t" / "delta.safetensors").exists()


def test_a_tracker_that_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLogin:
        def __init__(self, *_: object, **__: object) -> None:
            raise RuntimeError("api_key not configured (no-tty).\ncall wandb.login()")

    monkeypatch.setattr("linguamap.tuning.tracking.check_tracker", lambda name: None)
    monkeypatch.setattr("accelerate.tracking.WandBTracker", NoLogin)
    with pytest.raises(
        UserError, match=r"cannot start \(api_key not .*\); run wandb login, or set"
    ):
        open_tracker("wandb", tmp_path, {}, 0)
