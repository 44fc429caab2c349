"""Writes the tables of docs/scale.md between their marks: ``python studies/scale.py`` (``--check``)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from model_needs import Machine, Work, measure, plan, shown
from transformers import AutoConfig

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
CONFIGS = {
    "Qwen3-32B": {
        "model_type": "qwen3", "num_hidden_layers": 64, "hidden_size": 5120,
        "intermediate_size": 25600, "num_attention_heads": 64, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False,
    },
    "BLOOM-7.1B": {
        "model_type": "bloom", "n_layer": 30, "hidden_size": 4096, "n_head": 32,
        "vocab_size": 250880,
    },
}  # fmt: skip
"""As published."""
BLOCKS = {"Qwen3-32B": 2, "BLOOM-7.1B": 1}
"""As the paper trains."""


def table(name: str) -> str:
    """The plan of one model as a table."""
    work = Work(blocks=BLOCKS[name])
    size = measure(AutoConfig.for_model(**CONFIGS[name]), name, work.tokens)
    lines = ["| | | how |", "|---|---|---|"]
    part = None
    for row in plan(size, work, Machine()):
        if row.part != part:
            lines.append(f"| **{row.part}** | | |")
            part = row.part
        formula = f"`{row.formula}`" if row.formula else ""
        lines.append(f"| {row.what} | {shown(row)} | {formula} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name in CONFIGS:
        mark = rf"(<!-- plan: {re.escape(name)} -->\n).*?(<!-- end -->)"
        text, count = re.subn(
            mark, lambda m, name=name: f"{m[1]}\n{table(name)}\n\n{m[2]}", text, flags=re.DOTALL
        )
        assert count == 1, name
    return text


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if "--check" in sys.argv[1:] and before != after:
        sys.exit("docs/scale.md is not what studies/scale.py makes; run it")
    PAGE.write_text(after, encoding="utf-8")
