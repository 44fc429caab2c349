"""The sweep from the base run to the results: the table of contents of this package."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linguamap.config import TuneConfig
from linguamap.progress import Progress
from linguamap.records import UserError
from linguamap.run.files import read_json
from linguamap.run.folder import Run
from linguamap.sweep.child import run_stages
from linguamap.sweep.folders import (
    BASE_STAGES,
    OWN_STAGES,
    finished,
    is_finished,
    note_failure,
    prepare,
)
from linguamap.sweep.results import collect, write_results
from linguamap.sweep.variants import DEFAULT, TRAINED, Variant, expand, in_table


@dataclass(frozen=True)
class SweepRequest:
    """What is swept over.

    Attributes:
        variants: in the grammar of :mod:`linguamap.sweep.variants`.
        tune: the settings that all variants share.
        epochs, learning_rates, seeds: empty takes those of ``tune``, or the run's seed.
        keep_cache: whether the boundary states stay when the sweep is done.
    """

    tune: TuneConfig
    variants: str = DEFAULT
    epochs: tuple[int, ...] = ()
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    keep_cache: bool = False


def run_sweep(base: Run, request: SweepRequest, progress: Progress) -> dict[str, Any]:
    """Tune, evaluate and compare every variant that is not finished yet, and write the results.

    A variant that cannot be done is recorded with its reason, tried again by the next call, and does
    not stop the others. The results are of all finished variants in the folder that have the same base
    and the same settings but for what is swept over, those of earlier calls included.

    Returns:
        What ``sweep/results.json`` holds, and ``asked``, the names of this call's variants.
    Raises:
        UserError: bad variants; the base run's own stages fail.
    """
    if not all(base.is_done(stage) for stage in BASE_STAGES):
        run_stages(base.folder, BASE_STAGES, None, progress)
    located = read_json(base.folder / "layers.json")
    tune = request.tune
    seed = base.config.seed if tune.seed is None else tune.seed
    variants = expand(
        request.variants,
        located,
        request.epochs or (tune.epochs,),
        request.learning_rates or (tune.learning_rate,),
        request.seeds or (seed,),
    )
    runs = {variant: prepare(base, variant, tune) for variant in variants}
    known = {**finished(base, tune, located), **runs}
    known = {variant: known[variant] for variant in in_table(known)}
    cache = base.folder / "sweep" / "cache"
    results = write_results(base, collect(base, known))
    waiting = [variant for variant in in_order(variants) if not is_finished(runs[variant])]
    for place, variant in enumerate(waiting):
        done = len(variants) - len(waiting) + place
        progress("sweep", done, len(variants), f"{variant.name}{_left(runs, len(waiting) - place)}")
        _do(runs[variant], cache, progress)
        results = write_results(base, collect(base, known))
    progress("sweep", len(variants), len(variants), "")
    if not request.keep_cache:
        shutil.rmtree(cache, ignore_errors=True)
    write_results(base, results, picture=True)
    return {**results, "asked": [variant.name for variant in variants]}


def in_order(variants: Sequence[Variant]) -> list[Variant]:
    """All variants with one seed before the next seed, so that an unfinished sweep compares like
    with like; lower boundaries first, so that higher ones go on from their states."""
    seeds = list(dict.fromkeys(variant.seed for variant in variants))
    return sorted(
        variants,
        key=lambda variant: (
            variant.method in TRAINED and seeds.index(variant.seed),
            min(variant.blocks, default=0),
        ),
    )


def _do(run: Run, cache: Path, progress: Progress) -> None:
    note_failure(run, None)
    try:
        run_stages(run.folder, OWN_STAGES, cache, progress)
    except UserError as error:
        note_failure(run, str(error))


def _left(runs: dict[Variant, Run], waiting: int) -> str:
    """An estimate of the time left, from the mean of those that are finished."""
    spent = [
        sum(entry["seconds"] for stage, entry in run.stages().items() if stage in OWN_STAGES)
        for run in runs.values()
        if is_finished(run)
    ]
    if not spent:
        return ""
    return f", about {sum(spent) / len(spent) * waiting / 60:.0f} min left"
