"""Kills a run of a tiny random model again and again, and compares what it leaves with an unkilled one.

    python tests/stress/kill_campaign.py --runs 20 --seed 1 --minutes 7 --out FOLDER

Each run is killed at steps that the seed draws (see :mod:`killing`) until it ends by itself. Then every
file must have the bytes of the run that was never killed, but for those that hold times, whose other
contents must be equal, and no temporary file may be left. A later call with the same folder goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))  # as a program

from killing import arm
from tiny import save_tiny

from linguamap.cli import app as command_line
from linguamap.models import loading
from linguamap.models.language_model import LanguageModel
from linguamap.run.record import LOCK, RECORD
from linguamap.run.settings import load_config
from linguamap.scoring.language_id import make_identifier

SETTINGS = [
    "model.dtype=float32", "data.benchmarks=[sums]", "scenarios=[monolingual, code_mixed]",
    "evaluate.items=2", "evaluate.max_new_tokens=4", "evaluate.batch_size=4", "probe.items=2",
    "probe.similarity_items=8", "probe.handover_items=1", "probe.bootstrap=10", "locate.bootstrap=10",
    "tune.examples=16", "tune.epochs=2", "tune.batch_size=8",
]  # fmt: skip
MOST_STEPS = 1_000
"""A kill comes at one of so many first steps of a process, early ones more often than late ones; a whole
run has a few hundred, and a stage that must be done in one go about a hundred."""
FIRST_KILLS = 9
LONGEST_SECONDS = 240.0
TIMED_JSON = (
    "stages.json", "manifest.json", "layers.json", "tuned/tuning.json", "tuned/log.jsonl", "probe/probe.json",
    "probe_after/probe.json",
)  # fmt: skip
"""Files that hold times, sizes of memory or facts of the machine beside their contents."""
TIMED = re.compile(
    r"second|peak_memory|finished|inputs|outputs|cached_bytes|cache_|tokens_per_second|machine"
)
NOT_COMPARED = ("report.html", ".pdf", RECORD, LOCK)
"""The page shows those times; the record lists files in the order in which they were made; the library
that draws a PDF puts its parts in an order of chance."""


def arguments(model: Path, out: Path) -> list[str]:
    """The command of a whole small run."""
    flags = [flag for one in SETTINGS for flag in ("--set", one)]
    return ["run", "--model", str(model), "--languages", "en,es", "--out", str(out), *flags]


def warm(model: Path) -> None:
    """Have in memory what every attempt would load again: forked processes begin with it."""
    loaded = loading.load_model(load_config(None, [f"model.name={model}", SETTINGS[0]]).model)
    make_identifier("lingua", ["en", "es"]).identify("The cat sat on the mat and ate a fish.")

    def load_model(config: Any, *, verify: bool = True) -> LanguageModel:
        return copy.deepcopy(loaded)

    loading.load_model = load_model
    sys.modules["vl_convert"] = None  # type: ignore[assignment]  # figures would take most of the time


def call(command: list[str], kill: tuple[Path, int] | None, stderr: Path) -> int:
    """The exit status of one process; a negative one is the signal that ended it, -999 a hang."""
    if not (child := os.fork()):
        _command(command, kill, stderr)
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -999


def _command(command: list[str], kill: tuple[Path, int] | None, stderr: Path) -> NoReturn:
    status = 1
    try:
        for number, path in ((1, Path(os.devnull)), (2, stderr)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if kill is not None:
            arm(*kill)
        sys.argv = ["linguamap", *command]
        try:
            command_line.main()
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        else:
            status = 0
        sys.stderr.flush()
    finally:
        os._exit(status)


def contents(run: Path) -> dict[str, Any]:
    """File -> what two runs must agree in."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = path.relative_to(run).as_posix()
        if name in TIMED_JSON:
            rows = (
                path.read_text("utf-8").splitlines() if name.endswith("l") else [path.read_text()]
            )
            found[name] = [_untimed(json.loads(row)) for row in rows]
        else:
            found[name] = None if name.endswith(NOT_COMPARED) else path.read_bytes()
    return found


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(inner) for key, inner in value.items() if not TIMED.search(key)}
    return [_untimed(inner) for inner in value] if isinstance(value, list) else value


def differences(run: Path, reference: Path) -> list[str]:
    """Files that two runs do not agree in."""
    one, other = contents(run), contents(reference)
    return sorted(
        name for name in one.keys() | other.keys() if one.get(name, 0) != other.get(name, 0)
    )


def drawn_step(draw: random.Random, kills: int) -> int:
    """Early steps more often than late ones; from some kills on a run may also come to its end."""
    most = MOST_STEPS if kills >= FIRST_KILLS else MOST_STEPS // 8
    return round(math.exp(draw.uniform(0, math.log(most))))


def killed_run(model: Path, out: Path, draw: random.Random, faults: list[str]) -> int:
    """One run, killed until it ends by itself; the number of its kills."""
    kills = 0
    stderr = out.with_suffix(".stderr")
    while True:
        step = drawn_step(draw, kills)
        status = call(arguments(model, out), (out, step), stderr)
        said = stderr.read_text("utf-8", "replace")
        if status == -signal.SIGKILL:
            kills += 1
            print(out.name, "kill", kills, "at step", step, flush=True, file=sys.stderr)
        elif status == 0:
            return kills
        else:
            faults.append(f"{out.name}: status {status} after {kills} kills: {said[-1500:]}")
            return kills
        if "Traceback" in said:
            faults.append(f"{out.name}: a traceback before kill {kills}: {said[-1500:]}")


def campaign(folder: Path, runs: int, seed: int, minutes: float) -> dict[str, Any]:
    """Kill ``runs`` runs; what was found so far is in ``campaign.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "campaign.json"
    result: dict[str, Any] = {"runs": 0, "kills": 0, "faults": []}
    if noted.exists():
        result = json.loads(noted.read_text())
    model, reference = folder / "model", folder / "reference"
    if not model.exists():
        save_tiny(model, "llama", max_position_embeddings=4096)
    warm(model)
    if not (reference / "report.html").exists():
        status = call(arguments(model, reference), None, folder / "reference.stderr")
        assert status == 0, (folder / "reference.stderr").read_text()
    until = time.monotonic() + 60 * minutes
    while result["runs"] < runs and time.monotonic() < until:
        out = folder / f"run{result['runs']}"
        kills = killed_run(model, out, random.Random(f"{seed} {out.name}"), result["faults"])
        result["kills"] += kills
        result["runs"] += 1
        if left := [path.name for path in out.rglob("*.tmp")]:
            result["faults"].append(f"{out.name}: temporary files {left}")
        if differ := differences(out, reference):
            result["faults"].append(f"{out.name}: other bytes in {differ}")
        noted.write_text(json.dumps(result, indent=1))
    return result


def main() -> None:
    """Run the campaign and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    asked = parser.parse_args()
    result = campaign(asked.out.resolve(), asked.runs, asked.seed, asked.minutes)
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
