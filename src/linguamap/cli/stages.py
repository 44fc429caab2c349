"""The commands of a run's stages: run, evaluate, probe, locate, tune, after, report, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linguamap.cli.open_run_folder import (
    alone,
    announce,
    console,
    existing,
    open_pipeline,
    quiet,
    screen,
)
from linguamap.cli.options import (
    ASKED,
    DEFAULT_OUT,
    ITEMS,
    MODEL,
    TUNING,
    ConfigFile,
    Fresh,
    Out,
    Set,
    takes,
)
from linguamap.config import load_config
from linguamap.records import UserError
from linguamap.run.processes import launched

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.models.trial_pass import Check

app = typer.Typer()
DOCTOR_LANGUAGES = ("en", "es", "ar", "hi", "ja")
"""Of the starter items, one a script."""


@app.command()
@takes(*MODEL, *ASKED, "method", "layers")
def run(
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
    **options: str | None,
) -> None:
    """The whole job: evaluate, probe, locate, tune, evaluate again, report."""
    with open_pipeline(out, config, settings, options, alone(), fresh) as pipeline:
        announce(pipeline)
        pipeline.all()
    _show(out)


@app.command()
@takes(*MODEL, *ASKED)
def evaluate(
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
    **options: str | None,
) -> None:
    """How well does the model do the task and keep to the language?

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the answers are divided.
    """
    processes = launched()
    with open_pipeline(out, config, settings, options, processes, fresh) as pipeline:
        announce(pipeline)
        pipeline.before()
    if processes.rank == 0:
        _show(out)


@app.command()
@takes(*MODEL, *ITEMS)
def probe(
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
    **options: str | None,
) -> None:
    """Which language does each layer speak, where do translations look alike?

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the texts are divided.
    """
    processes = launched()
    with open_pipeline(out, config, settings, options, processes, fresh) as pipeline:
        pipeline.probe()
    if processes.rank == 0:
        console.print(f"Curves in {out / 'probe'}. Next: linguamap locate --out {out}")


@app.command()
def locate(out: Out = DEFAULT_OUT, settings: Set = None) -> None:
    """Find the boundary of the late phase and the blocks to tune."""
    from linguamap.report.terminal import show_layers

    existing(out)
    with open_pipeline(out, None, settings, {}, alone()) as pipeline:
        pipeline.probe()
        pipeline.locate()
    for part in show_layers(out):
        console.print(part)


@app.command()
@takes(*MODEL, *ITEMS, *TUNING)
def tune(
    out: Out = DEFAULT_OUT,
    config: ConfigFile = None,
    settings: Set = None,
    fresh: Fresh = False,
    **options: str | None,
) -> None:
    """Train the located blocks only; writes a delta.

    Or one of its rivals, with --method. Under accelerate launch the training is divided, and so are
    the probes, if they are missing.
    """
    processes = launched()
    with open_pipeline(out, config, settings, options, processes, fresh) as pipeline:
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
    existing(out)
    with open_pipeline(out, None, settings, {}, alone()) as pipeline:
        pipeline.all()
    _show(out)


@app.command()
def report(out: Out = DEFAULT_OUT) -> None:
    """Draw report.html and the figures again; needs no model."""
    existing(out)
    with open_pipeline(out, None, None, {}, alone()) as pipeline:
        pipeline.run.forget("report")
        pipeline.report()
    console.print(f"Report: {out / 'report.html'}")


@app.command()
def doctor(model: Annotated[str, typer.Argument(help="As --model.")], settings: Set = None) -> None:
    """Check that the probes mean what they say on this model."""
    quiet()
    from linguamap.generation.cache_check import check_cache
    from linguamap.models.loading import load_model
    from linguamap.models.self_check import check_model

    checked = load_config(None, [f"model.name={model!r}", *(settings or [])])
    with screen.status("Loading the model ..."):
        lm = load_model(checked.model, verify=False)
    console.print(f"{model}: {lm.n_layers} blocks at {lm.structure.block_path}")
    checks = check_model(lm)
    for check in checks:
        console.print(f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}")
    prompt = _check_prompts(lm, checked)
    told = f"  {'ok  ' if prompt.passed else 'FAIL'} {prompt.name}: {prompt.detail}"
    console.print(told, markup=False, soft_wrap=True)
    cache = check_cache(lm)
    detail = f"cannot be used ({cache.detail}); answers are slow, and there is no handover"
    console.print(f"  ok   cache: {cache.detail if cache.passed else detail}")
    if not all(check.passed for check in [*checks, prompt]):
        raise UserError(f"doctor: {model} fails the checks above; its curves would mislead")


def _check_prompts(lm: LanguageModel, config: RunConfig) -> Check:
    """Whether the starter items' prompts reach the model whole."""
    from linguamap.benchmarks import STARTER, load_benchmark
    from linguamap.generation.encoding import encode
    from linguamap.models.trial_pass import Check
    from linguamap.prompts.scenarios import render_all

    benchmarks = [load_benchmark(name, DOCTOR_LANGUAGES, "test") for name in STARTER]
    prompts = render_all(benchmarks, DOCTOR_LANGUAGES, config.scenarios, 1, config.seed)
    try:
        encode(lm, prompts, config.model)
    except UserError as error:
        return Check("prompt", False, str(error))
    form = "the chat template" if lm.is_chat else "plain text"
    return Check("prompt", True, f"{len(prompts)} prompts reach the model whole, as {form}")


def _show(folder: Path) -> None:
    from linguamap.report.terminal import terminal_summary

    for part in terminal_summary(folder):
        console.print(part)
    page = folder / "report.html"
    if page.exists():
        console.print(f"Report: {page}")
