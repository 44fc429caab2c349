"""What a user gets for a mistake: one line, status 2, nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import call
from fake_run import write_fake_run
from tiny import save_tiny
from typer.testing import CliRunner

from linguamap.cli import app as cli
from linguamap.cli.app import COMMANDS, load_command
from linguamap.cli.options import SETTINGS, overrides, setting
from linguamap.pipeline import Pipeline
from linguamap.records import UserError
from linguamap.run.folder import open_run
from linguamap.run.settings import load_config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "no-such-model-folder/x"], ["no-such-model-folder/x"]),
        (["--languages", "en,fre"], ["'fre'", "did you mean 'fr'"]),
        (["--benchmarks", "mgms"], ["'mgms'", "mgsm"]),
        (["--scenarios", "code-mixed"], ["scenarios", "code_mixed"]),
        (["--set", "tune.epoch=1"], ["did you mean 'epochs'"]),
        (["--data", "no/such/folder", "--benchmarks", "mgsm"], ["no/such/folder"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
        (["--method", "full", "--layers", "last:1"], ["full takes no blocks", "last:1"]),
        (["--model", "/no/such/model"], ["the folder /no/such/model does not exist"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = call("run", "--out", str(tmp_path / "r"), *arguments)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()  # in front of the fault only what was being done
    assert lines[-1].startswith("linguamap: "), done.stderr
    assert not any(line.startswith("linguamap: ") for line in lines[:-1])
    for word in words:
        assert word in lines[-1]


def test_stages_on_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for stage in ("evaluate", "probe", "locate", "tune", "report", "merge"):
        done = call(stage, "--out", str(tmp_path))
        assert done.returncode == 2, stage
        assert "is not a run" in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_commands_that_go_on_with_a_run_start_none(tmp_path: Path) -> None:
    for stage in ("locate", "after", "report"):
        done = call(stage, "--out", str(tmp_path / "typo"))
        assert done.returncode == 2, stage
        assert "holds no run" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_fresh_with_a_mistake_deletes_nothing(tmp_path: Path) -> None:
    kept = open_run(tmp_path / "r", load_config()).path("before", "answers.jsonl")
    kept.write_text("{}")
    for mistake in (["--model", "/no/such/model"], ["--languages", "xx"], ["--benchmarks", "mgms"]):
        assert call("run", "--out", str(tmp_path / "r"), "--fresh", *mistake).returncode == 2
    assert kept.read_text() == "{}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "weights are cut or broken"),
        (["--set", "data.folder=no/such/folder", "--benchmarks", "mgsm"], "no/such/folder"),
    ],
)
def test_fresh_reads_weights_and_data_before_it_removes(
    tmp_path: Path, more: list[str], words: str
) -> None:
    model = save_tiny(tmp_path / "m", "llama")
    kept = open_run(tmp_path / "r", load_config(None, [f"model.name={str(model)!r}"]))
    kept.path("before", "answers.jsonl").write_text("{}")
    if not more:
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
    done = call("run", "--out", tmp_path / "r", "--fresh", *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert (tmp_path / "r" / "before" / "answers.jsonl").read_text() == "{}"


def test_report_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    out = write_fake_run(tmp_path / "r", items=3)
    answers = out / "before" / "answers.jsonl"
    answers.write_text(answers.read_text().replace("code_mixed", "no_such"))
    done = call("report", "--out", out)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "before/answers.jsonl, line " in said
    assert "is broken (scenario: " in said


def test_a_path_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "x", tmp_path / ("long" * 100)):
        done = call("evaluate", "--out", str(out))
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "check the path and its rights" in done.stderr


def test_misaligned_data_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "mgsm").mkdir()
    (tmp_path / "mgsm" / "mgsm_en.tsv").write_text("How many?\t3\nHow much?\t4\n")
    (tmp_path / "mgsm" / "mgsm_fr.tsv").write_text("Combien ?\t3\n")
    done = call(
        "evaluate", "--out", str(tmp_path / "r"), "--benchmarks", "mgsm", "--data", str(tmp_path),
        "--languages", "en,fr",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "mgsm_fr.tsv" in done.stderr


def test_doctor_on_a_tiny_model(tmp_path: Path) -> None:
    done = call("doctor", str(save_tiny(tmp_path / "m", "qwen3")))
    assert done.returncode == 0, done.stderr
    assert "model.layers" in done.stdout
    assert "FAIL" not in done.stdout


def test_doctor_names_a_cache_that_cannot_be_used(tmp_path: Path) -> None:
    done = call("doctor", str(save_tiny(tmp_path / "m", "mamba")))
    assert done.returncode == 0, done.stderr
    assert "cache: cannot be used" in done.stdout


def test_doctor_refuses_what_is_no_decoder(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    done = call("doctor", str(tmp_path / "t5"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_out_of_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("linguamap: out of memory; ")


def test_another_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()


def test_version_and_help() -> None:
    assert call("--version").stdout.startswith("linguamap ")
    assert "evaluate" in call("--help").stdout


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys; from linguamap.cli import main; sys.argv = ['linguamap', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('loaded', [m for m in ('pydantic', 'yaml', 'numpy', 'torch', 'linguamap.config') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded []\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    assert (load_command(name).help or "").splitlines()[0] == COMMANDS[name][1]


def test_a_misspelt_command_gets_the_nearest_one() -> None:
    done = call("evalute")
    assert done.returncode == 2
    assert "Did you mean 'evaluate'?" in done.stderr


def test_options_become_settings_whatever_characters_they_hold(tmp_path: Path) -> None:
    typed = {
        "model": "a\\b'c\"d: é", "languages": "en, fr,", "items": "all", "seed": "3", "data": None,
        "cache_gb": "0.5",
    }  # fmt: skip
    config = load_config(None, overrides(typed))
    assert config.model.name == "a\\b'c\"d: é"
    assert config.languages == ["en", "fr"]
    assert config.evaluate.items is None
    assert (config.seed, config.data.folder, config.tune.cache_gb) == (3, None, 0.5)


def test_a_value_that_is_no_number_is_told_as_a_setting_is() -> None:
    with pytest.raises(UserError, match=r"evaluate.items: .*integer.*found 'many'"):
        load_config(None, overrides({"items": "many"}))


def test_every_option_is_described_by_its_setting() -> None:
    assert [name for name, key in SETTINGS.items() if not setting(key).description] == []


def test_the_cache_budget_and_blocks_as_a_method_are_options_of_tune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Done(Exception):
        pass

    def stop(pipeline: Pipeline) -> None:
        raise Done

    monkeypatch.setattr(Pipeline, "probe", stop)
    out = tmp_path / "r"
    arguments = ["tune", "--out", str(out), "--cache-gb", "0.5", "--method", "first:2"]
    assert isinstance(CliRunner().invoke(cli.app, arguments).exception, Done)
    tune = load_config(out / "config.yaml").tune
    assert (tune.cache_gb, tune.method, tune.layers) == (0.5, "selective", "first:2")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_one_line_however_the_system_says_it(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "leaves no room" in capsys.readouterr().err
