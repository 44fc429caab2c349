"""Progress on a terminal: a bar with rate and time left, and a spinner wherever there is no bar; plain lines
where there is no terminal. Something moves from the first moment to the last.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status

LINE_EVERY_SECONDS = 5.0
"""Where there is no terminal."""


class Bars:
    """A :class:`linguamap.progress.Progress` that draws one bar for each label.

    As a context it shows that the program is at work until it is left.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: Progress | None = None
        self.spinner: Status | None = None
        self.tasks: dict[str, TaskID] = {}
        self.said: dict[str, float] = {}
        self.began: dict[str, tuple[float, int]] = {}
        self.told: set[str] = set()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._spin("starting")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars is not None:
            self.bars.stop()
        self._spin(None)

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        if not label:
            self._tell(note)
        elif not total:
            self._tell(f"{label} ...") if not self.console.is_terminal else self._spin(label)
        elif self.console.is_terminal:
            self._draw(label, done, total, note)
        else:
            self._say(label, done, total, note)

    def _spin(self, text: str | None) -> None:
        """Show a spinner with a text, in place of an earlier one; None takes it away."""
        if text is None or self.bars is not None:
            if self.spinner is not None:
                self.spinner.stop()
                self.spinner = None
        elif self.spinner is None:
            self.spinner = self.console.status(f"{escape(text)} ...")
            self.spinner.start()
        else:
            self.spinner.update(f"{escape(text)} ...")

    def _tell(self, text: str) -> None:
        if text not in self.told:  # every variant of a sweep says the same
            self.told.add(text)
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, label: str, done: int, total: int, note: str) -> None:
        if self.bars is None:
            self._spin(None)
            self.bars = Progress(
                TextColumn("{task.description:<16}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", style="dim"),
                console=self.console,
            )
            self.bars.start()
        if label not in self.tasks:
            self.tasks[label] = self.bars.add_task(label, total=total, note=note)
        self.bars.update(self.tasks[label], completed=done, total=total, note=note)
        if all(task.finished for task in self.bars.tasks):
            self.bars.stop()
            self.bars, self.tasks = None, {}
            self._spin("working")

    def _say(self, label: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        began, before = self.began.setdefault(label, (now, done))
        if done < total and now - self.said.get(label, 0.0) < LINE_EVERY_SECONDS:
            return
        self.said[label] = now
        left = ""
        if done > before and done < total:
            seconds = (now - began) / (done - before) * (total - done)
            left = f", {timedelta(seconds=round(seconds))} left"
        self.console.print(f"{label}: {done}/{total} {note}".rstrip() + left, highlight=False)
        if done >= total:
            self.began.pop(label, None)
