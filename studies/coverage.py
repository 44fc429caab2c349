"""How often does the boundary's interval cover the truth? A simulation on planted curves.

    PYTHONPATH=src:tests/support python studies/coverage.py                 # all settings, 400 runs each
    PYTHONPATH=src:tests/support python studies/coverage.py --runs 20       # a short try

Curves with a known turn are drawn item by item (``tests/support/planted.py``), :func:`locate_layers` is run on
each draw, and the share of intervals that hold the truth is printed as rows of a Markdown table, with
its Wilson interval. The truth is where the rule puts the boundary on the planted curves without noise:
a turn that is sharper than the layers' grid lies somewhere between two layers, and the rule
interpolates. ``late start off by`` compares with the planted turn itself, rounded up.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from planted import Planted, lens_table, similarity_table

from linguamap.config import LocateConfig
from linguamap.probes.evidence import half_fall, last_crossing, plateau_start
from linguamap.probes.locate import WEIGHTS, locate_layers
from linguamap.scoring.stats import wilson

BLOCK_PARAMETERS, TOTAL_PARAMETERS = 2, 100


@dataclass(frozen=True)
class Setting:
    """Planted curves, and how many item groups and languages are seen of them."""

    planted: Planted
    n_groups: int
    languages: str

    def locate(self, seed: int, n_draws: int) -> dict:  # type: ignore[type-arg]
        """The located boundary on one draw of items."""
        rng = np.random.default_rng(seed)
        codes = self.languages.split(",")
        return locate_layers(
            lens_table(self.planted, codes, self.n_groups, rng),
            similarity_table(self.planted, codes, self.n_groups, rng),
            block_parameters=[BLOCK_PARAMETERS] * self.planted.n_layers,
            total_parameters=TOTAL_PARAMETERS,
            config=LocateConfig(bootstrap=n_draws),
            seed=seed,
        )


def settings() -> list[Setting]:
    """Turns on and between layers, sharp and wide, calm and noisy, few and many items."""

    def one(
        turn: float, width: float, noise: float, n: int, languages: str, layers: int = 18
    ) -> Setting:
        planted = Planted(turn=turn, width=width, item_noise=noise, n_layers=layers)
        return Setting(planted, n, languages)

    return [
        one(13.6, 1.0, 0.15, 20, "es,ar"),
        one(13.5, 1.0, 0.15, 20, "es,ar"),
        one(14.05, 1.0, 0.15, 20, "es,ar"),
        one(14.5, 2.0, 0.2, 12, "es"),
        one(16.4, 0.5, 0.1, 30, "es,ar,hi"),
        one(13.9, 0.0, 0.15, 20, "es,ar"),
        one(12.3, 3.0, 0.15, 18, "es,ar,hi,fr,ja"),
        one(14.5, 1.0, 0.15, 6, "es,ar"),
        one(14.5, 2.0, 0.15, 60, "es,ar"),
        one(55.3, 2.5, 0.15, 18, "es,ar", 64),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--bootstrap", type=int, default=300, help="draws of each interval")
    parser.add_argument("--seed", type=int, default=5000, help="of the first run")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of settings, from 0")
    options = parser.parse_args()
    chosen = [s for i, s in enumerate(settings()) if options.only is None or i in options.only]
    print(
        "| turn | truth | width | noise | groups | languages | covered | 95 % | whole layer covered |",
        end="",
    )
    print(" too low | too high | mean error | late start off by 0 / 1 / more | no boundary |")
    print("|" + "---|" * 14, flush=True)
    for setting in chosen:
        found = (setting.locate(options.seed + i, options.bootstrap) for i in range(options.runs))
        print(_row(setting, found), flush=True)
    for n, noise in ((20, 0.1), (10, 0.1), (6, 0.2), (3, 0.2)):
        flat = Setting(Planted(flat=True, item_noise=noise), n, "es,ar")
        found = (flat.locate(options.seed + i, options.bootstrap) for i in range(options.runs // 2))
        false = sum(result["phases"]["late_start"] is not None for result in found)
        print(f"flat curves, {n} groups, noise {noise}: {false} of {options.runs // 2} located")


def _truth(planted: Planted) -> float:
    """The rule's boundary on the curves as they were planted."""
    own, english = planted.lens_shares()
    fall = planted.similarity_values()
    turns = {"lens": last_crossing((own - english)[1:]) + 1}
    turns |= dict.fromkeys(("retrieval", "centred"), half_fall(fall, plateau_start(fall)))
    return float(sum(WEIGHTS[name] * float(turn) for name, turn in turns.items()))


def _row(setting: Setting, results: Iterable[dict]) -> str:  # type: ignore[type-arg]
    planted = setting.planted
    truth, first_late = _truth(planted), math.ceil(planted.turn)
    covered, whole, low_side, high_side, without = 0, 0, 0, 0, 0
    errors: list[float] = []
    off = [0, 0, 0]
    n = 0
    for result in results:
        n += 1
        interval = result["evidence"]["boundary_interval"]
        if interval is None:
            without += 1
            continue
        low, high = interval
        start, end = result["late_start_interval"]
        whole += start <= first_late <= end
        hit = low <= truth <= high
        covered += hit
        low_side += not hit and high < truth
        high_side += not hit and high >= truth
        errors.append(result["evidence"]["boundary"] - truth)
        off[min(abs(result["phases"]["late_start"] - first_late), 2)] += 1
    share = wilson(covered, n)
    return (
        f"| {planted.turn} of {planted.n_layers} | {truth:.2f} | {planted.width} | {planted.item_noise} "
        f"| {setting.n_groups} | {setting.languages.count(',') + 1} | {covered / n:.1%} "
        f"| {share.low:.1%} to {share.high:.1%} | {whole / n:.1%} | {low_side / n:.1%} "
        f"| {high_side / n:.1%} | {np.mean(errors):+.2f} | {off[0]} / {off[1]} / {off[2]} "
        f"| {without} |"
    )


if __name__ == "__main__":
    main()
