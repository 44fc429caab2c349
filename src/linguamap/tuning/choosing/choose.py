"""Which blocks to tune: rules side by side, each with a score per block, its uncertainty and its cost.

=================  =================================================================================
rule               score of a block
=================  =================================================================================
lens               what the lead of the target language over English gains across it, mean over languages;
                   chosen are not the highest ones but the last from the boundary on, see ``locate``
handover           what the effect of the English twin's state gains across it, mean over languages
gradient           relative gradient norm: of the loss, over the norm of the weights
gradient_product   product of the gradients of two halves of the examples, which noise does not raise
gradient_sign      gradient of one half times the sign of the other's: the decrease that a step of equal
                   size in every weight, as Adam's, promises
step               decrease of the loss on one half after such a step on the other half's gradient
trial              decrease of the loss on groups held out after a few steps; the weaker half of the
                   blocks goes out, the others take twice as many, again
lora               rise of that loss when one block's adapter is taken out of a short LoRA on all of them;
                   chosen is greedily, the adapters joined one by one
last, middle       none: as many blocks at the end, or around the centre, as the cap allows
random             none: as many, drawn by the seed
=================  =================================================================================

Every rule but ``lens`` takes the blocks with the highest scores above 0, neighbours or not, until the cap
on the trained share is reached; for the aim ``cost`` any rule takes, of the sets on its front, the one with
the most predicted gain a second. The default is ``lens`` until a study has compared them.

Sources: relative gradient norm, Lee et al. 2023 (arXiv:2210.11466).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow.parquet as pq

from linguamap.records import UserError
from linguamap.run.contents import BlockScores, RuleName, TrainingCost, as_json
from linguamap.run.files import read_json
from linguamap.tuning.blocks import parse_layers
from linguamap.tuning.choosing.front import candidates, cheapest, front

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.run.contents import Layers

Measured = tuple[Mapping[RuleName, BlockScores], TrainingCost | None]
"""Scores, and what training costs; None where the blocks cannot be trained."""
RULES: tuple[RuleName, ...] = get_args(RuleName)
PLACES: tuple[RuleName, ...] = ("last", "middle", "random")
GRADIENTS: tuple[RuleName, ...] = ("gradient", "gradient_product", "gradient_sign")
FREE: tuple[RuleName, ...] = ("lens", "handover", *PLACES)
"""Rules that run no model: they are computed in every run."""
SIDE_BY_SIDE: tuple[RuleName, ...] = (*FREE, *GRADIENTS)
"""What ``linguamap choose`` compares; the others run the model for every block, and only if asked for."""

Curves = Mapping[str, Sequence[float | None]]
"""language -> (layer,)."""


def rule_names(text: str | None) -> tuple[RuleName, ...]:
    """The rules to compare: those of :data:`SIDE_BY_SIDE` and, with commas, others; or ``all``.

    Raises:
        UserError: there is no such rule.
    """
    others = [part.strip() for part in (text or "").split(",") if part.strip()]
    if others == ["all"]:
        return RULES
    if unknown := [name for name in others if name not in RULES]:
        raise UserError(
            f"choose: there is no rule '{unknown[0]}'; use all, or of {', '.join(RULES)}"
        )
    return tuple(name for name in RULES if name in SIDE_BY_SIDE or name in others)


class Choice:
    """The rules of one run.

    Attributes:
        located: what ``locate`` found.
        block_parameters: of block 1..L.
    """

    def __init__(self, located: dict[str, Any], probe: Path, config: RunConfig, seed: int) -> None:
        """Take up what the probes left.

        Args:
            probe: folder of ``probe.json`` and ``handover.parquet``.
            seed: of the random blocks.
        """
        self.located, self.probe, self.config, self.seed = located, probe, config, seed
        facts = read_json(probe / "probe.json")
        self.block_parameters: list[int] = facts["block_parameters"]
        self.total_parameters: int = facts["total_parameters"]
        self.aim = config.choose.aim

    def layers(
        self,
        names: Iterable[RuleName],
        measure: Callable[[Sequence[RuleName]], Measured],
        known: Layers | None = None,
    ) -> dict[str, Any]:
        """What ``layers.json`` holds: what was located, all rules' scores, and the rule's blocks.

        Args:
            names: the rules to compute.
            measure: the scores of those that run the model, and what training costs.
            known: rules that are computed already.
        Raises:
            UserError: the run's rule chooses no block.
        """
        wanted = [name for name in RULES if name in set(names)]
        measured = [name for name in wanted if name not in FREE]
        found, cost = dict(known.rules) if known else {}, known.cost if known else None
        if measured or (self.aim == "cost" and cost is None):
            scores, cost = measure(measured)
            found |= {name: self._with_blocks(own) for name, own in scores.items()}
        for name in (one for one in wanted if one in FREE):
            started = time.monotonic()
            found[name] = self._free(name).timed(time.monotonic() - started)
        if cost is not None:
            found = {name: self._priced(name, own, cost) for name, own in found.items()}
        rule = self.config.choose.rule
        chosen = found[rule]
        layers = {
            **self.located,
            "rule": rule,
            "aim": self.aim,
            "cost": as_json(cost),
            "rules": as_json({name: found[name] for name in RULES if name in found}),
        }
        if rule == "lens" and (self.aim == "quality" or not chosen.blocks):
            return layers  # what was located names its blocks, or why there are none
        if chosen.reason and not chosen.blocks:
            raise UserError(
                f"choose: the rule {rule} chooses no block ({chosen.reason}); take another choose.rule, "
                f"one of {', '.join(RULES)}"
            )
        return layers | {"tune_layers": list(chosen.blocks), "trainable_share": chosen.share}

    def _free(self, name: RuleName) -> BlockScores:
        if name == "lens":
            curves = {
                code: evidence["curves"]["lens"]["values"]
                for code, evidence in self.located["evidence"]["languages"].items()
                if "lens" in evidence["curves"]
            }
            scores = rises(curves, self.n_layers)
            blocks = tuple(self.located["tune_layers"])
            reason = None if blocks else self.located["evidence"]["reason"]
            return scores.choosing(blocks, self._share(blocks), reason)
        if name == "handover":
            return self._with_blocks(rises(handover_curves(self.probe), self.n_layers))
        count = self._most_last()
        if not count:
            return BlockScores(reason=self._too_large(min(self.block_parameters)))
        blocks = parse_layers(
            f"{name}:{count}", self.n_layers, self.seed, self.located["tune_layers"]
        )
        while self._share(blocks) > self.cap and len(blocks) > 1:  # blocks of other sizes
            blocks = blocks[1:]
        return BlockScores().choosing(blocks, self._share(blocks))

    @property
    def n_layers(self) -> int:
        return len(self.block_parameters)

    @property
    def cap(self) -> float:
        return self.config.locate.max_trainable_share

    def _share(self, blocks: Iterable[int]) -> float:
        return sum(self.block_parameters[block - 1] for block in blocks) / self.total_parameters

    def _most_last(self) -> int:
        """How many blocks at the end stay within the cap."""
        count = 0
        while (
            count < self.n_layers
            and self._share(range(self.n_layers - count, self.n_layers + 1)) <= self.cap
        ):
            count += 1
        return count

    def _ranked(self, scores: BlockScores) -> list[int]:
        """The blocks with a score above 0, the best one first."""
        values = scores.values or ()
        by_value = sorted(range(1, len(values) + 1), key=lambda block: (-values[block - 1], block))
        return [block for block in scores.order or by_value if values[block - 1] > 0]

    def _priced(self, name: RuleName, scores: BlockScores, cost: TrainingCost) -> BlockScores:
        """The scores with their front; for the aim ``cost`` the blocks are one of its sets."""
        last = self.located["tune_layers"][::-1]
        ranked = last if name == "lens" else self._ranked(scores)
        sizes, total = self.block_parameters, self.total_parameters
        sets = candidates(ranked, scores, sizes, total, self.cap)
        priced = dataclasses.replace(scores, front=front(sets, sizes, total, cost))
        best = cheapest(priced.front) if self.aim == "cost" else None
        return priced.choosing(best.blocks, best.share, scores.reason) if best else priced

    def _with_blocks(self, scores: BlockScores) -> BlockScores:
        """The blocks with the highest scores above 0 that stay within the cap together."""
        if scores.values is None:
            return scores
        blocks: list[int] = []
        positive = self._ranked(scores)
        for block in positive:
            if self._share([*blocks, block]) <= self.cap:
                blocks.append(block)
        reason = None
        if not positive:
            reason = "no block has a score above 0"
        elif not blocks:
            reason = self._too_large(self.block_parameters[positive[0] - 1])
        return scores.choosing(tuple(sorted(blocks)), self._share(blocks), reason)

    def _too_large(self, parameters: int) -> str:
        return (
            f"one block alone is {parameters / self.total_parameters:.1%} of the parameters, above the cap "
            f"of {self.cap:.1%}; raise locate.max_trainable_share"
        )


def rises(curves: Curves, n_layers: int) -> BlockScores:
    """What curves gain across each block: mean over languages, and the least and the most of them.

    Args:
        curves: layer 0 is what enters block 1. Languages with a gap are left out.
    """
    whole = [c for c in curves.values() if len(c) == n_layers + 1 and None not in c]
    if not whole:
        return BlockScores(reason="no language has a whole curve")
    gains = [[float(b or 0) - float(a or 0) for a, b in pairwise(c)] for c in whole]
    columns = list(zip(*gains, strict=True))
    return BlockScores(
        values=tuple(sum(column) / len(column) for column in columns),
        low=tuple(map(min, columns)),
        high=tuple(map(max, columns)),
        interval="range over languages",
        n=len(whole),
    )


def handover_curves(probe: Path) -> dict[str, list[float | None]]:
    """language -> (layer,) how far the English twin's state at a layer turns the next word."""
    path = probe / "handover.parquet"
    if not path.is_file():
        return {}
    curves: dict[str, dict[int, float | None]] = {}
    for row in pq.read_table(path).to_pylist():  # type: ignore[no-untyped-call]
        if row["intervention"] == "to_english" and row["layer"] >= 0:  # -1: nothing is done
            curves.setdefault(row["language"], {})[row["layer"]] = row["shift"]
    return {code: [curve[layer] for layer in sorted(curve)] for code, curve in curves.items()}


def mean_and_interval(rows: Sequence[Sequence[float]], n: int) -> BlockScores:
    """Scores (part, block) -> their mean, with the 95 % t interval over parts.

    Args:
        n: examples behind all of them.
    """
    from scipy.stats import t

    count = len(rows)
    columns = [tuple(column) for column in zip(*rows, strict=True)]
    means = [sum(column) / count for column in columns]
    if count < 2:
        return BlockScores(values=tuple(means), n=n)
    spread = [math.sqrt(sum((v - m) ** 2 for v in c) / (count - 1)) for c, m in zip(columns, means)]
    reach = [float(t.ppf(0.975, count - 1)) * one / math.sqrt(count) for one in spread]
    return BlockScores(
        values=tuple(means),
        low=tuple(m - r for m, r in zip(means, reach)),
        high=tuple(m + r for m, r in zip(means, reach)),
        interval=f"95 % t interval over {count} parts",
        n=n,
    )
