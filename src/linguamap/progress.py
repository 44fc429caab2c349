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
            total: all steps; the same in every call of one loop. 0 for what takes a while and has no
                steps, see :func:`busy`.
            note: a short remark with a unit, e.g. ``"93 tokens/s"``. With an empty label, see
                :func:`say`, it is all there is.
        """


def silent(label: str, done: int, total: int, note: str = "") -> None:
    """A :class:`Progress` that says nothing."""


def say(progress: Progress, text: str) -> None:
    """Tell something that is no progress, in lines of its own; the screen shows equal texts once."""
    progress("", 0, 0, text)


def busy(progress: Progress, label: str) -> None:
    """Say what is being done now, for as long as nothing else is reported, e.g. loading a model."""
    progress(label, 0, 0)
