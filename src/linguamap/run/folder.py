"""The run folder: config, stages, atomic files, and going on where a run stopped.

Every file appears under its name only when it is complete, except ``answers.jsonl``, which grows by
whole lines; a line torn by a kill is dropped on reading.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from linguamap.config import (
    RunConfig,
    ScoreConfig,
    difference,
    dump_config,
    load_config,
)
from linguamap.records import UserError
from linguamap.run.files import read_json, write_json, write_text
from linguamap.run.memory import peak_memory_bytes

STAGES = ("before", "probe", "locate", "tune", "after", "probe_after", "compare", "report")
SUMMING_UP = ("compare", "report")
"""Stages that are made from judged answers and need no model."""
OWN = (
    "before", "after", "probe", "probe_after", "tuned", "figures", "sweep", "config.yaml", "stages.json",
    "manifest.json", "model.json", "identifier.json", "layers.json", "comparison.json", "change.json",
    "report.html",
)  # fmt: skip
"""What a run folder holds of a run, and all that ``fresh`` deletes."""


ENTRY = {"inputs", "outputs", "finished"}
"""What :meth:`Run.stages` holds of each stage at least."""


class Run:
    """One run folder. Create it with :func:`open_run`."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder
        self.config = config

    def path(self, *parts: str) -> Path:
        """A path inside the run folder; its parent exists."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def stages(self) -> dict[str, dict[str, Any]]:
        """What ``stages.json`` says: stage -> inputs, outputs, seconds, peak memory."""
        path = self.folder / "stages.json"
        found = read_json(path) if path.exists() else {}
        sound = isinstance(found, dict) and found.keys() <= set(STAGES)
        if not sound or not all(isinstance(o, dict) and o.keys() >= ENTRY for o in found.values()):
            raise UserError(f"run folder: {path} is broken; delete it and run the stages again")
        return found  # type: ignore[no-any-return]

    def is_done(self, stage: str) -> bool:
        """Whether a stage's results are there, made from the inputs that are there now."""
        entry = self.stages().get(stage)
        return (
            entry is not None
            and entry["inputs"] == self._inputs(stage)
            and all((self.folder / name).exists() for name in entry["outputs"])
        )

    def run_stage(self, stage: str, outputs: Iterable[str], work: Callable[[], None]) -> bool:
        """Do ``work`` unless the stage is done; note its time and memory.

        Returns:
            True if the work was done now, False if its results were there already.
        """
        if self.is_done(stage):
            return False
        inputs = self._inputs(stage)
        started = time.monotonic()
        work()
        entry = {
            "inputs": inputs,
            "outputs": list(outputs),
            "seconds": round(time.monotonic() - started, 2),
            "peak_memory_bytes": peak_memory_bytes(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_json(self.folder / "stages.json", {**self.stages(), stage: entry})
        return True

    def forget(self, stage: str) -> None:
        """Mark a stage and every later one as not done; their files stay until replaced."""
        later = STAGES[STAGES.index(stage) :]
        kept = {name: entry for name, entry in self.stages().items() if name not in later}
        write_json(self.folder / "stages.json", kept)

    def check_model(self, identity: Mapping[str, str]) -> None:
        """Note which weights a run is of, in ``model.json``.

        Raises:
            UserError: an earlier stage of the run had other weights.
        """
        path = self.folder / "model.json"
        if not path.exists():
            write_json(path, dict(identity))
            return
        before, now = (one.get("weights_sha256", "") for one in (read_json(path), identity))
        if before != now:
            raise UserError(
                f"run folder: {self.folder} is of weights {before[:8]}, but the model now has "
                f"{now[:8]}; put the old weights back, or use another --out"
            )

    def adopt(self, other: Run, stages: Iterable[str]) -> None:
        """Count stages as done that another run did; their files must be here already."""
        theirs = other.stages()
        for stage in stages:
            entry = {**theirs[stage], "inputs": self._inputs(stage)}
            write_json(self.folder / "stages.json", {**self.stages(), stage: entry})

    def change_score(self, score: ScoreConfig) -> None:
        """Take other rules of scoring into the config, after the stored answers were judged by them.

        What needs the model stays done (the curves of the probes keep the identifier that read
        them); the comparison and the report are forgotten. Stages that were done under either
        config count, so that the same call again mends one that was killed half-way.
        """
        changed = Run(self.folder, self.config.model_copy(update={"score": score}))
        stages = self.stages()
        kept = {name: entry for name, entry in stages.items() if name not in SUMMING_UP}
        for name in kept:
            if self.is_done(name) or changed.is_done(name):
                kept[name] = {**kept[name], "inputs": changed._inputs(name)}
        write_json(self.folder / "stages.json", kept)
        write_text(self.folder / "config.yaml", dump_config(changed.config))
        self.config = changed.config

    def change_settings(self, config: RunConfig) -> None:
        """Take other settings of locating and tuning into the config of a run that is not tuned.

        What was done before stays done; it does not depend on them.
        """
        changed = Run(self.folder, config)
        stages = self.stages()
        located = config.locate == self.config.locate
        for name, entry in list(stages.items()):
            if not located and STAGES.index(name) >= STAGES.index("locate"):
                del stages[name]
            elif self.is_done(name) or changed.is_done(name):
                stages[name] = {**entry, "inputs": changed._inputs(name)}
        write_json(self.folder / "stages.json", stages)
        write_text(self.folder / "config.yaml", dump_config(config))
        self.config = config

    def _has_tuned(self) -> bool:
        return "tune" in self.stages() or (self.folder / "tuned" / "tuning.json").exists()

    def _has_results(self) -> bool:
        own = self.folder / "config.yaml"
        return any(path.is_file() and path != own for path in self.folder.rglob("*"))

    def _inputs(self, stage: str) -> str:
        """A key of what a stage is made from: the config and when the stages before it ended."""
        earlier = {
            name: entry["finished"]
            for name, entry in self.stages().items()
            if STAGES.index(name) < STAGES.index(stage)
        }
        text = json.dumps([self.config.model_dump(), earlier], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_run(folder: Path, config: RunConfig | None, *, fresh: bool = False) -> Run:
    """Open a run folder, or make a new one.

    Args:
        folder: the run folder.
        config: what is asked; None takes the folder's own config.
        fresh: delete what the folder holds of an earlier run first.
    Raises:
        UserError: the folder is not a run, or was made with another config. Settings of locating and
            tuning may change until it is tuned, and all of them while the folder holds nothing else.
    """
    stored_path = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"run folder: {folder} is a file; name a folder")
    if folder.exists() and any(folder.iterdir()) and not stored_path.exists():
        name = "the folder of a run" if config is None else "a new or empty folder"
        raise UserError(f"run folder: {folder} is not a run (it has no config.yaml); name {name}")
    stored = load_config(stored_path) if stored_path.exists() else None
    if fresh and stored is not None:
        config, stored = config or stored, None
        _clear(folder)
    if stored is None:
        if config is None:
            raise UserError(
                f"run folder: {folder} holds no run; start one with: linguamap run --out {folder}"
            )
        check_room(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(stored_path, dump_config(config))
        return Run(folder, config)
    run = Run(folder, stored)
    if config is None or not (changes := difference(stored, config)):
        return run
    if not run._has_results():
        write_text(stored_path, dump_config(config))
        return Run(folder, config)
    if all(one.startswith(("tune.", "locate.")) for one in changes) and not run._has_tuned():
        run.change_settings(config)
        return run
    raise UserError(
        f"run folder: {folder} was made with another config ({'; '.join(changes)}); "
        "use another --out, or --fresh to start over"
    )


def _clear(folder: Path) -> None:
    """Delete what a run wrote; whatever else lies there is not ours."""
    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def check_room(folder: Path, need_bytes: int = 200_000_000) -> None:
    """Refuse to start a run on a full disk."""
    parent = folder
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if free < need_bytes:
        raise UserError(
            f"run folder: {free / 1e6:.0f} MB free at {parent}, a run needs about "
            f"{need_bytes / 1e6:.0f} MB; free some or name another --out"
        )
