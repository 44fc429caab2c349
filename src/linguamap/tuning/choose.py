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
last, middle       none: as many blocks at the end, or around the centre, as the cap allows
random             none: as many, drawn by the seed
=================  =================================================================================

Every rule but ``lens`` takes the blocks with the highest scores above 0, neighbours or not, until the cap
on the trained share is reached. The default is ``lens`` until a study has compared them.

Sources: relative gradient norm, Lee et al. 2023 (arXiv:2210.11466).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow.parquet as pq

from linguamap.records import UserError
from linguamap.run.contents import BlockScores, RuleName, as_json
from linguamap.run.files import read_json
from linguamap.tuning.blocks import parse_layers

if TYPE_CHECKING:
    from linguamap.config import RunConfig

RULES: tuple[RuleName, ...] = get_args(RuleName)
PLACES: tuple[RuleName, ...] = ("last", "middle", "random")
GRADIENTS: tuple[RuleName, ...] = ("gradient", "gradient_product", "gradient_sign")
FREE: tuple[RuleName, ...] = ("lens", "handover", *PLACES)
"""Rules that run no model: they are computed in every run."""
SIDE_BY_SIDE: tuple[RuleName, ...] = (*FREE, *GRADIENTS)
"""What ``linguamap choose`` compares; ``step`` runs the model once a block, and only if asked for."""

Curves = Mapping[str, Sequence[float | None]]
"""language -> (layer,)."""


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

    def scores(
        self,
        names: Iterable[RuleName],
        measure: Callable[[Sequence[RuleName]], Mapping[RuleName, BlockScores]],
    ) -> dict[RuleName, BlockScores]:
        """Some rules' scores, and the blocks that each would tune.

        Args:
            measure: the scores of those that run the model.
        """
        wanted = [name for name in RULES if name in set(names)]
        measured = [name for name in wanted if name not in FREE]
        found = dict(measure(measured)) if measured else {}
        for name in wanted:
            if name in FREE:
                started = time.monotonic()
                scores = self._free(name)
                found[name] = scores.timed(time.monotonic() - started)
            else:
                found[name] = self._with_blocks(found[name])
        return {name: found[name] for name in wanted}

    def layers(self, rules: Mapping[RuleName, BlockScores]) -> dict[str, Any]:
        """What ``layers.json`` holds: what was located, all rules' scores, and the rule's blocks.

        Raises:
            UserError: the rule could not be computed.
        """
        rule = self.config.choose.rule
        chosen = rules[rule]
        layers = {**self.located, "rule": rule, "rules": as_json(dict(rules))}
        if rule == "lens":
            return layers
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

    def _with_blocks(self, scores: BlockScores) -> BlockScores:
        """The blocks with the highest scores above 0 that stay within the cap together."""
        if scores.values is None:
            return scores
        order = sorted(range(self.n_layers), key=lambda at: (-scores.values[at], at))  # type: ignore[index]
        blocks: list[int] = []
        positive = [at + 1 for at in order if scores.values[at] > 0]
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
