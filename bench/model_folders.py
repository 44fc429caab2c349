"""Models that the benches run on, and the rate at which the machine multiplies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMOLLM2: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
"""The shape of SmolLM2-135M; its weights are drawn at random, which costs the same."""


@dataclass(frozen=True)
class Size:
    """Weights that a token is multiplied with, in each block and in the head; the head's width."""

    n_blocks: int
    block: int
    head: int
    width: int


def model_folder(name: str, scratch: Path) -> Path:
    """Weights and tokenizer of ``starter``, ``smollm2`` (random) or a folder."""
    if name not in ("starter", "smollm2"):
        return Path(name)
    from linguamap.models.starter import starter_folder

    starter = starter_folder()
    if name == "starter":
        return starter
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    settings = dict(SMOLLM2)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    make: Any = AutoModelForCausalLM.from_config
    make(config).save_pretrained(scratch / name)
    AutoTokenizer.from_pretrained(starter).save_pretrained(scratch / name)
    return scratch / name


def size_of(folder: Path) -> Size:
    """Counted on a model of the folder's config, without its numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    make: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        model = make(AutoConfig.from_pretrained(folder))
    blocks, head = model.model.layers, model.get_output_embeddings().weight
    return Size(
        len(blocks), sum(p.numel() for p in blocks[-1].parameters()), head.numel(), head.shape[1]
    )


def product_rate(dtype: str, device: str = "cpu") -> float:
    """Operations a second of a large plain matrix product, the best of several."""
    import torch

    rows, inner, columns = (2048, 640, 4096) if device == "cpu" else (8192, 8192, 8192)
    kind = getattr(torch, dtype)
    a = torch.randn(rows, inner, device=device).to(kind)
    b = torch.randn(inner, columns, device=device).to(kind)
    out = torch.empty(rows, columns, dtype=kind, device=device)
    best = float("inf")
    for _ in range(20):
        wait(device)
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best


def wait(device: str) -> None:
    """Until a GPU has done what it was told."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
