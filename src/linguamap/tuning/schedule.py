"""Learning rates of all steps, made by PyTorch's own schedulers before training starts.

A list that depends on the settings alone needs no state in a checkpoint.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR


def learning_rates(
    schedule: Literal["one_cycle", "cosine", "constant"], peak: float, steps: int
) -> list[float]:
    """The learning rate of each optimiser step.

    Args:
        schedule: ``one_cycle`` (PyTorch's OneCycleLR with its defaults, betas left alone),
            ``cosine`` (from ``peak`` to 0) or ``constant``.
        peak: the largest learning rate.
        steps: how many, at least 1.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler: LRScheduler | None = None
    if schedule == "one_cycle":
        scheduler = OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False)
    elif schedule == "cosine":
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last step() of OneCycleLR, and no optimizer.step()
        for step in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            if scheduler is not None and step + 1 < steps:
                scheduler.step()
    return rates
