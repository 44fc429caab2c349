"""What every page shares: assets, style sheet with the languages' colours, and the script's hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

import jinja2

from linguamap.charts.chart import page_asset
from linguamap.charts.svg import OUTCOME_COLOURS, PAGE_DARK, PAGE_LIGHT, language_inks
from linguamap.records import OUTCOMES


def asset(name: str) -> str:
    """The text of a file of ``assets``, of the charts or of the pages around them."""
    if name.startswith("chart."):
        return page_asset(name)
    return (resources.files("linguamap.report") / "assets" / name).read_text(encoding="utf-8")


def environment() -> jinja2.Environment:
    """Templates from ``assets``; everything that is put into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )


def script_of(names: Sequence[str]) -> str:
    """Scripts joined in one scope of their own."""
    return "(() => {\n'use strict';\n" + "\n".join(map(asset, names)) + "\n})();\n"


def style_of(names: Sequence[str], languages: Sequence[str]) -> str:
    """Style sheets with the colours of languages and outcomes in both themes.

    Args:
        names: files of ``assets``, ``style.css`` first.
        languages: codes; the i-th has the variable ``--lang-i`` and the class ``lang-i``.
    """
    inks = list(language_inks(languages).values())
    light = [f"--page:{PAGE_LIGHT};"] + [f"--lang-{i}:{ink.light};" for i, ink in enumerate(inks)]
    dark = [f"--page:{PAGE_DARK};"] + [f"--lang-{i}:{ink.dark};" for i, ink in enumerate(inks)]
    for name in OUTCOMES:
        light.append(f"--outcome-{name}:{OUTCOME_COLOURS[name][0]};")
        dark.append(f"--outcome-{name}:{OUTCOME_COLOURS[name][1]};")
    style = "".join(map(asset, names))
    style = style.replace("/*LIGHT*/", "".join(light)).replace("/*DARK*/", "".join(dark))
    return style + "".join(f".lang-{i} {{ --c: var(--lang-{i}); }}\n" for i in range(len(inks)))


def digest(text: str) -> str:
    """A source of the content security policy: this text and no other."""
    found = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(found).decode('ascii')}'"
