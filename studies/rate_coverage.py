"""How often does the interval of a pooled rate hold the truth? A simulation of ``clustered_rate``.

    PYTHONPATH=src python studies/rate_coverage.py                # 3,000 runs a row, two minutes
    PYTHONPATH=src python studies/rate_coverage.py --runs 100     # a short try

Items have their own chance of a right answer, drawn from a beta distribution with mean p; icc is the
correlation of two answers to one item. Each is asked in 21 prompts. Printed are rows of a Markdown table:
the share of runs whose 95 % interval holds p, and the interval's mean width.
"""

from __future__ import annotations

import argparse

import numpy as np

from linguamap.scoring.stats import clustered_rate, wilson

PROMPTS = 21


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(
        "| items | p | icc | covers | width | Wilson, prompts as independent |\n" + "|---" * 6 + "|"
    )
    for n_items in (8, 9, 24):
        for p in (0.25, 0.9, 0.97):
            for icc in (0.1, 0.3, 0.6):
                print(_row(n_items, p, icc, options.runs, options.seed), flush=True)


def _row(n_items: int, p: float, icc: float, runs: int, seed: int) -> str:
    random = np.random.default_rng(seed)
    items = np.repeat(np.arange(n_items), PROMPTS).tolist()
    a, b = p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc
    covered = plain_covered = 0
    width = 0.0
    for _ in range(runs):
        right = random.random(len(items)) < np.repeat(random.beta(a, b, n_items), PROMPTS)
        rate = clustered_rate(right.tolist(), items)
        plain = wilson(int(right.sum()), len(items))
        assert rate.low is not None
        assert rate.high is not None
        assert plain.low is not None
        assert plain.high is not None
        covered += rate.low <= p <= rate.high
        plain_covered += plain.low <= p <= plain.high
        width += rate.high - rate.low
    return (
        f"| {n_items} | {p} | {icc} | {covered / runs:.1%} | {width / runs:.3f} "
        f"| {plain_covered / runs:.1%} |"
    )


if __name__ == "__main__":
    main()
