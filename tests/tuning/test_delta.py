"""What comes out: a small file, refused by other bases, that merges into an ordinary model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny
from transformers import AutoModelForCausalLM, AutoTokenizer
from tuning_cases import some_examples, tiny_lm

from linguamap.config import ModelConfig, TuneConfig
from linguamap.models.loading import load_model
from linguamap.records import UserError
from linguamap.run.files import write_json
from linguamap.tuning.delta import Delta, apply_delta, read_delta, save_delta
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.serve import merge, write_adapter

IDS = torch.arange(3, 40).view(1, -1)
CASES: dict[str, dict[str, object]] = {
    "blocks": {},
    "norm and head": {"train_norm": True, "train_head": "untied"},
    "full": {"method": "full"},
    "lora": {"method": "lora", "lora_rank": 4, "learning_rate": 1e-2},
}


def _tuned(folder: Path, kind: str, **changes: object) -> Path:
    settings = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "dtype": "float32"}
    config = TuneConfig.model_validate({**settings, **changes})
    lm = tiny_lm(folder / "base", kind)
    tune(lm, some_examples(12), config, (3, 4), folder / "tuned", seed=0)
    return folder / "tuned" / "delta.safetensors"


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("case", CASES)
def test_a_merged_folder_gives_the_tuned_models_logits(
    case: str, kind: str, tmp_path: Path
) -> None:
    if case == "lora":
        pytest.importorskip("peft")
    delta = _tuned(tmp_path, kind, **CASES[case])
    base = ModelConfig(name=str(tmp_path / "base"), dtype="float32")
    plain = load_model(base).model(IDS).logits
    with_delta = apply_delta(load_model(base), delta).model(IDS).logits
    folder = merge(lambda: load_model(base), delta, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert torch.equal(merged(IDS).logits, with_delta)
    assert (with_delta - plain).abs().max() > 0.01
    assert len(AutoTokenizer.from_pretrained(folder)) == 384


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_lora_is_an_adapter_that_peft_loads_and_merges_to_the_same(
    kind: str, tmp_path: Path
) -> None:
    """GPT-2's square maps are stored the other way round and were once merged as if they were not."""
    peft = pytest.importorskip("peft")
    delta = _tuned(tmp_path, kind, **CASES["lora"])
    base = ModelConfig(name=str(tmp_path / "base"), dtype="float32")
    merged = apply_delta(load_model(base), delta).model(IDS).logits
    folder = write_adapter(lambda: load_model(base), delta, tmp_path / "adapter")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(plain, folder)
    assert torch.allclose(adapted(IDS).logits, merged, atol=1e-5)
    with pytest.raises(UserError, match="not empty"):
        write_adapter(lambda: load_model(base), delta, folder)


def test_only_lora_is_an_adapter(tmp_path: Path) -> None:
    delta = _tuned(tmp_path, "llama")
    base = ModelConfig(name=str(tmp_path / "base"), dtype="float32")
    with pytest.raises(UserError, match="leave --adapter out, or tune with --method lora"):
        write_adapter(lambda: load_model(base), delta, tmp_path / "adapter")


def test_a_merged_folder_keeps_what_servers_read(tmp_path: Path) -> None:
    """Chat template, generation config and the tokenizer's file as they were."""
    delta = _tuned(tmp_path, "llama")
    base = tmp_path / "base"
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    )
    write_json(
        base / "generation_config.json",
        {"eos_token_id": [2, 5], "temperature": 0.6, "do_sample": True},
    )
    config = ModelConfig(name=str(base), dtype="float32")
    folder = merge(lambda: load_model(config), delta, tmp_path / "merged")
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    assert "architectures" in (folder / "config.json").read_text()
    said = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": "user", "content": "hola"}], tokenize=False
    )
    assert said == "hola\n"


def test_a_delta_holds_the_trained_tensors_and_little_else(tmp_path: Path) -> None:
    delta = _tuned(tmp_path, "llama")
    tensors = load_file(delta)
    assert all(name.startswith(("model.layers.2.", "model.layers.3.")) for name in tensors)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert delta.stat().st_size <= 1.05 * size


def test_adapters_are_small(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    delta = _tuned(tmp_path, "llama", method="lora", lora_rank=1)
    names = set(load_file(delta))
    assert "model.layers.3.mlp.up_proj.weight.lora_A" in names
    assert not any(name.startswith("model.layers.0.") for name in names)


def test_another_base_is_refused_and_both_are_named(tmp_path: Path) -> None:
    delta = _tuned(tmp_path, "llama")
    other = tmp_path / "other"
    save_tiny(other, "llama", seed=1)
    with pytest.raises(UserError, match=r"trained on '.*base'.* but the model is '.*other'"):
        apply_delta(load_model(ModelConfig(name=str(other), dtype="float32")), delta)
    with pytest.raises(UserError, match="tuned already"):
        base = load_model(ModelConfig(name=str(tmp_path / "base"), dtype="float32"))
        apply_delta(apply_delta(base, delta), delta)


def test_broken_deltas_are_refused(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "base", "llama")
    with pytest.raises(UserError, match="does not exist"):
        apply_delta(lm, tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="is broken or no delta"):
        apply_delta(lm, tmp_path / "junk.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="no delta of this version"):
        apply_delta(lm, tmp_path / "plain.safetensors")


def test_merge_does_not_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        merge(lambda: load_model(ModelConfig(name="x")), tmp_path / "d.safetensors", out)


def test_a_half_precision_base_gets_a_half_precision_delta(tmp_path: Path) -> None:
    tiny_lm(tmp_path / "base", "llama")
    config = ModelConfig(name=str(tmp_path / "base"), dtype="bfloat16")
    settings = TuneConfig(epochs=3, batch_size=4, learning_rate=1e-2)
    result = tune(load_model(config), some_examples(12), settings, (4,), tmp_path / "t", seed=0)
    tensors = load_file(tmp_path / "t" / "delta.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert result["precision"] == "bfloat16"
    assert result["train_loss"][-1] < result["train_loss"][0]
    apply_delta(load_model(config), tmp_path / "t" / "delta.safetensors")


def test_damaged_bytes_are_refused_by_everyone_who_reads_a_delta(tmp_path: Path) -> None:
    """A flipped bit was once merged in silence: safetensors has no checksum."""
    delta = _tuned(tmp_path, "llama")
    raw = bytearray(delta.read_bytes())
    raw[-1] ^= 0x40
    delta.write_bytes(raw)
    base = ModelConfig(name=str(tmp_path / "base"), dtype="float32")
    with pytest.raises(
        UserError, match=r"its SHA-256 is not the one in tuning\.json\); tune again"
    ):
        merge(lambda: load_model(base), delta, tmp_path / "merged")
    with pytest.raises(UserError, match="its SHA-256 is not the one"):
        apply_delta(load_model(base), delta)


def test_without_a_noted_sha256_only_finite_values_pass(tmp_path: Path) -> None:
    delta = tmp_path / "delta.safetensors"
    whole = Delta({"a": torch.ones(2, 3)}, {"name": "m"}, "selective", (1,))
    save_delta(delta, whole)
    write_json(tmp_path / "tuning.json", {"layers": [1]})
    assert torch.equal(read_delta(delta).tensors["a"], torch.ones(2, 3))
    save_delta(delta, Delta({"a": torch.tensor([1.0, torch.nan])}, {}, "selective", (1,)))
    with pytest.raises(UserError, match=r"damaged \(a holds values that are not finite\)"):
        read_delta(delta)
