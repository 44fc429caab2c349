"""``bench/results.json``: one entry a figure, each with the code and the machine that it was taken on.

    {"job", "what",                     which bench, which case of it
     "value", "unit",                   linguamap's figure; null with "failed", the reason
     "peer", "peer_value", "ratio",     another tool's figure on the same work; above 1 speaks for linguamap
     "more": {...},                     further figures of the case, named by the bench
     "command", "commit", "date", "processor", "instructions", "cores", "threads", "versions", "others"}

``others`` is the share of the machine that other processes took meanwhile. Above :data:`BESIDE` the
figure was taken beside other work, and the page leaves it out.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results.json"
MADE = ("bench/results.json", "docs/benchmarks.md", "README.md")
"""What follows from figures; a change of these is no change of the code that is measured."""
BESIDE = 0.05
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "transformers", "lm_eval", "trl", "nnterp", "vllm")


def entry(
    what: str, value: float | None, unit: str, *, peer: str | None = None,
    peer_value: float | None = None, failed: str | None = None, **more: Any,
) -> Row:  # fmt: skip
    """A figure and, where a peer did the same work, how many times more the peer took."""
    ratio = peer_value / value if value and peer_value else None
    return {
        "what": what, "value": _short(value), "unit": unit, "peer": peer,
        "peer_value": _short(peer_value), "ratio": _short(ratio), "failed": failed,
        "more": {name: _short(one) for name, one in more.items()},
    }  # fmt: skip


def _short(value: Any) -> Any:
    """Four digits: no figure here is good for more."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def read(path: Path) -> list[Row]:
    """All entries; none where there is no file yet."""
    found: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return found


def replace(path: Path, job: str, entries: Sequence[Row]) -> None:
    """Put a job's entries in the place of those that it had."""
    kept = [one for one in read(path) if one["job"] != job]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps([*kept, *entries], indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)


def commit() -> str:
    """The commit that is measured, with a plus where the tree has other changes."""
    changed = _git("status", "--porcelain", "--", ".", *(f":!{path}" for path in MADE))
    return _git("rev-parse", "HEAD")[:12] + ("+" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> Row:
    """What a figure depends on beside the code."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    about = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    about = {name.strip(): value.strip() for name, value in about.items()}
    flags = about.get("flags", "").split()
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": about.get("model name", platform.machine()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Others:
    """How much of the machine other processes take while this one's children work."""

    def __init__(self) -> None:
        self.started, self.busy, self.own = time.monotonic(), _busy(), _own()

    def share(self) -> float:
        """Share in [0, 1] of all cores' time since the beginning."""
        room = (time.monotonic() - self.started) * (os.cpu_count() or 1)
        others = _busy() - self.busy - (_own() - self.own)
        return round(max(others, 0.0) / max(room, 1e-9), 3)


def _busy() -> float:
    """Seconds of all cores that were not idle, those stolen by other machines included."""
    fields = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = fields[3:5]
    return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
