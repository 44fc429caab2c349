"""What the files of a run folder hold, typed, and the one door through which they are read.

A file is checked once, when it is read: one that is missing, empty, cut or foreign is a
:class:`~linguamap.records.UserError` that names it and says what to do. Fields that a file has beyond
those of its type are kept out of the way, so that a later version may add some.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from linguamap.outside import parse_json
from linguamap.records import Answer, Phase, Summary, UserError
from linguamap.run.files import append_rows, read_json, write_rows

T = TypeVar("T")


def read_as(kind: type[T], path: Path) -> T:
    """A JSON file of a run as its type.

    Raises:
        UserError: it is missing, broken, or holds something else.
    """
    value = read_json(path)
    return as_type(kind, value, str(path), f"delete it and run{_command(path)}")


def as_type(kind: type[T], value: Any, name: str, remedy: str = "leave it out or mend it") -> T:
    """What was read from JSON, checked.

    Args:
        name: of the file, for the error.
        remedy: what to do about it.
    """
    try:
        checked: T = _adapter(kind).validate_python(value)
        return checked
    except ValidationError as error:
        raise UserError(f"run folder: {name} is broken ({_first_fault(error)}); {remedy}") from None


def as_json(value: Any) -> Any:
    """A dataclass, or what holds some, as what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: as_json(inner) for name, inner in vars(value).items()}
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return value


def read_answers(path: Path, *, growing: bool = False) -> list[Answer]:
    """The answers of a file; none if there is no file.

    Args:
        growing: the file is still written to, so that a kill may have torn a line: it is left out,
            and its prompt asked again.
    Raises:
        UserError: a line is torn, or is no answer.
    """
    if not path.exists():
        return []
    answers = []
    with open(path, encoding="ascii", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = parse_json(line, f"{path}, line {number},")
            except UserError as error:
                if growing:
                    continue
                raise UserError(
                    f"run folder: {error}; put the whole file back, or delete it and evaluate again"
                ) from None
            answers.append(
                as_type(Answer, row, f"{path}, line {number},", "put the whole file back")
            )
    return answers


@dataclass(frozen=True)
class Phases:
    """Last layer of the early phase and first of the late one; None where there is none."""

    early_end: int | None
    late_start: int | None


@dataclass(frozen=True)
class EvidenceCurve:
    """One curve of one language: where it turns, and whether that counts."""

    turn: float | None
    turn_interval: tuple[float, float] | None
    counts: bool
    reason: str | None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class LanguageEvidence:
    """Where one language's late phase begins, by which curves."""

    boundary: float | None
    reason: str | None
    curves: dict[str, EvidenceCurve]
    rise_half_done: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What the choice of layers rests on; ``reason`` says why there is no late phase."""

    reason: str | None
    languages: dict[str, LanguageEvidence] = field(default_factory=dict)
    rule: str = ""
    n_lens_groups: int = 0
    n_similarity_groups: int = 0
    bootstrap: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class Layers:
    """``layers.json``: phases, the blocks to tune, and readings of the curves.

    Attributes:
        overtakes_english: language -> first layer from which its words lead the English ones to the
            end; None where they do not in the last layer.
        committed_layer: language -> first layer from which the English twin's state turns half the
            next words English; None for the reason in ``evidence`` of the handover.
    """

    n_layers: int
    phases: Phases
    tune_layers: tuple[int, ...]
    fallback_layers: tuple[int, ...]
    trainable_share: float
    evidence: Evidence
    late_start_interval: tuple[int, int] | None = None
    overtakes_english: dict[str, int | None] = field(default_factory=dict)
    committed_layer: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The answers of one phase and the rates made from them."""

    answers: list[Answer]
    summary: Summary


def read_evaluation(folder: Path, phase: Phase) -> Evaluation:
    """A finished evaluation of a run.

    Raises:
        UserError: there is none, or answers are missing from it.
    """
    stage = "evaluate" if phase == "before" else "after"
    if not (folder / phase / "summary.json").exists():
        raise UserError(
            f"{folder} has no finished answers {phase} tuning; "
            f"run: linguamap {stage} --out {folder}"
        )
    answers = read_answers(folder / phase / "answers.jsonl")
    summary = read_as(Summary, folder / phase / "summary.json")
    if (n := sum(cell.n for cell in summary.cells)) != len(answers):
        raise UserError(
            f"run folder: {folder / phase / 'answers.jsonl'} holds {len(answers)} of {n} answers; put "
            f"the whole file back, or run: linguamap {stage} --out {folder}"
        )
    return Evaluation(answers, summary)


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers atomically, a line each."""
    write_rows(path, map(as_json, answers))


def append_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Append answers, a line each."""
    append_rows(path, map(as_json, answers))


COMMANDS = {
    "probe.json": "probe", "layers.json": "locate", "tuning.json": "tune", "change.json": "after",
    "comparison.json": "after",
}  # fmt: skip
"""File -> the command that makes it again."""


def _command(path: Path) -> str:
    inner = path.parent.name in ("before", "after", "probe", "tuned")
    folder = path.parent.parent if inner else path.parent
    name = "after" if path.parent.name == "after" else "evaluate"
    name = COMMANDS.get(path.name, name if path.name == "summary.json" else "")
    return f": linguamap {name} --out {folder}" if name else " the stage again"


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once: that takes longer than to check a file."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
