"""A whole run folder as typed contents: whatever is there, and a line about what cannot be read.

Nothing here fails on a run that stopped half-way: a missing file is None or empty, a broken one is
that and a line in ``faults``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from linguamap.config import RunConfig
from linguamap.records import (
    SCENARIOS,
    Answer,
    Comparison,
    IdentifierAccuracy,
    Phase,
    Summary,
    UserError,
)
from linguamap.run.contents import (
    CurveChanges,
    Grid,
    Layers,
    Manifest,
    ProbeFacts,
    StageEntry,
    Tuning,
    WrittenFile,
    as_type,
)
from linguamap.run.files import read_answers, read_json
from linguamap.run.settings import load_config

T = TypeVar("T")
Table = list[dict[str, Any]]

COLUMNS = {
    "lens": ("layer", "target_language", "word_language", "share"),
    "fitted_lens": ("layer", "target_language", "word_language", "share"),
    "lens_outcomes": ("layer", "target_language", "word_language", "share", "outcome"),
    "token_set_probability": ("layer", "target_language", "set_language", "probability"),
    "similarity": ("layer", "language_a", "language_b", "kind", "measure", "value"),
    "handover": ("layer", "language", "intervention", "shift"),
}
"""Table of a probe folder -> the columns that it must have."""


@dataclass(frozen=True)
class PhaseContents:
    """What a run holds of the model before or after tuning. Tables are rows; a missing one has none."""

    answers: list[Answer] = field(default_factory=list)
    summary: Summary | None = None
    lens: Table = field(default_factory=list)
    fitted_lens: Table = field(default_factory=list)
    lens_outcomes: Table = field(default_factory=list)
    token_set_probability: Table = field(default_factory=list)
    similarity: Table = field(default_factory=list)
    handover: Table = field(default_factory=list)
    grid: Grid | None = None
    probe: ProbeFacts | None = None


@dataclass(frozen=True)
class RunContents:
    """What a run folder holds.

    Attributes:
        config: complete with defaults; all defaults where it cannot be read.
        faults: one line for each file that is there but cannot be read.
    """

    folder: Path
    config: RunConfig = field(default_factory=RunConfig)
    before: PhaseContents = field(default_factory=PhaseContents)
    after: PhaseContents = field(default_factory=PhaseContents)
    identifier: IdentifierAccuracy | None = None
    layers: Layers | None = None
    tuning: Tuning | None = None
    change: CurveChanges | None = None
    comparison: Comparison | None = None
    manifest: Manifest | None = None
    stages: dict[str, StageEntry] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def phase(self, name: Phase) -> PhaseContents:
        """The contents of one phase."""
        return self.before if name == "before" else self.after

    @property
    def answers(self) -> list[Answer]:
        """All answers, those before tuning first."""
        return self.before.answers + self.after.answers

    @property
    def languages(self) -> list[str]:
        """The config's languages in its order, then any that only the results know."""
        seen = [answer.language for answer in self.answers]
        seen += [row["target_language"] for row in self.before.lens]
        return list(dict.fromkeys([*self.config.languages, *seen]))

    @property
    def has_tasks(self) -> bool:
        """Whether something else than the language of some answer can be right or wrong."""
        return not self.answers or any(answer.kind != "open" for answer in self.answers)

    @property
    def scenarios(self) -> list[str]:
        """The scenarios that have answers, in their usual order."""
        seen = {answer.scenario for answer in self.answers}
        return [name for name in SCENARIOS if name in seen]

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that have answers, in the config's order."""
        seen = dict.fromkeys(answer.benchmark for answer in self.answers)
        asked = self.config.data.benchmarks
        return [name for name in asked if name in seen] + [n for n in seen if n not in asked]

    @property
    def pivot(self) -> str:
        """The language that every other is compared with."""
        return "en" if "en" in self.languages else (self.languages or ["en"])[0]

    @property
    def n_layers(self) -> int | None:
        """Blocks of the model, from layers.json or from the curves."""
        if self.layers is not None:
            return self.layers.n_layers
        rows = self.before.lens + self.before.similarity
        return max((int(row["layer"]) for row in rows), default=None)

    @property
    def tuned_layers(self) -> tuple[int, ...]:
        """Blocks that were tuned, or else proposed; 1 is the first."""
        if self.tuning is not None:
            return self.tuning.layers
        return self.layers.tune_layers if self.layers else ()


def read_run(folder: Path) -> RunContents:
    """Read every file of a run folder.

    Raises:
        UserError: the folder is not a run.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"report: {folder} is not a run (it has no config.yaml); name the folder of a run"
        )
    reader = _Reader(folder, [])
    stages = reader.json("stages.json", dict[str, StageEntry]) or {}
    for name, left in ((n, o) for entry in stages.values() for n, o in entry.outputs.items()):
        if not name.startswith(("report.html", "manifest.json", "figures/")) and (
            WrittenFile.of(folder / name) != left
        ):
            reader.faults.append(f"{name} is missing, or changed since the run wrote it")
    before, after = (reader.phase(phase, probe) for phase, probe in
                     (("before", "probe"), ("after", "probe_after")))  # fmt: skip
    return RunContents(
        folder,
        reader.config(),
        before,
        after,
        identifier=reader.json("identifier.json", IdentifierAccuracy),
        layers=reader.json("layers.json", Layers),
        tuning=reader.json("tuned/tuning.json", Tuning),
        change=reader.json("change.json", CurveChanges),
        comparison=reader.json("comparison.json", Comparison),
        manifest=reader.json("manifest.json", Manifest),
        stages=stages,
        faults=tuple(reader.faults),
    )


@dataclass
class _Reader:
    folder: Path
    faults: list[str]

    def note(self, error: UserError, name: str) -> None:
        """Keep a fault without the folder's path: the page may travel."""
        told = str(error).replace(f"{self.folder}/", "").removeprefix("run folder: ")
        self.faults.append(told if name in told else f"{name}: {told}")

    def config(self) -> RunConfig:
        try:
            return load_config(self.folder / "config.yaml")
        except UserError as error:
            self.note(error, "config.yaml")
            return load_config()

    def json(self, name: str, kind: type[T]) -> T | None:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return as_type(kind, read_json(path), name)
        except UserError as error:
            self.note(error, name)
            return None

    def phase(self, phase: str, probe: str) -> PhaseContents:
        finished = (self.folder / phase / "summary.json").is_file()
        name = f"{phase}/answers.jsonl"
        answers: list[Answer] = []
        try:
            answers = read_answers(self.folder / name, growing=not finished)
        except UserError as error:
            self.note(error, name)
        tables = {
            table: self.table(f"{probe}/{table}.parquet", COLUMNS[table]) for table in COLUMNS
        }
        return PhaseContents(
            answers,
            self.json(f"{phase}/summary.json", Summary),
            grid=self.json(f"{probe}/grid.json", Grid),
            probe=self.json(f"{probe}/probe.json", ProbeFacts),
            **tables,
        )

    def table(self, name: str, columns: tuple[str, ...]) -> Table:
        """Rows of a Parquet file; not-a-number is None."""
        import pyarrow.parquet

        path = self.folder / name
        if not path.is_file():
            return []
        try:
            table = pyarrow.parquet.read_table(path)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            self.faults.append(f"{name} cannot be read: {' '.join(str(error).split())[:200]}")
            return []
        if missing := [column for column in columns if column not in table.column_names]:
            self.faults.append(f"{name} has no column {missing[0]}")
            return []
        return [
            {
                key: None if isinstance(one, float) and math.isnan(one) else one
                for key, one in row.items()
            }
            for row in table.to_pylist()
        ]
