"""Docstrings as the documentation's parser wants them: sections set apart, return values with their type."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"\n+(?=(?:Args|Returns|Raises|Yields|Attributes|Source):)")
ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?([^`]*)`")
RETURNED = re.compile(r"(?<=Returns:\n)( *)(?=\S)")


class Sections(griffe.Extension):
    """Sets sections apart and takes Sphinx's roles off.

    A return value is described in prose here, and the parser would take what stands before its first
    colon for a type; so the annotated type is put in front.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None:
            return
        text = ROLE.sub(r"``\1``", SECTION.sub("\n\n", obj.docstring.value))
        if isinstance(obj, griffe.Function) and obj.returns is not None:
            text = RETURNED.sub(lambda found: f"{found[1]}{obj.returns}: ", text)
        obj.docstring.value = text
