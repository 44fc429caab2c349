"""Arrows point one way, and importing the package is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import linguamap

ROOT = Path(linguamap.__file__).parent
LIGHT = (
    "linguamap",
    "linguamap.cli.main",
    "linguamap.config",
    "linguamap.pipeline",
    "linguamap.scoring.score",
)

# Lower ranks never import higher ones at the top of a file.
RANKS = {
    "outside": 0, "progress": 0, "records": 0, "config": 1, "languages": 1, "stats": 1,
    "pipeline": 8, "screen": 8, "sweep": 8, "cli": 9, "cli_answers": 9, "cli_plan": 9, "cli_sweep": 9, "cli_explore": 9, "cli_push": 9, "explore": 8, "__main__": 10,
}  # fmt: skip
STAGE = 4


def rank(module: str) -> int:
    """A module's place in the order; everything unnamed is a stage."""
    return RANKS.get(module.split(".")[0], STAGE)


def imports_at_top(path: Path) -> set[str]:
    """Modules of this package that a file imports when it is loaded, without the package's name."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("linguamap."):
            found.add((node.module or "").removeprefix("linguamap."))
    return found


def test_no_file_imports_a_later_one() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if own == "__init__":
            continue
        wrong += [f"{own} -> {other}" for other in imports_at_top(path) if rank(other) > rank(own)]
    assert wrong == []


def test_importing_the_light_modules_loads_no_torch() -> None:
    code = f"import sys, {', '.join(LIGHT)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_the_screen_prints() -> None:
    allowed = {"cli.py", "screen.py"}
    for path in ROOT.rglob("*.py"):
        if path.name in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (called and node.func.id == "print"), path
