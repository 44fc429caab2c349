#!/usr/bin/env python3
"""Which rule would have chosen well: its scores against what training each block brought.

    linguamap choose --out RUN --rules ...      # the rules' scores, from training items alone
    python studies/blocks/judge.py starter RUN/layers.json

Prints the tables of docs/study.md. Rank correlations are Spearman's; p by 20,000 permutations of the blocks,
two-sided, Holm over the rules; regret against the best block, with a bootstrap over items.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

HERE = Path(__file__).parent
DOMAINS = ("trained", "language", "kind", "both")
DRAWS = 20_000


class Truth:
    """What training each block brought.

    Attributes:
        gains: domain -> (seed, block), nats of margin after the last checkpoint.
        language, both: (seed, block, prompt), 1 where the answer is in the language, and right as well.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.untuned = next(row for row in rows if row["stage"] == "untuned")
        single = [row for row in rows if row["stage"] == "truth" and len(row["blocks"]) == 1]
        seeds = sorted({row["seed"] for row in single})
        blocks = sorted({row["blocks"][0] for row in single})
        at = {(row["seed"], row["blocks"][0]): row for row in single}
        self.seeds = [s for s in seeds if all((s, block) in at for block in blocks)]
        self.blocks, self.rows = blocks, at
        self.items = np.array([name.split("/", 3)[-1] for name, _ in self.untuned["prompts"]])
        self.domains = np.array([domain for _, domain in self.untuned["prompts"]])
        self.counts = sorted(map(int, single[0]["margins"]))

    def gains(self, domain: str, count: int | None = None) -> np.ndarray:
        """(seed, block)."""
        mask = self.domains == domain
        before = np.array(self.untuned["margins"]["0"])[mask]
        name = str(count or self.counts[-1])
        return np.array(
            [
                [
                    (np.array(self.rows[s, b]["margins"][name])[mask] - before).mean()
                    for b in self.blocks
                ]
                for s in self.seeds
            ]
        )

    def outcomes(self, names: Sequence[str]) -> np.ndarray:
        """(seed, block, prompt): 1.0 where all of these are right."""
        return np.array(
            [
                [_all_right(self.rows[s, b]["answers"], names) for b in self.blocks]
                for s in self.seeds
            ],
            float,
        )

    def before(self, names: Sequence[str]) -> float:
        return float(_all_right(self.untuned["answers"], names).mean())

    def harm(self, codes: Sequence[str]) -> list[float]:
        """Rise of the nats per token by block, mean over languages; seed 0."""
        before = self.untuned["nats"]
        return [
            float(np.mean([self.rows[0, b]["nats"][c] - before[c] for c in codes]))
            for b in self.blocks
        ]


def _all_right(answers: dict[str, str], names: Sequence[str]) -> np.ndarray:
    """(prompt,)."""
    return np.all([np.array(list(answers[name])) == "y" for name in names], 0)


