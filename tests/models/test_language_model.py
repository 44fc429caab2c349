"""Every architecture through one fixture: structure, lens, hooks; and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import KINDS, STATE_SPACE, save_tiny, tiny_lm, tiny_model, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import CausalLMOutputWithPast

from linguamap.config import ModelConfig, RunConfig
from linguamap.models.language_model import assemble, weights_fingerprint
from linguamap.models.loading import default_dtype, load_model
from linguamap.models.self_check import check_model, verify_model
from linguamap.models.structure import find_structure
from linguamap.models.trial_pass import emulated_dtype
from linguamap.records import UserError
from linguamap.run_context import RunContext

IDS = torch.tensor([[5, 9, 200, 31, 77, 140, 301, 12, 66]])


@pytest.mark.parametrize("kind", KINDS)
def test_lens_and_hooks_agree_with_transformers(kind: str) -> None:
    lm = tiny_lm(kind)
    with torch.no_grad():
        reference = lm.model(input_ids=IDS, output_hidden_states=True)
    states = lm.block_outputs(IDS)
    assert len(states) == lm.n_layers + 1 == 5
    assert states[0].shape == (1, IDS.shape[1], lm.d_model) == (1, 9, 32)
    torch.testing.assert_close(lm.project(states[-1]), reference.logits, atol=1e-4, rtol=1e-4)
    assert lm.project(states[-1]).shape[-1] == lm.vocab_size
    first = 1 if kind in ("mamba", "rwkv") else 0  # these report no embedding output
    for layer in range(lm.n_layers):
        torch.testing.assert_close(states[layer + first], reference.hidden_states[layer])


@pytest.mark.parametrize("kind", KINDS)
def test_self_check_passes(kind: str) -> None:
    lm = tiny_lm(kind)
    checks = check_model(lm)
    names = ["lens", "hooks", "order", "effect", "causal"]
    assert [check.name for check in checks] == names
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in STATE_SPACE])
def test_left_padding_changes_no_state(kind: str) -> None:
    lm = tiny_lm(kind)
    alone = lm.block_outputs(IDS)
    ids = torch.cat([torch.zeros((1, 3), dtype=torch.long), IDS], 1)
    mask = torch.tensor([[0] * 3 + [1] * IDS.shape[1]])
    for padded, plain in zip(lm.block_outputs(ids, mask), alone, strict=True):
        torch.testing.assert_close(padded[:, 3:], plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", STATE_SPACE)
def test_right_padding_changes_no_state_of_a_state_space_model(kind: str) -> None:
    """Lens and similarity read such batches."""
    lm = tiny_lm(kind)
    alone = lm.block_outputs(IDS)
    ids = torch.cat([IDS, torch.zeros((1, 3), dtype=torch.long)], 1)
    mask = torch.tensor([[1] * IDS.shape[1] + [0] * 3])
    for padded, plain in zip(lm.block_outputs(ids, mask), alone, strict=True):
        torch.testing.assert_close(padded[:, :-3], plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "scale", "softcap", "path"),
    [
        ("gemma2", 1.0, 8.0, "model.layers"),
        ("cohere", 0.0625, None, "model.layers"),
        ("granite", 1 / 6, None, "model.layers"),
        ("qwen3_moe", 1.0, None, "model.layers"),
        ("gpt_neox", 1.0, None, "gpt_neox.layers"),
        ("bloom", 1.0, None, "transformer.h"),
        ("opt", 1.0, None, "model.decoder.layers"),
    ],
)
def test_scale_softcap_and_path_are_found(
    kind: str, scale: float, softcap: float | None, path: str
) -> None:
    structure = tiny_lm(kind).structure
    assert structure.scale == pytest.approx(scale, rel=1e-5)
    assert structure.softcap == (None if softcap is None else pytest.approx(softcap, rel=1e-5))
    assert structure.block_path == path
    assert structure.head_gain == 1.0


def test_projection_after_the_norm_belongs_to_the_tail() -> None:
    names = [type(module).__name__ for module in tiny_lm("opt").structure.tail]
    assert names == ["LayerNorm", "Linear"]  # OPT's project_out


def test_a_model_without_final_norm_has_an_empty_tail() -> None:
    lm = tiny_lm("opt", _remove_final_layer_norm=True, word_embed_proj_dim=32)
    assert lm.structure.tail == []
    assert isinstance(lm.structure.final_norm, torch.nn.Identity)
    verify_model(lm)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_the_check(dtype: torch.dtype) -> None:
    for kind in ("llama", "gemma2", "bloom"):
        verify_model(assemble(ModelConfig(), tiny_model(kind).to(dtype), tiny_tokenizer()))


def test_watch_replaces_a_state_and_only_later_layers_change() -> None:
    lm = tiny_lm("gemma3_text")
    before = lm.block_outputs(IDS)
    after: dict[int, torch.Tensor] = {}

    def see(layer: int, hidden: torch.Tensor) -> torch.Tensor | None:
        after[layer] = hidden
        return hidden * 2 if layer == 2 else None

    with lm.watch(range(lm.n_layers + 1), see):
        lm.run(IDS)
    for layer in (0, 1, 2):
        assert torch.equal(after[layer], before[layer])
    assert not torch.allclose(after[3], before[3])
    assert not lm.structure.blocks[1]._forward_hooks  # nothing stays behind


def test_block_outputs_keeps_the_order_asked_for() -> None:
    lm = tiny_lm("llama")
    everything = lm.block_outputs(IDS)
    third, first = lm.block_outputs(IDS, layers=[3, 1])
    assert torch.equal(third, everything[3])
    assert torch.equal(first, everything[1])


def test_encoder_decoder_is_refused(tmp_path: Path) -> None:
    config = T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    model = T5ForConditionalGeneration(config)
    with pytest.raises(UserError, match="encoder-decoder"):
        find_structure(model)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="encoder-decoder"):
        load_model(ModelConfig(name=str(tmp_path)))


class OddLogits(LlamaForCausalLM):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits**3
        return output


def test_logits_made_in_an_unknown_way_are_refused() -> None:
    model = OddLogits(LlamaConfig(**_small())).eval()
    with pytest.raises(UserError, match="something else than a factor and a soft-cap"):
        find_structure(model)


def test_work_between_block_and_head_that_is_no_module_is_refused() -> None:
    model = LlamaForCausalLM(LlamaConfig(**_small())).eval()
    model.model.norm.register_forward_pre_hook(lambda module, args: (args[0] + args[0].roll(1),))
    with pytest.raises(UserError, match="no module call and no plain factor"):
        find_structure(model)


class GainedLlama(LlamaForCausalLM):
    """The head reads a quarter of the normed state, as MiniCPM's does with its own factor."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.lm_head(output.last_hidden_state * 0.25)
        return CausalLMOutputWithPast(logits=logits, hidden_states=output.hidden_states)


