"""Panels, and elements of SVG as a tree. Colours are names until it is written, so one drawing fits
page and paper.

On a page a colour becomes a CSS variable, which follows the reader's theme; in a file it becomes its
value on white paper. All text is escaped, and characters that would be obeyed are named instead.

One colour per language, everywhere. The six starter languages have fixed colours, so that two reports
can be laid side by side; they were chosen to stay apart for readers with protanopia, deuteranopia and
tritanopia, and to have a contrast of at least 3 against the page. English, which every other language
is compared with, is ink. A page brings one language forward at a touch, because no palette keeps more
than about eight lines apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import regex
from markupsafe import Markup, escape

PAGE_LIGHT = "#fdfcf9"
PAGE_DARK = "#16181c"


@dataclass(frozen=True)
class Ink:
    """How a language is drawn.

    Attributes:
        light: colour on a light page, ``#rrggbb``.
        dark: colour on a dark page.
        dash: SVG dash pattern in pixels; empty is a solid line.
    """

    light: str
    dark: str
    dash: str = ""


_FIXED: dict[str, Ink] = {
    "en": Ink("#33383f", "#d5d9df"),
    "fr": Ink("#1443a6", "#638efc"),
    "es": Ink("#c58600", "#f2b32b"),
    "ar": Ink("#037d66", "#7cc29b"),
    "hi": Ink("#a06cb6", "#b87aac"),
    "ja": Ink("#c23a10", "#df5311"),
}

_OTHERS: tuple[Ink, ...] = (
    Ink("#2e93c4", "#5cc3ee"),
    Ink("#7a4a1e", "#c9996a"),
    Ink("#c2447c", "#ff8ab8"),
    Ink("#66771a", "#c2d35f"),
    Ink("#5b4bc4", "#a79bff"),
    Ink("#68757f", "#9fb0bd"),
)

_DASHES = ("", "6 3", "2 2", "8 3 2 3")

OUTCOME_COLOURS: dict[str, tuple[str, str]] = {
    "both": ("#3a5878", "#8fb2d6"),
    "transfer_bottleneck": ("#b9c8d8", "#46596e"),
    "neither": ("#ecd9c2", "#5e4a37"),
    "consistency_bottleneck": ("#b0703c", "#e0a165"),
    "unscored": ("#d3d1cc", "#4a4d52"),
}
"""Outcome -> (light, dark). Blue is the right language, brown a wrong one; dark is the right task."""


def language_inks(languages: Sequence[str]) -> dict[str, Ink]:
    """A way of drawing for each language, the same for the same list.

    Args:
        languages: codes in the run's order. The six starter languages keep their own colours
            whatever the order; the others take the remaining ones in turn, then repeat them with
            other dashes.
    """
    inks: dict[str, Ink] = {}
    taken = 0
    for code in languages:
        if code in _FIXED:
            inks[code] = _FIXED[code]
            continue
        base = _OTHERS[taken % len(_OTHERS)]
        dash = _DASHES[taken // len(_OTHERS) % len(_DASHES)]
        inks[code] = Ink(base.light, base.dark, dash)
        taken += 1
    return inks


FONT = "Noto Sans, DejaVu Sans, Arial, sans-serif"
SCRIPT_FONTS = {
    "ARABIC": "Noto Sans Arabic", "DEVANAGARI": "Noto Sans Devanagari", "BENGALI": "Noto Sans Bengali",
    "TAMIL": "Noto Sans Tamil", "TELUGU": "Noto Sans Telugu", "THAI": "Noto Sans Thai",
    "HEBREW": "Noto Sans Hebrew", "CJK": "Noto Sans CJK JP", "HIRAGANA": "Noto Sans CJK JP",
    "KATAKANA": "Noto Sans CJK JP", "HANGUL": "Noto Sans CJK KR",
}  # fmt: skip
"""First word of a letter's Unicode name -> the font that a file asks for; a page leaves it to the browser."""

PAPER = {
    "ink": "#22262b", "soft": "#5b6269", "faint": "#8a8f94", "rule": "#e4e1da", "wash": "#f1efe8",
    "page": "#ffffff", "unplaced": "#c9c6bf",
}  # fmt: skip

