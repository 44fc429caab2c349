"""Every command and code block of README.md and docs/ is run, or marked why not.

Fast: all commands are read by the program's own parser, settings, JSON, YAML, TOML and imports are checked, marked or
not. Slow: what is not marked is run, as ``docs_blocks`` says.
"""

from __future__ import annotations

import ast
import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import commands
import pytest
import yaml
from docs_blocks import (
    PAGES,
    ROOT,
    SMALL,
    Block,
    blocks_of,
    command_lines,
    own_arguments,
    parsed,
    run_folders,
    small_command,
    words_of,
)
from fake_server import chat, completion, fake_server
from tiny import save_tiny

from linguamap.benchmarks.own import Row
from linguamap.config import RunConfig
from linguamap.languages import load_languages
from linguamap.run.settings import load_config

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
KINDS = {
    kind: [block for block in BLOCKS if block.kind == kind]
    for kind in ("commands", "python", "json", "yaml", "toml")
}


def each(*kinds: str, run: bool = False) -> pytest.MarkDecorator:
    """A test for each block of these kinds; with ``run``, of those that are not marked."""
    chosen = [block for kind in kinds for block in KINDS[kind] if not run or _has_lines(block)]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.name)


def _has_lines(block: Block) -> bool:
    lines = command_lines(block.text) if block.kind == "commands" else [""]
    return any(not block.excused(line) for line in lines)


def test_blocks_are_found() -> None:
    pages = {block.page.name for block in BLOCKS}
    assert {"README.md", "tuning.md", "start.md", "own.md"} <= pages
    assert len(KINDS["commands"]) >= 8


def test_marks_are_read(tmp_path: Path) -> None:
    """Comments bind to the next block only, and to lines where they name a word."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: no -->\n\n    linguamap run\n\ntext\n\n    linguamap run --out x\n\n"
        "<!-- not run (make): slow -->\n```bash\nmake run\nlinguamap \\\n  report\n```\n\n    a text\n"
    )
    first, second, third, fourth = blocks_of(page)
    assert first.excused("linguamap run")
    assert not second.excused("linguamap run --out x")
    assert third.excused("make run")
    assert command_lines(third.text) == ["make run", "linguamap report"]
    assert not third.excused("linguamap report")
    assert [block.kind for block in (first, second, third, fourth)] == ["commands"] * 3 + ["text"]


@each("commands")
def test_every_line_is_one_that_can_be_run_or_is_marked(block: Block) -> None:
    for line in command_lines(block.text):
        if not block.excused(line):
            assert own_arguments(line) is not None or _is_script(line), (
                f"{block.name}: '{line}' is not run by a test; mark it <!-- not run: why -->"
            )
    assert all(len(why) >= 8 for why in block.excuses.values()), f"{block.name}: say why"


@each("commands")
def test_commands_options_and_settings_exist(block: Block) -> None:
    for line in command_lines(block.text):
        words, arguments = words_of(line), own_arguments(line)
        if arguments is not None:
            values = parsed(arguments)
            if "settings" in values and "target" not in values:
                load_config(None, list(values["settings"] or []))
        elif words[0] == "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert next(word for word in words[1:] if "=" not in word) in targets, line
        elif words[:2] == ["pip", "install"]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            for found in re.findall(r"(?:\.|linguamap)\[(.*?)\]", line):
                assert set(found.split(",")) <= set(extras["optional-dependencies"]), line
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), line


@each("python")
def test_python_imports_what_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("linguamap"):
            module = importlib.import_module(node.module or "")
            for name in node.names:  # an attribute, or a module that nothing has imported yet
                found = hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}")
                assert found, f"{block.name}: {name.name}"


@each("json")
def test_json_is_valid_and_items_are_as_the_program_reads_them(block: Block) -> None:
    for row in _json_values(block.text):
        if "item_id" in row:
            Row.model_validate(row)
        elif "Q" in row or "messages" in row:
            assert set(row) <= {"id", "group", "language", "messages", *"PIQRA"}, block.name
        else:
            assert block.excused(""), f"{block.name}: mark JSON that is not the program's own input"


def _json_values(text: str) -> list[Any]:
    """One value, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


