"""Who imports whom in the package: ranks, circles, the longest chain, single importers, lines.

``python -m import_graph`` (with tests/support on the path) or ``python tests/support/import_graph.py
[FOLDER]`` prints it; ``tests/test_imports.py`` holds it. Imports inside functions count like all
others. Those under ``TYPE_CHECKING`` are never run, so the chain leaves them out; ranks and circles do
not. A command that is loaded by its name when it is called (``import_module``) is an entry of its own,
like ``__main__``: it belongs to circles and ranks, and chains begin at it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PACKAGE = "linguamap"

RANKS = {
    "records": 0,
    "outside": 1, "progress": 1, "seeding": 1,
    "config": 2, "languages": 2,
    "run": 3, "benchmarks": 3,
    "prompts": 4, "models": 4, "scoring": 4,
    "generation": 5,
    "probes": 6, "tuning": 6,
    "charts": 7, "run_context": 7,
    "evaluate": 8, "sweep": 8, "report": 8,
    "pipeline": 9, "share": 9, "explore": 9,
    "api": 10,
    "cli": 11,
    "__main__": 12,
}  # fmt: skip
"""Package (or top-level module) -> its place in the order. Arrows go to lower ranks only."""


@dataclass(frozen=True)
class Import:
    """One module imports another.

    Attributes:
        names: what is taken out of the other module; empty if the module itself is.
        typing_only: under ``if TYPE_CHECKING``.
        by_name: through ``import_module``.
    """

    source: str
    target: str
    names: tuple[str, ...] = ()
    typing_only: bool = False
    by_name: bool = False


@dataclass
class ImportGraph:
    """All modules under a package's folder; names are without the package's own.

    Attributes:
        files: module -> file. A package's ``__init__`` bears the package's name.
    """

    root: Path
    files: dict[str, Path] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {}
        for path in sorted(self.root.rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name:
                self.files[name] = path

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {m: ast.parse(p.read_text(encoding="utf-8")) for m, p in self.files.items()}

    @cached_property
    def imports(self) -> list[Import]:
        return [one for module in self.files for one in self._imports_of(module)]

    def _imports_of(self, module: str) -> Iterator[Import]:
        tree = self.trees[module]
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(tree):
            for target, names, by_name in self._targets(module, node):
                if target != module:
                    yield Import(module, target, names, id(node) in typing_only, by_name)

    def _targets(self, module: str, node: ast.AST) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = _inside(alias.name)
                if name in self.files:
                    yield name, (), False
        elif isinstance(node, ast.ImportFrom):
            base = _inside(self._absolute(module, node))
            if base is None:
                return
            taken = []
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                if inner in self.files:
                    yield inner, (), False
                else:
                    taken.append(alias.name)
            if taken and base in self.files:
                yield base, tuple(taken), False
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            text = node.args[0] if node.args else None
            if isinstance(text, ast.JoinedStr):
                text = text.values[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                start = _inside(text.value.rstrip("."))
                within = [m for m in self.files if m.startswith(f"{start}.")]
                yield from ((name, (), True) for name in within)

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        folder = [PACKAGE, *module.split(".")]
        if self.files[module].name != "__init__.py":
            folder.pop()
        folder = folder[: len(folder) - node.level + 1]
        return ".".join([*folder, *([node.module] if node.module else [])])

    def edges(self, *, typing_only: bool = True, by_name: bool = True) -> dict[str, set[str]]:
        """module -> modules that it imports."""
        out: dict[str, set[str]] = {module: set() for module in self.files}
        for one in self.imports:
            if (typing_only or not one.typing_only) and (by_name or not one.by_name):
                out[one.source].add(one.target)
        return out

    def against_rank(self) -> list[str]:
        """Imports from a package of a higher or of an equal rank, and modules without a rank."""
        unknown = {m.split(".")[0] for m in self.files} - RANKS.keys()
        wrong = [f"{name} has no rank" for name in sorted(unknown)]
        for one in self.imports:
            source, target = one.source.split(".")[0], one.target.split(".")[0]
            if (
                source != target
                and not {source, target} & unknown
                and RANKS[target] >= RANKS[source]
            ):
                wrong.append(f"{one.source} -> {one.target}")
        return sorted(set(wrong))

    def private_uses(self) -> list[str]:
        """Names with a leading underscore that are imported from, or read out of, another file."""
        wrong = []
        for one in self.imports:
            wrong += [f"{one.source} -> {one.target}.{n}" for n in one.names if _is_private(n)]
        for module, tree in self.trees.items():
            bound = set(self._bound_modules(module))
            for node in ast.walk(tree):
                reads = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                if reads and node.value.id in bound and _is_private(node.attr):
                    wrong.append(f"{module} -> {node.value.id}.{node.attr}")
        return sorted(set(wrong))

    def _bound_modules(self, module: str) -> Iterator[str]:
        """Names in a file under which it has imported modules of the package."""
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.ImportFrom):
                base = _inside(self._absolute(module, node))
                for alias in node.names:
                    if base is not None and f"{base}.{alias.name}".lstrip(".") in self.files:
                        yield alias.asname or alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname and _inside(alias.name) in self.files:
                        yield alias.asname

    def circles(self) -> list[list[str]]:
        """Groups of modules each of which imports all others, over whatever way."""
        edges = self.edges()
        reach = {module: _reachable(module, edges) for module in edges}
        groups = {
            frozenset(other for other in reach[module] if module in reach[other])
            for module in edges
            if module in reach[module]
        }
        return sorted(sorted(group) for group in groups)

    def longest_chain(self) -> list[str]:
        """Modules of the longest way along imports; its length is one less. Empty with a circle."""
        edges = self.edges(typing_only=False, by_name=False)
        if any(module in _reachable(module, edges) for module in edges):
            return []
        best: dict[str, list[str]] = {}

        def chain(module: str) -> list[str]:
            if module not in best:
                ways = (chain(other) for other in sorted(edges[module]))
                best[module] = [module, *max(ways, key=len, default=[])]
            return best[module]

        return max((chain(module) for module in sorted(edges)), key=len)

    def folders(self) -> dict[str, int]:
        """folder -> modules in it, packages below it not counted; "" is the top level."""
        counts: dict[str, int] = {}
        for path in self.root.rglob("*.py"):
            folder = ".".join(path.parent.relative_to(self.root).parts)
            has_code = bool(path.read_text(encoding="utf-8").strip())
            counts[folder] = counts.get(folder, 0) + has_code
        return counts

    def single_importers(self) -> list[str]:
        """Modules that exactly one other module imports; commands loaded by name are entries."""
        importers: dict[str, set[str]] = {module: set() for module in self.files}
        for one in self.imports:
            if not one.by_name:
                importers[one.target].add(one.source)
        return sorted(module for module, found in importers.items() if len(found) == 1)

    def same_names(self) -> list[str]:
        """File names that occur in more than one package."""
        names = [m.split(".")[-1] for m, path in self.files.items() if path.name != "__init__.py"]
        return sorted({name for name in names if names.count(name) > 1})

    def prints(self) -> list[str]:
        """Modules outside ``cli`` that write on the screen: print, consoles, echo, standard streams."""
        wrong = []
        for module, tree in self.trees.items():
            if module.split(".")[0] != "cli":
                wrong += [f"{module}: {what}" for what in _screen_writes(tree)]
        return wrong

    def lines(self) -> int:
        paths = self.root.rglob("*.py")
        return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def _inside(name: str) -> str | None:
    """A module's name without the package's; None if it is not of the package."""
    if name == PACKAGE:
        return ""
    return name.removeprefix(f"{PACKAGE}.") if name.startswith(f"{PACKAGE}.") else None


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Modules at the end of one import or more from here."""
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += edges[module]
    return found


