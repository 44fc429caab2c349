"""Elements of SVG as escaped markup, for pages that are drawn without scripts."""

from __future__ import annotations

from markupsafe import Markup, escape


def el(tag: str, *kids: str | Markup, **attributes: str | float | None) -> Markup:
    """One element; text is escaped, markup taken as it is, ``None`` attributes are left out.

    Underscores in attribute names become hyphens; a trailing one is dropped (``class_``).
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(kid) for kid in kids)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
