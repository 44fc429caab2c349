"""What goes to the hub: the delta or a model that plain Transformers loads, a card, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from fake_run import put, write_fake_run
from transformers import AutoModelForCausalLM
from tuning_cases import some_examples, tiny_lm
from typer.testing import CliRunner

from linguamap.charts.naming import percent
from linguamap.cli.app import app
from linguamap.config import ModelConfig, RunConfig, TuneConfig
from linguamap.models.loading import load_model
from linguamap.records import UserError
from linguamap.report.words import template_text
from linguamap.run.folder import Run
from linguamap.run.record import RECORD, note_written
from linguamap.run.settings import dump_config
from linguamap.share.push import base_model, push, write_card, write_upload
from linguamap.tuning.delta import Delta, apply_delta, read_delta, save_delta
from linguamap.tuning.run_tuning import tune

REPO = "someone/tiny-tuned"
IDS = torch.arange(3, 40).view(1, -1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with made-up answers and a real delta of a tiny model."""
    secret = tmp_path / "private-place" / "base"
    lm = tiny_lm(secret, "llama")
    folder = write_fake_run(tmp_path / "run", items=4)
    config = RunConfig(model=ModelConfig(name=str(secret), dtype="float32"), languages=["en", "hi"])
    settings = TuneConfig(epochs=1, batch_size=8, learning_rate=1e-3)
    tuning = tune(lm, some_examples(8), settings, (4,), folder / "tuned", seed=3)
    put(folder / "tuned" / "tuning.json", {**tuning, "data": {"source": [str(secret)]}})
    (folder / "config.yaml").write_text(dump_config(config))
    return Run(folder, config)


def _cell(summary: dict[str, Any], measure: str, scenario: str | None = None) -> str:
    """A cell as written by hand from the summary's own numbers."""
    row = next(one for one in summary["overall"] if one["scenario"] == scenario)
    rate = row[measure]
    value, low, high = (percent(rate[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high}), n = {rate['n']}"


def test_the_card_carries_the_table_with_n_and_intervals(run: Run) -> None:
    card = write_card(run.folder, run.config, REPO, merged=False)
    before, after = (
        json.loads((run.folder / when / "summary.json").read_text()) for when in ("before", "after")
    )
    whole = next(line for line in card.split("\n") if line.startswith("| all scenarios"))
    assert (
        whole
        == "| all scenarios | "
        + " | ".join(
            _cell(summary, measure)
            for measure in ("language_consistency", "task_accuracy")
            for summary in (before, after)
        )
        + " |"
    )
    assert sum(line.startswith("| ") and "n = " in line for line in card.split("\n")) == 5
    assert "- Blocks: 4 (1 is the first)" in card
    assert "1 epochs, learning rate 0.001, seed 3" in card
    assert template_text("paper.bib").strip() in card


def test_the_front_matter_is_the_hubs(run: Run) -> None:
    card = write_card(run.folder, run.config, REPO, merged=False)
    facts = yaml.safe_load(card.split("---\n")[1])
    assert facts["language"] == ["en", "hi"]
    assert facts["license"] == "other"
    assert "base_model" not in facts  # a local folder is no model on the hub
    huggingface_hub.ModelCard(card)  # the hub's own reading of it

    hub = RunConfig(model=ModelConfig(name="Qwen/Qwen3-0.6B", revision="abc"))
    card = write_card(run.folder, hub, REPO, merged=True)
    data = huggingface_hub.ModelCard(card).data
    assert (data.base_model, data.library_name) == ("Qwen/Qwen3-0.6B", "transformers")
    assert data.license_link == "https://huggingface.co/Qwen/Qwen3-0.6B"
    assert f'AutoModelForCausalLM.from_pretrained("{REPO}")' in card

    starter = write_card(run.folder, RunConfig(), REPO, merged=False)
    assert huggingface_hub.ModelCard(starter).data.license == "gemma"
    assert "Gemma Terms of Use" in starter
    assert 'ModelConfig(name="starter")' in starter


def test_only_the_last_part_of_a_path_is_told(tmp_path: Path) -> None:
    assert base_model(RunConfig(model=ModelConfig(name="/home/me/models/mine"))) == ("mine", False)
    assert base_model(RunConfig(model=ModelConfig(name="~/m/x.gguf"))) == ("x.gguf", False)
    assert base_model(RunConfig()) == ("google/gemma-3-270m", True)


def test_a_delta_folder_holds_no_path_of_the_machine(run: Run) -> None:
    folder = write_upload(run, REPO)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "delta.safetensors", "tuning.json",
    }  # fmt: skip
    assert all(b"private-place" not in path.read_bytes() for path in folder.iterdir())
    plain = load_model(run.config.model)
    tuned = apply_delta(load_model(run.config.model), run.folder / "tuned" / "delta.safetensors")
    pushed = apply_delta(load_model(run.config.model), folder / "delta.safetensors")
    assert torch.equal(pushed.model(IDS).logits, tuned.model(IDS).logits)
    assert not torch.equal(pushed.model(IDS).logits, plain.model(IDS).logits)


