"""Precision and learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from tuning_cases import some_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.training.master_weights import learning_rates


def test_autocast_on_a_float32_model_stays_near(tmp_path: Path) -> None:
    losses = []
    for dtype in ("float32", "bfloat16"):
        config = TuneConfig(epochs=2, batch_size=4, learning_rate=1e-3, dtype=dtype)
        lm = tiny_lm(tmp_path / "m", "gemma3_text")
        losses.append(tune(lm, some_examples(12), config, (4,), tmp_path / dtype, seed=0))
    assert losses[1]["precision"] == "bfloat16"
    assert losses[1]["train_loss"] == pytest.approx(losses[0]["train_loss"], rel=0.01)


def test_one_cycle_is_pytorchs() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = OneCycleLR(optimizer, 3e-4, total_steps=20)
    wanted = []
    for _ in range(20):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(wanted) < 20:
            scheduler.step()
    assert learning_rates("one_cycle", 3e-4, 20) == pytest.approx(wanted)
    assert max(wanted) == pytest.approx(3e-4)
    assert learning_rates("constant", 0.1, 3) == [0.1] * 3
    assert learning_rates("cosine", 0.2, 4) == pytest.approx(
        [0.2, 0.170711, 0.1, 0.029289], abs=1e-6
    )
    assert len(learning_rates("one_cycle", 0.1, 1)) == 1
