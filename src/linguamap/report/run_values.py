"""Read a run folder for the page: whatever is there, and a note about what is not.

Nothing here fails on a run that stopped half-way: a missing file is ``None`` or empty, a broken one
is that and a line in ``faults``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet
import yaml
from pyarrow import ArrowException

from linguamap.records import SCENARIOS, UserError

Table = list[dict[str, Any]]
Json = dict[str, Any]


NAMES = (
    "item_id", "benchmark", "language", "scenario", "outcome", "coincides_with", "answer_language",
)  # fmt: skip
"""Fields of an answer that are names: text, or null."""


def object_at(value: Any, *keys: str) -> Json:
    """The JSON object at a path of keys; empty where there is none, whatever is there instead."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def list_at(value: Any, key: str) -> list[Any]:
    """The JSON list under a key; empty where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


@dataclass(frozen=True)
class RunData:
    """What a run folder holds. Tables are lists of rows; a missing table has none.

    Attributes:
        faults: one line for each file that is there but cannot be read.
    """

    folder: Path
    config: Json = field(default_factory=dict)
    manifest: Json | None = None
    stages: Json = field(default_factory=dict)
    before: Table = field(default_factory=list)
    after: Table = field(default_factory=list)
    summary_before: Json | None = None
    summary_after: Json | None = None
    comparison: Json | None = None
    lens: Table = field(default_factory=list)
    lens_after: Table = field(default_factory=list)
    similarity: Table = field(default_factory=list)
    similarity_after: Table = field(default_factory=list)
    handover: Table = field(default_factory=list)
    handover_after: Table = field(default_factory=list)
    mass: Table = field(default_factory=list)
    mass_after: Table = field(default_factory=list)
    grid: Json | None = None
    grid_after: Json | None = None
    probe: Json | None = None
    probe_after: Json | None = None
    identifier: Json | None = None
    layers: Json | None = None
    tuning: Json | None = None
    change: Json | None = None
    faults: tuple[str, ...] = ()

    @property
    def languages(self) -> list[str]:
        """The run's languages, in the config's order, then any that only the tables know."""
        asked = self.config.get("languages")
        known = [str(code) for code in asked] if isinstance(asked, list) else []
        seen = [str(row["language"]) for row in self.before + self.after if row.get("language")]
        seen += [str(row["target_language"]) for row in self.lens if row.get("target_language")]
        return list(dict.fromkeys(known + seen))

    @property
    def scenarios(self) -> list[str]:
        """The scenarios that have answers, in their usual order."""
        seen = {str(row.get("scenario")) for row in self.before + self.after}
        usual = [name for name in SCENARIOS if name in seen]
        return usual + sorted(seen - set(usual) - {"None"})

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that have answers, in the config's order."""
        seen = {
            str(row["benchmark"]): None for row in self.before + self.after if row.get("benchmark")
        }
        asked = [str(name) for name in list_at(self.config.get("data"), "benchmarks")]
        return [name for name in asked if name in seen] + [n for n in seen if n not in asked]

    @property
    def model_name(self) -> str:
        """What the run calls its model."""
        model = self.config.get("model")
        name = model.get("name") if isinstance(model, dict) else None
        name = name or (self.summary_before or {}).get("model")
        return str(name) if name else "the model"

    @property
    def tuned_layers(self) -> list[int]:
        """Numbers of the blocks that were tuned, or else proposed; 1 is the first block."""
        layers = list_at(self.tuning, "layers")
        if self.tuning is None:
            layers = list_at(self.layers, "tune_layers")
        return [one for one in layers if isinstance(one, int)]


def read_run(folder: Path) -> RunData:
    """Read every file of a run folder that the page draws on.

    Raises:
        UserError: the folder is not a run.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"report: {folder} is not a run (it has no config.yaml); name the folder of a run"
        )
    faults: list[str] = []

    def read(name: str) -> Json | None:
        return _read_json(folder / name, folder, faults)

    def table(name: str) -> Table:
        return _read_parquet(folder / name, folder, faults)

    return RunData(
        folder=folder,
        config=_read_config(folder / "config.yaml", faults),
        manifest=read("manifest.json"),
        stages=read("stages.json") or {},
        before=_read_answers(folder / "before" / "answers.jsonl", folder, faults),
        after=_read_answers(folder / "after" / "answers.jsonl", folder, faults),
        summary_before=read("before/summary.json"),
        summary_after=read("after/summary.json"),
        comparison=read("comparison.json"),
        lens=table("probe/lens.parquet"),
        lens_after=table("probe_after/lens.parquet"),
        similarity=table("probe/similarity.parquet"),
        similarity_after=table("probe_after/similarity.parquet"),
        handover=table("probe/handover.parquet"),
        handover_after=table("probe_after/handover.parquet"),
        mass=table("probe/mass.parquet"),
        mass_after=table("probe_after/mass.parquet"),
        grid=read("probe/grid.json"),
        grid_after=read("probe_after/grid.json"),
        probe=read("probe/probe.json"),
        probe_after=read("probe_after/probe.json"),
        identifier=read("identifier.json"),
        layers=read("layers.json"),
        tuning=read("tuned/tuning.json"),
        change=read("change.json"),
        faults=tuple(faults),
    )


def _read_config(path: Path, faults: list[str]) -> Json:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        faults.append(f"config.yaml cannot be read: {_one_line(error)}")
        return {}
    return values if isinstance(values, dict) else {}


def _read_json(path: Path, folder: Path, faults: list[str]) -> Json | None:
    if not path.is_file():
        return None
    name = path.relative_to(folder)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{name} cannot be read: {_one_line(error)}")
        return None
    if not isinstance(value, dict):
        faults.append(f"{name} holds a {type(value).__name__}, not an object")
        return None
    return value


def _read_answers(path: Path, folder: Path, faults: list[str]) -> Table:
    """Rows of an answers file. Split at line feeds only: answers may hold U+2028."""
    if not path.is_file():
        return []
    rows: Table = []
    torn = 0
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=lambda _: None)
            except json.JSONDecodeError:
                torn += 1
                continue
            if isinstance(row, dict):
                odd = {name: str(row[name]) for name in NAMES if _is_odd_name(row.get(name))}
                rows.append({**row, **odd} if odd else row)
            else:
                torn += 1
    if torn:
        faults.append(f"{path.relative_to(folder)}: {torn} broken line(s) left out")
    return rows


def _is_odd_name(value: Any) -> bool:
    return value is not None and not isinstance(value, str)


def _read_parquet(path: Path, folder: Path, faults: list[str]) -> Table:
    if not path.is_file():
        return []
    try:
        rows: Table = pyarrow.parquet.read_table(path).to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        faults.append(f"{path.relative_to(folder)} cannot be read: {_one_line(error)}")
        return []
    for row in rows:
        for key, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                row[key] = None
    return rows


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