def test_a_factor_before_the_head_is_measured() -> None:
    model = GainedLlama(LlamaConfig(**_small())).eval()
    lm = assemble(ModelConfig(), model, tiny_tokenizer())
    assert lm.structure.head_gain == pytest.approx(0.25, rel=1e-5)
    verify_model(lm)


def test_a_model_without_blocks_or_head_is_refused() -> None:
    with pytest.raises(UserError, match="no output head"):
        find_structure(torch.nn.Linear(3, 3))


def test_wrong_structures_fail_their_check() -> None:
    lm = tiny_lm("llama")
    whole = lm.structure
    lm.structure = dataclasses.replace(whole, tail=[])
    with pytest.raises(UserError, match="self-check 'lens'"):
        verify_model(lm)
    lm.structure = dataclasses.replace(whole, blocks=whole.blocks[::-1])
    assert not {c.name: c.passed for c in check_model(lm)}["hooks"]
    lm.structure = dataclasses.replace(whole, blocks=whole.blocks[:-1])
    assert not {c.name: c.passed for c in check_model(lm)}["hooks"]


def test_a_model_that_sees_the_future_fails_the_check() -> None:
    lm = tiny_lm("llama")
    for module in lm.model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    lm.model.config.is_causal = False
    lm.model.model.layers[0].register_forward_hook(
        lambda module, args, output: output + output.mean(1, keepdim=True)
    )
    assert not {c.name: c.passed for c in check_model(lm)}["causal"]


def test_identity_tells_bases_apart_and_survives_the_dtype(tmp_path: Path) -> None:
    save_tiny(tmp_path / "a", "llama", seed=1)
    save_tiny(tmp_path / "b", "llama", seed=2)
    one = load_model(ModelConfig(name=str(tmp_path / "a"), dtype="float32"))
    half = load_model(ModelConfig(name=str(tmp_path / "a"), dtype="bfloat16"))
    other = load_model(ModelConfig(name=str(tmp_path / "b"), dtype="float32"))
    assert set(one.identity) == {"name", "revision", "config_sha256", "weights_sha256"}
    assert one.identity == half.identity
    assert one.identity["config_sha256"] == other.identity["config_sha256"]
    assert one.identity["weights_sha256"] != other.identity["weights_sha256"]
    before = weights_fingerprint(one.model)
    with torch.no_grad():
        one.model.model.layers[3].mlp.down_proj.weight.mul_(1.1)
    assert weights_fingerprint(one.model) != before


