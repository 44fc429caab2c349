"""The command ``sweep``: many ways of tuning one model, in one table."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from linguamap.cli.open_run_folder import alone, quiet, screen
from linguamap.cli.progress_bars import Bars
from linguamap.config import RunConfig, TuneConfig
from linguamap.pipeline import Pipeline
from linguamap.progress import Progress
from linguamap.records import UserError
from linguamap.run.folder import open_run
from linguamap.run.memory import trimming
from linguamap.run.record import remove_recorded
from linguamap.run.settings import load_config
from linguamap.sweep.run_variants import SweepRequest, run_sweep
from linguamap.sweep.table import terminal_table
from linguamap.sweep.variants import DEFAULT

app = typer.Typer(add_completion=False)


@app.command()
def sweep(
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder, made if missing.")],
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            help=r"\[language:]\[METHOD:]BLOCKS\[*DRAWS]\[@RATE], with commas: last:1..4, chosen, 17+18, "
            "full@2e-5, random:2*3, lora:all@1e-3, steer, few_shot; language:last:2 trains without "
            "tasks. Default: all of these kinds but the last.",
        ),
    ] = None,
    epochs: Annotated[str | None, typer.Option("--epochs", help="E.g. 1,2.")] = None,
    rates: Annotated[str | None, typer.Option("--learning-rates", help="E.g. 1e-4,2e-4.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Of tuning, e.g. 0,1,2.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="tune.b=value for all variants; other settings for a new run folder."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A YAML file, for a new run folder.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the sweep's earlier variants, not the run.")
    ] = False,
) -> None:
    """Which method, blocks, epochs, learning rate and seed?

    One table, one picture, one choice.
    """
    alone()
    quiet()
    tuning = [one for one in settings or [] if one.strip().startswith("tune.")]
    base = open_run(out, _base_config(out, config, settings or []), writes=True)
    request = SweepRequest(
        tune=_tuning(base.config, tuning),
        variants=variants or DEFAULT,
        epochs=_numbers("--epochs", epochs, int, 1),
        learning_rates=_numbers("--learning-rates", rates),
        seeds=_numbers("--seeds", seeds, int),
    )
    if fresh:
        remove_recorded(base.folder, "sweep/")
    with Bars(screen) as bars:
        results = run_sweep(base, request, trimming(bars), do_stages)
    table = Console(width=None if sys.stdout.isatty() else 240)
    for part in terminal_table(results):
        table.print(part)
    picture = " and sweep.svg" if (base.folder / "sweep" / "sweep.svg").exists() else ""
    table.print(f"Written: {base.folder / 'sweep'}/results.md, .json, .csv{picture}")
    reasons = {row["name"]: row["reason"] for row in results["rows"]}
    if all(reasons[name] for name in results["asked"]):
        raise UserError(f"sweep: no variant could be done ({reasons[results['asked'][0]]})")


def do_stages(
    folder: Path, stages: Sequence[str], shared_cache: Path | None, progress: Progress
) -> None:
    """Some stages of the run in a folder; a sweep calls it in processes of their own."""
    pipeline = Pipeline(open_run(folder, None), trimming(progress), shared_cache=shared_cache)
    for stage in stages:
        getattr(pipeline, stage)()


def _base_config(out: Path, config: Path | None, settings: list[str]) -> RunConfig | None:
    """A new folder takes all settings; an old one must agree with those that are not of tuning."""
    stored = out / "config.yaml"
    if not stored.exists():
        return load_config(config, settings)
    others = [one for one in settings if not one.strip().startswith("tune.")]
    if config is None and not others:
        return None
    return load_config(config or stored, others)


def _tuning(base: RunConfig, settings: list[str]) -> TuneConfig:
    """The base run's settings of tuning with those that the sweep changes."""
    asked = load_config(None, settings).tune.model_dump()
    named = {one.partition("=")[0].strip().removeprefix("tune.") for one in settings}
    for name in sorted(named & {"method", "layers"}):
        raise UserError(f"sweep: tune.{name} is what is swept over; use --variants")
    changes = {name: asked[name] for name in named}
    return TuneConfig.model_validate({**base.tune.model_dump(), **changes})


def _numbers(name: str, text: str | None, kind: type = float, least: float = 0) -> tuple[Any, ...]:
    """A list of numbers with commas, finite and above 0, or whole ones from ``least`` on."""
    found = []
    for part in filter(None, map(str.strip, (text or "").split(","))):
        try:
            value = kind(part)
        except ValueError:
            value = math.nan
        if not (least <= value < math.inf) or (kind is float and value == 0):
            allowed = "numbers above 0" if kind is float else f"whole numbers from {least}"
            raise UserError(f"sweep: {name} has '{part}'; give {allowed} with commas")
        found.append(value)
    return tuple(dict.fromkeys(found))
