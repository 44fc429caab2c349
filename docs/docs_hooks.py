"""What the documentation is made of besides Markdown: commands and settings from the code, formulas as MathML.

MkDocs calls the ``on_...`` functions at every build (``hooks:`` in mkdocs.yml), so that the reference of commands
and settings cannot drift from the program, and no page needs a script for its formulas.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import griffe
import typer
from latex2mathml.converter import convert
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from linguamap import config
from linguamap.cli.app import COMMANDS, app, load_command
from linguamap.config import RunConfig

FORMULA = re.compile(
    r'<(div|span) class="arithmatex">\s*\\[\[(](.*?)\\[\])]\s*</\1>', flags=re.DOTALL
)
# Sphinx roles in docstrings, as they come out of the Markdown converter.
ROLE = re.compile(r":(?:py:)?(?:mod|class|func|meth|data|attr):<code>~?([^<]*)</code>")
ROLE_SOURCE = re.compile(r":(?:mod|class|func|meth|data|attr):(?=`)")
KINDS_OF_VALUES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true`, `false`",
}
ENTRY = re.compile(r"^\* (`.*?`)(?:: (.*?))?(?:  \[(.*)\])?$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is made from the code."""
    for mark, make in (
        ("<!-- all commands -->", commands_reference),
        ("<!-- all settings -->", settings_reference),
    ):
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw by themselves."""
    return ROLE.sub(r"<code>\1</code>", FORMULA.sub(_mathml, html))


def commands_reference() -> str:
    """Every command with its arguments and options, as Typer describes them, one section each."""
    group: Any = typer.main.get_command(app)
    sections = []
    with group.make_context("linguamap", [], resilient_parsing=True) as context:
        for name in COMMANDS:
            text = get_docs_for_click(
                obj=load_command(name), ctx=context, name=name, call_prefix="linguamap"
            )
            sections.append(_section(text.partition("`linguamap ")[2]))
    return "\n\n".join(sections)


def _section(text: str) -> str:
    """One command: its usage as code, its lists as tables."""
    title, _, rest = text.partition("`\n")
    rest = re.sub(r"\*\*Usage\*\*:\n\n```console\n\$ (.*?)\n```", r"`\1`", rest)
    lines: list[str] = [f"## linguamap {title}", ""]
    for line in rest.splitlines():
        heading = re.fullmatch(r"\*\*(Arguments|Options)\*\*:", line)
        entry = ENTRY.match(line)
        if heading:
            lines += [f"| {heading[1].lower()[:-1]} | meaning | default |", "|---|---|---|"]
        elif entry and entry[1] != "`--help`":
            name, meaning, default = (one or "" for one in entry.groups())
            default = default.removeprefix("default: ")
            cells = (_cell(name), _cell(_plain(meaning)), _cell(_plain(default)))
            lines.append("| " + " | ".join(cells) + " |")
        elif not entry and (line.strip() or not lines[-1].startswith("|-")):
            lines.append(line if line.startswith("`") else _plain(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def settings_reference() -> str:
    """Every setting with its values, default and what the source says of it, a table a section."""
    path = Path(config.__file__)
    module = griffe.visit("linguamap.config", filepath=path, code=path.read_text("utf-8"))
    top = [name for name, field in RunConfig.model_fields.items() if not _section_class(field)]
    parts = [_table("whole run", "", RunConfig, top, module)]
    for name, field in RunConfig.model_fields.items():
        section = _section_class(field)
        if section is not None:
            parts.append(_table(name, f"{name}.", section, list(section.model_fields), module))
    return "\n\n".join(parts)


def _section_class(field: Any) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(title: str, prefix: str, kind: type[BaseModel], names: list[str], module: Any) -> str:
    source = module[kind.__name__]
    about = source.docstring.value if prefix and source.docstring else ""
    rows = ["| setting | values | default | meaning |", "|---|---|---|---|"]
    for name in names:
        attribute = source.members[name]
        said = " ".join(attribute.docstring.value.split()) if attribute.docstring else ""
        default = kind.model_fields[name].get_default(call_default_factory=True)
        meaning = _cell(_plain(ROLE_SOURCE.sub("", said).replace("``", "`")))
        values = _values(str(attribute.annotation))
        rows.append(f"| `{prefix}{name}` | {values} | `{_yaml(default)}` | {meaning} |")
    return "\n".join([f"### {title}", "", about.replace("``", "`"), "", *rows])


def _values(annotation: str) -> str:
    """A type as a reader of tables knows it; alternatives are listed."""
    optional = annotation.removesuffix(" | None")
    choice = re.fullmatch(r"Literal\[(.*)\]", optional)
    if choice:
        words = ", ".join(f"`{one}`" for one in re.findall(r"[\"'](.*?)[\"']", choice[1]))
    else:
        words = KINDS_OF_VALUES.get(optional, "list" if optional.startswith("list") else optional)
    return words if optional == annotation else f"{words} or `null`"


def _yaml(value: Any) -> str:
    """A default as it is written after ``--set key=``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(one) for one in value) + "]"
    return str(value)


def _plain(text: str) -> str:
    """Help texts are no Markdown: brackets in them are no links."""
    return text.replace("[", "&#91;")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _mathml(found: re.Match[str]) -> str:
    block = found[1] == "div"
    formula = convert(html.unescape(found[2]).strip(), display="block" if block else "inline")
    return f'<{found[1]} class="arithmatex">{formula}</{found[1]}>'
