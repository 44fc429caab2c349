"""The command ``linguamap``: commands, progress, one-line errors. The only place that prints."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from linguamap import __version__
from linguamap.cli.answer_commands import compare, figures, identifiers, score
from linguamap.cli.explore_command import explore
from linguamap.cli.plan_command import plan
from linguamap.cli.progress_bars import Bars
from linguamap.cli.push_command import push
from linguamap.cli.sweep_command import sweep
from linguamap.config import RunConfig, load_config
from linguamap.generation.address import check_url
from linguamap.progress import silent
from linguamap.records import UserError
from linguamap.run.memory import trimming
from linguamap.run.processes import Processes, launched, left_alone, take_device

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="In which layers does a language model decide its output language? Tune only those.",
)
console = Console()
errors = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="The run folder.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as a.b=value; may be repeated.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="'starter', a hub name, a folder or a .gguf file."),
]
Revision = Annotated[str | None, typer.Option("--revision", help="Revision on the hub.")]
Languages = Annotated[str | None, typer.Option("--languages", help="Codes, e.g. en,fr,hi.")]
Benchmarks = Annotated[
    str | None,
    typer.Option(
        "--benchmarks", "--benchmark", help="sums,choice,passage, mgsm,mmlu,xquad,lcb or a .jsonl."
    ),
]
Data = Annotated[str | None, typer.Option("--data", help="Folder of benchmark files.")]
Items = Annotated[
    str | None, typer.Option("--items", help="Test items a cell, or all. Default: 8.")
]
Subjects = Annotated[
    str | None, typer.Option("--subjects", help="Subjects or categories of MMLU, with commas.")
]
Scenarios = Annotated[str | None, typer.Option("--scenarios", help="Some of the four scenarios.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random choice.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete the folder's run and start over.")]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", help="An OpenAI-compatible server's URL for answers.")
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="selective, first:2, middle:2, random:2, full, lora, or without training steer, few-shot.",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option("--layers", help="Blocks: last:2, first:2, middle:2, random:2, 17,18 or all."),
]
CacheGB = Annotated[
    float | None,
    typer.Option("--cache-gb", help="Budget for the frozen blocks' states; 0 keeps none."),
]

DEFAULT_OUT = Path("runs/starter")
GRACE_SECONDS = 5.0
PATH_FAULTS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip
"""What is wrong with a path that the user gave."""


def _open(
    out: Path,
    config: Path | None,
    settings: list[str] | None,
    fresh: bool = False,
    processes: Processes | None = None,
    **options: str | float | None,
) -> Any:
    """The pipeline of a run folder; without any setting an existing folder's own config holds.

    Of several processes the first one makes the folder, and the others open it after that.
    """
    from linguamap.pipeline import Pipeline
    from linguamap.prompts.run_prompts import check_names
    from linguamap.run.folder import open_run

    several = processes or _alone()
    if several.rank:
        several.wait()
        fresh = False
    overrides = [_override(key, value) for key, value in options.items() if value is not None]
    overrides += settings or []
    asked: RunConfig | None = None
    if config is not None or overrides or not (out / "config.yaml").exists():
        base = config
        if config is None and (out / "config.yaml").exists() and not fresh:
            base = out / "config.yaml"
        asked = load_config(base, overrides)
        for url in (asked.evaluate.endpoint, asked.tune.teacher):
            if url:
                check_url(url)
        check_names(asked)
    _quiet()
    if left_alone():
        errors.print(
            "note: accelerate started one process; on a machine without GPUs give it --multi_gpu, "
            "too, to get as many as were asked for",
            soft_wrap=True,
        )
    run = open_run(out, asked, fresh=fresh)
    if several.rank:
        return Pipeline(run, trimming(silent), several)
    several.wait()
    return Pipeline(run, trimming(Bars(errors)), several)


def _existing(out: Path) -> None:
    """Refuse a folder without a run, for commands that only go on with one."""
    from linguamap.run.folder import open_run

    open_run(out, None)


def _alone() -> Processes:
    """The only process; a second one would do the same work in the same folder."""
    found = launched()
    if found.count == 1:
        return found
    if found.rank:
        sys.exit(2)
    raise UserError(
        f"{found.count} processes were launched, but only evaluate, probe and tune divide their "
        "work; start the other commands without accelerate launch"
    )


KEYS = {
    "model": "model.name",
    "revision": "model.revision",
    "data": "data.folder",
    "benchmarks": "data.benchmarks",
    "items": "evaluate.items",
    "subjects": "data.subjects",
    "endpoint": "evaluate.endpoint",
    "method": "tune.method",
    "layers": "tune.layers",
    "train_data": "tune.data",
    "teacher": "tune.teacher",
    "teacher_model": "tune.teacher_model",
    "cache_gb": "tune.cache_gb",
}
LISTS = ("languages", "benchmarks", "subjects", "scenarios")


def _override(key: str, value: str | float) -> str:
    name = KEYS.get(key, key)
    if key in LISTS:
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        return f"{name}=[{', '.join(repr(part) for part in parts)}]"
    if key == "items":
        return f"{name}={'null' if value == 'all' else value}"
    return f"{name}={value!r}"


def _quiet() -> None:
    """Keep libraries' chatter off the screen; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")


