"""Runs that are killed again and again end in the bytes of a run that never was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kill_campaign import arguments, differences
from tiny import save_tiny

PROGRAM = Path(__file__).with_name("kill_campaign.py")


def campaign(out: Path, *flags: str) -> dict[str, Any]:
    """What the program found, in a process of its own: it changes how files are opened."""
    command = [sys.executable, str(PROGRAM), "--out", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_two_processes_with_other_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    """Sets and the metadata of safetensors come in an order that Python or chance decides."""
    save_tiny(tmp_path / "model", "llama", max_position_embeddings=4096)
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "linguamap", *arguments(tmp_path / "model", tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert differences(tmp_path / "1", tmp_path / "2") == []


@pytest.mark.stress
@pytest.mark.timeout(7200)
def test_the_campaign_finds_nothing(tmp_path: Path) -> None:
    found = campaign(tmp_path, "--runs", "24", "--seed", "1")
    assert found["faults"] == []
    assert found["kills"] >= 200
