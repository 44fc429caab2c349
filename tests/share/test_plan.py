"""A plan's numbers are those of the model that the config describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SETTINGS, tiny_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from linguamap.cli.main import app
from linguamap.records import UserError
from linguamap.share.plan import Machine, Work, measure, plan, read_config, sharded_devices, shown

QWEN3_32B = {
    "model_type": "qwen3", "num_hidden_layers": 64, "hidden_size": 5120,
    "intermediate_size": 25600, "num_attention_heads": 64, "num_key_value_heads": 8,
    "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip
BLOOM_7B1 = {
    "model_type": "bloom", "n_layer": 30, "hidden_size": 4096, "n_head": 32, "vocab_size": 250880,
}  # fmt: skip


def config_of(values: dict[str, Any]) -> Any:
    return AutoConfig.for_model(**values)


def rows_of(size: Any, work: Work, machine: Machine) -> dict[tuple[str, str], float]:
    return {(row.part.split(",")[0], row.what): row.value for row in plan(size, work, machine)}


def test_qwen3_32b_is_counted_as_by_hand() -> None:
    size = measure(config_of(QWEN3_32B), "Qwen3-32B", 128)
    d, m, q, kv = 5120, 25600, 64 * 128, 8 * 128
    block = d * q + 2 * d * kv + q * d + 3 * d * m + 2 * d + 2 * 128  # with norms of q and k
    assert size.block == block
    assert size.parameters == 64 * block + 2 * 151936 * d + d == 32_762_123_264
    assert (size.embedding, size.head) == (151936 * d, 151936 * d)
    assert size.key_values == 64 * 2 * kv * 2
    products = 2 * 128 * (block - 2 * d - 2 * 128)  # 2 a weight and token
    attention = 2 * 2 * 128 * 128 * q  # scores and sums, all pairs of positions
    assert size.block_operations == products + attention
    rows = rows_of(size, Work(blocks=3, examples=1000, tokens=128), Machine())
    assert rows["selective", "trained parameters t"] == 3 * block
    assert rows["selective", "boundary states (cache)"] == 1000 * 128 * d * 2
    assert rows["selective", "weights held in training"] == 2 * (size.parameters - 61 * block)
    assert rows["full", "slices over all devices"] == 16 * size.parameters


def test_bloom_7b1_is_counted_as_by_hand() -> None:
    size = measure(config_of(BLOOM_7B1), "BLOOM-7.1B", 32)
    d = 4096
    block = (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 4 * d
    assert size.block == block
    # embedding with its norm, the last norm; the head is the embedding
    assert size.parameters == 30 * block + 250880 * d + 2 * d + 2 * d == 7_069_016_064
    assert size.head == 0


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2", "gpt_neox", "opt"])
def test_counts_are_those_of_the_real_model(kind: str) -> None:
    model = tiny_model(kind)
    size = measure(AutoConfig.for_model(kind, **SETTINGS[kind]), kind, 16)
    assert size.parameters == sum(p.numel() for p in model.parameters())
    assert size.n_blocks == 4
    assert size.vocabulary == model.get_output_embeddings().weight.shape[0]


def test_the_bytes_kept_are_what_autograd_keeps_of_a_real_block() -> None:
    """With attention written out, as on the meta device; a fused kernel keeps less."""
    config = AutoConfig.for_model("llama", **{**SETTINGS["llama"], "num_hidden_layers": 2})
    kept = measure(config, "llama", 24).block_kept
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    block = model.model.layers[-1]
    own = {parameter.data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}
    held: list[torch.Tensor] = []
    inside = [False]

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if inside[0] and tensor.untyped_storage().data_ptr() not in own:
            held.append(tensor)
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    block.register_forward_pre_hook(lambda *_: inside.__setitem__(0, True))
    block.register_forward_hook(lambda *_: inside.__setitem__(0, False))
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with sdpa_kernel(SDPBackend.MATH), hooks:
        model(input_ids=torch.zeros((1, 24), dtype=torch.long))
    assert kept == pytest.approx(sum(found.values()), rel=0.05)


def test_the_devices_are_the_fewest_that_fit() -> None:
    size = measure(config_of(QWEN3_32B), "Qwen3-32B", 256)
    n, memory = sharded_devices(size, Work(), Machine())
    assert memory <= 0.9 * 80e9
    assert memory + 16 * size.parameters / n > 0.9 * 80e9  # half as many hold twice the slices
    small = Machine(memory=8e9)
    with pytest.raises(UserError, match="more than a device has; give a smaller --tokens"):
        sharded_devices(size, Work(), small)
    with pytest.raises(UserError, match="--blocks 65 is not possible; the model has 64"):
        plan(size, Work(blocks=65), Machine())


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "llama", **SETTINGS["llama"]}))
    done = CliRunner().invoke(app, ["plan", str(file), "--tokens", "16", "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["what"]: row["value"] for row in json.loads(done.output)}
    assert rows["parameters P"] == sum(p.numel() for p in tiny_model("llama").parameters())
    table = CliRunner().invoke(app, ["plan", str(file), "--tokens", "16"])
    assert "boundary states" in table.output
    with pytest.raises(UserError, match="no config for"):
        read_config(str(tmp_path / "nothing"))


def test_values_are_shown_with_their_units() -> None:
    from linguamap.share.plan import Row

    shows = [
        shown(Row("", "", "", value, unit))
        for value, unit in [(65.5242e9, "B"), (0.02977, "share"), (90, "s"), (600, "s"), (3, "")]
    ]
    assert shows == ["65.52 GB", "2.98 %", "90.0 s", "10 min", "3"]


@pytest.mark.parametrize("kind", ["mamba", "qwen3_next", "rwkv"])
def test_a_model_without_keys_and_values_is_refused(kind: str, tmp_path: Path) -> None:
    model = tiny_model(kind)
    model.config.save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["plan", str(tmp_path)])
    assert isinstance(result.exception, UserError), result.output
    assert "only transformers are planned for" in str(result.exception)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "it is no JSON object"),
        ({"model_type": "t5"}, r"\(t5\) is an encoder-decoder; only causal"),
        ({"model_type": "vit"}, "makes no model"),
        ({"model_type": "gpt2", "n_layer": 0}, "no list of blocks"),
        ({"model_type": "llama", "num_attention_heads": 0}, "no config for"),
        ({"model_type": "llama", "hidden_size": "a"}, "expected int, got str"),
    ],
)
def test_a_config_of_no_decoder_is_one_line(values: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message) as caught:
        measure(read_config(str(path)), "x", 8)
    assert "\n" not in str(caught.value)


def test_starter_is_the_starter_models_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 3}))
    monkeypatch.setattr("linguamap.models.starter.starter_folder", lambda: tmp_path)
    assert read_config("starter").n_layer == 3
