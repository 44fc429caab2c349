"""One colour per language, everywhere: page, figures, light and dark.

The six starter languages have fixed colours, so that two reports can be laid side by side. They were
chosen to stay apart for readers with protanopia, deuteranopia and tritanopia, and to have a contrast
of at least 3 against the page. English, which every other language is compared with, is ink.
The page brings one language forward at a touch, because no palette keeps more than about eight lines
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
