"""Contenders in processes of their own, so that none finds the other's caches, threads or memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def run_child(script: str, tool: str, dtype: str, asked: Path, *more: str) -> Row:
    """Run a script again for one tool, with its own arguments, and return what that run measured.

    Args:
        script: the script's ``__file__``; it is called with ``--child TOOL --dtypes DTYPE``, ``more``, and
            ``--files ASKED RESULT``.
        asked: JSON that the child reads; its result comes back beside it.
    """
    result = asked.with_name("result.json")
    command = [sys.executable, script, *sys.argv[1:], "--child", tool, "--dtypes", dtype, *more]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*command, "--files", str(asked), str(result)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tool} failed:\n{done.stderr[-4000:]}")
    measured: Row = json.loads(result.read_text(encoding="utf-8"))
    return measured


def write_result(result: Path, run: Row) -> None:
    """What the child measured, with what it ran on."""
    import torch

    run["threads"] = torch.get_num_threads()
    run["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result.write_text(json.dumps(run), encoding="utf-8")
