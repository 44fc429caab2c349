"""The process in which chat templates run: they are programs that came with a model.

It reads one job a line and writes one result a line, both JSON. Memory and time are limited by the
system, so that a template may try what it likes: the process ends, and its parent says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from typing import Any

PIPE = 1
"""Where results go: the parent reads what would be standard output."""
SECONDS = 10
"""Of one conversation; real templates take a few milliseconds."""
SPARE_BYTES = 1 << 30
"""Memory that the process may take beyond what it has when it starts."""


def main() -> None:
    """Serve jobs until the input ends."""
    from transformers.utils.chat_template_utils import render_jinja_template

    render: Any = render_jinja_template
    _limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says what the user's Ctrl-C means
    for line in sys.stdin:
        signal.alarm(2 * SECONDS)  # ends an orphan; the parent kills earlier
        result = _result(render, json.loads(line))
        signal.alarm(0)
        os.write(PIPE, json.dumps(result).encode("ascii") + b"\n")


def _result(render: Any, job: dict[str, Any]) -> dict[str, str]:
    try:
        texts, _ = render(
            conversations=[job["messages"]], chat_template=job["template"], **job["options"]
        )
    except MemoryError:
        return {"fault": "it takes more memory than a text can need"}
    except Exception as error:  # whatever a foreign program raises
        # Only the template's own raise_exception comes as the bare class.
        kind = "refused" if type(error).__name__ == "TemplateError" else "fault"
        return {
            kind: f"{type(error).__name__}: {error}"[:500] if kind == "fault" else str(error)[:500]
        }
    if len(texts[0]) > job["most"]:
        return {"fault": f"it writes {len(texts[0])} characters"}
    return {"text": texts[0]}


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # where the system knows no such limit
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + SPARE_BYTES, now + SPARE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
