"""The report formats and never computes: no statistics are imported, and no count is divided."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from jinja2 import nodes

import linguamap.report
from linguamap.report.words import environment

FOLDER = Path(linguamap.report.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
TEMPLATES = sorted(path.name for path in (FOLDER / "templates").iterdir())
STATISTICS = ("linguamap.scoring", "numpy", "scipy", "statistics", "statsmodels")


def faults(code: str) -> list[str]:
    """Imports of statistics outside of type checking, and divisions that join no path."""
    tree = ast.parse(code)
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if id(node) not in typing and any(name.startswith(STATISTICS) for name in names):
            found.append(ast.unparse(node))
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            right = node.right if isinstance(node, ast.BinOp) else node.value
            if not isinstance(right, ast.JoinedStr) and not isinstance(node, ast.AugAssign):
                is_text = isinstance(right, ast.Constant) and isinstance(right.value, str)
                is_name = isinstance(right, ast.Name) and right.id in ("folder", "name")
                if not is_text and not is_name:
                    found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_computes_no_rate_and_no_interval(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [one for one in TEMPLATES if not one.endswith(".bib")])
def test_a_template_divides_nothing(name: str) -> None:
    made = environment(html=True)
    source = made.loader.get_source(made, name)[0]  # type: ignore[union-attr]
    assert list(made.parse(source).find_all((nodes.Div, nodes.FloorDiv))) == []


def test_the_check_sees_what_it_is_for() -> None:
    code = "from linguamap.scoring.stats import wilson\nrate = n_right / n\nwhere = folder / 'x.json'\n"
    assert faults(code) == ["from linguamap.scoring.stats import wilson", "n_right / n"]
