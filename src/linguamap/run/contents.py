"""What the files of a run folder hold, typed; :mod:`linguamap.run.files` reads them.

Fields that a file has beyond those of its type are kept out of the way, so that a later version may add
some.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from linguamap.records import UserError

T = TypeVar("T")


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
