"""The commands of a run's stages: run, evaluate, probe, locate, tune, after, report, doctor."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from linguamap.charts.naming import percent_exact
from linguamap.cli.open_run_folder import OpenedRun, console, on_run, quiet, screen
from linguamap.cli.options import ASKED, ITEMS, MODEL, TUNING, Rules, Set
from linguamap.cli.progress_bars import Bars
from linguamap.languages import language_name
from linguamap.pipeline import Pipeline
from linguamap.progress import busy, say
from linguamap.records import UserError
from linguamap.run.folder import STAGES
from linguamap.run.settings import load_config
from linguamap.tuning.choosing.choose import rule_names

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.models.trial_pass import Check

app = typer.Typer(add_completion=False)
DOCTOR_LANGUAGES = ("en", "es", "ar", "hi", "ja")
"""Of the starter items, one a script."""

Shown = Iterable[RenderableType]


@app.command()
@on_run(*MODEL, *ASKED, *TUNING[:-1], asks_own=True)
def run(opened: OpenedRun) -> Shown:
    """The whole job: evaluate, probe, locate, tune, again, report.

    On benchmarks, or on a file of own prompts without right answers: half of them are asked before and
    after; on the other half the model's own answers in the language (or a teacher's) are trained on.
    """
    pipeline = _pipeline(opened)
    _announce(pipeline, whole=True)
    pipeline.all()
    return _summary(opened)


@app.command()
@on_run(*MODEL, *ASKED, divided=True)
def evaluate(opened: OpenedRun) -> Shown:
    """How well does the model do the task and keep to the language?

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the answers are divided.
    """
    pipeline = _pipeline(opened)
    _announce(pipeline)
    pipeline.before()
    return _summary(opened)


@app.command()
@on_run(*MODEL, *ITEMS, divided=True)
def probe(opened: OpenedRun) -> Shown:
    """Which language does each layer speak?

    And where translations look alike, and from where on the language is committed.

    Under accelerate launch (on a machine without GPU with --multi_gpu, too) the texts are divided.
    """
    _pipeline(opened).probe()
    out = opened.run.folder
    return [f"Curves in {out / 'probe'}. Next: linguamap locate --out {out}"]


@app.command()
@on_run(starts=False)
def locate(opened: OpenedRun) -> Shown:
    """Find the boundary of the late phase and the blocks to tune."""
    from linguamap.report.terminal import show_layers

    pipeline = _pipeline(opened)
    pipeline.probe()
    pipeline.locate()
    pipeline.choose()
    return show_layers(opened.run.folder)


@app.command()
@on_run("rule", "aim", starts=False, more=Rules)
def choose(opened: OpenedRun) -> Shown:
    """Which blocks to tune? The rules side by side.

    What each would choose under the cap is added to the run; only --rule and --for change its choice, as long as it is not tuned.
    """
    from linguamap.report.terminal import show_front, show_rules

    names = rule_names(opened.more)
    pipeline = _pipeline(opened)
    pipeline.probe()
    pipeline.locate()
    layers = pipeline.compare_rules(names)
    return [*show_rules(layers), *show_front(layers)]


@app.command()
@on_run(*MODEL, *ITEMS, *TUNING, divided=True)
def tune(opened: OpenedRun) -> Shown:
    """Train the located blocks only; writes a delta.

    Or one of its rivals, with --method. Under accelerate launch the training is divided, and so are
    the probes, if they are missing.
    """
    pipeline = _pipeline(opened)
    pipeline.probe()
    if opened.processes.rank == 0:
        pipeline.locate()
        pipeline.choose()
    opened.processes.wait()
    pipeline.tune()
    out = opened.run.folder
    return [f"Delta in {out / 'tuned'}. Next: linguamap after --out {out}"]


@app.command()
@on_run(starts=False)
def after(opened: OpenedRun) -> Shown:
    """Evaluate and probe the tuned model on the same items.

    And compare them with the answers before.
    """
    _pipeline(opened).all()
    return _summary(opened)


@app.command()
@on_run(starts=False)
def report(opened: OpenedRun) -> Shown:
    """Draw report.html and the figures again; needs no model."""
    from linguamap.run.read_run import read_run

    folder = opened.run.folder
    opened.run.forget("report")
    _pipeline(opened).report()
    faults = [Text(fault, style="yellow") for fault in read_run(folder).faults]
    return [*faults, f"Report: {folder / 'report.html'}"]


@app.command()
def doctor(model: Annotated[str, typer.Argument(help="As --model.")], settings: Set = None) -> None:
    """Check that the probes mean what they say on this model."""
    quiet()
    checked = load_config(None, [f"model.name={model!r}", *(settings or [])])
    with Bars(screen) as bars:
        from linguamap.generation.cache_check import check_cache
        from linguamap.models.loading import load_model
        from linguamap.models.self_check import check_model

        busy(bars, f"loading {Path(model).name}")
        lm = load_model(checked.model, verify=False)
        busy(bars, "checking it")
        checks = [*check_model(lm), _check_prompts(lm, checked)]
        cache = check_cache(lm)
    console.print(f"{model}: {lm.n_layers} blocks at {lm.structure.block_path}")
    for check in checks:
        told = f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}"
        console.print(told, markup=False, soft_wrap=True)
    detail = f"cannot be used ({cache.detail}); answers are slow, and there is no handover"
    console.print(f"  ok   cache: {cache.detail if cache.passed else detail}")
    if not all(check.passed for check in checks):
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


def _pipeline(opened: OpenedRun) -> Pipeline:
    return Pipeline(opened.run, opened.progress, opened.processes)


def _announce(pipeline: Pipeline, *, whole: bool = False) -> None:
    """Say what is about to be done, on what, for about how long and where to, before a model is loaded."""
    if pipeline.processes.rank:
        return
    config, prompts = pipeline.run.config, pipeline.items.test_prompts
    benchmarks = ", ".join(Path(name).name for name in config.data.benchmarks)
    asks = f"{benchmarks}; {', '.join(config.languages)}; {len(config.scenarios)} scenarios"
    if own := config.data.prompts:
        languages = dict.fromkeys(language_name(prompt.language) for prompt in prompts)
        asks = f"{Path(own).name}; answers wanted in {', '.join(languages)}"
    lines = {"model": config.model.name, "asks": f"{len(prompts)} prompts: {asks}"}
    if whole:
        method, share = config.tune.method, percent_exact(config.locate.max_trainable_share)
        how = (
            f"trains up to {share} of the weights" if method == "selective" else f"tunes: {method}"
        )
        if own:
            lines["texts"] = _texts(config, len(pipeline.items.train_prompts))
        lines["then"] = f"reads every layer, {how}, asks again, reports"
        if time := _time(config.model.name, len(prompts)):
            lines["takes"] = f"about {time} here, guessed from the model's size"
    lines["writes"] = f"{pipeline.run.folder}; stopped, the same command goes on"
    if finished := [stage for stage in STAGES if pipeline.run.is_done(stage)]:
        lines["done"] = ", ".join(finished)
    say(pipeline.progress, "\n".join(f"{name:<7} {text}" for name, text in lines.items()))


def _texts(config: RunConfig, n: int) -> str:
    """What a run on own prompts trains on."""
    if config.tune.data:
        return f"{Path(config.tune.data).name}; the other {n} prompts are probed"
    who = f"the teacher at {config.tune.teacher}" if config.tune.teacher else "the model itself"
    return f"answers of {who} to the other {n}, those in the language"


USUAL = {"minutes": 17, "prompts": 520, "bytes": 536_000_000, "cores": 2}
"""What the whole run of the starter model takes, as the start page says, and on what."""


def _time(name: str, n_prompts: int) -> str | None:
    """A guess of the whole run's time; None for a model that is not here yet, and on a GPU."""
    files = list(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    size = USUAL["bytes"] if name == "starter" else sum(path.stat().st_size for path in files)
    if not size or Path("/dev/nvidia0").exists():
        return None
    cores = (os.cpu_count() or 1) / USUAL["cores"]
    work = n_prompts / USUAL["prompts"] * size / USUAL["bytes"]
    minutes = USUAL["minutes"] * work / cores
    if minutes < 90:
        return f"{max(round(minutes), 1)} min"
    return f"{round(minutes / 60)} hours"


def _summary(opened: OpenedRun) -> Shown:
    """The run on one screen; not made where another process prints it."""
    from linguamap.report.terminal import terminal_summary

    if opened.processes.rank:
        return []
    page = opened.run.folder / "report.html"
    return [*terminal_summary(opened.run.folder), *([f"Report: {page}"] if page.exists() else [])]
