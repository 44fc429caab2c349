"""The commands around a finished model: merge and push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linguamap.cli.open_run_folder import console, quiet, screen
from linguamap.cli.options import DEFAULT_OUT, Out
from linguamap.cli.progress_bars import Bars
from linguamap.progress import busy
from linguamap.records import UserError

app = typer.Typer(add_completion=False)


@app.command()
def merge(
    out: Out = DEFAULT_OUT,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the merged model.")] = None,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Of lora: a PEFT adapter in place of the model.")
    ] = False,
) -> None:
    """Write the tuned model as a folder that Transformers loads.

    And vLLM, and llama.cpp's converter to GGUF; chat template, tokenizer and generation config are kept.
    """
    from linguamap.run.folder import open_run

    opened = open_run(out, None)
    quiet()
    with Bars(screen) as bars:
        from linguamap.models.loading import load_model
        from linguamap.tuning.serve import merge as write_merged
        from linguamap.tuning.serve import write_adapter

        busy(bars, f"loading {Path(opened.config.model.name).name}")
        delta = opened.folder / "tuned" / "delta.safetensors"
        write, name = (write_adapter, "adapter") if adapter else (write_merged, "merged")
        folder = write(lambda: load_model(opened.config.model), delta, to or out / name)
    console.print(f"{'PEFT adapter' if adapter else 'Merged model'}: {folder}", soft_wrap=True)
    if not adapter:
        console.print(f"Serve: vllm serve {folder}. As GGUF: llama.cpp's convert_hf_to_gguf.py {folder}",
                      style="dim", soft_wrap=True, highlight=False)  # fmt: skip


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
