"""Progress and notes on the screen."""

from __future__ import annotations

import io

from rich.console import Console

from linguamap.cli.progress_bars import Bars
from linguamap.progress import say


def test_a_note_is_told_as_it_stands_and_once() -> None:
    text = io.StringIO()
    bars = Bars(Console(file=text, width=40))
    for _ in range(2):  # a sweep's variants say the same
        say(bars, "[bold] a long note that is not folded at the width\nof the screen")
        bars("tune", 1, 1)
    note = "[bold] a long note that is not folded at the width\nof the screen\n"
    assert text.getvalue() == note + "tune: 1/1\n" * 2
