"""The sweep from the base run to the results: the table of contents of this package.

Each run's stages are done in a process of their own: its peak memory is theirs, and a crash is not the
sweep's.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

from linguamap.config import TuneConfig
from linguamap.progress import Progress
from linguamap.records import UserError
from linguamap.run.files import read_json
from linguamap.run.folder import Run
from linguamap.run.record import remove_files
from linguamap.sweep.folders import (
    BASE_STAGES,
    OWN_STAGES,
    finished,
    is_finished,
    note_failure,
    prepare,
)
from linguamap.sweep.results import collect, write_results
from linguamap.sweep.variants import DEFAULT, Variant, expand, in_table

DoStages = Callable[[Path, Sequence[str], Path | None, Progress], None]
"""Does some stages of the run in a folder; the third is the folder of boundary states to share."""
GRACE_SECONDS = 60.0
"""For a child that was told to end: a training saves a checkpoint first."""


@dataclass(frozen=True)
class SweepRequest:
    """What is swept over.

    Attributes:
        variants: in the grammar of :mod:`linguamap.sweep.variants`.
        tune: the settings that all variants share.
        epochs, learning_rates, seeds: empty takes those of ``tune``, or the run's seed.
    """

    tune: TuneConfig
    variants: str = DEFAULT
    epochs: tuple[int, ...] = ()
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()


def run_sweep(
    base: Run, request: SweepRequest, progress: Progress, do_stages: DoStages
) -> dict[str, Any]:
    """Tune, evaluate and compare every variant that is not finished yet, and write the results.

    A variant that cannot be done is recorded with its reason, tried again by the next call, and does
    not stop the others. The results are of all finished variants in the folder that have the same base
    and the same settings but for what is swept over, those of earlier calls included.

    Args:
        do_stages: does stages of a run, given its folder; called in processes of their own.
    Returns:
        What ``sweep/results.json`` holds, and ``asked``, the names of this call's variants.
    Raises:
        UserError: bad variants; the base run's own stages fail.
    """
    if not all(base.is_done(stage) for stage in BASE_STAGES):
        run_stages(do_stages, base.folder, BASE_STAGES, None, progress)
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
    all_runs = {**finished(base, tune, located), **runs}
    all_runs = {variant: all_runs[variant] for variant in in_table(all_runs)}
    cache = base.folder / "sweep" / "cache"
    results = write_results(base, collect(base, all_runs))
    waiting = [variant for variant in in_order(variants) if not is_finished(runs[variant])]
    for number, variant in enumerate(waiting):
        done = len(variants) - len(waiting) + number
        progress(
            "sweep", done, len(variants), f"{variant.name}{_left(runs, len(waiting) - number)}"
        )
        _do(do_stages, runs[variant], cache, progress)
        results = write_results(base, collect(base, all_runs))
    progress("sweep", len(variants), len(variants), "")
    remove_files(cache, "*.states*", "*.json")
    write_results(base, results, picture=True)
    return {**results, "asked": [variant.name for variant in variants]}


def in_order(variants: Sequence[Variant]) -> list[Variant]:
    """All variants with one seed before the next seed, so that an unfinished sweep compares like
    with like; lower boundaries first, so that higher ones go on from their states."""
    seeds = list(dict.fromkeys(variant.seed for variant in variants))
    return sorted(
        variants,
        key=lambda variant: (
            variant.is_trained and seeds.index(variant.seed),
            min(variant.blocks, default=0),
        ),
    )


def _do(do_stages: DoStages, run: Run, cache: Path, progress: Progress) -> None:
    note_failure(run, None)
    try:
        run_stages(do_stages, run.folder, OWN_STAGES, cache, progress)
    except UserError as error:
        note_failure(run, str(error))


def _left(runs: dict[Variant, Run], waiting: int) -> str:
    """An estimate of the time left, from the mean of those that are finished."""
    spent = [
        sum(entry.seconds for stage, entry in run.stages().items() if stage in OWN_STAGES)
        for run in runs.values()
        if is_finished(run)
    ]
    if not spent:
        return ""
    return f", about {sum(spent) / len(spent) * waiting / 60:.0f} min left"


def run_stages(
    do_stages: DoStages,
    folder: Path,
    stages: Sequence[str],
    shared_cache: Path | None,
    progress: Progress,
) -> None:
    """Do some stages of a run in a new process, which ends with this one, however this one ends.

    Raises:
        UserError: a stage cannot be done, or its process died; with the reason.
        OSError: the disk is full.
    """
    context = _context()
    receive, send = context.Pipe(duplex=False)
    child = context.Process(
        target=_work, args=(do_stages, folder, tuple(stages), shared_cache, send)
    )
    child.start()
    send.close()
    try:
        outcome = _follow(receive, progress)
        child.join()
    finally:
        if child.is_alive():
            child.terminate()
            child.join(GRACE_SECONDS)
        if child.is_alive():
            child.kill()
            child.join()
    if outcome is None:
        raise UserError(describe_end(child.exitcode or 0))
    if outcome == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if outcome:
        raise UserError(outcome)


def _context() -> SpawnContext | ForkServerContext:
    """Stage processes come out of one that has the libraries loaded, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.modeling_utils", "pandas"])
    return context


def _follow(receive: Connection, progress: Progress) -> str | None:
    """Pass progress on until the child says how it ended ("" is well) or is gone (None)."""
    while True:
        try:
            message: Any = receive.recv()
        except (EOFError, ConnectionResetError):
            return None
        if isinstance(message, str):
            return message
        progress(*message)


def describe_end(status: int) -> str:
    """How a process ended, by its exit status."""
    if status == -signal.SIGKILL:
        return "its process was killed, probably for want of memory"
    if status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _work(
    do_stages: DoStages,
    folder: Path,
    stages: Sequence[str],
    shared_cache: Path | None,
    send: Connection,
) -> None:
    """What the child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(label: str, done: int, total: int, note: str = "") -> None:
        send.send((label, done, total, note))

    with _told(send):
        do_stages(folder, stages, shared_cache, report)


@contextlib.contextmanager
def _told(send: Connection) -> Iterator[None]:
    """Tell the parent how the block ended."""
    outcome = ""
    try:
        yield
    except UserError as error:
        outcome = str(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            outcome = "full"
        else:
            traceback.print_exc()  # a bug, or memory that ran out: to be seen, but not to stop a sweep
            outcome = f"{type(error).__name__}: " + (str(error).strip().splitlines() or [""])[0]
    send.send(outcome)


def _end_with_parent() -> None:
    """A killed sweep must leave no process that goes on writing into its folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
