"""A training that is killed and started again ends where one that was never killed ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tuning_cases import some_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.records import UserError
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.training.trainer import Trainer

pytestmark = pytest.mark.slow

CONFIG = TuneConfig(epochs=3, batch_size=4, learning_rate=1e-3, validation_share=0.2)

PROGRAM = """
import os, signal, sys
from pathlib import Path
from tuning_cases import some_examples, tiny_lm
from test_training_state import CONFIG
from linguamap.tuning.run_tuning import tune

folder, number, at = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def progress(label, done, total, note=""):
    if label == "tune" and done == at:
        os.kill(os.getpid(), number)

tune(tiny_lm(folder / "m", "llama"), some_examples(24), CONFIG, (3, 4), folder / "cut", seed=2,
     progress=progress)
"""


def _tune(folder: Path, out: str, progress: Any = None) -> dict[str, Any]:
    lm = tiny_lm(folder / "m", "llama")
    return tune(lm, some_examples(24), CONFIG, (3, 4), folder / out, seed=2, progress=progress)


def _same(folder: Path, a: str, b: str) -> None:
    first, second = (load_file(folder / name / "delta.safetensors") for name in (a, b))
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [
        [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in (folder / name / "log.jsonl").read_text().splitlines()
        ]
        for name in (a, b)
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("number", "at"), [(signal.SIGKILL, 8), (signal.SIGTERM, 7)])
def test_a_killed_process_goes_on_to_identical_weights(
    number: signal.Signals, at: int, tmp_path: Path
) -> None:
    whole = _tune(tmp_path, "whole")
    assert whole["steps"] == 15
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(int(number)), str(at)]
    environment = {"PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -number, killed.stderr.decode()
    assert not (tmp_path / "cut" / "delta.safetensors").exists()
    seen: list[int] = []

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if label == "tune":
            seen.append(done)

    result = _tune(tmp_path, "cut", progress)
    # SIGKILL goes back to the end of the last epoch (5 steps), SIGTERM loses nothing.
    assert seen[0] == (6 if number == signal.SIGKILL else at + 1)
    _same(tmp_path, "whole", "cut")
    for name in ("train_loss", "validation_loss", "best_epoch", "delta_bytes"):
        assert result[name] == whole[name]
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        "delta.safetensors",
        "log.jsonl",
        "sample.txt",
        "tuning.json",
    ]


@pytest.mark.parametrize("at", [1, 5, 6, 11, 15])
def test_any_step_may_be_the_last(at: int, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if label == "tune" and done == at:
            raise Killed

    _tune(tmp_path, "whole")
    with pytest.raises(Killed):
        _tune(tmp_path, "cut", progress)
    _tune(tmp_path, "cut")
    _same(tmp_path, "whole", "cut")


def test_another_config_does_not_take_up_the_checkpoint(tmp_path: Path) -> None:
    def stop(label: str, done: int, total: int, note: str = "") -> None:
        if label == "tune" and done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tune(tmp_path, "cut", stop)
    steps: list[int] = []
    other = CONFIG.model_copy(update={"learning_rate": 5e-4})
    tune(
        tiny_lm(tmp_path / "m", "llama"),
        some_examples(24),
        other,
        (3, 4),
        tmp_path / "cut",
        seed=2,
        progress=lambda label, done, total, note="": (
            steps.append(done) if label == "tune" else None
        ),
    )
    assert steps[0] == 1


def test_a_loss_that_is_not_finite_keeps_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Trainer._loss

    def broken(self: Trainer, batch: Any) -> torch.Tensor:
        loss = plain(self, batch)
        return loss * float("nan") if self.state.step == 7 else loss

    monkeypatch.setattr(Trainer, "_loss", broken)
    result = _tune(tmp_path, "cut")
    assert result["stopped"] == "the loss was not finite at step 8"
    assert result["best_epoch"] == 1
    assert len(result["train_loss"]) == result["epochs"] == 1
    delta = load_file(tmp_path / "cut" / "delta.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in delta.values())


def test_a_loss_that_is_not_finite_from_the_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Trainer._loss
    monkeypatch.setattr(Trainer, "_loss", lambda self, batch: plain(self, batch) * float("inf"))
    with pytest.raises(UserError, match="at the first step; lower tune"):
        _tune(tmp_path, "cut")


def test_the_best_epoch_is_kept_and_patience_ends_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = iter([3.0, 1.0, 2.0, 2.5, 0.5])
    monkeypatch.setattr(Trainer, "validate", lambda self: next(planned))
    config = CONFIG.model_copy(update={"epochs": 5, "patience": 2})
    kept: dict[int, dict[str, torch.Tensor]] = {}
    finish = Trainer._finish_epoch

    def remember(self: Trainer) -> None:
        finish(self)
        kept[self.state.epoch] = {n: p.detach().clone() for n, p in self.masters.parameters.items()}

    monkeypatch.setattr(Trainer, "_finish_epoch", remember)
    lm = tiny_lm(tmp_path / "m", "llama")
    result = tune(lm, some_examples(24), config, (3, 4), tmp_path / "t", seed=2)
    assert result["validation_loss"] == [3.0, 1.0, 2.0, 2.5]
    assert result["best_epoch"] == 2
    assert result["stopped"] == "no better validation loss in 2 epochs"
    delta = load_file(tmp_path / "t" / "delta.safetensors")
    assert all(torch.equal(delta[name], kept[2][name]) for name in delta)
    assert not all(torch.equal(delta[name], kept[4][name]) for name in delta)


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"validation_share": 0.0})
    lm = tiny_lm(tmp_path / "m", "llama")
    result = tune(lm, some_examples(24), config, (3, 4), tmp_path / "t", seed=2)
    assert result["validation_loss"] == [None, None, None]
    assert result["best_epoch"] == 3
