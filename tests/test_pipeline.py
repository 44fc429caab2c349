"""The whole job on tiny random models, through the command line; killed in each stage and resumed."""

from __future__ import annotations

import json
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from commands import call, start
from tiny import save_tiny

import linguamap as lm
from linguamap.run.files import read_rows
from linguamap.run.folder import STAGES, open_run

pytestmark = pytest.mark.slow

SMALL = [
    "evaluate.items=2",
    "evaluate.max_new_tokens=6",
    "evaluate.batch_size=8",
    "probe.items=2",
    "probe.similarity_items=8",
    "probe.handover_items=1",
    "probe.bootstrap=20",
    "locate.bootstrap=20",
    "tune.examples=24",
    "tune.epochs=2",
    "tune.batch_size=8",
]


def command(stage: str, out: Path, *more: str) -> list[str]:
    return [stage, "--out", str(out), *more]


def settings(model: Path) -> list[str]:
    flags = [flag for one in SMALL for flag in ("--set", one)]
    return ["--model", str(model), "--languages", "en,es,hi", *flags]


def without_seconds(value: Any) -> Any:
    """What a rule cost is not the same twice."""
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if key != "seconds"}
    return value


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny folders; texts of a byte-level vocabulary are long, so positions are plenty."""
    root = tmp_path_factory.mktemp("models")
    return {
        "llama": save_tiny(root / "llama", "llama", max_position_embeddings=4096),
        "qwen3": save_tiny(root / "qwen3", "qwen3", max_position_embeddings=4096),
        "bloom": save_tiny(root / "bloom", "bloom"),
    }


@pytest.fixture(scope="module")
def whole(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny Llama that was never interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = call(*command("run", out, *settings(models["llama"])))
    assert done.returncode == 0, done.stderr
    return out


def test_every_stage_leaves_its_files(whole: Path) -> None:
    assert set(load(whole / "stages.json")) == set(STAGES)
    for name in (
        "config.yaml", "manifest.json", "located.json", "layers.json", "comparison.json", "change.json",
        "report.html", "before/answers.jsonl", "after/summary.json", "probe/lens.parquet",
        "probe/similarity.parquet", "tuned/delta.safetensors", "tuned/tuning.json",
    ):  # fmt: skip
        assert (whole / name).stat().st_size > 0, name


def test_every_cell_is_there_with_the_promised_fields(whole: Path) -> None:
    summary = load(whole / "before" / "summary.json")
    cells = {(c["benchmark"], c["language"], c["scenario"]): c for c in summary["cells"]}
    assert len(cells) == 3 * 3 * 4
    for cell in cells.values():
        assert cell["n"] == 2
        assert sum(cell["outcomes"].values()) == cell["n"]
        assert {"value", "low", "high"} <= set(cell["task_accuracy"])
    rows = read_rows(whole / "before" / "answers.jsonl")
    assert len(rows) == 3 * 3 * 4 * 2
    fields = {
        "item_id", "benchmark", "language", "scenario", "prompt", "answer", "thinking",
        "extracted", "gold", "task_correct", "answer_language", "language_correct", "outcome",
        "reason",
    }  # fmt: skip
    assert all(fields <= set(row) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "bloom"])
def test_other_architectures_pass_through(
    models: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    done = call(*command("run", tmp_path / "r", *settings(models[kind])))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "report.html").exists()


def test_second_call_does_nothing_again(whole: Path, models: dict[str, Path]) -> None:
    stages = (whole / "stages.json").read_bytes()
    answers = (whole / "before" / "answers.jsonl").stat().st_mtime_ns
    assert call(*command("run", whole)).returncode == 0
    assert (whole / "stages.json").read_bytes() == stages
    assert (whole / "before" / "answers.jsonl").stat().st_mtime_ns == answers


def test_changed_setting_is_refused_with_the_difference(whole: Path) -> None:
    done = call(*command("run", whole, "--set", "tune.epochs=9"))
    assert done.returncode == 2
    assert "tune.epochs: 2 -> 9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_like_one_never_killed(
    whole: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """kill -9 in one stage after the other; the same command again goes on and ends the same."""
    out = tmp_path / "r"
    arguments = command("run", out, *settings(models["llama"]))
    for stage in ("before", "probe", "tune", "after", "probe_after"):
        process = start(*arguments)
        _wait_for(out, stage, process)
        process.kill()
        process.join()
        assert stage not in (load(out / "stages.json") if (out / "stages.json").exists() else {})
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    for name in ("before/summary.json", "after/summary.json", "layers.json", "comparison.json"):
        assert without_seconds(load(out / name)) == without_seconds(load(whole / name)), name


def _wait_for(out: Path, stage: str, process: BaseProcess) -> None:
    """Return when a stage has begun: the one before it is done and its folder is there."""
    folders = {"before": "before", "tune": "tuned"}
    earlier = STAGES[: STAGES.index(stage)]
    while process.is_alive():
        path = out / "stages.json"
        stages = load(path) if path.exists() else {}
        if all(name in stages for name in earlier) and (out / folders.get(stage, stage)).exists():
            time.sleep(0.2)
            return
        time.sleep(0.02)
    pytest.fail(f"the run ended before it could be killed in {stage}")


def test_stop_signal_ends_with_a_word_and_no_traceback(
    models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "r"
    process = start(*command("run", out, *settings(models["llama"])), stderr=tmp_path / "stderr")
    _wait_for(out, "before", process)
    process.terminate()
    process.join(60)
    errors = (tmp_path / "stderr").read_text()
    assert process.exitcode == 130
    assert "goes on from here" in errors
    assert "Traceback" not in errors


def test_rules_are_laid_side_by_side_and_nothing_is_undone(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    shutil.copytree(whole, out)
    before = load(out / "layers.json")
    assert set(before["rules"]) == {"lens", "handover", "last", "middle", "random"}
    done = call(*command("choose", out, "--rules", "all"))
    assert done.returncode == 0, done.stderr
    after = load(out / "layers.json")
    added = {"gradient", "gradient_product", "gradient_sign", "step", "trial", "lora"}
    assert set(after["rules"]) == set(before["rules"]) | added
    assert after["tune_layers"] == before["tune_layers"]
    for rule in added:
        assert rule in done.stdout
        assert after["rules"][rule]["seconds"] > 0
        assert after["rules"][rule]["front"] or after["rules"][rule]["reason"]
    run = open_run(out, None)
    assert all(run.is_done(stage) for stage in STAGES if stage != "report")
    refused = call(*command("choose", out, "--rule", "gradient"))
    assert refused.returncode == 2
    assert "choose.rule: 'lens' -> 'gradient'" in refused.stderr
    unknown = call(*command("choose", out, "--rules", "tryal"))
    assert unknown.returncode == 2
    assert "there is no rule 'tryal'" in unknown.stderr
    found = lm.choose(out)
    frame = found.frame()
    chosen = set(frame[(frame["rule"] == "gradient") & frame["chosen"]]["block"])
    assert chosen == set(after["rules"]["gradient"]["blocks"])
    assert "gradient_sign" in repr(found)
    assert found.plot().svg().startswith("<?xml")


def test_another_rule_chooses_what_is_tuned(models: dict[str, Path], tmp_path: Path) -> None:
    changed = [
        "--set",
        "choose.rule=gradient_sign",
        "--set",
        "choose.aim=cost",
        "--set",
        "locate.max_trainable_share=0.2",
    ]
    done = call(*command("tune", tmp_path / "r", *settings(models["llama"]), *changed))
    assert done.returncode == 0, done.stderr
    layers, tuning = (load(tmp_path / "r" / name) for name in ("layers.json", "tuned/tuning.json"))
    assert layers["rule"] == tuning["layers_source"] == "gradient_sign"
    assert layers["rules"]["gradient_sign"]["blocks"] == layers["tune_layers"] == tuning["layers"]
    assert layers["rules"]["gradient_sign"]["n"] <= 24 // 10
    gains = {tuple(one["blocks"]): one["gain"] / one["seconds_per_epoch"]
             for one in layers["rules"]["gradient_sign"]["front"]}  # fmt: skip
    assert gains[tuple(layers["tune_layers"])] == max(gains.values())
