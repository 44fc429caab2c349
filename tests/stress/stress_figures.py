"""How many inputs the stress tests have tried; ``LINGUAMAP_STRESS_FIGURES`` names a file for the sums."""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter
from pathlib import Path

counted: Counter[str] = Counter()


def count(what: str) -> None:
    """One more of these."""
    counted[what] += 1


def _write() -> None:
    if (path := os.environ.get("LINGUAMAP_STRESS_FIGURES")) and counted:
        Path(path).write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")


atexit.register(_write)
