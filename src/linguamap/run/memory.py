"""Memory: how much was used at most, whether it ran out, and freed blocks that go back to the system.

The C library keeps freed blocks in its heap, and tensors of ever new sizes leave holes there: training
the starter model grew to 6 GB of which a fraction was in use. Handing the holes back now and then
costs a few percent of the time; having the library map every large block by itself cost a third.
"""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from collections.abc import Callable

from linguamap.progress import Progress

EVERY_SECONDS = 5.0


def _find_trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of the GNU C library, where there is one."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return found


def trimming(progress: Progress) -> Progress:
    """The same progress, which also hands freed memory back at most every few seconds."""
    trim = _find_trim()
    last = time.monotonic()

    def report(label: str, done: int, total: int, note: str = "") -> None:
        nonlocal last
        progress(label, done, total, note)
        if trim is not None and time.monotonic() - last > EVERY_SECONDS:
            trim(0)
            last = time.monotonic()

    return report


def peak_memory_bytes() -> int:
    """The process's largest resident size so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, a GPU (``torch.OutOfMemoryError``) or PyTorch's CPU allocator ran out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    text = str(error)
    return named or "can't allocate memory" in text or "not enough memory" in text
