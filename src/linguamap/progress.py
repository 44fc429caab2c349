"""How long loops tell the screen where they are, without knowing about the screen."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called after each step of a long loop."""

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Report that ``done`` of ``total`` steps of ``label`` are finished.

        Args:
            label: what is being done, e.g. ``"evaluate before"``.
            done: finished steps, those of an earlier, interrupted run included.
            total: all steps; the same in every call of one loop.
            note: a short remark with a unit, e.g. ``"93 tokens/s"``.
        """


def silent(label: str, done: int, total: int, note: str = "") -> None:
    """A :class:`Progress` that says nothing."""
