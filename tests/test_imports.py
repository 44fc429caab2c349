"""The house's rules: who may import whom, how flat it is, who prints; and importing it is cheap.

Each rule is also shown to fail on a small tree that breaks it. ``python tests/support/import_graph.py``
prints the figures.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import ImportGraph, report

import linguamap

GRAPH = ImportGraph(Path(linguamap.__file__).parent)

LIGHT = (
    "linguamap",
    "linguamap.cli.app",
    "linguamap.config",
    "linguamap.pipeline",
    "linguamap.scoring.score",
)

CHAIN_LIMIT = 8
TOP_LEVEL_LIMIT = 12
FOLDER_LIMIT = 13
SINGLE_SHARE_LIMIT = 0.2
SAME_NAMES_LIMIT = 0


def test_no_circles_not_even_through_functions_or_types() -> None:
    assert GRAPH.circles() == []


def test_arrows_point_to_lower_ranks_only() -> None:
    assert GRAPH.against_rank() == []


def test_private_names_stay_in_their_file() -> None:
    assert GRAPH.private_uses() == []


def test_chains_of_imports_are_short() -> None:
    chain = GRAPH.longest_chain()
    assert len(chain) - 1 <= CHAIN_LIMIT, " -> ".join(chain)


def test_folders_fit_in_one_look() -> None:
    folders = GRAPH.folders()
    assert folders.pop("") <= TOP_LEVEL_LIMIT
    assert max(folders.values()) <= FOLDER_LIMIT, folders


def test_few_files_have_a_single_importer() -> None:
    single = GRAPH.single_importers()
    assert len(single) <= SINGLE_SHARE_LIMIT * len(GRAPH.files), single


def test_file_names_are_unique() -> None:
    assert len(GRAPH.same_names()) <= SAME_NAMES_LIMIT, GRAPH.same_names()


def test_only_the_command_line_prints() -> None:
    assert GRAPH.prints() == []


def test_importing_the_light_modules_loads_no_torch() -> None:
    code = f"import sys, {', '.join(LIGHT)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Each rule fails where it is broken ------------------------------------------------------------


def graph_of(root: Path, **files: str) -> ImportGraph:
    """A tree of modules; ``a__b`` is the file ``a/b.py``, ``a__init`` its ``__init__.py``."""
    for name, text in files.items():
        parts = ["__init__" if part == "init" else part for part in name.split("__")]
        path = root.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return ImportGraph(root)


@pytest.mark.parametrize(
    "back",
    [
        "from linguamap.models import tuned",
        "from linguamap.models.tuned import apply",
        "from . import tuned",
        "from .tuned import apply",
        "import linguamap.models.tuned as t",
        "def load():\n    from linguamap.models.tuned import apply",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from linguamap.models.tuned import T",
    ],
)
def test_a_circle_is_found_however_it_is_closed(tmp_path: Path, back: str) -> None:
    graph = graph_of(
        tmp_path, models__tuned="from linguamap.models.base import load", models__base=back
    )
    assert graph.circles() == [["models.base", "models.tuned"]]


def test_a_circle_through_three_files_and_a_name_is_found(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        cli__main='module = import_module(f"linguamap.cli.{name}")',
        cli__sweep="from linguamap.cli.quiet import quiet",
        cli__quiet="from linguamap.cli.main import quiet",
    )
    assert graph.circles() == [["cli.main", "cli.quiet", "cli.sweep"]]


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"records": "from linguamap.config import load"}, ["records -> config"]),
        ({"models__a": "def f():\n    from linguamap.tuning.b import x"}, ["models.a -> tuning.b"]),
        ({"probes__a": "from linguamap.tuning import b"}, ["probes.a -> tuning.b"]),  # equal rank
        (
            {"scoring__a": "if TYPE_CHECKING:\n    from linguamap.tuning.b import X"},
            ["scoring.a -> tuning.b"],
        ),
        ({"helpers__a": ""}, ["helpers has no rank"]),
        ({"probes__a": "from linguamap.records import Item"}, []),
        ({"tuning__a": "from linguamap.tuning.b import x"}, []),
    ],
)
def test_an_arrow_against_the_ranks_is_found(
    tmp_path: Path, files: dict[str, str], wrong: list[str]
) -> None:
    base = {"records": "", "config": "", "tuning__b": ""}
    assert graph_of(tmp_path, **base | files).against_rank() == wrong


@pytest.mark.parametrize(
    "use",
    [
        "from linguamap.models.a import _load",
        "from linguamap.models import a\na._load()",
        "import linguamap.models.a as weights\nweights._load()",
    ],
)
def test_a_private_name_of_another_file_is_found(tmp_path: Path, use: str) -> None:
    graph = graph_of(tmp_path, models__a="def _load(): ...\n__all__ = []", models__b=use)
    (found,) = graph.private_uses()
    assert found.startswith("models.b -> ")
    assert found.endswith("._load")
    own = graph_of(tmp_path / "own", models__a="def _load(): ...\nself._load()\n_load()")
    assert own.private_uses() == []


def test_the_longest_chain_counts_imports_in_functions_but_not_types(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        records="",
        config="from linguamap.records import Item",
        run__folder="def f():\n    from linguamap.config import load",
        pipeline="from linguamap.run import folder",
        report__page="if TYPE_CHECKING:\n    from linguamap.pipeline import Pipeline",
    )
    assert graph.longest_chain() == ["pipeline", "run.folder", "config", "records"]


def test_folders_and_single_importers_are_counted(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        records="x = 1",
        config="from linguamap.records import x",
        run__a="from linguamap.records import x",
        run__b="from linguamap.config import y",
        run__c="def f():\n    from linguamap.run import b",
        run__init="",
    )
    assert graph.folders() == {"": 2, "run": 3}
    assert graph.single_importers() == ["config", "run.b"]
    assert graph.lines() == 1


def test_a_file_name_used_twice_is_found(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, report__page="", explore__page="", run__init="", cli__init="")
    assert graph.same_names() == ["page"]


@pytest.mark.parametrize(
    "line",
    [
        "print('x')",
        "import rich\nrich.print('x')",
        "from rich import print as show",
        "from rich.console import Console\nConsole(stderr=True)",
        "import rich.console\nrich.console.Console()",
        "import sys\nsys.stdout.write('x')",
        "import sys\nsys.stderr.write('x')",
        "import sys\nsys.stderr.buffer.write(b'x')",
        "import typer\ntyper.echo('x')",
        "from click import secho\nsecho('x')",
    ],
)
def test_whoever_prints_beside_the_command_line_is_found(tmp_path: Path, line: str) -> None:
    graph = graph_of(
        tmp_path, scoring__score=f"def f():\n    {line.replace(chr(10), chr(10) + '    ')}"
    )
    assert len(graph.prints()) == 1, graph.prints()
    assert graph_of(tmp_path / "cli", cli__main=line).prints() == []
    assert (
        graph_of(tmp_path / "file", run__files="def f(file):\n    file.write('x')").prints() == []
    )


def test_the_printed_report_names_what_is_wrong(tmp_path: Path) -> None:
    text = report(graph_of(tmp_path, records="from linguamap.config import x\nprint(x)", config=""))
    assert "records -> config" in text
    assert "records: print" in text
    assert "longest chain           1 imports" in text
