"""Contenders in processes of their own, so that none finds the other's caches, threads or memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def contend(
    script: str,
    tool: str,
    asked: Row,
    *,
    python: str = sys.executable,
    seconds: float | None = None,
) -> Row:
    """Run a script again for one tool.

    Args:
        script: its ``__file__``, whose main program calls :func:`is_contender` first.
        asked: all that the contender is told.
        python: the interpreter, where the tool wants other packages than linguamap.
        seconds: after which it is ended.
    Returns:
        What it measured; ``{"failed": reason}`` where it ended early.
    """
    print(f"  {tool} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "asked.json", Path(folder) / "result.json"
        files[0].write_text(json.dumps(asked), encoding="utf-8")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [python, script, "--child", tool, *map(str, files)]
        with (Path(folder) / "said").open("w+") as said:
            child = subprocess.Popen(
                command, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            try:
                status = child.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                return {"failed": f"ended after {seconds:.0f} s"}
            finally:  # with all that it started
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            said.seek(0)
            lines = said.read().strip().splitlines()
        if status or not files[1].exists():
            reason = (lines or ["no message"])[-1]
            return {"failed": f"exit {status}: {reason[:300]}"}
        measured: Row = json.loads(files[1].read_text(encoding="utf-8"))
    return measured


def is_contender(tools: Mapping[str, Callable[[Row], Row]]) -> bool:
    """Whether this process was started by :func:`contend`; then it has done its work."""
    if sys.argv[1:2] != ["--child"]:
        return False
    tool, asked, result = sys.argv[2:]
    measured = tools[tool](json.loads(Path(asked).read_text(encoding="utf-8")))
    Path(result).write_text(json.dumps(measured), encoding="utf-8")
    return True


def write_entries(path: str | None, entries: list[Row]) -> None:
    """Hand a bench's entries to who asked for them, or print them."""
    text = json.dumps(entries, indent=1)
    print(text) if path is None else Path(path).write_text(text, encoding="utf-8")