@app.command()
def run(
    out: Out = DEFAULT_OUT,
    model: Model = None,
    revision: Revision = None,
    languages: Languages = None,
    benchmarks: Benchmarks = None,
    data: Data = None,
    items: Items = None,
    subjects: Subjects = None,
    scenarios: Scenarios = None,
    seed: Seed = None,
    endpoint: Endpoint = None,
    method: Method = None,
    layers: Layers = None,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
) -> None:
    """The whole job: evaluate, probe, locate, tune, evaluate again, report."""
    pipeline = _open(
        out, config, settings, fresh, model=model, revision=revision, languages=languages,
        benchmarks=benchmarks, data=data, items=items, subjects=subjects, scenarios=scenarios,
        seed=seed, endpoint=endpoint, method=method, layers=layers,
    )  # fmt: skip
    pipeline.all()
    _show(pipeline.run.folder)


@app.command()
def evaluate(
    out: Out = DEFAULT_OUT,
    model: Model = None,
    revision: Revision = None,
    languages: Languages = None,
    benchmarks: Benchmarks = None,
    data: Data = None,
    items: Items = None,
    subjects: Subjects = None,
    scenarios: Scenarios = None,
    seed: Seed = None,
    endpoint: Endpoint = None,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
) -> None:
    """How well does the model do the task, and how well does it keep to the language?

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the answers are divided.
    """
    processes = launched()
    if processes.count > 1:
        take_device()
    pipeline = _open(
        out, config, settings, fresh, processes, model=model, revision=revision,
        languages=languages, benchmarks=benchmarks, data=data, items=items, subjects=subjects,
        scenarios=scenarios, seed=seed, endpoint=endpoint,
    )  # fmt: skip
    pipeline.before()
    if processes.rank == 0:
        _show(pipeline.run.folder)


@app.command()
def probe(
    out: Out = DEFAULT_OUT,
    model: Model = None,
    revision: Revision = None,
    languages: Languages = None,
    benchmarks: Benchmarks = None,
    data: Data = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
) -> None:
    """Which language does each layer speak, and where do translations look alike?

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the texts are divided.
    """
    processes = launched()
    if processes.count > 1:
        take_device()
    pipeline = _open(
        out, config, settings, fresh, processes, model=model, revision=revision,
        languages=languages, benchmarks=benchmarks, data=data, seed=seed,
    )  # fmt: skip
    pipeline.probe()
    if processes.rank == 0:
        console.print(f"Curves in {out / 'probe'}. Next: linguamap locate --out {out}")


@app.command()
def locate(out: Out = DEFAULT_OUT, settings: Set = None) -> None:
    """Find the boundary of the late phase and the blocks to tune."""
    from linguamap.report.terminal import show_layers

    _existing(out)
    pipeline = _open(out, None, settings)
    pipeline.probe()
    pipeline.locate()
    for part in show_layers(pipeline.run.folder):
        console.print(part)


