"""How often do the paired tests err, and how often do the paired intervals cover? A simulation.

    PYTHONPATH=src python studies/paired_coverage.py                # 2,000 runs a row, two minutes
    PYTHONPATH=src python studies/paired_coverage.py --runs 100     # a short try

Two sets of answers to the same prompts, several prompts made from each item. A prompt flips (is right
in one set only) with a given chance. In some items all flips go the same way, right in the second set or
in the first; in the others each flip goes its own way. ``up`` is the chance of the way to the second; at
1/2 the two sets do not differ, and a test at level 0.05 should say so in 5 % of runs at most. Printed are
rows of two Markdown tables, with Wilson intervals of 95 %.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from linguamap.scoring.stats import (
    Difference,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    sign_flip,
    wilson,
)


@dataclass(frozen=True)
class Planted:
    """Items with their prompts, and how their answers flip."""

    n_items: int
    n_prompts: int
    flips: float
    together: float
    up: float = 0.5

    @property
    def difference(self) -> float:
        """The true one."""
        return self.flips * (2 * self.up - 1)

    def draw(self, rng: np.random.Generator) -> tuple[list[bool], list[bool], list[int]]:
        """First and second answers, and the item of each prompt."""
        shape = (self.n_items, self.n_prompts)
        both = rng.random(shape) < rng.random((self.n_items, 1))
        flipped = rng.random(shape) < self.flips
        whole = rng.random((self.n_items, 1)) < self.together
        up = np.where(whole, rng.random((self.n_items, 1)), rng.random(shape)) < self.up
        first, second = np.where(flipped, ~up, both), np.where(flipped, up, both)
        items = np.repeat(np.arange(self.n_items), self.n_prompts)
        return first.ravel().tolist(), second.ravel().tolist(), items.tolist()


POOLED = [
    Planted(24, 20, 0.25, 0.0),
    Planted(24, 20, 0.25, 0.3),
    Planted(24, 20, 0.25, 1.0),
    Planted(24, 20, 0.5, 0.3),
    Planted(24, 5, 0.03, 0.3),
    Planted(60, 20, 0.25, 0.3),
    Planted(8, 20, 0.25, 0.3),
    Planted(5, 20, 0.25, 0.3),
    Planted(24, 20, 0.25, 0.3, 0.7),
    Planted(8, 20, 0.25, 0.3, 0.7),
]
CELLS = [
    Planted(n, 1, flips, 0.0, up)
    for n in (3, 8, 24)
    for flips, up in ((0.05, 0.5), (0.25, 0.5), (0.25, 0.9))
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(
        "| items | prompts each | flips | whole items | up | p < 0.05: McNemar | sign flip |",
        end="",
    )
    print(" interval covers |\n" + "|" + "---|" * 8, flush=True)
    for planted in POOLED:
        print(_pooled_row(planted, options.runs, options.seed), flush=True)
    print("\n| items | flips | up | covers: bootstrap | of width 0 | Newcombe |")
    print("|" + "---|" * 6, flush=True)
    for planted in CELLS:
        print(_cell_row(planted, options.runs, options.seed), flush=True)


def _pooled_row(planted: Planted, runs: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    pairs = clusters = covered = 0
    for run in range(runs):
        first, second, items = planted.draw(rng)
        pairs += (mcnemar(first, second).p_value or 0) < 0.05
        clusters += (sign_flip(first, second, items).p_value or 0) < 0.05
        covered += _covers(paired_difference(first, second, items, seed=run), planted.difference)
    shares = (_share(count, runs) for count in (pairs, clusters, covered))
    return (
        f"| {planted.n_items} | {planted.n_prompts} | {planted.flips:.0%} | {planted.together:.0%} "
        f"| {planted.up:.0%} | {' | '.join(shares)} |"
    )


def _cell_row(planted: Planted, runs: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    plain = flat = covered = 0
    for run in range(runs):
        first, second, items = planted.draw(rng)
        drawn = paired_bootstrap(first, second, items, seed=run)
        plain += _covers(drawn, planted.difference)
        flat += drawn.low == drawn.high
        covered += _covers(paired_difference(first, second, items), planted.difference)
    shares = (_share(plain, runs), f"{flat / runs:.0%}", _share(covered, runs))
    return f"| {planted.n_items} | {planted.flips:.0%} | {planted.up:.0%} | {' | '.join(shares)} |"


def _covers(found: Difference, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low - 1e-9 <= truth <= found.high + 1e-9


def _share(count: int, runs: int) -> str:
    rate = wilson(count, runs)
    return f"{count / runs:.1%} ({rate.low:.1%} to {rate.high:.1%})"


if __name__ == "__main__":
    main()
