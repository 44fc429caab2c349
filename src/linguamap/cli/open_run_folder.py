"""From what was typed to the opened folder of a run, for the commands that are stages of one."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from linguamap.cli.options import (
    DEFAULT_OUT,
    ConfigFile,
    Fresh,
    Out,
    OwnOut,
    Prompts,
    Set,
    option,
    overrides,
)
from linguamap.cli.progress_bars import Bars
from linguamap.config import RunConfig
from linguamap.progress import Progress, silent
from linguamap.prompts.own_prompts import read_prompts
from linguamap.records import UserError
from linguamap.run.folder import Run, open_run
from linguamap.run.memory import trimming
from linguamap.run.processes import ProcessGroup, launched, left_alone
from linguamap.run.settings import load_config

console = Console()
"""Results."""
screen = Console(stderr=True)
"""Progress and notes."""


@dataclass(frozen=True)
class OpenedRun:
    """A run folder, and how to work in it; what a pipeline is made of."""

    run: Run
    progress: Progress
    processes: ProcessGroup
    more: str | None = None
    """What the command's own option says, where it has one."""


Stage = Callable[[OpenedRun], Iterable[RenderableType]]


def on_run(
    *names: str,
    divided: bool = False,
    starts: bool = True,
    asks_own: bool = False,
    more: Any = None,
) -> Callable[[Stage], Any]:
    """Make a command of what is done in a run folder; what it returns is printed by the first process.

    Args:
        names: options, keys of :data:`linguamap.cli.options.SETTINGS`.
        divided: whether several processes share the work.
        starts: whether the command may begin a run; else it only goes on with one.
        asks_own: whether a file of own prompts may be given.
        more: the type of an option of the command's own that is no setting.
    """
    common: dict[str, tuple[Any, Any]] = {"out": (Out, DEFAULT_OUT)}
    if asks_own:
        language = option("language")
        common = {"prompts": (Prompts, None), "out": (OwnOut, None), "language": (language, None)}
    common |= {name: (option(name), None) for name in names}
    common |= {"more": (more, None)} if more else {}
    common |= {"config": (ConfigFile, None)} if starts else {}
    common |= {"settings": (Set, None)}
    common |= {"fresh": (Fresh, False)} if starts else {}

    def wrap(stage: Stage) -> Callable[..., None]:
        @functools.wraps(stage)
        def command(**typed: Any) -> None:
            processes = launched() if divided else alone()
            own = typed.pop("more", None)
            out = _own_prompts(typed) if asks_own else typed.pop("out")
            if not starts:
                open_run(out, None)
            bars = Bars(screen)
            if processes.rank:
                processes.wait()  # the first one makes the folder
                stage(OpenedRun(open_run(out, None), trimming(silent), processes))
                return
            with bars:
                run = _opened(out, **typed)
                processes.wait()
                shown = stage(OpenedRun(run, trimming(bars), processes, own))
            for part in shown:
                console.print(part, highlight=False)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter(name, kind, default=default, annotation=annotation)
            for name, (annotation, default) in common.items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return wrap


def _own_prompts(typed: dict[str, Any]) -> Path:
    """The run folder; a file of own prompts also says which languages are asked for."""
    path: Path | None = typed["prompts"]
    out: Path | None = typed.pop("out")
    if path is None:
        if typed["language"] is not None:
            raise UserError("run: --language goes with a file of prompts; else give --languages")
        return out or DEFAULT_OUT
    if path.is_dir():
        raise UserError(f"run: {path} is a folder; a run folder is named with --out {path}")
    if typed["benchmarks"] is not None:
        raise UserError(f"run: asks {path} or --benchmarks, not both; leave one of them out")
    codes = [prompt.language for prompt in read_prompts(path, typed["language"])]
    typed["prompts"] = str(path)
    typed["languages"] = typed["languages"] or ",".join(dict.fromkeys(["en", *codes]))
    typed["scenarios"] = typed["scenarios"] or "monolingual"
    typed["items"] = typed["items"] or "all"
    return out or Path("runs") / path.stem


def _opened(
    out: Path, settings: list[str] | None, config: Path | None = None, fresh: bool = False,
    **options: str | None,
) -> Run:  # fmt: skip
    """The folder of a run; without any setting an existing folder's own config holds."""
    changes = [*overrides(options), *(settings or [])]
    stored = out / "config.yaml"
    asked: RunConfig | None = None
    if config is not None or changes or fresh or not stored.exists():
        asked = load_config(stored if config is None and stored.exists() else config, changes)
        check_asked(asked)
    quiet()
    if fresh and asked is not None and stored.exists():
        check_all(asked)
    if left_alone():
        screen.print(
            "note: accelerate started one process; on a machine without GPUs give it --multi_gpu, "
            "too, to get as many as were asked for",
            soft_wrap=True,
        )
    return open_run(out, asked, fresh=fresh, writes=True)


def check_asked(asked: RunConfig) -> None:
    """Refuse what can be seen to be wrong before a folder is made and a model loaded."""
    from linguamap.generation.address import check_url
    from linguamap.prompts.run_prompts import check_names
    from linguamap.tuning.methods import check_settings

    for url in filter(None, (asked.evaluate.endpoint, asked.tune.teacher)):
        check_url(url)
    check_names(asked)
    if asked.model.name != "starter" and asked.evaluate.endpoint is None:
        from linguamap.models.loading import weights_source  # here, since it loads torch

        weights_source(asked.model)
    check_settings(asked.tune)


def check_all(asked: RunConfig) -> None:
    """Refuse what only the data and the loaded model show, before an earlier run is removed for it."""
    from linguamap.models.loading import load_model
    from linguamap.prompts.run_prompts import RunItems
    from linguamap.tuning.blocks import parse_layers

    RunItems(asked).test_prompts  # noqa: B018  they are read here
    if asked.evaluate.endpoint is None:
        n_blocks = load_model(asked.model).n_layers
        if asked.tune.layers:
            parse_layers(asked.tune.layers, n_blocks)


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
