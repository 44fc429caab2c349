"""A stage may rightly leave a file out; nothing else that it promises may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from linguamap.run.folder import open_run
from linguamap.run.settings import load_config


def test_a_run_of_one_language_has_no_similarity(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.path("probe", "lens.parquet").write_bytes(b"lens")
    run.note("probe", ["probe/lens.parquet", "probe/similarity.parquet"], 1.0)
    assert set(run.stages()["probe"].outputs) == {"probe/lens.parquet"}
    with pytest.raises(FileNotFoundError):
        run.note("locate", ["layers.json"], 1.0)
