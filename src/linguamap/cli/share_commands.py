"""The commands around a finished model: merge, push, and plan for one that is not begun."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from linguamap.cli.open_run_folder import console, quiet
from linguamap.cli.options import DEFAULT_OUT, Json, Out
from linguamap.records import UserError

app = typer.Typer()


@app.command()
def merge(
    out: Out = DEFAULT_OUT,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the merged model.")] = None,
) -> None:
    """Write the tuned model as a folder that Transformers loads."""
    from linguamap.run.folder import open_run

    opened = open_run(out, None)
    quiet()
    from linguamap.models.loading import load_model
    from linguamap.tuning.delta import merge as merge_delta

    delta = opened.folder / "tuned" / "delta.safetensors"
    folder = merge_delta(lambda: load_model(opened.config.model), delta, to or out / "merged")
    console.print(f"Merged model: {folder}")


@app.command()
def push(
    out: Out = DEFAULT_OUT,
    to: Annotated[str, typer.Option("--to", help="user/name on the Hugging Face hub.")] = "",
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole tuned model instead of the delta.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="A private repository.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write RUN/push and upload nothing.")
    ] = False,
) -> None:
    """Publish the delta or the merged model with a card.

    The card shows the figures before and after tuning.
    """
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


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="A hub name, a model folder or a config.json.")],
    revision: Annotated[str | None, typer.Option("--revision", help="Revision on the hub.")] = None,
    blocks: Annotated[int, typer.Option(help="Trained blocks, the last ones.", min=1)] = 2,
    examples: Annotated[int, typer.Option(help="Examples, validation included.", min=1)] = 800,
    tokens: Annotated[int, typer.Option(help="Tokens of a text, on average.", min=1)] = 256,
    counted: Annotated[int, typer.Option(help="Of them, those trained on.", min=1)] = 64,
    epochs: Annotated[int, typer.Option(min=1)] = 2,
    pass_tokens: Annotated[int, typer.Option(help="As tune.batch_tokens.", min=1)] = 4096,
    texts: Annotated[int, typer.Option(help="Texts that the lens reads.", min=1)] = 216,
    prompts: Annotated[int, typer.Option(help="Prompts of an evaluation.", min=1)] = 576,
    new_tokens: Annotated[int, typer.Option(help="Longest answer.", min=1)] = 72,
    memory_gb: Annotated[float, typer.Option(help="A device's memory, 1e9 bytes.", min=0.1)] = 80.0,
    tflops: Annotated[float, typer.Option(help="1e12 operations/s reached.", min=0.001)] = 400.0,
    bandwidth: Annotated[float, typer.Option(help="Memory, 1e9 bytes/s.", min=0.1)] = 3350.0,
    as_json: Json = False,
) -> None:
    """What would a model of this size need? Nothing is loaded.

    It is counted from the model's config.
    """
    from rich.table import Table

    from linguamap.share import plan as planning

    work = planning.Work(
        blocks=blocks, examples=examples, tokens=tokens, counted=counted, epochs=epochs,
        pass_tokens=pass_tokens, texts=texts, prompts=prompts, new_tokens=new_tokens,
    )  # fmt: skip
    machine = planning.Machine(memory_gb * 1e9, tflops * 1e12, bandwidth * 1e9)
    size = planning.measure(planning.read_config(model, revision), model, tokens)
    rows = planning.plan(size, work, machine)
    if as_json:
        console.out(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        return
    table = Table("", "", "how", title=model)
    part = None
    for row in rows:
        if row.part != part:
            table.add_section()
            table.add_row(f"[bold]{row.part}[/bold]", "", "")
            part = row.part
        table.add_row(row.what, planning.shown(row), f"[dim]{row.formula}[/dim]")
    console.print(table)
