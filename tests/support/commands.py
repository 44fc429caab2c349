"""The command line in a process of its own, forked from one that has the libraries loaded.

A command as a user starts it (``python -m linguamap``) spends seconds on imports; hundreds of tests
would spend them again. Each call here is still a process of its own, with its own environment, folder,
streams and end; what Python itself does at its start (``-m``, the entry point) is tested by the calls
that stay with ``subprocess``.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

SUPPORT = str(Path(__file__).parent)


def call(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """``linguamap ARGUMENTS`` to its end, or killed after so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "stdout"), Path(folder, "stderr")
        process = start(*arguments, env=env, cwd=cwd, stdout=said[0], stderr=said[1])
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([str(a) for a in arguments], timeout)
        texts = [path.read_text(encoding="utf-8") for path in said]
        return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def start(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Path = Path(os.devnull),
    stderr: Path = Path(os.devnull),
) -> BaseProcess:
    """``linguamap ARGUMENTS``, begun. Its ``pid`` takes signals; ``exitcode`` is None while it runs."""
    process = _server().Process(
        target=_command,
        args=([str(a) for a in arguments], dict(env or os.environ), str(cwd or Path.cwd()),
              str(stdout), str(stderr)),
    )  # fmt: skip
    process.start()
    return process


def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loaded_libraries"])
    # The server is started with the first command; it finds modules by the environment alone.
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if SUPPORT not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([SUPPORT, *filter(None, paths)])
    return context


def _command(
    arguments: list[str], env: dict[str, str], folder: str, stdout: str, stderr: str
) -> None:
    for path, number in ((stdout, 1), (stderr, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", line_buffering=True)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["linguamap", *arguments]
    from linguamap.cli import main

    main()
