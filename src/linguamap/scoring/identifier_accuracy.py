"""How well each identifier does on texts of known language: what its rates can be trusted for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from linguamap.progress import Progress, silent
from linguamap.records import Rate, UserError
from linguamap.run.files import read_json, write_json
from linguamap.scoring.labelled_texts import UNITS, LabelledTexts
from linguamap.scoring.language_id import (
    Identifier,
    IdentifierName,
    identifier_accuracy,
    make_identifier,
)
from linguamap.scoring.stats import wilson

if TYPE_CHECKING:
    from linguamap.config import RunConfig

RUN_SENTENCES = 100
RUN_WORDS = 300
"""Texts a language on which a run's own identifier is tried; enough for some points."""


@dataclass
class IdentifierBenchmark:
    """All identifiers on the same gold texts.

    Attributes:
        rows: one for each identifier, unit and language: ``identifier``, ``unit``, ``language``,
            ``n``, ``accuracy``, ``low``, ``high``; accuracy is None with a ``reason`` where the identifier
            does not know the language. ``language`` is ``all`` for all of its texts together.
        candidates: identifier -> the languages that it chose among.
        missing: identifier -> why it was not tried.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    candidates: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def benchmark_identifiers(
    gold: LabelledTexts,
    names: Sequence[IdentifierName] = get_args(IdentifierName),
    progress: Progress = silent,
) -> IdentifierBenchmark:
    """Try each identifier on gold texts, the gold's languages being its candidates.

    An identifier that is not installed is named in ``missing`` and is no error.
    """
    result = IdentifierBenchmark()
    for name in names:
        known, unknown = _known(name, gold.languages)
        try:
            identifier = make_identifier(name, known)
        except UserError as error:
            result.missing[name] = str(error)
            continue
        result.candidates[name] = list(identifier.languages)
        for unit in UNITS:
            texts = gold.of(unit)
            rates: dict[str, Rate | None] = {}
            for number, code in enumerate(texts):
                rates[code] = None
                if code not in unknown:
                    rates |= identifier_accuracy(identifier, {code: texts[code]}, unit)
                progress(f"{name}, {unit}", number + 1, len(texts))
            result.rows += [_row(name, unit, code, rate) for code, rate in rates.items()]
            result.rows.append(_pooled(name, unit, [rate for rate in rates.values() if rate]))
    return result


def _known(name: IdentifierName, languages: Sequence[str]) -> tuple[list[str], list[str]]:
    """The languages that an identifier knows and those that it does not."""
    try:
        make_identifier(name, languages)
    except UserError:
        unknown = [code for code in languages if not _knows(name, code)]
        return [code for code in languages if code not in unknown], unknown
    return list(languages), []


def _knows(name: IdentifierName, language: str) -> bool:
    try:
        make_identifier(name, [language])
    except UserError:
        return False
    return True


def _row(name: str, unit: str, language: str, rate: Rate | None) -> dict[str, Any]:
    row: dict[str, Any] = {"identifier": name, "unit": unit, "language": language}
    if rate is None:
        unknown = f"{name} does not know {language}"
        return row | {"n": 0, "accuracy": None, "low": None, "high": None, "reason": unknown}
    limits = {"n": rate.n, "accuracy": rate.value, "low": rate.low, "high": rate.high}
    return row | limits | {"reason": None if rate.n else "no texts"}


def _pooled(name: str, unit: str, rates: Sequence[Rate]) -> dict[str, Any]:
    """All texts of the languages that it knows together."""
    right = round(sum(rate.value * rate.n for rate in rates if rate.value is not None))
    return _row(name, unit, "all", wilson(right, sum(rate.n for rate in rates)))


def measured_for_run(
    path: Path, config: RunConfig, identifier: Identifier, gold: Callable[[], LabelledTexts]
) -> dict[str, Any]:
    """The accuracy of a run's identifier on the run's own texts, measured once.

    Args:
        path: ``identifier.json`` of the run folder; read if it was made for the same identifier,
            languages and data, else written.
        gold: the texts; only called to measure.
    Returns:
        ``name``, ``candidates``, ``gold`` (where the texts are from) and for each language the rates
        of ``sentences`` and ``words``, each ``{"value", "low", "high", "n"}``.
    """
    about = [identifier.name, identifier.languages, config.languages, config.data.model_dump()]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    if path.exists():
        stored: dict[str, Any] = read_json(path)
        if stored.get("key") == key:
            return {name: value for name, value in stored.items() if name != "key"}
    texts = gold().drawn(RUN_SENTENCES, RUN_WORDS)
    rates = {unit: identifier_accuracy(identifier, texts.of(unit), unit) for unit in UNITS}
    measured = {
        "name": identifier.name,
        "candidates": list(identifier.languages),
        "gold": texts.source,
        "languages": {
            code: {unit: asdict(rates[unit][code]) for unit in UNITS if code in rates[unit]}
            for code in texts.languages
        },
    }
    write_json(path, {"key": key, **measured})
    return measured
