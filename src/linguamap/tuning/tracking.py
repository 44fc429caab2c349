"""Curves of a training in TensorBoard or Weights & Biases, through Accelerate's trackers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from linguamap.records import UserError

TrackerName = Literal["none", "tensorboard", "wandb"]
INSTALL = {
    "tensorboard": "pip install 'linguamap[tensorboard]'",
    "wandb": "pip install wandb",
}


class Tracker:
    """Sends numbers to a tracker, or nowhere."""

    def __init__(self, tracker: Any = None) -> None:
        self._tracker = tracker

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Note the numbers among ``values`` (None and text are left out) at an optimiser step."""
        if self._tracker is not None:
            numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
            self._tracker.log(numbers, step=step)

    def finish(self) -> None:
        """Write what is left."""
        if self._tracker is not None:
            self._tracker.finish()


def check_tracker(name: TrackerName) -> None:
    """Raise a :class:`UserError` if a tracker's library is not installed."""
    if name != "none" and find_spec(name) is None:
        raise UserError(
            f"tune: tune.tracker={name} needs the package {name}; run: {INSTALL[name]}, or set "
            "tune.tracker=none"
        )


def open_tracker(name: TrackerName, out: Path, config: Mapping[str, Any], step: int) -> Tracker:
    """Begin to track.

    Args:
        out: TensorBoard's event files go to ``out/tensorboard``, W&B's to ``out/wandb``.
        config: settings to keep with the curves.
        step: finished steps; what a killed training noted after it is hidden again.
    Raises:
        UserError: the library is not installed, or the tracker cannot start.
    """
    if name == "none":
        return Tracker()
    check_tracker(name)
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()  # the trackers ask it which process they are in
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    made: Any
    try:
        if name == "tensorboard":
            made = TensorBoardTracker("tensorboard", out, purge_step=step + 1)
        else:
            made = WandBTracker("linguamap", dir=str(out), config=dict(config))
        made.start()
    except Exception as error:  # no login, no network, no room: the libraries' own classes
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
        advice = "run wandb login, or " if name == "wandb" else ""
        raise UserError(
            f"tune: tracker {name} cannot start ({line}); {advice}set tune.tracker=none"
        ) from error
    return Tracker(made)
