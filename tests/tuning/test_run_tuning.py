"""From prompts to the files of a training."""

from __future__ import annotations

from pathlib import Path

from tuning_cases import some_prompts, tiny_lm

from linguamap.config import TuneConfig
from linguamap.tuning.run_tuning import tune


def test_prompts_make_a_run_with_a_sample(tmp_path: Path) -> None:
    config = TuneConfig(epochs=12, batch_size=4, learning_rate=5e-3)
    lm = tiny_lm(tmp_path / "m", "llama")
    result = tune(lm, some_prompts(6), config, (3, 4), tmp_path / "t", seed=0)
    assert result["layers"] == [3, 4]
    assert (result["training_examples"], result["validation_examples"]) == (10, 2)
    assert result["train_loss"][-1] < 0.7 * result["train_loss"][0]
    assert "⟦ 0 y 1. = 1\n⟧" in (tmp_path / "t" / "sample.txt").read_text("utf-8")
