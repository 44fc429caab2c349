"""Several processes: they divide the groups, merge, resume, and end like a single one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import commands
import psutil
import pytest
from tiny import save_tiny, tiny_lm

from linguamap.config import EvaluateConfig
from linguamap.generation.local import generate
from linguamap.records import Completion, Part, Prompt
from linguamap.run.files import read_json, read_rows, write_rows
from linguamap.run.processes import VARIABLES, ProcessGroup, launched

SETTINGS = [
    "--languages", "en,es", "--benchmarks", "sums,choice", "--set", "evaluate.items=4",
    "--set", "evaluate.max_new_tokens=6", "--set", "evaluate.batch_size=8",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
LAUNCHER = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--main_process_port", "0", "-m",
]  # fmt: skip

pytestmark = pytest.mark.slow


def call(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT
    )


def evaluate(out: Path, model: Path) -> list[str]:
    return ["linguamap", "evaluate", "--out", str(out), "--model", str(model), *SETTINGS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "llama", "llama", max_position_embeddings=4096)


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "alone"
    done = commands.call(*evaluate(out, model)[1:])
    assert done.returncode == 0, done.stderr
    return out


def same(first: Path, second: Path) -> None:
    for name in ("before/answers.jsonl", "before/summary.json", "config.yaml", "identifier.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_two_processes_end_like_one(alone: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    done = call([*LAUNCHER, *evaluate(out, model)])
    assert done.returncode == 0, done.stderr
    same(alone, out)
    assert [path.name for path in (out / "before").iterdir() if "rank" in path.name] == []
    assert done.stdout.count("all answers") == 1  # only the first process prints
    assert set(read_json(out / "stages.json")) == {"before"}
    stages = (out / "stages.json").read_bytes()
    again = call([*LAUNCHER, *evaluate(out, model)])
    assert again.returncode == 0, again.stderr
    assert (out / "stages.json").read_bytes() == stages


def test_answers_of_killed_processes_are_taken_up_and_not_made_again(
    alone: Path, tmp_path: Path
) -> None:
    """All answers lie in two processes' files, the last line torn; the model is gone."""
    out = tmp_path / "r"
    (out / "before").mkdir(parents=True)
    (out / "config.yaml").write_bytes((alone / "config.yaml").read_bytes())
    rows = [r for r in read_rows(alone / "before" / "answers.jsonl") if not r["coincides_with"]]
    write_rows(out / "before" / "answers.jsonl", rows[::3])
    write_rows(out / "before" / "answers.rank1.jsonl", rows[1::3])
    write_rows(out / "before" / "answers.rank7.jsonl", rows[2::3])
    with (out / "before" / "answers.rank1.jsonl").open("a") as file:
        file.write('{"prompt_id": "sums/mono')
    done = commands.call("evaluate", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "tokens/s" not in done.stderr
    same(alone, out)
    assert [path.name for path in (out / "before").iterdir() if "rank" in path.name] == []


def test_a_mistake_is_said_once_and_ends_all(tmp_path: Path) -> None:
    started = time.monotonic()
    done = call(
        [*LAUNCHER, "linguamap", "evaluate", "--out", str(tmp_path / "r"), "--languages", "fre"]
    )
    assert done.returncode != 0
    assert done.stderr.count("linguamap: ") == 1, done.stderr
    assert "did you mean 'fr'" in done.stderr
    assert time.monotonic() - started < 120


def test_other_commands_refuse_several_processes(tmp_path: Path) -> None:
    done = call([*LAUNCHER, "linguamap", "run", "--out", str(tmp_path / "r")])
    assert done.returncode != 0
    assert done.stderr.count("only evaluate, probe and tune divide their work") == 1, done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_killed_and_resumed_with_another_number_of_processes(
    alone: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    process = subprocess.Popen(
        [*LAUNCHER, *evaluate(out, model)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=ENVIRONMENT, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not (out / "before" / "answers.rank1.jsonl").exists():
        time.sleep(0.02)
    with contextlib.suppress(psutil.NoSuchProcess):  # it was done before it could be killed
        launcher = psutil.Process(process.pid)
        for one in (
            launcher,
            *launcher.children(recursive=True),
        ):  # workers have their own sessions
            one.kill()
    process.wait()
    done = commands.call(*evaluate(out, model)[1:])
    assert done.returncode == 0, done.stderr
    same(alone, out)


def test_shares_are_the_whole_and_nothing_twice() -> None:
    lm = tiny_lm("llama")
    prompts = [
        Prompt(
            str(i), "sums", "sums", "en", "monolingual", (Part("P", "a b c"[: 1 + i % 5]),), ("1",)
        )
        for i in range(25)
    ]
    config = EvaluateConfig(max_new_tokens=5, batch_size=1, temperature=1.0)
    whole: list[list[Completion]] = []
    generate(lm, prompts, config, save=whole.append, seed=3)
    assert [len(unit) for unit in whole] == [8, 8, 8, 1]  # units of eight batches
    said: list[tuple[int, int]] = []
    for rank in range(3):
        part: list[list[Completion]] = []
        generate(
            lm, prompts, config, seed=3, share=(rank, 3), save=part.append,
            progress=lambda label, done, total, note="": said.append((done, total)),
        )  # fmt: skip
        assert part == whole[rank::3]  # sampled answers, too: a unit's seed goes by its number
    assert said == [(0, 9), (8, 9), (9, 9), (0, 8), (8, 8), (0, 8), (8, 8)]


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert launched() == ProcessGroup(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some clusters set it for every job
    assert launched() == ProcessGroup(0, 1)
    values = {"RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert launched() == ProcessGroup(2, 8)
    assert launched().share == (2, 8)


# Each process writes its own file: two that print at the same moment share lines.
PROGRAM = """
import pathlib, sys, time
from linguamap.run.processes import launched

group = launched()
with open(pathlib.Path(sys.argv[1]) / f"times-{group.rank}", "w") as times:
    for step in range(2):
        time.sleep(0.2 * group.rank)
        print(step, "in", time.monotonic(), file=times, flush=True)
        group.wait()
        print(step, "out", time.monotonic(), file=times, flush=True)
assert group.all_reduce([group.rank + 1, 0.5]) == [3.0, 1.0]
assert group.gather({group.rank: "x"}, everyone=True) == [{0: "x"}, {1: "x"}]
assert group.gather(group.rank) == ([0, 1] if group.writes else [])
"""


def test_no_one_goes_on_before_all_have_come(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = call([*LAUNCHER[:-1], str(program), str(tmp_path)])
    assert done.returncode == 0, done.stderr
    written = [(tmp_path / f"times-{rank}").read_text() for rank in (0, 1)]
    lines = [line.split() for text in written for line in text.splitlines()]
    assert len(lines) == 8
    for step in ("0", "1"):
        times = {
            word: [float(at) for number, said, at in lines if (number, said) == (step, word)]
            for word in ("in", "out")
        }
        assert max(times["in"]) < min(times["out"])


def test_alone_there_is_nobody_to_wait_for() -> None:
    code = (
        "import sys; from linguamap.run.processes import ProcessGroup; group = ProcessGroup(); "
        "group.wait(); assert group.gather(1) == [1] and group.all_reduce([2.0]) == [2.0]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert call([sys.executable, "-c", code]).returncode == 0
