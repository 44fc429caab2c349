"""Code blocks of README.md and docs/: found, told apart, and made small enough for a test.

A block is fenced or indented. What a test does not run stands under a comment right before the block:

    <!-- not run: why -->              the whole block
    <!-- not run (make): why -->       only its lines that begin with this word

How a documented command becomes a small one (``small_command``):

* the model, wherever the command takes one, becomes a tiny random model; a command that can take one and
  names none gets it;
* such a command also gets ``SMALL`` settings, and the languages en,es if it names none;
* a command that goes on with a run folder of the same block takes model and languages from there, as a
  user's would;
* a sweep that names no variants gets two;
* ``--endpoint`` becomes a server of the test; ``--data FOLDER`` the folder of real benchmark files;
* of ``accelerate launch ... -m linguamap ...`` the part behind ``-m`` is run, as one process;
* every run folder that the block reads and did not make is a copy of one finished tiny run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from markdown_it import MarkdownIt

from linguamap.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

EXCUSE = re.compile(r"<!--\s*not run(?: \((?P<word>[^)]+)\))?:\s*(?P<why>.+?)\s*-->", re.DOTALL)
PROGRAM = re.compile(
    r"(\$ )?(linguamap|make|pip install|python3?|accelerate launch|mkdocs|git)(?= |$)", re.MULTILINE
)
SHELLS = ("bash", "sh", "shell", "console")
CODE = ("python", "json", "jsonl", "yaml", "toml")
TEXT = ("", "text")
SMALL = (
    "evaluate.items=1",
    "evaluate.max_new_tokens=4",
    "evaluate.batch_size=8",
    "probe.items=2",
    "probe.similarity_items=6",
    "probe.handover_items=1",
    "probe.bootstrap=10",
    "locate.bootstrap=10",
    "tune.examples=8",
    "tune.epochs=1",
    "tune.batch_size=8",
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        info: what stands behind the fence; empty for an indented block.
        excuses: first word of the lines that are not run (None: all lines) -> why.
    """

    page: Path
    line: int
    info: str
    text: str
    excuses: dict[str | None, str]

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def kind(self) -> str:
        """``commands``, a name out of ``CODE``, or ``text``."""
        if self.info in SHELLS or any(map(PROGRAM.match, self.text.splitlines())):
            return "commands"
        if self.info in CODE:
            return "json" if self.info == "jsonl" else self.info
        if self.info in TEXT:
            first = self.text.lstrip()
            if re.match(r'[{\[]\s*"', first):
                return "json"
            return "python" if re.match(r"(import|from) \w+", first) else "text"
        raise ValueError(f"{self.name}: fence '{self.info}'; known: {SHELLS + CODE + TEXT}")

    def excused(self, line: str) -> bool:
        """Whether a line, or (with an empty one) the block, is marked as not run."""
        return None in self.excuses or any(word and line.startswith(word) for word in self.excuses)


def blocks_of(page: Path) -> list[Block]:
    """All code blocks of a Markdown page, each with the comments right before it."""
    found: list[Block] = []
    excuses: dict[str | None, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            excuses |= {one["word"]: one["why"] for one in EXCUSE.finditer(token.content)}
            continue
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, excuses))
        excuses = {}
    return found


def command_lines(text: str) -> list[str]:
    """The commands of a block: continued lines joined, prompts, comments and empty lines out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def words_of(line: str) -> list[str]:
    """A command's words; ``...`` stands for more of the same and is left out."""
    return [word for word in shlex.split(line, comments=True) if word != "..."]


def own_arguments(line: str) -> list[str] | None:
    """What a line hands to linguamap; None where it calls something else."""
    words = words_of(line)
    if words[:1] == ["linguamap"]:
        return words[1:]
    for start in range(len(words) - 1):
        if words[start : start + 2] == ["-m", "linguamap"]:
            return words[start + 2 :]
    return None


def parsed(arguments: list[str]) -> dict[str, Any]:
    """A command's parameters, as the program's own parser reads them; it is not run.

    Raises:
        typer's usage errors: an unknown command or option, a missing argument, a bad value.
    """
    group: Any = typer.main.get_command(app)
    if arguments in (["--help"], ["--version"]):
        return {}
    with group.make_context("linguamap", [], resilient_parsing=True) as context:
        name, command, rest = group.resolve_command(context, arguments)
        with command.make_context(name, list(rest), parent=context) as inner:
            return dict(inner.params)


def small_command(
    arguments: list[str], model: Path, data: Path | None, url: str, *, goes_on: bool = False
) -> list[str]:
    """The same command on a tiny model; the module's docstring says how."""
    values = parsed(arguments)
    places = {"model": str(model), "data": str(data), "endpoint": url}
    swapped = {
        str(values[name]): place for name, place in places.items() if values.get(name) is not None
    }
    words = [swapped.get(word, word) for word in arguments]
    if "variants" in values and values["variants"] is None:
        words += ["--variants", "last:1,few_shot"]
    if "model" not in values:
        return words
    if values["model"] is None and not goes_on:
        words += ["--model", str(model)]
    if "languages" in values and values["languages"] is None and not goes_on:
        words += ["--languages", "en,es"]
    if "settings" in values and "out" in values:
        words += [part for setting in SMALL for part in ("--set", setting)]
    return words


def run_folders(arguments: list[str]) -> list[Path]:
    """The run folders that a command names or takes by default."""
    values = parsed(arguments)
    runs = values.get("runs")
    named = runs or [values.get(name) for name in ("out", "run", "target")]
    paths = [Path(one) for one in named if one is not None]
    return [path for path in paths if path.parts[:1] == ("runs",)]
