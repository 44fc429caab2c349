"""Progress and notes on the screen."""

from __future__ import annotations

import io

from rich.console import Console

from linguamap.cli.progress_bars import Bars
from linguamap.progress import busy, say


def test_a_note_is_told_as_it_stands_and_once() -> None:
    text = io.StringIO()
    bars = Bars(Console(file=text, width=40))
    for _ in range(2):  # a sweep's variants say the same
        say(bars, "[bold] a long note that is not folded at the width\nof the screen")
        bars("tune", 1, 1)
    note = "[bold] a long note that is not folded at the width\nof the screen\n"
    assert text.getvalue() == note + "tune: 1/1\n" * 2


def test_something_moves_from_the_first_moment_and_nothing_is_left_behind() -> None:
    text = io.StringIO()
    with Bars(Console(file=text, width=60, force_terminal=True)) as bars:
        assert bars.spinner is not None
        assert bars.spinner.status == "starting ..."
        busy(bars, "loading [x]")
        assert bars.spinner is not None
        bars("answers", 1, 2)
        assert bars.spinner is None
        busy(bars, "not shown beside a bar")
        bars("answers", 2, 2)
        assert bars.spinner is not None
        assert bars.spinner.status == "working ..."
    assert bars.spinner is None
    assert bars.bars is None


def test_what_has_no_steps_is_one_line_without_a_terminal() -> None:
    text = io.StringIO()
    with Bars(Console(file=text, width=60)) as bars:
        for _ in range(2):
            busy(bars, "loading the model")
    assert text.getvalue() == "loading the model ...\n"
