"""Trainings in one of several processes, for tests: ``accelerate launch tune_program.py FOLDER JSON``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tuning_cases import spoken_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.run.processes import launched
from linguamap.tuning.run_tuning import tune


def train(folder: Path, out: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train a tiny model; ``kind``, ``layers`` and ``kill_at`` (a step) are not the config's."""
    kind, layers = settings.pop("kind", "llama"), tuple(settings.pop("layers", (3, 4)))
    kill_at = settings.pop("kill_at", None)
    processes = launched()

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if label == "tune" and done == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)

    lm = tiny_lm(folder / kind, kind, **settings.pop("changes", {}))
    return tune(
        lm, spoken_examples(22), TuneConfig.model_validate(settings), layers, folder / out,
        seed=2, progress=progress, processes=processes,
    )  # fmt: skip


if __name__ == "__main__":
    for out, settings in json.loads(sys.argv[2]).items():
        train(Path(sys.argv[1]), out, settings)
