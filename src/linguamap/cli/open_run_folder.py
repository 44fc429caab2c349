"""From what was typed to the pipeline of a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from linguamap.cli.options import overrides
from linguamap.cli.progress_bars import Bars
from linguamap.config import RunConfig, load_config
from linguamap.generation.address import check_url
from linguamap.progress import say, silent
from linguamap.records import UserError
from linguamap.run.folder import STAGES, open_run
from linguamap.run.memory import trimming
from linguamap.run.processes import ProcessGroup, launched, left_alone

if TYPE_CHECKING:
    from linguamap.pipeline import Pipeline

console = Console()
"""Results."""
screen = Console(stderr=True)
"""Progress and notes."""


@contextmanager
def open_pipeline(
    out: Path,
    config: Path | None,
    settings: list[str] | None,
    options: dict[str, str | None],
    processes: ProcessGroup,
    fresh: bool = False,
) -> Iterator[Pipeline]:
    """The pipeline of a run folder; without any setting an existing folder's own config holds.

    Of several processes the first one makes the folder, and the others open it after that. The screen
    shows that the program is at work until the context is left.
    """
    bars = Bars(screen)
    with nullcontext() if processes.rank else bars:
        yield _pipeline(out, config, settings, options, processes, fresh, bars)


def _pipeline(
    out: Path,
    config: Path | None,
    settings: list[str] | None,
    options: dict[str, str | None],
    processes: ProcessGroup,
    fresh: bool,
    bars: Bars,
) -> Pipeline:
    from linguamap.pipeline import Pipeline
    from linguamap.prompts.run_prompts import check_names
    from linguamap.tuning.methods import check_settings

    if processes.rank:
        processes.wait()
        fresh = False
    changes = [*overrides(options), *(settings or [])]
    asked: RunConfig | None = None
    if config is not None or changes or not (out / "config.yaml").exists():
        base = config
        if config is None and (out / "config.yaml").exists() and not fresh:
            base = out / "config.yaml"
        asked = load_config(base, changes)
        for url in (asked.evaluate.endpoint, asked.tune.teacher):
            if url:
                check_url(url)
        check_names(asked)
        if asked.model.name != "starter" and asked.evaluate.endpoint is None:
            from linguamap.models.loading import weights_source  # here, since it loads torch

            weights_source(asked.model)
        check_settings(asked.tune)
    quiet()
    if left_alone():
        screen.print(
            "note: accelerate started one process; on a machine without GPUs give it --multi_gpu, "
            "too, to get as many as were asked for",
            soft_wrap=True,
        )
    run = open_run(out, asked, fresh=fresh)
    if processes.rank:
        return Pipeline(run, trimming(silent), processes)
    processes.wait()
    return Pipeline(run, trimming(bars), processes)


def announce(pipeline: Pipeline) -> None:
    """Say what is about to be asked, and where it is written, before the model is loaded."""
    if pipeline.processes.rank:
        return
    config, prompts = pipeline.run.config, pipeline.items.test_prompts
    finished = [stage for stage in STAGES if pipeline.run.is_done(stage)]
    at = f"; finished already: {', '.join(finished)}" if finished else ""
    names = ", ".join(Path(name).name for name in config.data.benchmarks)
    say(
        pipeline.progress,
        f"{config.model.name}: {len(prompts)} prompts of {names} in {', '.join(config.languages)}, "
        f"{len(config.scenarios)} scenarios; writes to {pipeline.run.folder}{at}",
    )


def existing(out: Path) -> None:
    """Refuse a folder without a run, for commands that only go on with one."""

    open_run(out, None)


def alone() -> ProcessGroup:
    """The only process; a second one would do the same work in the same folder."""
    group = launched()
    if group.world_size == 1:
        return group
    if group.rank:
        sys.exit(2)
    raise UserError(
        f"{group.world_size} processes were launched, but only evaluate, probe and tune divide their "
        "work; start the other commands without accelerate launch"
    )


def quiet() -> None:
    """Keep libraries' chatter off the screen; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