def permutation_p(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> float:
    found = abs(spearmanr(one, other).statistic)
    ranks = other.argsort().argsort()
    draws = [
        abs(np.corrcoef(one.argsort().argsort(), rng.permutation(ranks))[0, 1])
        for _ in range(DRAWS)
    ]
    return float((np.sum(np.array(draws) >= found - 1e-12) + 1) / (DRAWS + 1))


def holm(values: Sequence[float]) -> list[float]:
    order = np.argsort(values)
    corrected, least = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        least = max(least, min(1.0, values[at] * (len(values) - rank)))
        corrected[at] = least
    return corrected


def regret(truth: Truth, names: Sequence[str], chosen: int, rng: np.random.Generator) -> str:
    """Points below the best block, mean over seeds, and its 95 % bootstrap interval over items."""
    right = truth.outcomes(names).mean(0)
    best = int(right.mean(1).argmax())
    difference = right[best] - right[chosen]
    items = np.unique(truth.items)
    sums = np.array([difference[truth.items == item].sum() for item in items])
    sizes = np.array([(truth.items == item).sum() for item in items])
    draws = rng.integers(len(items), size=(4000, len(items)))
    low, high = np.quantile(sums[draws].sum(1) / sizes[draws].sum(1), [0.025, 0.975])
    return f"{100 * difference.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def block_table(truth: Truth, trained: Sequence[str]) -> str:
    codes = list(truth.untuned["nats"])
    other = [code for code in codes if code not in trained]
    gains = {name: truth.gains(name).mean(0) for name in DOMAINS}
    small = truth.gains("trained", truth.counts[0]).mean(0)
    language, both = (truth.outcomes(n).mean((0, 2)) for n in (["language"], ["language", "task"]))
    own, rest = truth.harm([c for c in codes if c in trained]), truth.harm(other)

    def share(block: int | None, column: str, letter: str) -> str:
        rows = (
            [truth.untuned] if block is None else [truth.rows[seed, block] for seed in truth.seeds]
        )
        marks = "".join(row["answers"][column] for row in rows)
        return f"{100 * marks.count(letter) / len(marks):.0f} %"

    def unjudged(block: int | None) -> str:
        return share(block, "language", "-")

    def circles(block: int | None) -> str:
        return share(block, "repeats", "y")

    lines = [
        f"| block | rate | gain | after {truth.counts[0]} examples | other language | other kind | both | "
        "in the language | not judged | right in both | going in circles | FLORES, trained | FLORES, others |",
        "|" + "---|" * 13,
        f"| none | | | | | | | {100 * truth.before(['language']):.0f} % | {unjudged(None)} | "
        f"{100 * truth.before(['language', 'task']):.0f} % | {circles(None)} | | |",
    ]
    for at, block in enumerate(truth.blocks):
        rate = truth.rows[truth.seeds[0], block]["rate"]
        cells = [gains["trained"][at], small[at], *(gains[d][at] for d in DOMAINS[1:])]
        lines.append(
            f"| {block} | {rate:g} | "
            + " | ".join(f"{value:+.2f}" for value in cells)
            + f" | {100 * language[at]:.0f} % | {unjudged(block)} | {100 * both[at]:.0f} % | {circles(block)} | "
            f"{own[at]:+.3f} | {rest[at]:+.3f} |"
        )
    return "\n".join(lines)


def rule_table(truth: Truth, rules: dict[str, Any]) -> str:
    rng = np.random.default_rng(0)
    gain = truth.gains("trained").mean(0)
    outside = np.mean([truth.gains(d).mean(0) for d in DOMAINS[1:]], 0)
    scores = {"index (last)": np.array(truth.blocks, float)}
    centre = (max(truth.blocks) + 1) / 2  # the last block is always among them
    scores["nearness to the middle"] = -abs(np.array(truth.blocks) - centre)
    for name, rule in rules.items():
        if rule.get("values"):
            scores[name] = np.array(rule["values"])[np.array(truth.blocks) - 1]
    ps = holm([permutation_p(score, gain, rng) for score in scores.values()])
    lines = [
        "| rule | rank correlation with the gain | p (Holm) | outside what is trained | its block | regret, language | "
        "regret, right in both |",
        "|" + "---|" * 7,
    ]
    for (name, score), p in zip(scores.items(), ps, strict=True):
        top = int(score.argmax())
        lines.append(
            f"| {name} | {spearmanr(score, gain).statistic:+.2f} | {p:.3f} | "
            f"{spearmanr(score, outside).statistic:+.2f} | {truth.blocks[top]} | "
            f"{regret(truth, ['language'], top, rng)} | {regret(truth, ['language', 'task'], top, rng)} |"
        )
    return "\n".join(lines)


def gate(truth: Truth) -> str:
    gains = truth.gains("trained")
    pairs = [
        spearmanr(gains[a], gains[b]).statistic
        for a in range(len(gains))
        for b in range(a + 1, len(gains))
    ]
    return ", ".join(f"{value:.2f}" for value in pairs) or "one seed only"


def report(model: str, rules: dict[str, Any]) -> str:
    path = HERE / "results" / f"{model}.jsonl"
    truth = Truth([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    plan = tomllib.loads((HERE / "plan.toml").read_text(encoding="utf-8"))[model]
    codes = list(truth.untuned["nats"])
    trained = [code for code in codes if code in plan["trained"]]
    other = [code for code in codes if code not in trained]
    index = np.array(truth.blocks)
    harms = [
        f"{name} {spearmanr(index, np.array(truth.harm(part))).statistic:+.2f}"
        for name, part in (("trained languages", trained), ("others", other))
    ]
    language = truth.outcomes(["language"]).mean((0, 2))
    return "\n\n".join(
        [
            f"Seeds: {', '.join(map(str, truth.seeds))}. Rank correlation of the gains between seeds: {gate(truth)}. "
            f"Between gain and share of answers in the language, over blocks: "
            f"{spearmanr(truth.gains('trained').mean(0), language).statistic:+.2f}.",
            block_table(truth, trained),
            rule_table(truth, rules),
            f"Rank correlation of harm with the block's number: {', '.join(harms)}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("layers", type=Path, nargs="?", help="layers.json of a run with the rules")
    parser.add_argument("--page", type=Path, help="write into this page between its marks")
    options = parser.parse_args()
    stored = HERE / "results" / f"{options.model}-rules.json"
    if options.layers:
        rules = json.loads(options.layers.read_text(encoding="utf-8"))["rules"]
        kept = {
            name: {key: rule.get(key) for key in ("values", "low", "high", "n", "blocks")}
            for name, rule in rules.items()
        }
        stored.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    rules = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    found = report(options.model, rules)
    print(found)
    if options.page:
        mark = rf"(<!-- study: {options.model} -->\n).*?(<!-- end -->)"
        text = options.page.read_text(encoding="utf-8")
        text, count = re.subn(mark, lambda m: f"{m[1]}\n{found}\n\n{m[2]}", text, flags=re.DOTALL)
        assert count == 1, options.page
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
