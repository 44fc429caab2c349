"""What every page shares: style sheet with the languages' colours, scripts, and the policy's hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from linguamap import __version__
from linguamap.charts.svg import OUTCOME_COLOURS, PAGE_DARK, PAGE_LIGHT, language_inks
from linguamap.records import OUTCOMES
from linguamap.report.words import environment, template_text
from linguamap.run.files import replacing


def write_page(
    path: Path, template: str, scripts: Sequence[str], styles: Sequence[str],
    languages: Sequence[str], **context: Any,
) -> Path:  # fmt: skip
    """Write a page that names its only script and style by their hashes, whole or not at all.

    Args:
        scripts, styles: files of ``assets``, ``style.css`` first.
        languages: in the order that numbers their colours.
    """
    # One scope of their own for all scripts.
    script = "(() => {\n'use strict';\n" + "\n".join(map(template_text, scripts)) + "\n})();\n"
    style = _style(styles, languages)
    text = (
        environment(html=True)
        .get_template(template)
        .render(
            script=Markup(script),
            style=Markup(style),
            script_hash=_digest(script),
            style_hash=_digest(style),
            languages=languages,
            version=__version__,
            **context,
        )
    )
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="replace"))
    return path


def _style(names: Sequence[str], languages: Sequence[str]) -> str:
    """Style sheets with the colours of languages and outcomes in both themes."""
    inks = list(language_inks(languages).values())
    light = [f"--page:{PAGE_LIGHT};"] + [f"--lang-{i}:{ink.light};" for i, ink in enumerate(inks)]
    dark = [f"--page:{PAGE_DARK};"] + [f"--lang-{i}:{ink.dark};" for i, ink in enumerate(inks)]
    for name in OUTCOMES:
        light.append(f"--outcome-{name}:{OUTCOME_COLOURS[name][0]};")
        dark.append(f"--outcome-{name}:{OUTCOME_COLOURS[name][1]};")
    style = "".join(map(template_text, names))
    style = style.replace("/*LIGHT*/", "".join(light)).replace("/*DARK*/", "".join(dark))
    return style + "".join(f".lang-{i} {{ --c: var(--lang-{i}); }}\n" for i in range(len(inks)))


def _digest(text: str) -> str:
    """A source of the content security policy: this text and no other."""
    found = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(found).decode('ascii')}'"
