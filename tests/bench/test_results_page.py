"""docs/benchmarks.md and the README say what bench/results.json holds, and nothing older."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED: list[dict[str, Any]] = json.loads(
    (ROOT / "bench" / "results.json").read_text(encoding="utf-8")
)
MACHINE = {
    "date": "2026-11-28T20:00+00:00", "processor": "A processor", "instructions": ["avx2"], "cores": 2,
    "versions": {"torch": "2.13.0"}, "commit": "0123456789ab", "command": "python bench/answers.py",
    "others": 0.0, "quick": False,
}  # fmt: skip
"""What bench/run_all.py adds to a figure."""


def page_of(entries: list[dict[str, Any]], folder: Path) -> str:
    """What bench/page.py makes of some entries."""
    (folder / "results.json").write_text(json.dumps(entries), encoding="utf-8")
    command = [sys.executable, "bench/page.py", "--results", str(folder / "results.json")]
    done = subprocess.run(
        [*command, "--page", str(folder / "page.md")], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return (folder / "page.md").read_text(encoding="utf-8")


def answers(**changes: Any) -> dict[str, Any]:
    """20 s against 61 s, of which 8 s are the floor."""
    figures = {
        "job": "answers", "what": "48 MGSM prompts, bfloat16", "value": 20.0, "unit": "s",
        "peer": "a peer 1.0", "peer_value": 61.0, "ratio": 3.05, "failed": None,
        "more": {"threads": 2, "floor_seconds": 8.0, "floor_share": 0.4, "memory_ratio": 0.5,
                 "same_answers": 45, "both_answered": 46},
    }  # fmt: skip
    return {**figures, **MACHINE, **changes}


def test_the_page_is_what_the_stored_results_make(tmp_path: Path) -> None:
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page_of(
        STORED, tmp_path
    ), "run: python bench/page.py"


def test_stored_figures_are_whole_and_of_committed_code() -> None:
    for one in STORED:
        assert re.fullmatch(r"[0-9a-f]{12}", one["commit"]), one
        assert not one["quick"]
        assert {"date", "processor", "instructions", "cores", "versions", "others"} <= one.keys()
        assert (one["value"] is None) <= bool(one["failed"]), one
        if one["ratio"] is not None:
            assert one["ratio"] == pytest.approx(one["peer_value"] / one["value"], rel=2e-3)


def test_an_entry_stands_with_its_peer_code_and_machine(tmp_path: Path) -> None:
    page = page_of([answers()], tmp_path)
    row = next(line for line in page.splitlines() if line.startswith("| 48 MGSM"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "48 MGSM prompts, bfloat16", "20.0", "a peer 1.0", "61.0", "**3.05**", "0.50", "8.00", "40 %", "45 of 46",
    ]  # fmt: skip
    assert "commit 0123456789ab, 2026-11-28; A processor, 2 cores, 2 threads, avx2" in page


def test_a_page_without_figures_says_whose_the_old_ones_are(tmp_path: Path) -> None:
    page = page_of([], tmp_path)
    assert page.count("Not measured yet.") == 8
    assert "**This state has not been measured yet.**" in page
    assert "Of version 0.1.0 (96 prompts): 3.1 times" in page
    page = page_of([answers()], tmp_path)
    assert "not been measured yet" not in page
    assert "Of version 0.1.0 (96 prompts)" not in page


def test_figures_taken_beside_other_work_are_left_out(tmp_path: Path) -> None:
    page = page_of([answers(others=0.3)], tmp_path)
    assert "61.0" not in page
    assert "answers: left out, since other processes took 30% of the machine meanwhile" in page


def test_a_peer_that_failed_is_named_with_its_reason(tmp_path: Path) -> None:
    lost = answers(peer="vLLM", peer_value=None, ratio=None, failed="exit 1: no wheel")
    page = page_of([answers(), lost], tmp_path)
    assert "* 48 MGSM prompts, bfloat16, vLLM: exit 1: no wheel" in page
    assert "| vLLM | not measured |" in page


README_FIGURES = {
    "from lm-evaluation-harness": ("answers", "lm-evaluation-harness"),
    "as nnterp's": ("lens", "nnterp"),
    "loop that one would write by hand": ("tune", "loop by hand"),
}
"""Words in the README -> job and peer whose ratio stands before them."""


def test_the_readme_says_the_measured_speed() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    sentence = re.search(r"On two CPU cores (.*?) \(\[how it was measured\]", readme)
    assert sentence
    for words, (job, peer) in README_FIGURES.items():
        found = [
            one["ratio"]
            for one in STORED
            if one["job"] == job and (one["peer"] or "").startswith(peer) and one["ratio"]
        ]
        said = re.findall(r"(\d+\.\d) times", sentence[1].split(words)[0])
        assert said, words
        if found:
            assert float(said[-1]) == pytest.approx(found[0], abs=0.0501), words
        else:
            assert "version 0.1.0" in sentence[1], "not measured at this version: say of which"
