"""The notebooks run from top to bottom, on a tiny model in place of the starter; they are kept without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import save_tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    return [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def run(path: Path, model: Path) -> tuple[dict[str, Any], list[Any]]:
    """The names that a notebook leaves, and what its cells show."""
    names: dict[str, Any] = {}
    shown = []
    for cell in cells(path):
        tree = ast.parse("".join(cell["source"]).replace('"starter"', repr(str(model))))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
    return names, shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_each_result_shows_itself(path: Path, tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "m", "llama", max_position_embeddings=1024)
    names, shown = run(path, model)
    drawn = [one for one in shown if hasattr(one, "plot")]
    assert drawn
    assert all("<svg" in one._repr_html_() for one in drawn if not hasattr(one, "to_html"))
    if "tuned" in names:  # the last step: plain Transformers answer with what was merged
        merged = AutoModelForCausalLM.from_pretrained(names["OUT"] / "merged")
        tokenizer = AutoTokenizer.from_pretrained(names["OUT"] / "merged")
        asked = tokenizer("¿Dónde está Ana?\n", return_tensors="pt")
        written = merged.generate(**asked, max_new_tokens=4, do_sample=False)
        assert written.shape[1] > asked["input_ids"].shape[1]
        plain = AutoModelForCausalLM.from_pretrained(model)
        assert not torch.equal(merged(**asked).logits, plain(**asked).logits)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path: Path) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(path))
