"""Every bench in order, one at a time; ``bench/all.sh`` calls this.

    bench/all.sh                    # two quiet cores: about 35 minutes; goes on after a kill
    bench/all.sh --only lens,tune   # these alone, whether or not they are there
    bench/all.sh --quick --results /tmp/r.json --page /tmp/p.md    # a tiny model, one minute

A job whose figures are there for this commit is not measured again. One that fails or runs too long is
written down with its reason, and the next one goes on. At the end the page is made from the results.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import page
import results
from filelock import FileLock, Timeout

BENCH = Path(__file__).parent
PR_SET_CHILD_SUBREAPER = 36
"""Linux: orphans of a job become ours, and their processor time is not taken for others'."""


@dataclass(frozen=True)
class Job:
    """One bench.

    Attributes:
        full, quick: its arguments; ``TINY`` stands for the folder of a tiny model.
        minutes: after which it is ended; about twice what it takes.
    """

    script: str
    full: str
    quick: str
    minutes: int


_TUNE = "--examples 4 --epochs 2 --batch 2 --model TINY"
JOBS = {
    "main_job": Job("main_job.py", "", "--config bench/quick.yaml --model TINY", 40),
    "answers": Job(
        "answers.py", "--prompts 48", "--model TINY --prompts 4 --limit 6 --rows 2", 25
    ),
    "lens": Job("lens.py", "--texts 12", "--model TINY --texts 2 --peers transformers-rows,nnterp", 15),
    "tune": Job("tune.py", "--blocks last:2", f"{_TUNE} --blocks 2", 15),
    "tune_middle": Job("tune.py", "--blocks 9,10", f"{_TUNE} --blocks 2", 15),
    "tune_30": Job("tune.py", "--model smollm2 --blocks last:2", f"{_TUNE} --blocks 3,4", 15),
    "tune_trl": Job(
        "tune.py",
        "--blocks last:2 --examples 16 --epochs 2 --peers trl",
        f"{_TUNE} --blocks last:1 --peers trl",
        15,
    ),
    "growth": Job("growth.py", "", "--quick", 15),
}  # fmt: skip


def main() -> None:
    options = _options()
    try:
        with (
            FileLock(f"{options.results}.lock", timeout=0),
            tempfile.TemporaryDirectory() as scratch,
        ):
            tiny = _tiny(Path(scratch)) if options.quick else None
            for name in options.only or JOBS:
                _run(name, options, tiny, Path(scratch))
    except Timeout:
        sys.exit(f"{options.results}: another bench/all.sh is at work; wait for it or stop it")
    page.write(options.results, options.page)
    print("".join(page.tables(results.read(options.results))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model: does everything run?")
    parser.add_argument("--only", type=_names, help=f"of {', '.join(JOBS)}")
    parser.add_argument("--results", type=Path, default=results.RESULTS)
    parser.add_argument("--page", type=Path, default=page.PAGE)
    options = parser.parse_args()
    if options.quick and options.results == results.RESULTS:
        parser.error("--quick measures nothing; give other files with --results and --page")
    return options


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(JOBS)):
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} unknown; there are {', '.join(JOBS)}"
        )
    return names


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _tiny(scratch: Path) -> Path:
    """A random model of four blocks with its own tokenizer, as the tests use it."""
    sys.path.append(str(results.ROOT / "tests" / "support"))
    from tiny import save_tiny

    return save_tiny(scratch / "tiny", "gemma3_text", max_position_embeddings=2048)


def _run(name: str, options: argparse.Namespace, tiny: Path | None, scratch: Path) -> None:
    job, now = JOBS[name], results.commit()
    stored = [one for one in results.read(options.results) if one["job"] == name]
    if not options.only and stored and all(_is_valid(one, now) for one in stored):
        print(f"{name}: is there for {now}", file=sys.stderr)
        return
    quick = f"{job.quick} --threads 1"
    words = shlex.split(job.full if tiny is None else quick.replace("TINY", str(tiny)))
    command = [sys.executable, str(BENCH / job.script), *words]
    shown = shlex.join(["python", f"bench/{job.script}", *shlex.split(job.full)])
    print(f"{name}: {shown}", file=sys.stderr, flush=True)
    out = scratch / f"{name}.json"
    about = results.machine() | {"command": shown, "commit": now, "quick": options.quick}
    meanwhile = results.Others()
    failed = _call([*command, "--out", str(out)], job.minutes * 60)
    about |= {"others": meanwhile.share()}
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    if failed or not found:
        print(f"{name}: {failed or 'it found nothing'}", file=sys.stderr)
        found.append(results.entry(name, None, "", failed=failed or "it found nothing"))
    results.replace(options.results, name, [{"job": name, **one, **about} for one in found])


def _is_valid(entry: results.Row, now: str) -> bool:
    """Measured on this very code, and not in vain."""
    same = entry["commit"] == now and not now.endswith("+")
    return same and not entry["failed"] and entry["others"] <= results.BESIDE


def _call(command: list[str], seconds: int) -> str | None:
    """Run a job to its end and the end of all that it starts; why it failed, or None."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    before = _children()
    with tempfile.TemporaryFile("w+") as said:
        job = subprocess.Popen(command, stderr=said, env=environment, start_new_session=True)
        try:
            status = job.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"ended after {seconds // 60} minutes"
        finally:
            _end(job, before)
        said.seek(0)
        lines = said.read().strip().splitlines()
    print("\n".join(lines[-40:]), file=sys.stderr, flush=True)
    return f"exit {status}: {lines[-1][:300] if lines else 'no message'}" if status else None


def _end(job: subprocess.Popen[bytes], before: set[int]) -> None:
    """End what a job left behind, and wait for it, so that its time is counted as ours."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and (left := _children() - before):
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    main()
