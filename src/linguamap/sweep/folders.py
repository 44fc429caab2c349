"""Each variant is a run folder of its own, with the base run's answers, probes and layers in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from linguamap.config import RunConfig, TuneConfig, difference, dump_config
from linguamap.records import UserError
from linguamap.store import Run, open_run, read_json, write_json, write_text
from linguamap.sweep.variants import Variant

BASE_STAGES = ("before", "probe", "locate")
OWN_STAGES = ("tune", "after", "compare")
SHARED = ("before", "probe", "layers.json", "identifier.json")
FAILURE = "failure.json"


def prepare(base: Run, variant: Variant, tune: TuneConfig) -> Run:
    """The variant's run folder; made if it is missing or rests on an older base run.

    Raises:
        UserError: it was made with other settings.
    """
    folder = base.folder / "sweep" / variant.name
    config = base.config.model_copy(update={"tune": variant.config(tune)})
    if (folder / "config.yaml").exists():
        run = open_run(folder, None)
        if changes := difference(run.config, config):
            raise UserError(
                f"sweep: {folder} was made with other settings ({'; '.join(changes)}); "
                "take those again, or --fresh to start the sweep over"
            )
        if _same_base(base, run):
            return run
        shutil.rmtree(folder)
    return _make(base, folder, config)


def is_finished(run: Run) -> bool:
    return all(run.is_done(stage) for stage in OWN_STAGES)


def note_failure(run: Run, reason: str | None) -> None:
    """Record why a variant has no result; None forgets it."""
    path = run.folder / FAILURE
    path.unlink(missing_ok=True)
    if reason is not None:
        write_json(path, {"reason": reason})


def failure(run: Run) -> str | None:
    """Why a variant has no result, if it failed."""
    path = run.folder / FAILURE
    return str(read_json(path)["reason"]) if path.exists() else None


def _same_base(base: Run, run: Run) -> bool:
    theirs, ours = run.stages(), base.stages()
    return all(
        theirs.get(stage, {}).get("finished") == ours[stage]["finished"] for stage in BASE_STAGES
    )


def _make(base: Run, folder: Path, config: RunConfig) -> Run:
    """A run in which the base's stages count as done; it appears whole."""
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for name in SHARED:
        source = base.folder / name
        if source.is_dir():
            shutil.copytree(source, making / name)
        elif source.exists():
            shutil.copy2(source, making / name)
    write_text(making / "config.yaml", dump_config(config))
    Run(making, config).adopt(base, BASE_STAGES)
    os.replace(making, folder)
    return Run(folder, config)