CONTROL = regex.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
"""Characters that are obeyed and not shown, tabs left out."""
_NAMES = {
    0x00: "NUL", 0x07: "BEL", 0x0A: "LF", 0x0D: "CR", 0x1B: "ESC", 0x200B: "ZWSP", 0x200E: "LRM",
    0x200F: "RLM", 0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO",
    0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM",
}  # fmt: skip


class Colour(NamedTuple):
    """A colour by name: one of :data:`PAPER`, ``lang:fr``, ``outcome:both`` or ``#rrggbb``."""

    name: str


INK, SOFT, FAINT, RULE = Colour("ink"), Colour("soft"), Colour("faint"), Colour("rule")
WASH, PAGE, UNPLACED = Colour("wash"), Colour("page"), Colour("unplaced")
CURRENT = Colour("current")
"""The colour of the group around, which a script may change."""


def language_colour(code: str | None) -> Colour:
    return Colour(f"lang:{code}") if code else UNPLACED


@dataclass(frozen=True)
class Paint:
    """Where a drawing goes.

    Attributes:
        languages: codes in the order that decides their colours.
        on_page: colours as the page's variables; else as values on white paper.
    """

    languages: Sequence[str]
    on_page: bool = False

    def value(self, colour: Colour) -> str:
        """The colour as SVG has it."""
        kind, _, name = colour.name.partition(":")
        if kind == "current":
            return "currentColor"
        if kind.startswith("#"):
            return kind
        if kind == "outcome":
            return f"var(--outcome-{name})" if self.on_page else OUTCOME_COLOURS[name][0]
        if kind != "lang":
            return f"var(--{kind})" if self.on_page else PAPER[kind]
        if name not in self.languages:
            return self.value(UNPLACED)
        if self.on_page:
            return f"var(--lang-{list(self.languages).index(name)})"
        return language_inks(self.languages)[name].light


_PAGE_ONLY = ("data-", "tabindex", "href", "aria-", "class")

Value = str | float | Colour | None


@dataclass(frozen=True)
class Node:
    """An element: its kids are elements and plain text."""

    tag: str
    kids: tuple[Node | str, ...]
    attributes: dict[str, Value]

    def write(self, paint: Paint) -> Markup:
        """The element as escaped markup."""
        return Markup("".join(_write(self, paint)))


def el(tag: str, *kids: Node | str | Iterable[Node] | None, **attributes: Value) -> Node:
    """One element; kids and attributes that are ``None`` are left out.

    Underscores in attribute names become hyphens; a trailing one is dropped (``class_``).
    """
    flat: list[Node | str] = []
    for kid in kids:
        if isinstance(kid, Node | str):
            flat.append(kid)
        elif kid is not None:
            flat += kid
    named: dict[str, Value] = {
        k.rstrip("_").replace("_", "-"): v for k, v in attributes.items() if v is not None
    }
    return Node(tag, tuple(flat), named)


def _write(node: Node, paint: Paint) -> Iterable[str]:
    if node.attributes.get("display") == "none" and not paint.on_page:
        return
    tag = "g" if node.tag == "a" and not paint.on_page else node.tag
    yield f"<{tag}"
    for name, value in node.attributes.items():
        if paint.on_page or not name.startswith(_PAGE_ONLY):
            name = "viewBox" if name == "viewbox" else name
            yield f' {name}="{escape(_text(value, paint))}"'
    if not paint.on_page and node.tag in ("text", "tspan") and (font := _font(node.kids)):
        yield f' font-family="{font}"'
    if not node.kids:
        yield "/>"
        return
    yield ">"
    for kid in node.kids:
        if isinstance(kid, Node):
            yield from _write(kid, paint)
        else:
            yield str(escape(inert(kid)))
    yield f"</{tag}>"


def _text(value: Value, paint: Paint) -> str:
    if isinstance(value, Colour):
        return paint.value(value)
    return inert(value) if isinstance(value, str) else number(value or 0.0)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    text = f"{value:.1f}"
    return "0" if text in ("-0.0", "0.0") else text.removesuffix(".0")


