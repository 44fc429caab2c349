#!/usr/bin/env python3
"""How many items find a loss of accuracy, and which loss a run of n items can find.

python studies/power.py PILOT_RUN... [--loss 0.05] [--power 0.8]

A pilot run asks the same questions twice, in the scenarios monolingual and code_mixed: two readings of
one prompt that differ, as answers before and after tuning do. From them: accuracy p; the share d of
prompts of which just one reading is right; the correlation of the two (phi); and the correlation r
of the differences between the prompts of one item (its languages), by one-way analysis of variance.

McNemar's test, two-sided 5 % (Connor 1987, Biometrics 43:207): prompts needed for a loss of D
    n = (z_.975 sqrt(d) + z_power sqrt(d - D^2))^2 / D^2,
where d is not below D. The m prompts of an item are not m items: n is multiplied by 1 + (m - 1) r.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from linguamap.records import Answer
from linguamap.run.files import read_answers

SCENARIOS = ("monolingual", "code_mixed")
ITEMS = (8, 12, 24, 48, 100)
KINDS = 3


def differences(answers: Sequence[Answer]) -> tuple[dict[tuple[str, str], list[int]], np.ndarray]:
    """By item: right monolingually minus right code-mixed, a value a language; and all pairs."""
    right: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in answers:
        if one.scenario in SCENARIOS and one.language != "en":  # English is the same text twice
            right[one.item][one.language].append(int(one.task_correct or 0))
    pairs = {
        item: [two for two in of.values() if len(two) == len(SCENARIOS)]
        for item, of in right.items()
    }
    table = np.array([two for of in pairs.values() for two in of])
    return {item: [a - b for a, b in of] for item, of in pairs.items()}, table


def intraclass(groups: Mapping[tuple[str, str], Sequence[int]]) -> float:
    """One-way analysis of variance; not below 0."""
    sizes = np.array([len(values) for values in groups.values()])
    means = np.array([np.mean(values) for values in groups.values()])
    every = np.concatenate([np.asarray(values, float) for values in groups.values()])
    m = sizes.mean()
    between = float((sizes * (means - every.mean()) ** 2).sum()) / (len(sizes) - 1)
    within = sum(float(((np.asarray(v) - np.mean(v)) ** 2).sum()) for v in groups.values())
    within /= len(every) - len(sizes)
    return max(0.0, (between - within) / (between + (m - 1) * within))


def prompts_needed(loss: float, discordant: float, power: float) -> float:
    """Independent pairs that find a loss of accuracy."""
    d = max(discordant, loss)
    root = norm.ppf(0.975) * np.sqrt(d) + norm.ppf(power) * np.sqrt(d - loss**2)
    return float(root**2 / loss**2)


def smallest_loss(n: float, discordant: float, power: float) -> float:
    """The loss that n independent pairs find."""
    losses = np.arange(0.005, 1.0, 0.001)
    return float(next((x for x in losses if prompts_needed(x, discordant, power) <= n), 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--loss", type=float, default=0.05)
    parser.add_argument("--power", type=float, default=0.8)
    options = parser.parse_args()
    for run in options.runs:
        groups, pairs = differences(read_answers(run / "before" / "answers.jsonl"))
        d = float((pairs[:, 0] != pairs[:, 1]).mean())
        phi = float(np.corrcoef(pairs.T)[0, 1])
        r = intraclass(groups)
        m = len(pairs) / len(groups)
        print(
            f"{run.name}: {len(groups)} items, {len(pairs)} pairs; p {pairs[:, 0].mean():.2f}, "
            f"discordant {d:.2f}, phi {phi:.2f}, r {r:.2f}"
        )
        effect = 1 + (m - 1) * r
        n = prompts_needed(options.loss, d, options.power) * effect
        print(
            f"a loss of {100 * options.loss:g} points, power {options.power:g}: {n:.0f} prompts "
            f"of one scenario, {n / m:.0f} items in {m:g} languages"
        )
        for items in ITEMS:
            found = smallest_loss(KINDS * items * m / effect, d, options.power)
            print(f"  {items} items of each of {KINDS} kinds: {100 * found:.1f} points")


if __name__ == "__main__":
    main()
