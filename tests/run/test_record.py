"""The record of a run's files: what a clean-up may remove, what a finished stage is checked by, the lock."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from linguamap.records import UserError
from linguamap.run.files import append_rows, write_json, write_text
from linguamap.run.folder import Run, open_run
from linguamap.run.record import LOCK, RECORD, recorded, remove_files
from linguamap.run.settings import load_config


def finished(folder: Path) -> Run:
    run = open_run(folder, load_config())
    run.run_stage("locate", ["layers.json"], lambda: write_json(run.path("layers.json"), [1, 2]))
    return run


def test_fresh_leaves_a_users_files_in_the_runs_own_folders(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    write_text(run.path("figures", "lens.svg"), "ours")
    write_text(run.path("probe_after", "grid.json"), "ours")
    append_rows(run.path("before", "answers.jsonl"), [{"a": 1}])
    for name in ("figures/mine.svg", "before/notes.md", "tuned/backup/old.safetensors"):
        run.path(name).write_text("mine")
    open_run(tmp_path / "r", load_config(None, ["seed=1"]), fresh=True)
    left = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    assert left == {
        "figures/mine.svg", "before/notes.md", "tuned/backup/old.safetensors", "config.yaml", RECORD,
    }  # fmt: skip
    assert not (run.folder / "probe_after").exists()


def test_fresh_follows_no_link_and_no_name_out_of_the_folder(tmp_path: Path) -> None:
    """A record is a file like others, and may be somebody's who means harm."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    run = open_run(tmp_path / "r", load_config())
    (run.folder / "link").symlink_to(outside, target_is_directory=True)
    with open(run.folder / RECORD, "a") as file:
        for name in ("../outside/precious", str(outside / "precious"), "link/precious", "", "/"):
            file.write(json.dumps(name) + "\n")
        file.write('"torn')
    open_run(run.folder, load_config(), fresh=True)
    assert (outside / "precious").read_text() == "mine"


def test_fresh_without_a_record_removes_nothing(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    (run.folder / RECORD).unlink()
    with pytest.raises(UserError, match=r"has no record of its files.*use another --out"):
        open_run(run.folder, load_config(), fresh=True)
    assert (run.folder / "layers.json").exists()


def test_a_name_is_recorded_before_its_file_is_made_and_once(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())

    class Full(dict[str, int]):
        pass

    with pytest.raises(ValueError, match="Out of range"):
        write_json(run.path("x.json"), float("nan"))
    for _ in range(2):
        append_rows(run.path("a.jsonl"), [Full(a=1)])
    assert recorded(run.folder) == ["config.yaml", "a.jsonl"]


def test_temporary_files_of_a_killed_process_are_gone_after_the_next_start(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    left, other = run.folder / ".layers.json.4711.tmp", run.folder / ".notes.4711.tmp"
    left.write_text("half")
    other.write_text("mine")
    open_run(run.folder, None)  # who only reads removes nothing: another process may be at work
    assert left.exists()
    open_run(run.folder, None, writes=True)
    assert (left.exists(), other.exists()) == (False, True)


def test_a_run_killed_before_its_config_was_there_can_be_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    for name in (RECORD, LOCK, ".config.yaml.12.tmp"):
        (folder / name).touch()
    assert open_run(folder, load_config(), writes=True).config == load_config()


def test_a_file_of_the_same_length_with_other_bytes_is_told_and_redone(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    path = run.folder / "layers.json"
    text = path.read_text()
    assert run.stages()["locate"].outputs["layers.json"].sha256 == (
        hashlib.sha256(text.encode()).hexdigest()
    )
    path.write_text(text.replace("1", "7"))
    assert (run.is_done("locate"), run.damaged("locate")) == (False, ["layers.json"])


def test_every_file_that_a_stage_left_in_its_folder_is_checked(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())

    def probe() -> None:
        write_json(run.path("probe", "probe.json"), {})
        write_json(run.path("probe", "grid.json"), {})

    run.run_stage("probe", ["probe/grid.json"], probe)
    (run.folder / "probe" / "probe.json").write_text("")
    assert run.damaged("probe") == ["probe/probe.json"]


def test_a_stage_is_not_made_of_files_that_changed(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.run_stage("probe", ["curve"], lambda: write_json(run.path("curve"), 1))
    run.path("curve").write_text("2")
    with pytest.raises(UserError, match=r"curve of .* changed since the run wrote it; put it back"):
        run.run_stage("locate", [], lambda: None)


def test_a_stage_redone_to_the_same_bytes_undoes_nothing(tmp_path: Path) -> None:
    """What counts is what was made, and no clock, which may jump."""
    run = open_run(tmp_path / "r", load_config())
    for stage in ("probe", "locate"):
        run.run_stage(stage, [stage], lambda s=stage: write_json(run.path(s), 1))  # type: ignore[misc]
    run.forget("probe")
    run.run_stage("probe", ["probe"], lambda: write_json(run.path("probe"), 1))
    assert run.is_done("locate")
    run.forget("probe")
    run.run_stage("probe", ["probe"], lambda: write_json(run.path("probe"), 2))
    assert not run.is_done("locate")


def test_a_clock_that_jumps_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path / "r")
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr(
        "time.gmtime", lambda *_: __import__("time").struct_time((1970,) + (1,) * 8)
    )
    os.utime(run.folder / "layers.json", (0, 0))
    again = open_run(run.folder, None)
    assert again.is_done("locate")
    again.run_stage("tune", ["tuned"], lambda: write_json(run.path("tuned"), 1))
    assert again.is_done("tune")


HOLD = (
    "import sys, time; from pathlib import Path; from linguamap.run.folder import open_run; "
    "from linguamap.run.settings import load_config; "
    "open_run(Path(sys.argv[1]), load_config(), writes=True); print('held', flush=True); time.sleep(60)"
)


def test_a_second_process_on_a_folder_is_told_and_a_killed_one_holds_nothing(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "r"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=r"another process is writing into .*; wait for it"):
            open_run(folder, None, writes=True)
        assert open_run(folder, None).config == load_config()  # reading is free
        other.kill()
    open_run(folder, None, writes=True)


def test_a_finished_trainings_scratch_goes_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("state.safetensors", "mine.txt"):
        (tmp_path / name).touch()
    remove_files(tmp_path, "state.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "mine.txt").unlink()
    remove_files(tmp_path, "state.safetensors")
    assert not tmp_path.exists()
