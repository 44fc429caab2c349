"""Tiny random models of real architectures and a tokenizer trained on the spot, for tests.

``tiny_model`` gives a model, ``save_tiny`` a folder that ``from_pretrained`` loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from linguamap.config import ModelConfig
from linguamap.models.language_model import LanguageModel, assemble

VOCAB = 384

TEXT = [
    "The cat sat on the mat and looked at the three red apples on the table.",
    "Anna has twelve books and gives four of them to her brother.",
    "El gato duerme en la casa y come tres manzanas rojas por la tarde.",
    "Ana tiene doce libros y da cuatro de ellos a su hermano.",
    "Le chat dort dans la maison et mange trois pommes rouges le soir.",
    "القط ينام في البيت ويأكل ثلاث تفاحات حمراء في المساء",
    "बिल्ली घर में सोती है और शाम को तीन लाल सेब खाती है।",
    "猫は家で眠り、夕方に赤いりんごを三つ食べます。",
]

_BASE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GQA: dict[str, Any] = {**_BASE, "num_key_value_heads": 2}
_GPT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

SETTINGS: dict[str, dict[str, Any]] = {
    "llama": _GQA,
    "mistral": {**_GQA, "sliding_window": 16},
    "qwen2": _GQA,
    "qwen3": {**_GQA, "head_dim": 8},
    "qwen3_moe": {
        **_GQA,
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
    "gemma": {**_GQA, "head_dim": 8},
    "gemma2": {**_GQA, "head_dim": 8, "sliding_window": 16, "final_logit_softcapping": 8.0},
    "gemma3_text": {**_GQA, "head_dim": 8, "sliding_window": 16},
    "bloom": {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "n_layer": 4,
        "n_head": 4,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "gpt2": _GPT,
    "gpt_neox": dict(_BASE.items()),
    "gptj": {**_GPT, "rotary_dim": 4},
    "opt": {
        **{k: v for k, v in _BASE.items() if k != "intermediate_size"},
        "ffn_dim": 48,
        "word_embed_proj_dim": 16,
    },
    "phi": _BASE,
    "phi3": _GQA,
    "falcon": {k: v for k, v in _BASE.items() if k != "intermediate_size"},
    "stablelm": _GQA,
    "olmo2": _GQA,
    "cohere": {**_GQA, "logit_scale": 0.0625},
    "granite": {**_GQA, "logits_scaling": 6.0, "embedding_multiplier": 12.0},
    "mamba": {
        **{k: v for k, v in _BASE.items() if "attention" not in k and k != "intermediate_size"},
        "state_size": 4,
    },
    "recurrent_gemma": {
        **_GQA,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "lru_width": 32,
        "attention_window_size": 16,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "jamba": {
        **_GQA,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "qwen3_next": {
        **_GQA,
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "rwkv": {
        **{k: v for k, v in _BASE.items() if k != "num_attention_heads"},
        "attention_hidden_size": 32,
        "context_length": 256,
    },
}

STATE_SPACE = ("mamba", "recurrent_gemma", "jamba", "qwen3_next", "rwkv")
"""Those of which some blocks at least pass a state on instead of keys and values."""
KINDS: tuple[str, ...] = tuple(SETTINGS)
"""Every architecture that there is a tiny model of; the transformers among them first."""


def tiny_model(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A random float32 model of an architecture, small enough for a test, in eval mode.

    Weights are drawn wider than usual, so that layers, positions and tokens differ clearly.

    Args:
        kind: a Transformers ``model_type`` out of :data:`KINDS`.
        seed: of the weights.
        changes: config values that differ from the tiny ones.
    """
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{**SETTINGS[kind], **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * (0.15 if parameter.dim() > 1 else 0.05))
    return model.eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few sentences in six languages; pad 0, start 1, end 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def save_tiny(folder: Path, kind: str, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny model and its tokenizer to ``folder`` and return it."""
    tiny_model(kind, seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_lm(kind: str, seed: int = 0, **changes: Any) -> LanguageModel:
    """A tiny model with tokenizer and structure, never written to disk; not self-checked."""
    return assemble(ModelConfig(name=kind), tiny_model(kind, seed, **changes), tiny_tokenizer())
