"""Being asked to stop in the middle of an optimiser step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def catch_sigterm() -> Iterator[threading.Event]:
    """Note SIGTERM instead of dying of it, and deliver it when the block ends."""
    seen = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.set())
    try:
        yield seen
    finally:
        signal.signal(signal.SIGTERM, before)
        if seen.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
