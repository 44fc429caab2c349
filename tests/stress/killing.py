"""A process that ends in the middle of its writing: at one of its writes, fsyncs, renames and removals.

A child process calls :func:`arm`; what it writes under one folder is counted from there on, and at the
step asked for it is killed as ``kill -9`` kills it, before the step, after it, or with half of it done.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
from pathlib import Path
from typing import Any


def arm(folder: Path, step: int) -> None:
    """Die at a step (the first is 1) below a folder."""
    Killer(folder, step).install()


class Killer:
    """Counts the steps of a process and ends it at one of them."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.left = os.path.abspath(folder), step
        self.after = step % 2 == 0
        """Whether the fatal step is still done."""

    def install(self) -> None:
        """Put the counting between the program and the system."""
        for name in ("replace", "rename", "unlink", "remove", "rmdir"):
            setattr(os, name, self.counted(getattr(os, name)))
        fsync = os.fsync
        os.fsync = lambda number: self.step(lambda: fsync(number))
        io.open = builtins.open = self.opening(builtins.open)  # type: ignore[assignment]

    def counted(self, call: Any) -> Any:
        def counting(path: Any, *more: Any, **options: Any) -> Any:
            if not self.is_inside(path):
                return call(path, *more, **options)
            return self.step(lambda: call(path, *more, **options))

        return counting

    def opening(self, call: Any) -> Any:
        def opening(path: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
            file = call(path, mode, *more, **options)
            written = set(mode) & set("wax+") and self.is_inside(path)
            return _Counted(file, self) if written else file

        return opening

    def is_inside(self, path: Any) -> bool:
        return not isinstance(path, int) and os.path.abspath(os.fspath(path)).startswith(
            self.folder
        )

    def step(self, call: Any) -> Any:
        """One step, or the end."""
        self.left -= 1
        if self.left:
            return call()
        if self.after:
            call()
        os.kill(os.getpid(), signal.SIGKILL)
        return None


class _Counted:
    """A file whose writes are steps; the fatal one leaves half of its bytes."""

    def __init__(self, file: Any, killer: Killer) -> None:
        self._file, self._killer = file, killer

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        if self._killer.left == 1:
            self._killer.after = True
            return self._killer.step(half)
        return self._killer.step(lambda: self._file.write(data))

    def __enter__(self) -> _Counted:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
