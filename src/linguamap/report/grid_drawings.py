"""The figure of one prompt in depth. Needs Matplotlib.

Matplotlib's own font has no Chinese, Japanese or Korean; an installed Noto font writes these. Scripts
whose letters join or move, such as Arabic and Devanagari, it does not set rightly everywhere. A word
that cannot be written is replaced by its language's code in brackets; the CSV has all words.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from linguamap.charts.colours import language_inks
from linguamap.charts.naming import language_name
from linguamap.report.curve_data import late_start
from linguamap.report.grid_data import CELL, grid_data
from linguamap.report.plotting import DASHED, FAINT, GREY, INK, Drawing, Style, fonts, glyphs
from linguamap.report.run_values import Json, RunData

PLAIN_SCRIPTS = (
    "LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL",
)  # fmt: skip
"""First words of the Unicode names of letters that need no shaping."""

MAX_POSITIONS = 14
MAX_LETTERS = 9


def token_grid(data: RunData, style: Style) -> Drawing | None:
    """Layers x tokens of one prompt, before and after tuning: colour is the word's language.

    The prompt is the first in another language than English whose text is in Latin script, else the
    first in another language, else the first.
    """
    grid = grid_data(data)
    if grid is None:
        return None
    prompt = _chosen(grid)
    sides = [(when, prompt[when]) for when in ("before", "after") if prompt[when]]
    n_rows = max(len(side["layers"]) for _, side in sides)
    height = len(sides) * (n_rows * 0.128 + 0.42) * style.page / 6.9 + 0.3
    figure = Figure(figsize=(style.page, height))
    axes = figure.subplots(len(sides), 1, squeeze=False)[:, 0]
    rows: list[list[Any]] = []
    seen: dict[str, None] = {}
    inks = language_inks(data.languages)
    small = style.settings["font.size"] * 0.66
    for axis, (when, side) in zip(axes, sides, strict=True):
        width = min(MAX_POSITIONS, len(side["tokens"]))
        for y, layer in enumerate(side["layers"]):
            for x, token in enumerate(side["tokens"]):
                word, found, code, chance = _cell(grid, side, y, x)
                rows.append([when, layer, x + 1, token, found, word, code, chance])
                if x >= width:
                    continue
                ink = inks[code].light if code in inks else GREY
                face = FAINT if not code else ink
                strength = 0.35 if not code else 0.15 + 0.55 * (chance or 0.0)
                axis.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, fc=face, lw=0,
                                         alpha=strength))  # fmt: skip
                if code:
                    seen[code] = None
                text = _writable(word) or (f"[{code}]" if code else "")
                if text:
                    axis.text(x, y, text, ha="center", va="center", fontsize=small, color=INK)
        _frame(axis, data, side, width, small)
        if len(sides) > 1:
            axis.set_title(f"{when.capitalize()} tuning")
    axes[-1].set_xlabel(
        f"Answer in {language_name(prompt['language'])}, token by token; "
        "[code]: a word in letters not set here"
    )
    handles = [Patch(facecolor=inks[code].light) for code in seen if code in inks]
    names = [language_name(code) for code in seen if code in inks]
    handles.append(Patch(facecolor=FAINT))
    figure.legend(handles, [*names, "no word or language told"], loc="outside lower center",
                  ncols=min(7, len(handles)))  # fmt: skip
    columns = [
        "when",
        "layer",
        "position",
        "text_there",
        "token",
        "word",
        "language",
        "probability",
    ]
    # Type 42 cannot hold the outlines of the Noto fonts; some readers of PDF refuse them.
    return Drawing(figure, columns, rows, {"pdf.fonttype": 3} if len(fonts()) > 1 else {})


def _frame(axis: Any, data: RunData, side: Json, width: int, small: float) -> None:
    layers = side["layers"]
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(-0.5, len(layers) - 0.5)
    step = max(1, len(layers) // 9)
    axis.set_yticks(range(0, len(layers), step), [str(one) for one in layers[::step]])
    axis.set_ylabel("Layer")
    labels = [_writable(token) or "" for token in side["tokens"][:width]]
    axis.set_xticks(range(width), labels, fontsize=small)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.tick_params(axis="y", pad=5)
    axis.spines[["left", "bottom"]].set_visible(False)
    late = late_start(data)
    if late is not None and round(late) in layers:
        axis.axhline(layers.index(round(late)) - 0.5, color=GREY, lw=0.7, ls=DASHED)
    for layer in data.tuned_layers:
        if layer in layers:
            y = layers.index(layer)
            axis.plot([-0.006, -0.006], [y - 0.4, y + 0.4], color=INK, lw=2, clip_on=False,
                      transform=axis.get_yaxis_transform(), solid_capstyle="butt")  # fmt: skip


def _cell(grid: Json, side: Json, row: int, column: int) -> tuple[str, str, str, float | None]:
    start = column * CELL
    word, token, language, chance = side["cells"][row][start : start + CELL]
    code = "" if language < 0 else grid["languages"][language]
    return grid["texts"][word], grid["texts"][token], code, None if chance < 0 else chance / 100


def _chosen(grid: Json) -> Json:
    others = [one for one in grid["prompts"] if one["language"] != "en"]
    latin = [one for one in others if _is_latin(one["answer"])]
    found: Json = (latin or others or grid["prompts"])[0]
    return found


def _is_latin(text: str) -> bool:
    letters = [one for one in text if one.isalpha()]
    return all("LATIN" in unicodedata.name(one, "") for one in letters)


def _writable(text: str) -> str | None:
    """The text if Matplotlib can write it rightly, shortened, without marks of mathematics."""
    text = text.strip()
    if not text or not text.isprintable() or not all(map(_is_plain, text)):
        return None
    short = text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}\u2026"
    return short.replace("$", r"\$")


def _is_plain(character: str) -> bool:
    """Whether a character stands alone, left to right, and a font at hand has it."""
    if unicodedata.combining(character) or unicodedata.bidirectional(character) in ("R", "AL"):
        return False
    if character.isalpha() and not unicodedata.name(character, "").startswith(PLAIN_SCRIPTS):
        return False
    return ord(character) in glyphs()
