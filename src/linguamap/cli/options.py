"""Command-line options, made from the settings that they stand for.

An option is the name of a setting and nothing else: its help is what :mod:`linguamap.config` says of that
setting, and its value is checked there, so that neither is written twice.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer
from pydantic.fields import FieldInfo

from linguamap.config import RunConfig

DEFAULT_OUT = Path("runs/starter")

Out = Annotated[Path, typer.Option("--out", "-o", help="The run folder.")]
OwnOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The run folder; runs/starter, or runs/NAME of NAME.jsonl."),
]
Prompts = Annotated[
    Path | None,
    typer.Argument(help="Own prompts in place of benchmarks, a .txt, .csv or .jsonl as for check."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as a.b=value; may be repeated.")
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Remove the folder's run and start over, by its settings unless others are given.",
    ),
]
Rules = Annotated[
    str | None,
    typer.Option(
        "--rules",
        metavar="A,B,...",
        help="Rules to compare besides those that cost next to nothing and the gradients; or all.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

SETTINGS = {
    "preset": "preset",
    "model": "model.name",
    "revision": "model.revision",
    "languages": "languages",
    "benchmarks": "data.benchmarks",
    "prompts": "data.prompts",
    "language": "data.prompts_language",
    "data": "data.folder",
    "items": "evaluate.items",
    "subjects": "data.subjects",
    "scenarios": "scenarios",
    "seed": "seed",
    "endpoint": "evaluate.endpoint",
    "rule": "choose.rule",
    "aim": "choose.aim",
    "method": "tune.method",
    "layers": "tune.layers",
    "train_data": "tune.data",
    "teacher": "tune.teacher",
    "teacher_model": "tune.teacher_model",
    "cache_gb": "tune.cache_gb",
}
"""Option -> the setting that it stands for."""
SHORT = {"model": "-m", "benchmarks": "--benchmark", "language": "-l"}
LONG = {"aim": "--for"}
"""Options that are not called as they are here."""

MODEL = ("model", "revision", "preset")
ITEMS = ("languages", "benchmarks", "data", "seed")
ASKED = (*ITEMS, "items", "subjects", "scenarios", "endpoint")
TUNING = ("method", "layers", "train_data", "teacher", "teacher_model", "cache_gb")


def option(name: str) -> Any:
    """The annotated type of one option, as Typer reads it."""
    flags = [
        LONG.get(name, f"--{name.replace('_', '-')}"),
        *([SHORT[name]] if name in SHORT else []),
    ]
    field = setting(SETTINGS[name])
    about = re.split(r"(?<=\.)\s", " ".join((field.description or "").split()))[0]
    about = about.replace("``", "")
    return Annotated[str | None, typer.Option(*flags, help=about, metavar=_kind(field))]


def setting(key: str) -> FieldInfo:
    """The field of the config behind a dotted key."""
    section: Any = RunConfig
    *sections, last = key.split(".")
    for part in sections:
        section = section.model_fields[part].annotation
    field: FieldInfo = section.model_fields[last]
    return field


def _kind(field: FieldInfo) -> str:
    number = re.search(r"\b(int|float)\b", str(field.annotation))
    return "A,B,..." if _is_list(field) else "NUMBER" if number else "TEXT"


def _is_list(field: FieldInfo) -> bool:
    kinds = (*getattr(field.annotation, "__args__", ()), field.annotation)
    return any(get_origin(kind) is list for kind in kinds)


def overrides(options: dict[str, str | None]) -> list[str]:
    """Settings as ``a.b=value``, values in YAML; ``all`` of a number is no limit (null)."""
    made = []
    for name, value in options.items():
        if value is None:
            continue
        key = SETTINGS[name]
        field = setting(key)
        if _is_list(field):
            text = json.dumps([part.strip() for part in value.split(",") if part.strip()])
        elif value == "all" and "int" in str(field.annotation):
            text = "null"
        else:
            text = json.dumps(value)
        made.append(f"{key}={text}")
    return made
