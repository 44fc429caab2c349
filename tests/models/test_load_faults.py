"""Models that cannot be loaded say what is the matter and what to do, and nothing is unpickled."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from tiny import save_tiny

from linguamap.config import ModelConfig
from linguamap.models.load_faults import check_index, loading_fault, no_unpickling
from linguamap.models.loading import load_model, quiet
from linguamap.records import UserError


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _infinite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][300, 3] = float("inf")  # of a token that no check uses
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_pickled, r"only pytorch_model\.bin, a pickle: .* convert the weights to safetensors"),
        (_infinite, r"the weights model\.embed_tokens\.weight of .* are not all finite"),
        (_cut, "weights are cut or broken; download them again"),
        (_config(num_hidden_layers=2), r"hold model\.layers\.2\..*its config\.json says 2 blocks"),
        (_config(num_hidden_layers="four"), "cannot be loaded .*num_hidden_layers"),
        (_config(num_attention_heads=0), "cannot be loaded .*ZeroDivisionError"),
        (_config(pad_token_id=10**6), "cannot be loaded .*Padding_idx"),
        (_config(attn_implementation="some/kernel"), r"asks for attention code from the hub \(some/kernel\)"),
        (lambda folder: (folder / "generation_config.json").write_text("null"), "holds no table of keys"),
        (lambda folder: (folder / "config.json").write_text("[" * 5000), "nested more than 64 deep"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer files are missing"),
    ],
)  # fmt: skip
def test_a_damaged_model_is_one_line(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(save_tiny(tmp_path / "m", "llama"))
    with pytest.raises(UserError, match=message):
        load_model(ModelConfig(name=str(tmp_path / "m"), dtype="float32"))


def test_an_adapter_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"it is an adapter \(LoRA\) without its base model; merge"):
        load_model(ModelConfig(name=str(tmp_path)))


@pytest.mark.parametrize("name", ["w.bin", "../w.safetensors", "/tmp/w.safetensors", 3])
def test_an_index_names_safetensors_beside_it_only(tmp_path: Path, name: object) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match=r"names the file .*pickles can run code"):
        check_index(path)


def test_nothing_is_unpickled_while_loading(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "w.bin")
    with no_unpickling(), pytest.raises(UserError, match="its weights are a pickle"):
        torch.load(tmp_path / "w.bin", weights_only=True)
    assert torch.load(tmp_path / "w.bin", weights_only=True) == {}


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ValueError("pass `trust_remote_code=True`"), "model.trust_remote_code=true"),
        (ValueError("Unrecognized configuration class <X>"), "no causal language model"),
        (OSError("You are trying to access a gated repo"), "log in to the hub"),
        (AttributeError(""), "give 'starter', a hub name"),
    ],
)
def test_each_kind_of_fault_has_its_advice(error: Exception, advice: str) -> None:
    assert advice in str(loading_fault("m", error))


def test_a_model_that_is_here_is_offered_for_a_name_near_it() -> None:
    said = str(loading_fault("startr", OSError("cannot connect")))
    assert said.endswith("check the network, or give a folder; did you mean 'starter'?")
    assert "did you mean" not in str(loading_fault("org/else", OSError("cannot connect")))


def test_while_a_model_is_loaded_its_bars_are_silent_and_progress_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The screen's line is drawn by another thread than the one that loads."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with quiet():
        print("a bar", file=sys.stderr)
        other = threading.Thread(target=lambda: print("loading ...", file=sys.stderr))
        other.start()
        other.join()
    assert screen.getvalue() == "loading ...\n"
    print("after", file=sys.stderr)
    assert screen.getvalue() == "loading ...\nafter\n"


def test_a_spinner_turns_while_a_model_is_loaded() -> None:
    """Rich's live line puts a proxy before the screen and looks for the file behind it."""
    screen = io.StringIO()
    console = Console(file=None, stderr=True, force_terminal=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        with console.status("loading", refresh_per_second=50), quiet():
            before = len(screen.getvalue())
            print("a bar", file=sys.stderr)
            deadline = time.monotonic() + 20
            while len(screen.getvalue()) == before and time.monotonic() < deadline:
                time.sleep(0.02)
            drawn = screen.getvalue()
    assert len(drawn) > before
    assert "a bar" not in drawn
