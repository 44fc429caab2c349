"""Trackers get what the log gets, and are missed in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tuning_cases import some_examples, spoken_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.records import UserError
from linguamap.run.files import read_rows
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.training.training_state import check_tracker, open_tracker


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
    monkeypatch.setattr("linguamap.tuning.training.training_state.find_spec", lambda name: None)
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

    monkeypatch.setattr("linguamap.tuning.training.training_state.check_tracker", lambda name: None)
    monkeypatch.setattr("accelerate.tracking.WandBTracker", NoLogin)
    with pytest.raises(
        UserError, match=r"cannot start \(api_key not .*\); run wandb login, or set"
    ):
        open_tracker("wandb", tmp_path, {}, 0)
