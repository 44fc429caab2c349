"""The command that publishes a tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from linguamap.records import UserError

console = Console()


def push(
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder.")] = Path(
        "runs/starter"
    ),
    to: Annotated[str, typer.Option("--to", help="user/name on the Hugging Face hub.")] = "",
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole tuned model instead of the delta.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="A private repository.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write RUN/push and upload nothing.")
    ] = False,
) -> None:
    """Publish the delta or the merged model with a card that shows before and after."""
    from linguamap.run.folder import open_run
    from linguamap.share.push import push as upload
    from linguamap.share.push import write_upload

    if not to:
        raise UserError("push: no name given; write --to user/name")
    run = open_run(out, None)
    if dry_run:
        folder = write_upload(run, to, merged=merged)
        console.print(f"Nothing was uploaded. What would be: {folder}")
        return
    address = upload(run, to, merged=merged, private=private)
    console.print(f"Published: {address}")
