"""The command ``linguamap``: which commands there are, and how a fault is told.

A command's module is imported when the command is called, so that ``--help`` costs what Typer and Rich
cost and nothing else.
"""

from __future__ import annotations

import errno
import signal
import sys
import time
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from linguamap import __version__
from linguamap.records import UserError
from linguamap.run.memory import is_out_of_memory

errors = Console(stderr=True)

COMMANDS = {
    "run": ("stages", "The whole job: evaluate, probe, locate, tune, again, report."),
    "evaluate": ("stages", "How well does the model do the task and keep to the language?"),
    "probe": ("stages", "Which language does each layer speak?"),
    "locate": ("stages", "Find the boundary of the late phase and the blocks to tune."),
    "choose": ("stages", "Which blocks to tune? The rules side by side."),
    "tune": ("stages", "Train the located blocks only; writes a delta."),
    "after": ("stages", "Evaluate and probe the tuned model on the same items."),
    "report": ("stages", "Draw report.html and the figures again; needs no model."),
    "doctor": ("stages", "Check that the probes mean what they say on this model."),
    "check": ("check_command", "Does it answer your own prompts in the language asked for?"),
    "score": ("answer_commands", "Score stored answers again, of a run or of any program."),
    "identifiers": ("answer_commands", "How often is each language identifier right?"),
    "compare": ("answer_commands", "Runs on the same prompts, side by side, with paired tests."),
    "figures": ("answer_commands", "Draw each figure as SVG, PDF and PNG, its numbers as CSV."),
    "sweep": ("sweep_command", "Which method, blocks, epochs, learning rate and seed?"),
    "explore": ("explore_command", "A local page: type a prompt, see every layer's language."),
    "merge": ("share_commands", "Write the tuned model as a folder that Transformers loads."),
    "push": ("share_commands", "Publish the delta or the merged model with a card."),
}
"""Command -> the module of :mod:`linguamap.cli` that holds it, and its line in ``linguamap --help``."""

PATH_FAULTS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ENOTEMPTY,
)  # fmt: skip
"""What is wrong with a path that the user gave."""
DEVICE_FAULTS = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A disk, a quota or a file that is full."""
GRACE_SECONDS = 5.0


class LazyGroup(TyperGroup):
    """Lists the commands without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()
        }

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As Typer's, without the Markdown reader that it would load for this one page."""
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name, (_, line) in COMMANDS.items():
            table.add_row(f"  [bold cyan]{name}[/]", line)
        console = Console()
        console.print(f"\n[bold]Usage:[/] {ctx.command_path} COMMAND ...\n\n{self.help}\n")
        console.print(table)
        console.print(
            "\nCOMMAND --help explains one; --version; --install-completion completes names in the shell.\n"
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load_command(str(found.name)) if found is not None else None, rest


def load_command(name: str) -> Any:
    """A command with its arguments and options."""
    module = import_module(f"linguamap.cli.{COMMANDS[name][0]}")
    holder: Any = typer.main.get_command(module.app)
    return holder.commands[name] if hasattr(holder, "commands") else holder


ABOUT = (
    "Which language does a language model answer in, in which layers can it be read, and does "
    "training a few blocks change it?"
)

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=ABOUT,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"linguamap {__version__}")
        raise typer.Exit


@app.callback(help=ABOUT)
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Its help is :data:`ABOUT`."""


def main() -> None:
    """Entry point: bad input is one line and status 2, a stop is status 130, a bug a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except UserError as error:
        _fail(str(error), 2)
    except OSError as error:
        if error.errno in NO_ROOM:
            _fail(
                f"{str(error.strerror).lower()}: the disk, a quota or the limit for a file (ulimit -f) "
                f"leaves no room; make some and start {_same_command()} again",
                2,
            )
        if error.errno in DEVICE_FAULTS:
            _fail(
                f"{str(error.strerror).lower()}: the disk failed at {error.filename or 'a file'}; "
                f"what was finished before is kept, {_same_command()} goes on from there",
                2,
            )
        if error.errno not in PATH_FAULTS or not error.filename:
            raise
        what = str(error.strerror).lower()
        _fail(f"{error.filename}: {what}; check the path and its rights, or name another", 2)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail(
            "out of memory; set a smaller evaluate.batch_size or tune.batch_size, or "
            "model.dtype=bfloat16, with --fresh or another --out",
            2,
        )
    except Stopped:
        _fail(f"stopped; {_same_command()} goes on from here", 130)


def _same_command() -> str:
    return "the same command" + (" without --fresh" if "--fresh" in sys.argv else "")


class Stopped(BaseException):
    """The user or the system asked the process to end."""


def _stop(number: int, frame: object) -> None:
    raise Stopped


def _fail(message: str, status: int) -> None:
    from linguamap.run.processes import launched

    line = "linguamap: " + " ".join(message.split())
    if launched().rank:
        _leave_it_to_the_first(status)
    errors.print(line, markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)


def _leave_it_to_the_first(status: int) -> None:
    """Further processes keep silent about what the first one says, too.

    If it fails for the same reason, the launcher stops this process meanwhile; else this goes on and
    the fault, which is this process's alone, is told.
    """
    try:
        if status != 130:
            time.sleep(GRACE_SECONDS)
            return
    except Stopped:
        pass
    sys.exit(status)