def _screen_writes(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            if (
                called == "print"
                or name in ("Console", "echo", "secho")
                or (name in ("write", "writelines", "print") and _is_stream(called))
            ):
                yield called
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
            yield from (f"rich.{a.name}" for a in node.names if a.name in ("print", "console"))


def _is_stream(called: str) -> bool:
    parts = called.split(".")
    return parts[0] == "rich" or any(part in ("stdout", "stderr", "__stdout__") for part in parts)


def report(graph: ImportGraph) -> str:
    """What the tests hold, in numbers."""
    chain, single, circles = graph.longest_chain(), graph.single_importers(), graph.circles()
    folders = graph.folders()
    largest = max(folders, key=lambda name: folders[name])
    parts = [
        f"circles                 {len(circles)}",
        *(f"    {' '.join(circle)}" for circle in circles),
        f"longest chain           {len(chain) - 1} imports",
        f"    {' -> '.join(chain)}",
        f"top-level modules       {folders['']}",
        f"largest folder          {largest or 'top level'}, {folders[largest]} modules",
        f"single importers        {len(single)} of {len(graph.files)}",
        f"    {' '.join(single)}",
        f"imports against ranks   {len(graph.against_rank())}",
        *(f"    {one}" for one in graph.against_rank()),
        f"private names           {len(graph.private_uses())}",
        *(f"    {one}" for one in graph.private_uses()),
        f"file names used twice   {' '.join(graph.same_names()) or 'none'}",
        f"prints outside cli      {len(graph.prints())}",
        *(f"    {one}" for one in graph.prints()),
        f"lines of Python         {graph.lines():,}",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[2] / "src" / PACKAGE
    print(report(ImportGraph(Path(sys.argv[1]) if len(sys.argv) > 1 else here)))
