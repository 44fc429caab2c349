"""A run's stages in a process of their own: its peak memory is theirs, and a crash is not the sweep's."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from linguamap.progress import Progress
from linguamap.records import UserError
from linguamap.run.folder import open_run

GRACE_SECONDS = 60.0
"""For a child that was asked to end: a training saves a checkpoint first."""


def run_stages(
    folder: Path, stages: Sequence[str], shared_cache: Path | None, progress: Progress
) -> None:
    """Do some stages of a run in a new process, which ends with this one, however this one ends.

    Raises:
        UserError: a stage cannot be done, or its process died; with the reason.
        OSError: the disk is full.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(folder, tuple(stages), shared_cache, send))
    child.start()
    send.close()
    try:
        outcome = _follow(receive, progress)
        child.join()
    finally:
        if child.is_alive():
            child.terminate()
            child.join(GRACE_SECONDS)
        if child.is_alive():
            child.kill()
            child.join()
    if outcome is None:
        raise UserError(_end(child.exitcode or 0))
    if outcome == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if outcome:
        raise UserError(outcome)


def _follow(receive: Connection, progress: Progress) -> str | None:
    """Pass progress on until the child says how it ended ("" is well) or is gone (None)."""
    while True:
        try:
            message: Any = receive.recv()
        except (EOFError, ConnectionResetError):
            return None
        if isinstance(message, str):
            return message
        progress(*message)


def _end(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, probably for want of memory"
    if status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _work(folder: Path, stages: Sequence[str], shared_cache: Path | None, send: Connection) -> None:
    """What the child does."""
    from linguamap.pipeline import Pipeline
    from linguamap.run.memory import trimming

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(label: str, done: int, total: int, note: str = "") -> None:
        send.send((label, done, total, note))

    with _told(send):
        pipeline = Pipeline(open_run(folder, None), trimming(report), shared_cache=shared_cache)
        for stage in stages:
            getattr(pipeline, stage)()


@contextlib.contextmanager
def _told(send: Connection) -> Iterator[None]:
    """Tell the parent how the block ended."""
    outcome = ""
    try:
        yield
    except UserError as error:
        outcome = str(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            outcome = "full"
        else:
            traceback.print_exc()  # a bug, or memory that ran out: to be seen, but not to stop a sweep
            outcome = f"{type(error).__name__}: " + (str(error).strip().splitlines() or [""])[0]
    send.send(outcome)


def _end_with_parent() -> None:
    """A killed sweep must leave no process that goes on writing into its folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