def test_tokenizer_pads_left_and_falls_back_to_the_end_token() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    lm = assemble(ModelConfig(), tiny_model("llama"), tokenizer)
    assert lm.tokenizer.padding_side == "left"
    assert lm.tokenizer.pad_token == lm.tokenizer.eos_token


def test_chat_is_told_by_the_template() -> None:
    tokenizer = tiny_tokenizer()
    assert not assemble(ModelConfig(), tiny_model("llama"), tokenizer).is_chat
    with pytest.raises(UserError, match="no chat template"):
        assemble(ModelConfig(chat="yes"), tiny_model("llama"), tokenizer)
    tokenizer.chat_template = "{{ messages }}"
    assert assemble(ModelConfig(), tiny_model("llama"), tokenizer).is_chat
    assert not assemble(ModelConfig(chat="no"), tiny_model("llama"), tokenizer).is_chat


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "does not exist"),
        ("no/such/model.gguf", "GGUF file .* does not exist"),
        ("nobody/no-such-model", "cannot be loaded"),
    ],
)
def test_unknown_models_are_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_model(ModelConfig(name=name))
    assert "\n" not in str(caught.value)


def test_broken_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load_model(ModelConfig(name=str(tmp_path)))
    save_tiny(tmp_path, "llama")
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    missing = dict(tensors)
    del missing["model.layers.1.mlp.up_proj.weight"]
    save_file(missing, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"no weights for model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(ModelConfig(name=str(tmp_path)))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        load_model(ModelConfig(name=str(tmp_path)))
    assert "\n" not in str(caught.value)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "no_such_type"}))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(ModelConfig(name=str(tmp_path)))


def test_loading_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny(tmp_path, "gpt2")
    capsys.readouterr()
    load_model(ModelConfig(name=str(tmp_path)))
    assert capsys.readouterr() == ("", "")


@pytest.mark.starter
def test_starter_model_passes_in_both_dtypes(starter_dir: Path) -> None:
    logits = {}
    for dtype in ("float32", "bfloat16"):
        lm = load_model(ModelConfig(name=str(starter_dir), dtype=dtype))  # type: ignore[arg-type]
        assert (lm.n_layers, lm.d_model, lm.vocab_size) == (18, 640, 262144)
        assert lm.structure.block_path == "model.layers"
        ids = lm.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
        logits[dtype] = lm.project(lm.block_outputs(ids, layers=[18])[0])[0, -1].float()
    chances = {dtype: torch.softmax(values, -1) for dtype, values in logits.items()}
    # Stated tolerance of half precision: total variation of the next token under 0.1.
    assert float((chances["float32"] - chances["bfloat16"]).abs().sum()) / 2 < 0.1


def _small() -> dict[str, Any]:
    return {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }


def test_a_gpu_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = ModelConfig(name=str(save_tiny(tmp_path / "m", "llama")), device_map="cuda")
    with pytest.raises(UserError, match="device_map=cuda needs CUDA, and PyTorch finds none"):
        load_model(config)


def test_a_dtype_that_the_processor_emulates_gets_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor with AVX2 alone, as PyTorch and Linux would describe it."""
    plain = Path.read_text
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "fma3": True})
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, **options: (
            "flags : fma avx2 f16c" if str(path) == "/proc/cpuinfo" else plain(path, **options)
        ),
    )
    cpu = torch.device("cpu")
    assert default_dtype("cpu") == torch.float32
    assert emulated_dtype(torch.float32, cpu, "model.dtype") is None
    assert emulated_dtype(torch.bfloat16, torch.device("cuda"), "model.dtype") is None
    said: list[str] = []
    name = str(save_tiny(tmp_path / "m", "llama"))
    run: Any = SimpleNamespace(
        config=RunConfig(model=ModelConfig(name=name, dtype="bfloat16")), check_model=lambda _: None
    )
    context = RunContext(run, lambda label, done, total, note="": said.append(f"{label}{note}"))
    assert context.model.dtype == torch.bfloat16
    (line,) = [one for one in said if "warning" in one]
    assert "no products in bfloat16" in line
    assert "set model.dtype=float32" in line
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert default_dtype("cpu") == torch.bfloat16
    assert emulated_dtype(torch.bfloat16, cpu, "model.dtype") is None
    assert "float16" in str(emulated_dtype(torch.float16, cpu, "tune.dtype"))
