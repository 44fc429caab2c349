"""Several processes on one probe: the single process's files, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import commands
import pyarrow.parquet as pq
import pytest
from fake_identifier import FakeIdentifier, by_script
from tiny import save_tiny, tiny_lm

from linguamap.benchmarks import load_benchmark
from linguamap.config import RunConfig
from linguamap.models.language_model import LanguageModel
from linguamap.probes.run_probes import run_probe
from linguamap.prompts.scenarios import render_all
from linguamap.records import Prompt
from linguamap.run.processes import ProcessGroup, left_alone
from linguamap.run.settings import load_config

LANGUAGES = ["en", "es", "ar"]
SETTINGS = [
    "probe.items=2", "probe.similarity_items=8", "probe.handover_items=3", "probe.bootstrap=20",
    "evaluate.max_new_tokens=4",
]  # fmt: skip
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
QUIET = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Meeting:
    """Where threads that stand for processes meet, and what each brings."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.brought: dict[int, Any] = {}


class ThreadGroup(ProcessGroup):
    """One of several threads in the place of processes."""

    def __init__(self, rank: int, size: int, meeting: Meeting) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "meeting", meeting)

    meeting: Meeting

    def wait(self) -> None:
        self.meeting.barrier.wait(timeout=300)

    def gather(self, value: Any, *, everyone: bool = False) -> list[Any]:
        self.meeting.brought[self.rank] = value
        self.wait()
        brought = [self.meeting.brought[rank] for rank in range(self.world_size)]
        self.wait()
        return brought if everyone or self.writes else []


def config(*settings: str) -> RunConfig:
    return load_config(None, [f"languages=[{', '.join(LANGUAGES)}]", *SETTINGS, *settings])


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    benchmarks = [load_benchmark(name, LANGUAGES, "train") for name in ("sums", "choice")]
    return render_all(benchmarks, LANGUAGES, ["monolingual", "code_mixed"], None, 0, True)


def model() -> LanguageModel:
    return tiny_lm("llama", max_position_embeddings=2048)


def probe(
    lm: LanguageModel, prompts: list[Prompt], asked: RunConfig, out: Path, several: ProcessGroup
) -> dict[str, Any]:
    identifier = FakeIdentifier(("en", "es", "ar"), by_script)
    return run_probe(lm, prompts, asked, identifier, out, processes=several)


def same_files(one: Path, other: Path) -> None:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    tables = [name for name in names if name.endswith(".parquet")]
    assert len(tables) == 10
    for name in tables:
        assert pq.read_table(one / name).equals(pq.read_table(other / name)), name


def facts_but_times(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "probe.json").read_text())
    for name in ("processes", "layer_positions_per_second", "head_floor_seconds"):
        del facts["lens"][name]
    del facts["seconds"]
    return facts


@pytest.mark.parametrize("texts", ["auto", "generated"])
def test_three_shares_make_the_whole(prompts: list[Prompt], tmp_path: Path, texts: str) -> None:
    asked = config(f"probe.texts={texts}")
    probe(model(), prompts, asked, tmp_path / "alone", ProcessGroup())
    meeting, failed = Meeting(3), []
    models = [model() for _ in range(3)]  # their weights are drawn from a state that threads share

    def work(rank: int) -> None:
        try:
            probe(
                models[rank],
                prompts,
                asked,
                tmp_path / "three",
                ThreadGroup(rank, 3, meeting),
            )
        except Exception as error:
            failed.append(error)
            meeting.barrier.abort()
            raise

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert not failed
    same_files(tmp_path / "alone", tmp_path / "three")
    assert facts_but_times(tmp_path / "alone") == facts_but_times(tmp_path / "three")


@pytest.mark.slow
def test_two_launched_processes_end_like_one(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "llama", "llama", max_position_embeddings=4096)
    asked = ["--model", str(folder), "--languages", "en,es,ar", "--benchmarks", "sums,choice"]
    asked += [part for setting in SETTINGS for part in ("--set", setting)]

    alone = commands.call("probe", "--out", tmp_path / "alone", *asked)
    assert alone.returncode == 0, alone.stderr
    two = subprocess.run(
        [*ACCELERATE, "--multi_gpu", *QUIET, "--main_process_port", "0", "-m", "linguamap", "probe",
         "--out", str(tmp_path / "two"), *asked],
        capture_output=True, text=True, check=False, timeout=500, env=ENVIRONMENT,
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("Curves in") == 1
    assert "note:" not in two.stderr
    same_but_grid(tmp_path / "alone" / "probe", tmp_path / "two" / "probe")
    assert facts_but_times(tmp_path / "two" / "probe")["model"]["name"] == str(folder)


def same_but_grid(one: Path, other: Path) -> None:
    for path in one.glob("*.parquet"):
        assert pq.read_table(path).equals(pq.read_table(other / path.name)), path.name
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())


def test_accelerate_that_started_one_of_several_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert not left_alone()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert not left_alone()  # one process was asked for
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert left_alone()
    monkeypatch.setenv("RANK", "0")
    assert not left_alone()
