"""The run folder: config, stages, atomic files, and going on where a run stopped.

Every file appears under its name only when it is complete, except ``answers.jsonl``, which grows by
whole lines; a line torn by a kill is dropped on reading.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from linguamap.config import RunConfig
from linguamap.outside import nearest
from linguamap.records import UserError
from linguamap.run.contents import StageEntry, WrittenFile, as_json
from linguamap.run.files import read_as, write_json, write_text
from linguamap.run.memory import peak_memory_bytes
from linguamap.run.record import (
    LOCK,
    RECORD,
    is_new,
    lock,
    recorded,
    remove_recorded,
    remove_temporaries,
    start_record,
)
from linguamap.run.settings import (
    STAGE_SETTINGS,
    difference,
    dump_config,
    load_config,
    settings_of,
    what_is_asked,
)

STAGES = tuple(STAGE_SETTINGS)
NEEDS: dict[str, tuple[str, ...]] = {
    "before": (),
    "probe": (),
    "locate": ("probe",),
    "choose": ("locate",),
    "tune": ("choose",),
    "after": ("tune",),
    "probe_after": ("probe", "tune"),
    "compare": ("before", "after"),
    "report": STAGES[:-1],
}
"""Stage -> the stages whose results it reads."""
RUNS_MODEL = ("before", "probe", "choose", "tune", "after", "probe_after")
FOLDERS = {
    "before": "before/", "probe": "probe/", "tune": "tuned/", "after": "after/",
    "probe_after": "probe_after/", "report": "figures/",
}  # fmt: skip
"""Stage -> the folder whose files it leaves, besides the outputs that it promises."""


MAY_BE_MISSING = frozenset({"probe/similarity.parquet"})
"""Outputs that a stage rightly leaves out: one language, or few items, have no translations to compare."""


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

    def stages(self) -> dict[str, StageEntry]:
        """The finished stages, as ``stages.json`` has them."""
        path = self.folder / "stages.json"
        found = read_as(dict[str, StageEntry], path) if path.exists() else {}
        if unknown := found.keys() - set(STAGES):
            raise UserError(
                f"run folder: {path} is broken (there is no stage {min(unknown)}); delete it and run "
                "the stages again"
            )
        return found

    def is_done(self, stage: str) -> bool:
        """Whether a stage's results are there as it left them, made from what is asked now."""
        entry = self.stages().get(stage)
        return entry is not None and entry.inputs == self._key(stage) and not self.damaged(stage)

    def damaged(self, stage: str) -> list[str]:
        """Files of a finished stage that are missing or not what they were."""
        entry = self.stages().get(stage)
        outputs = entry.outputs if entry else {}
        return [
            name for name, left in outputs.items() if WrittenFile.of(self.folder / name) != left
        ]

    def run_stage(self, stage: str, outputs: Iterable[str], work: Callable[[], None]) -> bool:
        """Do ``work`` unless the stage is done; note its time and memory.

        Returns:
            True if the work was done now, False if its results were there already.
        Raises:
            UserError: what a finished stage left for it is not there, or something else.
        """
        if self.is_done(stage):
            return False
        self.check_unchanged(*NEEDS[stage])
        started = time.monotonic()
        work()
        self.note(stage, outputs, time.monotonic() - started)
        return True

    def check_unchanged(self, *stages: str) -> None:
        """Raise a :class:`UserError` where a file of these stages is not as the run left it."""
        if changed := [name for stage in stages for name in self.damaged(stage)]:
            raise UserError(
                f"run folder: {', '.join(changed)} of {self.folder} changed since the run wrote it; put "
                f"it back, or make it again: linguamap run --out {self.folder}"
            )

    def note(self, stage: str, outputs: Iterable[str], seconds: float) -> None:
        """Count a stage as done now, with the files that it left."""
        entry = StageEntry(
            inputs=self._key(stage),
            outputs=self._outputs([*outputs, *self._in_its_folder(stage)]),
            seconds=round(seconds, 2),
            peak_memory_bytes=peak_memory_bytes(),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        self.write_stages({**self.stages(), stage: entry})

    def rewrite(self, stage: str) -> None:
        """A finished stage's files are other ones from here on, until :meth:`note_again`."""
        stages = self.stages()
        self.write_stages({**stages, stage: dataclasses.replace(stages[stage], outputs={})})

    def note_again(self, stage: str, outputs: Iterable[str]) -> None:
        """Take the files of a finished stage as they are now, made by what is asked now."""
        stages = self.stages()
        left = self._outputs([*outputs, *self._in_its_folder(stage)])
        entry = dataclasses.replace(stages[stage], inputs=self._key(stage), outputs=left)
        self.write_stages({**stages, stage: entry})

    def _outputs(self, names: Iterable[str]) -> dict[str, WrittenFile]:
        found = {name: WrittenFile.of(self.folder / name) for name in sorted(set(names))}
        if missing := [n for n, file in found.items() if file is None and n not in MAY_BE_MISSING]:
            raise FileNotFoundError(f"a stage left no {missing[0]}")
        return {name: file for name, file in found.items() if file is not None}

    def _in_its_folder(self, stage: str) -> list[str]:
        own = FOLDERS.get(stage)
        names = recorded(self.folder) if own and (self.folder / RECORD).exists() else []
        return [n for n in names if own and n.startswith(own) and (self.folder / n).is_file()]

    def forget(self, stage: str) -> None:
        """Mark a stage as not done; its files stay until replaced, and so do those who need it."""
        self.write_stages({k: entry for k, entry in self.stages().items() if k != stage})

    def write_stages(self, stages: Mapping[str, StageEntry]) -> None:
        write_json(self.folder / "stages.json", as_json(dict(stages)))

    def check_model(self, identity: Mapping[str, str]) -> None:
        """Note which weights a run is of, in ``model.json``.

        Raises:
            UserError: an earlier stage of the run had other weights.
        """
        path = self.folder / "model.json"
        if not path.exists():
            write_json(path, dict(identity))
            return
        stored = read_as(dict[str, str], path)
        before, now = (one.get("weights_sha256", "") for one in (stored, identity))
        if before != now:
            raise UserError(
                f"run folder: {self.folder} is of weights {before[:8]}, but the model now has "
                f"{now[:8]}; put the old weights back, or use another --out"
            )

    def change(self, config: RunConfig) -> None:
        """Take other settings; stages that read one of them are not done any more."""
        write_text(self.folder / "config.yaml", dump_config(config))
        self.config = config

    def _has_tuned(self) -> bool:
        return "tune" in self.stages() or (self.folder / "tuned" / "tuning.json").exists()

    def _has_results(self) -> bool:
        own = {"config.yaml", RECORD, LOCK}
        return any(path.is_file() and path.name not in own for path in self.folder.rglob("*"))

    def _key(self, stage: str) -> str:
        """A key of what a stage is made from: its settings, the stages that it needs, the weights."""
        stages = self.stages()
        needed = [
            (name, self._key(name), as_json(stages[name].outputs)) if name in stages else (name,)
            for name in NEEDS[stage]
        ]
        made_from = [settings_of(self.config, stage), needed, self._weights(stage)]
        text = json.dumps(made_from, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _weights(self, stage: str) -> str | None:
        """The hash of the weights, for stages that run the local model."""
        asks_server = stage == "before" and self.config.evaluate.endpoint is not None
        path = self.folder / "model.json"
        if stage not in RUNS_MODEL or asks_server or not path.exists():
            return None
        return read_as(dict[str, str], path).get("weights_sha256")


def open_run(
    folder: Path, config: RunConfig | None, *, fresh: bool = False, writes: bool = False
) -> Run:
    """Open a run folder, or make a new one.

    Args:
        folder: the run folder.
        config: what is asked; None takes the folder's own config.
        fresh: remove what the folder's record names of an earlier run first, and nothing else.
        writes: keep other processes from writing into it until this one ends, and remove what a
            killed one left half-written.
    Raises:
        UserError: the folder is not a run, is being written to, or was made with another config.
            Settings of locating and tuning may change until it is tuned, where a server is and how fast
            it is asked at any time, and all of them while the folder holds nothing else.
    """
    stored_path = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"run folder: {folder} is a file; name a folder")
    if not stored_path.exists() and not is_new(folder):
        name = "the folder of a run" if config is None else "a new or empty folder"
        raise UserError(f"run folder: {folder} is not a run (it has no config.yaml); name {name}")
    if config is None and not stored_path.exists():
        raise UserError(
            f"run folder: {folder} holds no run; start one with: linguamap run --out {folder}{nearest(folder)}"
        )
    if not folder.exists():
        check_room(folder)
        folder.mkdir(parents=True, exist_ok=True)
    if writes:
        lock(folder)
    stored = load_config(stored_path) if stored_path.exists() else None
    if stored is None:
        start_record(folder)
    elif writes and (folder / RECORD).exists():
        remove_temporaries(folder)
    if fresh and stored is not None:
        config, stored = config or stored, None
        remove_recorded(folder)
    if stored is None:
        assert config is not None
        write_text(stored_path, dump_config(config))
        return Run(folder, config)
    run = Run(folder, stored)
    if config is None or not (changes := difference(stored, config)):
        return run
    if not run._has_results() or what_is_asked(stored) == what_is_asked(config):
        run.change(config)
        return run
    if (
        all(one.startswith(("tune.", "locate.", "choose.", "compare.")) for one in changes)
        and not run._has_tuned()
    ):
        run.change(config)
        return run
    raise UserError(
        f"run folder: {folder} was made with another config ({'; '.join(changes)}); "
        "use another --out, or --fresh to start over"
    )


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