def inert(text: str) -> str:
    """Text whose control characters are named instead of obeyed, as ``[RLO]``."""
    return str(CONTROL.sub(lambda found: f"[{control_name(found.group())}]", text))


def control_name(character: str) -> str:
    """The usual short name of a control character, else its code point."""
    code = ord(character)
    return _NAMES.get(code, f"U+{code:04X}")


def _font(kids: Sequence[Node | str]) -> str | None:
    """The font that a file asks for where the usual one lacks a letter or a sign."""
    for kid in kids:
        for character in kid if isinstance(kid, str) else "":
            if unicodedata.category(character) in ("Sm", "So") and ord(character) > 0xFF:
                return "DejaVu Sans"
            if ord(character) > 0x2FF and character.isalpha():
                return SCRIPT_FONTS.get(unicodedata.name(character, "").split(" ")[0].split("-")[0])
    return None


def width_of(text: str, size: float = 11) -> float:
    """About how wide a text is, in pixels."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return size * (0.56 * (len(text) - wide) + wide)


def shortened(text: str, width: float, size: float = 11) -> str:
    """The text cut to a width, with an ellipsis where something is missing."""
    if width_of(text, size) <= width:
        return text
    kept = text
    while kept and width_of(kept + "…", size) > width:
        kept = kept[:-1]
    return kept + "…"


def path(points: Sequence[tuple[float, float | None]]) -> str:
    """A line through points; it is broken where a height is missing."""
    parts, last = [], None
    for x, y in points:
        if y is None:
            last = None
            continue
        here = (round(x, 1), round(y, 1))
        if last is None:
            parts.append(f"M{number(here[0])} {number(here[1])}")
        else:
            parts.append(f"l{number(here[0] - last[0])} {number(here[1] - last[1])}")
        last = here
    return "".join(parts)


@dataclass(frozen=True)
class Key:
    """An entry of the key.

    Attributes:
        code: language whose curves the page brings forward at a touch.
        page_only: the language is drawn only where the reader of a page chooses so.
    """

    text: str
    colour: Colour = INK
    mark: Literal["line", "dash", "dots", "box", "point", "ring", "tick"] = "box"
    code: str | None = None
    page_only: bool = False


@dataclass(frozen=True)
class Control:
    """A choice the reader has on a page: elements whose ``data-NAME`` lacks the value are hidden."""

    name: str
    label: str
    options: list[tuple[str, str]]
    chosen: str


def phase_control(chosen: str, *, both: bool = False) -> Control:
    """The choice between the model as it is and the tuned one."""
    options = [("before", "Before tuning"), ("after", "After tuning")]
    if both:
        options.insert(0, ("both", "Before and after"))
    return Control("phase", "Which model", options, chosen)


@dataclass(frozen=True)
class Panel:
    """A drawing of its own within a chart.

    Attributes:
        draw: width in pixels -> the elements and the height they take.
        about: attributes of the drawing's root; ``aria-label`` says it in words.
        width: on a page, about how wide it is drawn.
        code: language of the title's mark.
        when: control -> the values under which the panel is shown; files show what is chosen at first.
        more: pairs of a summary and lines of text that open below.
        side: pixels of the side that stay in view while the rest scrolls; 0: nothing scrolls.
        text_direction: ``rtl`` where a drawing is read from the right.
    """

    title: str
    draw: Callable[[float], tuple[list[Node], float]]
    about: dict[str, str] = field(default_factory=dict)
    width: float = 330
    code: str | None = None
    note: str = ""
    when: dict[str, str] = field(default_factory=dict)
    more: list[tuple[str, list[str]]] = field(default_factory=list)
    side: float = 0
    text_direction: str | None = None

    def is_first(self, controls: Sequence[Control]) -> bool:
        """Whether it is shown before the reader chooses anything."""
        return all(
            one.chosen in self.when[one.name].split(" ")
            for one in controls
            if one.name in self.when
        )
