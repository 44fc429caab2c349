"""The contents of a run, made from answers, for tests of what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from answers import plain_answer

from linguamap.config import RunConfig
from linguamap.records import Answer, BenchmarkUse, Change, Changes, Comparison
from linguamap.report.words import Words
from linguamap.run.contents import Evidence, Layers, Phases, Tuning
from linguamap.run.read_run import PhaseContents, RunContents
from linguamap.scoring.summary import summarise


def code_mixed(item: int, task: bool | None, spoken: str | None, **more: Any) -> Answer:
    """An answer to a code-mixed Hindi question."""
    language = None if spoken is None else spoken == more.get("language", "hi")
    outcome = "unscored"
    if task is not None and language is not None:
        names = ("neither", "transfer_bottleneck", "consistency_bottleneck", "both")
        outcome = names[2 * task + language]
    fields = {"language": "hi", "scenario": "code_mixed", "line_pass": None} | more
    return plain_answer(
        **{"item_id": str(item), "task_correct": task, "answer_language": spoken,
           "language_correct": language, "outcome": outcome, **fields},
    )  # fmt: skip


def phase_of(
    answers: Sequence[Answer], benchmarks: Sequence[BenchmarkUse] = (), **more: Any
) -> PhaseContents:
    """One phase's contents with the summary of its answers."""
    summary = summarise(answers, "m", benchmarks=benchmarks) if answers or benchmarks else None
    return PhaseContents(list(answers), summary, **more)


def run_of(
    before: Sequence[Answer] | PhaseContents = (),
    after: Sequence[Answer] | PhaseContents = (),
    **more: Any,
) -> RunContents:
    """A run with these answers, in English and Hindi unless a config says otherwise."""
    phases = [one if isinstance(one, PhaseContents) else phase_of(one) for one in (before, after)]
    more.setdefault("config", RunConfig(languages=["en", "hi"]))
    return RunContents(Path(), more.pop("config"), *phases, **more)


def said(run: RunContents, passage: str) -> str:
    """A passage of a run as plain text."""
    return " ".join(Words(html=False, run=run)(passage))


def change(before: float, after: float, low: float, high: float, p: float, n: int = 10) -> Change:
    """A difference with its interval."""
    return Change(before, after, after - before, low, high, "bootstrap", p, "sign-flip", 0, 0, n, n, 0)  # fmt: skip


NOTHING = Change(None, None, None, None, None, "", None, "", 0, 0, 0, 0, 0)


def changes(consistency: Change = NOTHING, task: Change = NOTHING, **named: Any) -> Changes:
    """The changes of one set of answers."""
    return Changes(task, consistency, NOTHING, **named)


def comparison(overall: Changes, **more: Any) -> Comparison:
    """A comparison of ten prompts."""
    empty: dict[str, Any] = {"scenarios": {}, "benchmarks": {}, "languages": {}, "cells": ()}
    return Comparison(10, 0, 0, overall, **(empty | more))


def tuning(**more: Any) -> Tuning:
    """Two blocks of a model of 18, trained."""
    facts = {"method": "selective", "layers": (17, 18), "trainable_parameters": 11, "total_parameters": 268,
             "trainable_share": 0.0416}  # fmt: skip
    return Tuning(**(facts | more))


def layers(late: int | None = 16, **more: Any) -> Layers:
    """Phases of a model of 18 blocks."""
    facts: dict[str, Any] = {"n_layers": 18, "phases": Phases(3, late), "tune_layers": (17, 18), "fallback_layers": (18,),
             "trainable_share": 0.04, "evidence": Evidence(None)}  # fmt: skip
    return Layers(**(facts | more))