@each("yaml")
def test_yaml_is_a_file_of_settings(block: Block, tmp_path: Path) -> None:
    values = yaml.safe_load(block.text)
    if set(values) <= set(RunConfig.model_fields):
        (tmp_path / "settings.yaml").write_text(block.text, encoding="utf-8")
        load_config(tmp_path / "settings.yaml")
    else:
        assert block.excused(""), f"{block.name}: mark YAML that is no file of settings"


@each("toml")
def test_toml_is_a_language(block: Block) -> None:
    assert load_languages(block.text)


# What follows runs the blocks.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_tiny(folder, "llama", max_position_embeddings=4096)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with fake_server() as server:
        said = {"role": "assistant", "content": "La respuesta es 5."}
        server.behave = lambda asked: (
            chat(said) if asked.path.startswith("/chat") else completion(said["content"])
        )
        yield server.url


@pytest.fixture(scope="module")
def done(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny model."""
    out = tmp_path_factory.mktemp("done") / "run"
    settings = [part for one in SMALL for part in ("--set", one)]
    arguments = ["run", "--out", str(out), "--model", str(model), "--languages", "en,es"]
    _linguamap([*arguments, *settings], out.parent)
    return out


@pytest.fixture
def place(tmp_path: Path, done: Path) -> Path:
    """A working folder with the files that the pages name."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(done, tmp_path / "runs" / "starter")
    rows = [
        {"item_id": f"q{n}", "kind": "sums", "language": code, "question": text, "gold": [f"{n}"],
         "explanation": why, "split": split}
        for code, text, why in (("en", "What is {} + 1?", "We add {} and 1."),
                                ("fr", "Combien font {} + 1 ?", "On ajoute {} et 1."))
        for split, numbers in (("test", range(2, 5)), ("train", range(5, 9)))
        for n in numbers
        for text, why in [(text.format(n - 1), why.format(n - 1))]
    ]  # fmt: skip
    (tmp_path / "my_items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [
        {
            "id": str(n),
            "language": "fr",
            "Q": f"Combien font {n} + 1 ?\n",
            "A": f"La réponse est {n + 1}.",
        }
        for n in range(12)
    ]
    (tmp_path / "my_texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    with (tmp_path / "completions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "model", "completion", "task", "source", "language"])
        text = "Le chat dort dans la maison et mange trois pommes rouges le soir."
        writer.writerow(["1", "m", text, "monolingual", "native", "fr"])
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(2400)
@each("commands", run=True)
def test_commands_run(
    block: Block, place: Path, done: Path, model: Path, url: str, request: pytest.FixtureRequest
) -> None:
    made: set[Path] = set()
    for line in command_lines(block.text):
        if block.excused(line):
            continue
        arguments = own_arguments(line)
        if arguments is None:
            _call([sys.executable, *_small_script(line, model)], place)
            continue
        values = parsed(arguments)
        starts = "model" in values and "out" in values
        goes_on = starts and any(folder in made for folder in run_folders(arguments))
        for folder in run_folders(arguments):
            if starts and folder not in made:
                shutil.rmtree(place / folder, ignore_errors=True)
            elif not starts and not (place / folder).exists():
                shutil.copytree(done, place / folder)
            made.add(folder)
        for name in ("config", "words"):
            if values.get(name) is not None and not (place / values[name]).exists():
                (place / values[name]).write_text("seed: 1\n" if name == "config" else "the\n")
        data = request.getfixturevalue("benchmarks_dir") if values.get("data") else None
        small = small_command(arguments, model, data, url, goes_on=goes_on)
        _linguamap(small, place)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@each("python", run=True)
def test_python_runs(block: Block, place: Path, model: Path) -> None:
    """``name="..."`` of a model becomes the tiny one."""
    code = re.sub(
        r'(ModelConfig\(name=)"[^"]+"', lambda found: f"{found[1]}{str(model)!r}", block.text
    )
    (place / "block.py").write_text(code, encoding="utf-8")
    _call([sys.executable, "block.py"], place)


def _is_script(line: str) -> bool:
    words = words_of(line)
    return words[0] == "python" and words[1].startswith("examples/")


def _small_script(line: str, model: Path) -> list[str]:
    """An example script on the tiny model; a script that takes none is left as it is."""
    words = words_of(line)[1:]
    if "--model" in words:
        words[words.index("--model") + 1] = str(model)
    return words


def _linguamap(arguments: list[str], folder: Path) -> None:
    done = commands.call(*arguments, cwd=folder, timeout=900)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


def _call(arguments: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
