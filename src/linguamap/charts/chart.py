"""What every chart function returns: panels, a key and the rows behind them.

A chart shows itself in a notebook, writes itself as SVG, PDF, PNG or CSV at the width of a paper's
column or page, and is embedded in a page with :meth:`Chart.html`. It needs no run folder.
"""

from __future__ import annotations

import base64
import csv
import difflib
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jinja2
from markupsafe import Markup

from linguamap.charts.svg import (
    FONT,
    INK,
    PAGE,
    SOFT,
    Control,
    Key,
    Node,
    Paint,
    Panel,
    el,
    inert,
    language_colour,
    shortened,
    width_of,
)
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.charts.frames import Row

FORMATS = ("svg", "pdf", "png", "csv")
PNG_DPI = 300
CSS_DPI = 96
POINTS_AN_INCH = 72
TEXT_PIXELS = 11.0
"""Size of the text in drawings; files are scaled so that this is the style's type size."""


class Style(NamedTuple):
    """Widths in inches and type size in points."""

    column: float
    page: float
    points: float


STYLES = {"paper": Style(3.3, 6.9, 7.5), "slides": Style(6.0, 12.0, 13.0)}


@dataclass(frozen=True)
class Chart:
    """A chart; see the function that made it for its columns.

    Attributes:
        name: short, for file names.
        rows: the numbers behind it, as in the frame that was drawn.
        labels: names of the layers (or whatever the horizontal axis counts), for tooltips.
        across: panels side by side in a file.
        size: width of the file, a paper's ``column`` or ``page``.
    """

    name: str
    title: str
    panels: list[Panel]
    rows: list[Row]
    languages: list[str] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    across: int = 3
    size: Literal["column", "page"] = "page"
    note: str = ""

    def svg(self, style: str = "paper") -> str:
        """The chart as an SVG file's text, as wide as the style says."""
        chosen = STYLES[style]
        points = (chosen.column if self.size == "column" else chosen.page) * POINTS_AN_INCH
        width = points / chosen.points * TEXT_PIXELS
        body, height = self._sheet(width)
        background = el("rect", width=width, height=height, fill=PAGE)
        root = el(
            "svg", el("title", self.title), background, *body,
            xmlns="http://www.w3.org/2000/svg", viewbox=f"0 0 {width:.0f} {height:.0f}",
            width=f"{points:.1f}pt", height=f"{points * height / width:.1f}pt",
            font_family=FONT, font_size=TEXT_PIXELS,
        )  # fmt: skip
        return f"<?xml version='1.0' encoding='UTF-8'?>\n{root.write(Paint(self.languages))}\n"

    def _sheet(self, width: float) -> tuple[list[Node], float]:
        """Panels in rows, the key below, and the height of it all."""
        panels = [panel for panel in self.panels if panel.is_first(self.controls)]
        across = min(self.across, len(panels)) or 1
        gap, y = 18.0, 4.0
        each = (width - gap * (across - 1)) / across
        drawn: list[Node] = []
        for start in range(0, len(panels), across):
            heights = []
            for place, panel in enumerate(panels[start : start + across]):
                marks, height = panel.draw(each)
                head = _heading(panel, each)
                moved = f"translate({place * (each + gap):.1f} {y + 18:.1f})"
                drawn.append(el("g", head, *marks, transform=moved))
                heights.append(height + 26)
            y += max(heights)
        lines, height = _key_lines(self.keys, self.note, width)
        drawn.append(el("g", *lines, transform=f"translate(0 {y + 2:.1f})"))
        return drawn, y + height + 4

    @property
    def columns(self) -> list[str]:
        """The names of the columns of its numbers."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def csv(self) -> str:
        """The numbers behind the chart."""
        file = io.StringIO()
        writer = csv.DictWriter(file, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return file.getvalue()

    def save(self, path: str | Path, style: str = "paper") -> Path:
        """Write the chart; the suffix says how: ``.svg``, ``.pdf``, ``.png`` or ``.csv``.

        Raises:
            UserError: another suffix or style, or the library for PDF and PNG is missing.
        """
        path = Path(path)
        path.write_bytes(self.encoded(path.suffix.removeprefix("."), style))
        return path

    def encoded(self, kind: str, style: str = "paper") -> bytes:
        """The chart as the bytes of a file; the same chart gives the same bytes."""
        if kind not in FORMATS:
            raise UserError(f"charts: '{kind}' is no format; known: {', '.join(FORMATS)}")
        if style not in STYLES:
            near = difflib.get_close_matches(style, STYLES, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UserError(f"charts: style '{style}' is unknown; {hint}Known: {', '.join(STYLES)}")
        if kind == "csv":
            return self.csv().encode("utf-8", errors="backslashreplace")
        text = self.svg(style)
        if kind == "svg":
            return text.encode()
        try:
            import vl_convert
        except ImportError:
            raise UserError(
                f"charts: a {kind.upper()} needs vl-convert; install it with: "
                "pip install 'linguamap[figures]'"
            ) from None
        if kind == "pdf":
            return bytes(vl_convert.svg_to_pdf(text))
        return bytes(vl_convert.svg_to_png(text, scale=PNG_DPI / CSS_DPI))

    def _repr_html_(self) -> str:
        """For notebooks: the drawing on white, and the numbers as a table that opens."""
        drawing = self.svg().split("\n", 1)[1].replace("<svg ", _FLUID, 1)
        shown = {"drawing": Markup(drawing), "columns": self.columns, "rows": self.rows[:2000]}
        return _templates().get_template("notebook.html.j2").render(shown)

    def html(self, languages: Sequence[str] | None = None, prefix: str = "") -> Markup:
        """The chart for a page that has ``chart.css`` and ``chart.js`` and the colours' variables.

        What the reader must choose first travels compressed and is drawn then.

        Args:
            languages: the page's order of languages, which numbers their colours.
            prefix: tells charts of the same name on one page apart.
        """
        paint = Paint(list(languages or self.languages), on_page=True)
        width = max((panel.width for panel in self.panels), default=0)
        names = {id(one): f"{prefix}{self.name}-{place}" for place, one in enumerate(self.panels)}
        text = _templates().get_template("chart.html.j2").render(
            chart=self, prefix=prefix, paint=paint, packed=_packed,
            size="small" if width < 400 else "middle" if width < 700 else "large",
            places={code: place for place, code in enumerate(paint.languages)},
            first=[panel for panel in self.panels if panel.is_first(self.controls)],
            later=[panel for panel in self.panels if not panel.is_first(self.controls)],
            drawing=lambda panel: _page_drawing(panel, paint, names[id(panel)]),
            mark=lambda key: el(
                "svg", *key_mark(key), class_="mark", viewbox="0 0 16 10", width=16, height=10,
                aria_hidden="true",
            ).write(paint),
        )  # fmt: skip
        return Markup(text)

    def with_(self, **changes: Any) -> Chart:
        """The same chart with some attributes changed."""
        return replace(self, **changes)


def page_asset(name: str) -> str:
    """``chart.css`` or ``chart.js``, which a page needs for what :meth:`Chart.html` gives."""
    return (resources.files("linguamap.charts") / "assets" / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    """Everything put in is escaped, and its control characters are named."""
    made = jinja2.Environment(loader=jinja2.FunctionLoader(page_asset), autoescape=True,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    made.filters |= {"inert": inert, "cell": _cell}
    return made


def _packed(caller: Callable[[], Markup]) -> str:
    """Markup as base64 of gzip; equal markup gives equal text."""
    return base64.b64encode(gzip.compress(str(caller()).encode(), mtime=0)).decode("ascii")


_FLUID = '<svg style="width:100%;height:auto" role="img" '


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _heading(panel: Panel, width: float) -> Node:
    """A panel's title, in its language's colour, with the note after it."""
    colour = language_colour(panel.code) if panel.code else INK
    room = width - width_of(panel.title, 12)
    return el(
        "text",
        el("tspan", shortened(panel.title, width, 12), font_weight="bold", fill=colour),
        el("tspan", " " + shortened(panel.note, room - 8), fill=SOFT) if room > 60 else None,
        x=0, y=-5, font_size=12,
    )  # fmt: skip


def key_mark(key: Key) -> list[Node]:
    """What an entry of the key looks like, in a box of 16 by 10 pixels."""
    if key.colour.name == "outcome:unscored":
        return [
            el("path", d="M3.2 0v10M6 0v10M8.7 0v10M11.4 0v10", stroke=key.colour, stroke_width=1.2)
        ]
    if key.mark == "box":
        return [el("rect", x=2, y=0, width=10, height=10, fill=key.colour)]
    if key.mark in ("point", "ring"):
        face = PAGE if key.mark == "ring" else key.colour
        return [el("circle", cx=7, cy=5, r=3.6, fill=face, stroke=key.colour, stroke_width=1.5)]
    dash = {"dash": "4 3", "dots": "1.5 3"}.get(key.mark)
    left = 9 if key.mark == "tick" else 0
    return [el("line", x1=left, x2=15, y1=5, y2=5, stroke=key.colour, stroke_width=2,
               stroke_dasharray=dash)]  # fmt: skip


def _key_lines(keys: Sequence[Key], note: str, width: float) -> tuple[list[Node], float]:
    """The key of a file, in as many lines as it takes, and a note under it."""
    drawn: list[Node] = []
    x, y = 0.0, 0.0
    for key in (key for key in keys if not key.page_only):
        text = shortened(key.text, width - 20)
        wide = 20 + width_of(text) + 14
        if x and x + wide - 14 > width:
            x, y = 0.0, y + 16
        drawn.append(el("g", *key_mark(key), el("text", text, x=20, y=9, fill=INK),
                        transform=f"translate({x:.1f} {y:.1f})"))  # fmt: skip
        x += wide
    y += 16 if keys else 0
    if note:
        drawn.append(el("text", shortened(note, width), x=0, y=y + 10, fill=SOFT))
        y += 16
    return drawn, y


def _page_drawing(panel: Panel, paint: Paint, name: str) -> Markup:
    """The panel as SVG; one that scrolls keeps its side, such as names of rows, in view."""
    marks, height = panel.draw(panel.width)
    about: dict[str, Any] = {"role": "img", "font_size": TEXT_PIXELS}
    about |= {key.replace("-", "_"): value for key, value in panel.about.items()}
    if any(key.startswith("data_") for key in about):
        about["tabindex"] = 0
    if not panel.side:
        box = f"0 0 {panel.width:.0f} {height:.1f}"
        return el("svg", *marks, viewbox=box, **about).write(paint)
    mirrored = panel.text_direction == "rtl"
    rest = panel.width - panel.side
    side = el(
        "svg", el("use", href=f"#{name}"), class_="side", aria_hidden="true", width=panel.side,
        viewbox=f"{rest if mirrored else 0:.0f} 0 {panel.side:.0f} {height:.1f}", height=height,
        font_size=TEXT_PIXELS,
    )  # fmt: skip
    body = el(
        "svg", el("g", marks, id=name), width=rest, height=height,
        viewbox=f"{0 if mirrored else panel.side:.0f} 0 {rest:.0f} {height:.1f}", **about,
    )  # fmt: skip
    scroll = Markup('<div class="scroll" dir="{}">{}{}</div>')
    return scroll.format(panel.text_direction or "ltr", side.write(paint), body.write(paint))
