"""Two real processes on one training end where a single one ends; sharded weights, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny import save_tiny
from tune_program import train
from tuning_cases import some_examples, tiny_lm
from typer.testing import CliRunner

from linguamap.cli.app import app
from linguamap.records import UserError
from linguamap.run.files import read_json, read_rows
from linguamap.run.processes import ProcessGroup
from linguamap.tuning.data.batches import TrainingData
from linguamap.tuning.training.distributed import split_work

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/support/tune_program.py"
TOLERANCE = 1e-5
"""Relative, of losses. Sums over examples are taken in another order, and a few AdamW steps carry that
on: weights may differ by a small part of the way that they went."""
MOVED = 2e-3

BASE: dict[str, Any] = {
    "epochs": 2, "batch_size": 6, "learning_rate": 1e-3, "dtype": "float32", "check_items": 2,
    "validation_share": 0.2,
}  # fmt: skip


def launch(
    config: str, folder: Path, out: str, **settings: Any
) -> subprocess.CompletedProcess[str]:
    return launch_all(config, folder, {out: settings})


def launch_all(
    config: str, folder: Path, trainings: dict[str, dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """Several trainings, one after the other, in the same two processes."""
    asked = {out: {**BASE, **settings} for out, settings in trainings.items()}
    return start(config, str(PROGRAM), str(folder), json.dumps(asked))


def start(config: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file",
        str(ROOT / "configs" / config), *words,
    ]  # fmt: skip
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": ":".join([str(PROGRAM.parent), *sys.path]),
    }  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment
    )


def same(folder: Path, alone: str, two: str, kind: str = "llama") -> None:
    """Losses, checks and the way that the weights went."""
    first, second = (read_json(folder / name / "tuning.json") for name in (alone, two))
    for key in ("train_loss", "validation_loss"):
        assert second[key] == pytest.approx(first[key], rel=TOLERANCE), key
    for key in ("checks", "steps", "best_epoch", "delta_bytes", "trainable_parameters"):
        assert second[key] == first[key], key
    assert (first["processes"], second["processes"]) == (1, 2)
    rows = [read_rows(folder / name / "log.jsonl") for name in (alone, two)]
    assert [len(one) for one in rows] == [len(rows[0])] * 2
    for a, b in zip(*rows):
        assert [b.get(key) for key in ("target_tokens", "tokens")] == [
            a.get(key) for key in ("target_tokens", "tokens")
        ]
        if "loss" in a:
            assert b["loss"] == pytest.approx(a["loss"], rel=TOLERANCE)
            assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-4)
    base = dict(tiny_lm(folder / kind, kind).model.named_parameters())
    deltas = [load_file(folder / name / "delta.safetensors") for name in (alone, two)]
    assert list(deltas[0]) == list(deltas[1])
    for name, value in deltas[0].items():
        moved = (value - base.get(name, 0)).abs().max()  # LoRA's factors are not in the base
        assert moved > 1e-5
        assert (deltas[1][name] - value).abs().max() <= MOVED * moved, name
    assert not (folder / two / "checkpoint").exists()


@pytest.mark.slow
def test_data_parallel(tmp_path: Path) -> None:
    trainings: dict[str, dict[str, Any]] = {
        "plain": {}, "accumulated": {"batch_tokens": 90, "accumulation": 2},
    }  # fmt: skip
    for two, settings in trainings.items():
        train(tmp_path, f"{two}-alone", {**BASE, **settings})
    done = launch_all("data_parallel.yaml", tmp_path, trainings)
    assert done.returncode == 0, done.stderr
    for two in trainings:
        alone = f"{two}-alone"
        same(tmp_path, alone, two)
        kept = [read_json(tmp_path / n / "tuning.json")["cached_examples"] for n in (alone, two)]
        assert kept[0] == 22
        assert 9 <= kept[1] <= 13  # each process keeps its own examples' states


@pytest.mark.slow
def test_stopped_processes_go_on(tmp_path: Path) -> None:
    train(tmp_path, "alone", dict(BASE))
    stopped = launch("data_parallel.yaml", tmp_path, "two", kill_at=2)
    assert stopped.returncode != 0
    assert (tmp_path / "two" / "checkpoint" / "state.safetensors").exists(), stopped.stderr
    assert len(read_rows(tmp_path / "two" / "log.jsonl")) == 2
    done = launch("data_parallel.yaml", tmp_path, "two")
    assert done.returncode == 0, done.stderr
    same(tmp_path, "alone", "two")


@pytest.mark.slow
def test_sharded(tmp_path: Path) -> None:
    trainings: dict[str, dict[str, Any]] = {
        "full": {"method": "full", "batch_tokens": 90},
        "head is the embedding": {"kind": "gemma3_text", "method": "full"},
        "states below are kept": {"layers": [3, 4]},
        "blocks below run each time": {"layers": [2], "cache_gb": 0},
        "lora": {"method": "lora"},
        "half precision": {"method": "full", "dtype": "bfloat16"},
    }
    for two, settings in trainings.items():
        train(tmp_path, f"{two} alone", {**BASE, **settings})
    done = launch_all("fsdp.yaml", tmp_path, trainings)
    assert done.returncode == 0, done.stderr
    for two, settings in trainings.items():
        alone = f"{two} alone"
        first, second = (read_json(tmp_path / name / "tuning.json") for name in (alone, two))
        assert second["sharded"] is True, two
        if two != "half precision":
            same(tmp_path, alone, two, settings.get("kind", "llama"))
        for key in (
            "train_loss",
            "validation_loss",
        ):  # bfloat16 products round differently in slices
            assert second[key] == pytest.approx(first[key], rel=1e-3), (two, key)


@pytest.mark.slow
def test_sharded_and_stopped(tmp_path: Path) -> None:
    train(tmp_path, "alone", {**BASE, "method": "full"})
    stopped = launch("fsdp.yaml", tmp_path, "two", method="full", kill_at=2)
    assert stopped.returncode != 0
    assert len(read_rows(tmp_path / "two" / "log.jsonl")) == 2, stopped.stderr
    done = launch("fsdp.yaml", tmp_path, "two", method="full")
    assert done.returncode == 0, done.stderr
    same(tmp_path, "alone", "two")


@pytest.mark.slow
def test_a_cache_that_does_not_fit_is_refused_when_sharded(tmp_path: Path) -> None:
    done = launch("fsdp.yaml", tmp_path, "two", cache_gb=1e-5)
    assert done.returncode != 0
    assert "set it higher, or to 0" in done.stderr


@pytest.mark.slow
def test_the_command_probes_first_where_that_is_missing(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny", "llama", max_position_embeddings=4096)
    settings = ["probe.items=2", "probe.similarity_items=8", "probe.handover_items=1"]
    settings += ["probe.bootstrap=10", "locate.bootstrap=10", "tune.examples=12", "tune.epochs=1"]
    sets = [part for one in settings for part in ("--set", one)]
    asked = ["tune", "--model", str(model), "--languages", "en,es", *sets]
    alone = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output
    done = start("data_parallel.yaml", "-m", "linguamap", *asked, "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    first, second = (read_json(tmp_path / name / "layers.json") for name in ("alone", "two"))
    for rules in (first.pop("rules"), second.pop("rules")):  # they hold the seconds that each took
        assert {"lens", "handover", "last"} <= rules.keys()
    assert second == first
    tunings = [read_json(tmp_path / n / "tuned" / "tuning.json") for n in ("alone", "two")]
    assert [tuning["processes"] for tuning in tunings] == [1, 2]
    assert tunings[1]["train_loss"] == pytest.approx(tunings[0]["train_loss"], rel=TOLERANCE)
    assert "Delta in" in done.stdout


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
