"""Programs outside the package (benchmarks, studies, examples, the docs' hooks) name what the package has."""

from __future__ import annotations

import ast
import importlib
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path
    for folder in ("bench", "studies", "examples", "docs")
    for path in (ROOT / folder).glob("*.py")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_script_imports_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "linguamap":
            continue
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def test_power_by_hand() -> None:
    """Discordant 0.2, loss 0.05: (0.87652 + 0.37403)^2 / 0.0025 = 625.55: 1.95996 x 0.44721, 0.84162 x 0.44441."""
    power = runpy.run_path(str(ROOT / "studies" / "power.py"))
    assert power["prompts_needed"](0.05, 0.2, 0.8) == pytest.approx(625.55, abs=0.05)
    assert power["smallest_loss"](626, 0.2, 0.8) == pytest.approx(0.05)
    # Each item's two languages agree, the items differ: all of the variance is between items.
    assert power["intraclass"]({("b", "1"): [1, 1], ("b", "2"): [0, 0], ("b", "3"): [-1, -1]}) == 1
