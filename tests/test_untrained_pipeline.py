"""The two methods that train nothing, through the command line to the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import call
from tiny import save_tiny

from linguamap.report.run_page import write_report
from linguamap.run.files import read_rows
from linguamap.run.folder import STAGES
from test_pipeline import command, load, settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m") / "llama"
    return save_tiny(folder, "llama", max_position_embeddings=8192)


@pytest.mark.parametrize("method", ["steer", "few-shot"])
def test_a_run_ends_in_the_same_files(method: str, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    more = ["--method", method, "--set", "tune.shots=2", "--set", "evaluate.batch_size=16"]
    done = call(*command("run", out, *settings(model), *more))
    assert done.returncode == 0, done.stderr
    assert set(load(out / "stages.json")) == set(STAGES)
    tuning, change = load(out / "tuned" / "tuning.json"), load(out / "change.json")
    assert tuning["method"] == method.replace("-", "_")
    assert (tuning["trainable_parameters"], tuning["train_loss"]) == (0, [])
    assert change["share_in_tuned"] is None
    assert "changes no weight" in change["reason"]
    assert not (out / "probe_after").exists()
    before, after = (read_rows(out / when / "answers.jsonl") for when in ("before", "after"))
    assert [row["prompt_id"] for row in after] == [row["prompt_id"] for row in before]
    assert any(a["answer"] != b["answer"] for a, b in zip(after, before, strict=True))
    for a, b in zip(after, before, strict=True):
        assert (a["prompt"] == b["prompt"]) == (method == "steer")
        assert a["prompt"].endswith(b["prompt"])
    assert {"steer": "Steering", "few-shot": "Few-shot prompting"}[method] in done.stdout
    assert "Not run yet" not in done.stdout
    assert write_report(out).stat().st_size > 0
    merged = call(*command("merge", out))
    assert merged.returncode == 2
    assert "which changes no weight" in merged.stderr
    again = call("score", out, "--set", "score.min_letters=9")
    assert again.returncode == 0, again.stderr