@app.command()
def tune(
    out: Out = DEFAULT_OUT,
    model: Model = None,
    revision: Revision = None,
    languages: Languages = None,
    benchmarks: Benchmarks = None,
    data: Data = None,
    seed: Seed = None,
    method: Method = None,
    layers: Layers = None,
    train_data: Annotated[
        str | None,
        typer.Option("--train-data", help="gsm_symbolic, its folder, or a .jsonl; else the run's."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="OpenAI-compatible server that writes the reasoning."),
    ] = None,
    teacher_model: Annotated[
        str | None, typer.Option("--teacher-model", help="Its model, where it offers several.")
    ] = None,
    cache_gb: CacheGB = None,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
) -> None:
    """Train the located blocks only; writes a delta. Or one of its rivals, with --method.

    Under accelerate launch the training is divided, and so are the probes, if they are missing.
    """
    processes = launched()
    if processes.count > 1:
        take_device()
    pipeline = _open(
        out, config, settings, fresh, processes, model=model, revision=revision,
        languages=languages, benchmarks=benchmarks, data=data, seed=seed, method=method,
        layers=layers, train_data=train_data, teacher=teacher, teacher_model=teacher_model,
        cache_gb=cache_gb,
    )  # fmt: skip
    pipeline.probe()
    if processes.rank == 0:
        pipeline.locate()
    processes.wait()
    pipeline.tune()
    if processes.rank == 0:
        console.print(f"Delta in {out / 'tuned'}. Next: linguamap after --out {out}")


@app.command()
def after(out: Out = DEFAULT_OUT, settings: Set = None) -> None:
    """Evaluate and probe the tuned model on the same items, and compare."""
    _existing(out)
    pipeline = _open(out, None, settings)
    pipeline.all()
    _show(pipeline.run.folder)


@app.command()
def report(out: Out = DEFAULT_OUT) -> None:
    """Draw report.html and the figures again from the run folder; needs no model."""
    _existing(out)
    pipeline = _open(out, None, None)
    pipeline.run.forget("report")
    pipeline.report()
    console.print(f"Report: {pipeline.run.folder / 'report.html'}")


@app.command()
def merge(
    out: Out = DEFAULT_OUT,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the merged model.")] = None,
) -> None:
    """Write the tuned model as a folder that plain Transformers loads."""
    from linguamap.run.folder import open_run

    opened = open_run(out, None)
    _quiet()
    from linguamap.tuning import merge as merge_delta

    folder = merge_delta(
        opened.config.model, opened.folder / "tuned" / "delta.safetensors", to or out / "merged"
    )
    console.print(f"Merged model: {folder}")


@app.command()
def doctor(model: Annotated[str, typer.Argument(help="As --model.")], settings: Set = None) -> None:
    """Check that the probes mean what they say on this model."""
    _quiet()
    from linguamap.models.language_model import check_model, load_model

    checked = load_config(None, [f"model.name={model!r}", *(settings or [])])
    lm = load_model(checked.model, verify=False)
    console.print(f"{model}: {lm.n_layers} blocks at {lm.structure.block_path}")
    checks = check_model(lm)
    for check in checks:
        console.print(f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}")
    if not all(check.passed for check in checks):
        raise UserError(f"doctor: {model} fails the checks above; its curves would mislead")


for _command in (score, identifiers, compare, figures, explore, sweep, push, plan):
    app.command()(_command)


def _show(folder: Path) -> None:
    from linguamap.report.terminal import terminal_summary

    for part in terminal_summary(folder):
        console.print(part)
    page = folder / "report.html"
    if page.exists():
        console.print(f"Report: {page}")


def _version(value: bool) -> None:
    if value:
        console.print(f"linguamap {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """In which layers does a language model decide its output language? Tune only those."""


def main() -> None:
    """Entry point: bad input is one line and status 2, a stop is status 130, a bug a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except UserError as error:
        _fail(str(error), 2)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(f"the disk is full; free some space and start {_same_command()} again", 2)
        if error.errno not in PATH_FAULTS or not error.filename:
            raise
        what = str(error.strerror).lower()
        _fail(f"{error.filename}: {what}; check the path and its rights, or name another", 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
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


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, a GPU (``torch.OutOfMemoryError``) or PyTorch's CPU allocator ran out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


class Stopped(BaseException):
    """The user or the system asked the process to end."""


def _stop(number: int, frame: object) -> None:
    raise Stopped


def _fail(message: str, status: int) -> None:
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
