"""The command ``linguamap explore``: a local page to try prompts on a model."""

from __future__ import annotations

import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from linguamap.cli.open_run_folder import console, screen
from linguamap.generation.address import is_loopback
from linguamap.records import UserError
from linguamap.run.folder import open_run

app = typer.Typer(add_completion=False)


@app.command()
def explore(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="'starter', a hub name, a folder or a .gguf file."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="A run folder: its model, items and, if tuned, its delta."),
    ] = None,
    languages: Annotated[
        str | None, typer.Option("--languages", help="Codes to tell apart, e.g. en,fr,hi.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others can then reach the page.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 takes any free one.")] = 7860,
) -> None:
    """A local page: type a prompt, see every layer's language."""
    check_gradio()
    if run is not None:
        open_run(run, None)
    port = free_port(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if not is_loopback(url):
        screen.print(
            f"linguamap: anyone who reaches {host} on the network can use this page", markup=False
        )
    with screen.status("Loading the model ..."):
        from linguamap.explore.explorer import open_explorer
        from linguamap.explore.explorer_page import build, serve

        explorer = open_explorer(model, run, languages)
        page = build(explorer)
    try:
        serve(page, explorer, host, port)
    except OSError as error:
        raise UserError(f"explore: cannot listen on {host} port {port} ({error})") from None
    console.print(f"Open {url} in a browser. Ctrl-C ends it.", highlight=False, soft_wrap=True)
    try:
        while True:
            time.sleep(1)
    except BaseException:  # how cli.py says that the user or the system ends it
        page.close(verbose=False)
        console.print("Stopped.")
        # A thread may be in the middle of a computation that Python cannot end in good order;
        # nothing is being written, so the process may go at once.
        os._exit(130)


def check_gradio() -> None:
    """Raise a :class:`UserError` that says what to install if Gradio is missing."""
    if find_spec("gradio") is None:
        raise UserError("explore: Gradio is not installed; run: pip install 'linguamap[explore]'")


def free_port(host: str, port: int) -> int:
    """The port, proved to be free; 0 takes any.

    Raises:
        UserError: the host is not this machine's, or the port is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"explore: --port {port} is no port; give 1 to 65535, or 0 for any")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            what = error.strerror or str(error)
            raise UserError(
                f"explore: cannot listen on {host} port {port} ({what}); "
                "use another --port, or --host 127.0.0.1"
            ) from None
        return int(probe.getsockname()[1])
