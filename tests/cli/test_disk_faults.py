"""A disk that is full, read-only or failing, a limit for files, a folder in use: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linguamap.cli import app as command_line
from linguamap.run.files import append_rows, read_rows, write_json
from linguamap.run.folder import open_run
from linguamap.run.settings import load_config


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, "no space left on device: .* leaves no room; make some and start the same command"),
        (errno.EFBIG, "file too large: .*ulimit -f.* leaves no room"),
        (errno.EDQUOT, "leaves no room"),
        (errno.EROFS, "/r/x: read-only file system; check the path and its rights"),
        (errno.EACCES, "/r/x: permission denied; check the path and its rights"),
        (errno.EIO, "the disk failed at /r/x; what was finished before is kept"),
    ],
)  # fmt: skip
def test_each_fault_of_a_disk_is_one_line(
    number: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number), "/r/x")

    monkeypatch.setattr(command_line, "app", fail)
    monkeypatch.setattr(sys, "argv", ["linguamap", "run"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit, match="2"):
        command_line.main()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(line, said), said


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes (Python ignores the signal and raises EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_at_the_limit_for_a_file_old_contents_and_whole_lines_stay(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(OSError, match="File too large"):
        write_json(tmp_path / "x.json", ["long"] * 1_000)
    assert (tmp_path / "x.json").read_text() == "[\n 1\n]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    append_rows(tmp_path / "a.jsonl", [{"a": 1}])
    with pytest.raises(OSError, match="File too large"):
        append_rows(tmp_path / "a.jsonl", [{"a": "x" * 2_000}])
    assert read_rows(tmp_path / "a.jsonl") == [{"a": 1}]


def test_a_full_disk_in_the_middle_of_a_stage_leaves_the_finished_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.run_stage("probe", ["curve"], lambda: write_json(run.path("curve"), 1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space left"):
        broken.setattr(os, "fsync", full)
        run.run_stage("locate", ["layers"], lambda: write_json(run.path("layers"), 1))
    again = open_run(run.folder, None, writes=True)
    assert [again.is_done(stage) for stage in ("probe", "locate")] == [True, False]
    assert again.run_stage("locate", ["layers"], lambda: write_json(run.path("layers"), 1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_is_read_and_not_written(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.folder.chmod(0o500)
    try:
        assert open_run(run.folder, None).config == load_config()
        with pytest.raises(PermissionError):
            open_run(run.folder, None, writes=True)
    finally:
        run.folder.chmod(0o700)