def test_a_merged_folder_loads_in_plain_transformers(run: Run) -> None:
    (run.folder / "push").mkdir()
    (run.folder / RECORD).touch()
    (run.folder / "push" / "old").write_text("of an earlier call")
    note_written(run.folder / "push" / "old")
    folder = write_upload(run, REPO, merged=True)
    assert not (folder / "old").exists()
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tuned = apply_delta(load_model(run.config.model), run.folder / "tuned" / "delta.safetensors")
    assert torch.equal(merged(IDS).logits, tuned.model(IDS).logits)
    assert (folder / "README.md").is_file()
    assert b"private-place" not in (folder / "config.json").read_bytes()
    umask = os.umask(0)
    os.umask(umask)
    written = [*folder.iterdir(), run.folder / "tuned" / "delta.safetensors"]
    assert {path.name: path.stat().st_mode & 0o777 for path in written} == {
        path.name: 0o666 & ~umask for path in written
    }  # safetensors writes files that only their owner may read


class FakeHub:
    """Remembers what it is asked to do."""

    endpoint = "https://hub.example"
    calls: list[tuple[str, dict[str, Any]]]
    fault: Exception | None = None

    def __init__(self) -> None:
        FakeHub.calls = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.calls.append(("create", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> None:
        files = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        self.calls.append(("upload", {**options, "files": files}))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "fault", None)
    return FakeHub


def test_push_makes_the_repository_and_uploads_the_folder(run: Run, hub: type[FakeHub]) -> None:
    assert push(run, REPO, private=True) == f"https://hub.example/{REPO}"
    (made, creation), (sent, upload) = hub.calls
    assert (made, sent) == ("create", "upload")
    assert (creation["repo_id"], creation["private"], creation["exist_ok"]) == (REPO, True, True)
    assert upload["files"] == ["README.md", "delta.safetensors", "tuning.json"]
    assert upload["repo_id"] == REPO


def test_the_hubs_no_is_one_line(
    run: Run, hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "fault", OSError("Token is required\nbut no token found."))
    with pytest.raises(
        UserError, match=r"\(Token is required but no token found\); is there a net"
    ):
        push(run, REPO)


def test_an_unreachable_hub_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client against a closed port."""
    real: Callable[..., Any] = huggingface_hub.HfApi
    monkeypatch.setattr(
        huggingface_hub, "HfApi", lambda: real(endpoint="http://127.0.0.1:9", token="hf_x")
    )
    with pytest.raises(UserError, match=r"^push: .*push"):
        push(run, REPO)


def test_dry_run_uploads_nothing(run: Run, hub: type[FakeHub]) -> None:
    hub.calls = []
    shown = CliRunner().invoke(
        app, ["push", "--out", str(run.folder), "--to", REPO, "--dry-run"], catch_exceptions=False
    )
    assert shown.exit_code == 0
    assert "Nothing was uploaded" in shown.output
    assert hub.calls == []
    assert (run.folder / "push" / "README.md").is_file()


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../x/y", "a b/c", "/x", "a/"])
def test_bad_names_are_refused(run: Run, name: str) -> None:
    with pytest.raises(UserError, match="is no name on the hub"):
        write_upload(run, name)
    assert not (run.folder / "push").exists()


def test_the_card_of_vectors_says_how_to_steer(run: Run) -> None:
    tuning = json.loads((run.folder / "tuned" / "tuning.json").read_text())
    plain = write_card(run.folder, run.config, REPO, merged=False)
    assert "speaking" not in plain
    steered = {**tuning, "method": "steer", "trainable_parameters": 0, "strength": 0.5}
    put(run.folder / "tuned" / "tuning.json", steered)
    card = write_card(run.folder, run.config, REPO, merged=False)
    assert 'lm.speaking(["LANGUAGE"])' in card
    assert "- Strength of the vectors: 0.5" in card
    assert "- Trained:" not in card


def test_what_cannot_be_published_is_refused(run: Run) -> None:
    path = run.folder / "tuned" / "delta.safetensors"
    delta = read_delta(path)
    (run.folder / "after" / "summary.json").unlink()
    with pytest.raises(UserError, match="has no answers after tuning"):
        write_upload(run, REPO)
    written = save_delta(path, Delta({}, delta.base, "few_shot", ()))
    put(path.with_name("tuning.json"), written)
    with pytest.raises(UserError, match="few_shot changes nothing in the model"):
        write_upload(run, REPO)
    path.unlink()
    with pytest.raises(UserError, match="does not exist; give a run's delta"):
        write_upload(run, REPO)
