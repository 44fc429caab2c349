"""bench/all.sh goes through every bench, writes down what fails, and measures nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
import json, sys
json.dump([{"what": "one", "value": 2.0, "unit": "s", "peer": None, "peer_value": None, "ratio": None,
            "failed": None, "more": {"threads": 1}}], open(sys.argv[sys.argv.index("--out") + 1], "w"))
"""


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with its neighbours at hand."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import run_all

    return run_all


def start(run_all: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> list[Any]:
    """Run all jobs and return the entries."""
    results = folder / "results.json"
    arguments = ["run_all", "--results", str(results), "--page", str(folder / "page.md"), *words]
    monkeypatch.setattr(sys, "argv", arguments)
    run_all.main()
    entries: list[Any] = json.loads(results.read_text(encoding="utf-8"))
    return entries


def test_a_failing_bench_is_written_down_and_the_others_go_on(
    run_all: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "good.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.py").write_text("raise ValueError('no such model')", encoding="utf-8")
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    jobs = {
        "lens": run_all.Job(str(tmp_path / "bad.py"), "", "", 1),
        "tune": run_all.Job(str(tmp_path / "slow.py"), "", "", 0),
        "answers": run_all.Job(str(tmp_path / "good.py"), "", "", 1),
    }
    monkeypatch.setattr(run_all, "JOBS", jobs)
    entries = start(run_all, monkeypatch, tmp_path)
    failed = {one["job"]: one["failed"] for one in entries}
    assert failed == {
        "lens": "exit 1: ValueError: no such model",
        "tune": "ended after 0 minutes",
        "answers": None,
    }
    assert entries[-1]["value"] == 2.0
    assert entries[-1]["cores"] >= 1
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "lens, linguamap: exit 1: ValueError: no such model" in page
    assert "**Missing in the tables:**" in capsys.readouterr().out or page


def test_what_is_there_for_this_commit_is_not_measured_again(
    run_all: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    counter = f"open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
    (tmp_path / "good.py").write_text(counter + GOOD, encoding="utf-8")
    job = run_all.Job(str(tmp_path / "good.py"), "", "", 1)
    monkeypatch.setattr(run_all, "JOBS", {"answers": job})
    monkeypatch.setattr(run_all.results, "BESIDE", 1.0)  # other tests run beside this one
    for commit, calls in (("aaaaaaaaaaaa", 1), ("aaaaaaaaaaaa", 1), ("bbbbbbbbbbbb", 2),
                          ("bbbbbbbbbbbb+", 3), ("bbbbbbbbbbbb+", 4)):  # fmt: skip
        monkeypatch.setattr(run_all.results, "commit", lambda commit=commit: commit)
        entries = start(run_all, monkeypatch, tmp_path)
        assert len((tmp_path / "calls").read_text()) == calls, commit
        assert len(entries) == 1
    start(run_all, monkeypatch, tmp_path, "--only", "answers")
    assert len((tmp_path / "calls").read_text()) == 5
    with pytest.raises(SystemExit):
        start(run_all, monkeypatch, tmp_path, "--only", "nothing")
    assert "nothing unknown; there are answers" in capsys.readouterr().err


def bench(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A bench's shell script with this interpreter."""
    environment = {**os.environ, "PYTHON": sys.executable}
    environment.pop("VLLM_PYTHON", None)
    environment.pop("LLAMA_PYTHON", None)
    return subprocess.run(
        [str(ROOT / "bench" / script), *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_quick_measures_nothing_that_is_kept() -> None:
    done = bench("all.sh", "--quick")
    assert done.returncode == 2
    assert "--quick measures nothing; give other files with --results and --page" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a dozen processes, each with its own start
def test_every_bench_runs_on_a_tiny_model(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    jobs = "main_job", "answers", "lens", "tune", "growth"  # the other jobs are tune.py again
    files = ("--results", str(results), "--page", str(page))
    done = bench("all.sh", "--quick", "--only", ",".join(jobs), *files)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = {}
    for one in json.loads(results.read_text(encoding="utf-8")):
        found.setdefault(one["job"], []).append(one)
    assert tuple(found) == jobs
    for job, rows in found.items():
        assert all(one["value"] is not None for one in rows), (job, done.stderr[-3000:])
        assert all(one["quick"] and one["command"].startswith("python bench/") for one in rows)
    peers = {(job, one["peer"]): one for job, rows in found.items() for one in rows}
    missing = peers["answers", "vLLM for CPUs"]["failed"]
    assert missing == "not installed: VLLM_PYTHON names no interpreter"
    assert peers["lens", "transformers-rows"]["more"]["same_ids"] == 1
    figures = peers["tune", "loop by hand"]["more"]  # the two train the same
    assert figures["loss"] == pytest.approx(figures["peer_loss"], rel=0.02)
    parts = {one["what"]: one["more"] for one in found["main_job"]}
    kinds = {kind for stage in ("before", "probe", "tune", "report") for kind in parts[stage]}
    assert kinds >= {
        "loading",
        "prefill",
        "decode",
        "blocks",
        "head",
        "identifier",
        "training",
        "drawing",
    }
    assert parts.keys() >= {"whole", "after", "probe_after", "lens", "token grids", "handover"}
    assert page.read_text(encoding="utf-8").startswith("# Speed and memory")


@pytest.mark.slow
def test_large_models_script_runs_on_a_tiny_config(tmp_path: Path) -> None:
    done = bench("gpu.sh", "--models", "tiny", "--results", str(tmp_path / "results.json"))
    assert done.returncode == 0, done.stderr
    entries = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [one["what"] for one in entries] == [
        "tiny: answers", "tiny: lens", "tiny: cache build", "tiny: warm epoch",
    ]  # fmt: skip
    for one in entries:
        assert one["value"] > 0, one
        assert one["more"]["planned_seconds"] > 0
        assert one["peer_value"] is None if "build" in one["what"] else one["peer_value"] > 0
