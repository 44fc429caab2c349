"""Each variant is a run folder of its own, with the base run's answers, probes and layers in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linguamap.config import RunConfig, TuneConfig
from linguamap.records import UserError
from linguamap.run.files import read_json, write_json, write_text
from linguamap.run.folder import Run, open_run
from linguamap.run.record import note_written, remove_recorded, start_record
from linguamap.run.settings import difference, dump_config
from linguamap.sweep.variants import Variant, in_folder

BASE_STAGES = ("before", "probe", "locate", "choose")
OWN_STAGES = ("tune", "after", "compare")
SHARED = ("before", "probe", "located.json", "layers.json", "identifier.json", "model.json")
FAILURE = "failure.json"
COST_ONLY = ("tune.cache_gb", "tune.cache_on", "tune.tracker")
"""Settings that leave a variant's weights as they are."""


def prepare(base: Run, variant: Variant, tune: TuneConfig) -> Run:
    """The variant's run folder; made if it is missing or rests on an older base run.

    Raises:
        UserError: it was made with other settings.
    """
    folder = base.folder / "sweep" / variant.name
    config = base.config.model_copy(update={"tune": variant.config(tune)})
    if (folder / "config.yaml").exists():
        run = open_run(folder, None)
        changes = (
            _changes(run.config, config) if is_finished(run) else difference(run.config, config)
        )
        if changes:
            raise UserError(
                f"sweep: {folder} was made with other settings ({'; '.join(changes)}); "
                "take those again, or --fresh to start the sweep over"
            )
        if _same_base(base, run):
            return run
        remove_recorded(base.folder, f"sweep/{variant.name}/")
    return _make(base, folder, config)


def finished(base: Run, tune: TuneConfig, located: Mapping[str, Any]) -> dict[Variant, Run]:
    """Every finished variant of this base run and these settings, asked for now or by an earlier call.

    Args:
        tune: the settings that all variants share; a variant's own may differ in what is swept over.
        located: ``layers.json``.
    """
    found: dict[Variant, Run] = {}
    for path in sorted((base.folder / "sweep").glob("[!.]*/config.yaml")):
        run = open_run(path.parent, None)
        if not (is_finished(run) and _same_base(base, run)):
            continue
        variant = in_folder(run.folder.name, run.config.tune, tune, located)
        if variant is None:
            continue
        wanted = base.config.model_copy(update={"tune": variant.config(tune)})
        if not _changes(run.config, wanted):
            found[variant] = run
    return found


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


def _changes(stored: RunConfig, asked: RunConfig) -> list[str]:
    """Differing settings that matter for what a variant reaches."""
    changes = difference(stored, asked)
    return [change for change in changes if not change.startswith(COST_ONLY)]


def _same_base(base: Run, run: Run) -> bool:
    theirs, ours = run.stages(), base.stages()
    return all(
        stage in theirs and theirs[stage].outputs == ours[stage].outputs for stage in BASE_STAGES
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
    done = base.stages()
    Run(making, config).write_stages({stage: done[stage] for stage in BASE_STAGES})
    start_record(making)
    for path in making.rglob("*"):
        if path.is_file():
            note_written(path)
            note_written(folder / path.relative_to(making))
    os.replace(making, folder)
    return Run(folder, config)
