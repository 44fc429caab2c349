"""From curves to phases to blocks: a stated rule, its uncertainty, and when it has nothing to say.

Pure computation on the probes' tables; no model is needed. The rule and its reasons are
:data:`RULE`; ``docs/methods/probes.md`` explains them at length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from linguamap.probes.curves import Array, commitment, draws, overtakings, read_table
from linguamap.probes.evidence import (
    CONFIDENCE,
    RIVAL,
    Evidence,
    group_names,
    lens_evidence,
    similarity_evidence,
)
from linguamap.records import UserError
from linguamap.run.files import read_json
from linguamap.scoring.stats import expanded_tail

if TYPE_CHECKING:
    from linguamap.config import LocateConfig

WEIGHTS = {"lens": 0.5, "retrieval": 0.25, "centred": 0.25}

RULE = (
    "Per language other than English: (lens) the layer where the target language's words overtake "
    "the English ones for good, i.e. where (target - English) / (target + English) last crosses 0; "
    "(retrieval, centred) the layer where half of the fall from the plateau (best 3 consecutive "
    "layers) to the last layer is done, of retrieval at 1 above chance and of the centred cosine "
    "above its unrelated-pairs baseline, against English. The raw cosine has no say. A language's "
    "boundary is the mean of these, weighted 1/2, 1/4, 1/4, over those that exist; where their "
    "intervals lie more than one layer apart they are not averaged, and the lens's turn stands alone. "
    "A language has a boundary only "
    "if English leads by at least 0.1 in some layer, with a larger share of the words than the "
    "identifier gives it among random tokens, and the target leads in the last one, all "
    "beyond the bootstrap interval; a fall counts only from a tenth of its plateau on and beyond "
    "its interval. Over all: the median of the languages, if at least half of them have a boundary. "
    "late_start is the first whole layer at or after it; its interval is the percentile bootstrap "
    "over item groups, widened for few groups (Hesterberg 2015), and holds given the weights; "
    "late_start_range is what single curves would say. The rule's blocks are those from late_start on; "
    "tuned are the last of them, the lowest left out until the trainable share is under the cap. "
    "early_end: the median layer where half of retrieval's rise to its plateau is done, rounded down."
)


@dataclass(frozen=True)
class Boundary:
    """Where the late phase of one language begins, with the evidence for it."""

    language: str
    value: float | None
    samples: Array
    early_end: float | None
    evidence: tuple[Evidence, ...]
    reason: str | None
    curves_agree: bool = True


def locate(folder: Path, config: LocateConfig, seed: int = 0) -> dict[str, Any]:
    """The phases and the blocks to tune, from a probe folder.

    Args:
        folder: holds ``lens_items.parquet``, ``similarity_items.parquet`` and ``probe.json``.
    Returns:
        What ``layers.json`` holds; ``tune_layers`` is empty, and ``evidence.reason`` says why,
        where there is no late phase or one block is above the cap.
    Raises:
        UserError: a file is missing or broken.
    """
    missing = [n for n in ("lens_items.parquet", "probe.json") if not (folder / n).is_file()]
    if missing:
        raise UserError(f"locate: {folder} has no {missing[0]}; run `linguamap probe` first")
    facts = read_json(folder / "probe.json")
    path = folder / "similarity_items.parquet"
    layers = locate_layers(
        read_table(folder / "lens_items.parquet"),
        read_table(path) if path.is_file() else None,
        block_parameters=facts["block_parameters"],
        total_parameters=facts["total_parameters"],
        config=config,
        seed=seed,
        noise=facts.get("noise", {}).get("shares", {}).get(RIVAL, 0.0),
    )
    return layers | {
        "overtakes_english": overtakings(_rows(folder / "lens.parquet"), RIVAL),
        "fitted_overtakes_english": overtakings(_rows(folder / "fitted_lens.parquet"), RIVAL),
        "committed_layer": commitment(_rows(folder / "handover.parquet")),
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table of curves; none where it was not made."""
    return read_table(path).to_pylist() if path.is_file() else []


def locate_layers(
    lens: pa.Table,
    similarity: pa.Table | None,
    *,
    block_parameters: Sequence[int],
    total_parameters: int,
    config: LocateConfig,
    seed: int = 0,
    noise: float = 0.0,
) -> dict[str, Any]:
    """Apply :data:`RULE` to the per-item tables of the probes.

    Args:
        lens: columns of ``lens.ITEMS_SCHEMA``.
        similarity: columns of ``similarity.ITEMS_SCHEMA``, or None.
        block_parameters: parameters of block 1..L.
        total_parameters: of the whole model, tied weights counted once.
        noise: share of the words of random tokens that the identifier calls English.
    """
    n_layers = len(block_parameters)
    boundaries = language_boundaries(lens, similarity, config.bootstrap, seed, noise)
    tables = [lens] if similarity is None else [lens, similarity]
    n_groups = min(len(group_names(table)) for table in tables)
    value, interval, reason = combine(boundaries, n_groups)
    whole = None if interval is None else [math.ceil(limit - 1e-9) for limit in interval]
    late_start = None if value is None else min(max(math.ceil(value - 1e-9), 1), n_layers)
    early = [b.early_end for b in boundaries if b.value is not None and b.early_end is not None]
    early_end = math.floor(float(np.median(early))) if early and late_start else None
    if early_end is not None and late_start is not None and early_end >= late_start:
        early_end = None
    rule: list[int] = []
    blocks: list[int] = []
    cap = config.max_trainable_share
    if late_start is not None:
        rule = list(range(late_start, n_layers + 1))
        blocks, reason = choose_blocks(late_start, block_parameters, total_parameters, cap)
    turns = curve_turns(boundaries)
    whole_turns = [min(max(math.ceil(turn - 1e-9), 1), n_layers) for turn in turns.values()]
    fallback, _ = choose_blocks(n_layers, block_parameters, total_parameters, 1.0)
    return {
        "n_layers": n_layers,
        "phases": {"early_end": early_end, "late_start": late_start},
        "late_start_interval": whole,
        "curve_turns": turns,
        "late_start_range": [min(whole_turns), max(whole_turns)] if rule and turns else None,
        "rule_layers": rule,
        "tune_layers": blocks,
        "cap_effect": cap_effect(rule, blocks, cap) if rule else None,
        "trainable_share": sum(block_parameters[b - 1] for b in blocks) / total_parameters,
        "fallback_layers": fallback,
        "evidence": {
            "reason": reason,
            "boundary": value,
            "boundary_interval": interval,
            "rule": RULE,
            "weights": WEIGHTS,
            "confidence": CONFIDENCE,
            "bootstrap": config.bootstrap,
            "seed": seed,
            "max_trainable_share": config.max_trainable_share,
            "block_share": block_parameters[-1] / total_parameters,
            "n_lens_groups": len(group_names(lens)),
            "n_similarity_groups": 0 if similarity is None else len(group_names(similarity)),
            "languages": {b.language: _describe(b) for b in boundaries},
        },
    }


def language_boundaries(
    lens: pa.Table,
    similarity: pa.Table | None,
    n_draws: int,
    seed: int,
    noise: float = 0.0,
) -> list[Boundary]:
    """The boundary of each language other than English, all on the same bootstrap draws."""
    tables = [lens] if similarity is None else [lens, similarity]
    groups = sorted(set().union(*map(group_names, tables)))
    weights = draws(len(groups), n_draws, seed)
    targets = sorted(set(lens["target_language"].to_pylist()) - {RIVAL})
    found = []
    for target in targets:
        evidence = [lens_evidence(lens, target, groups, weights, noise)]
        early = None
        if similarity is not None:
            falls, early = similarity_evidence(similarity, target, groups, weights)
            evidence += falls
        found.append(_weigh(target, evidence, early))
    return found


def combine(
    boundaries: Sequence[Boundary], n_groups: int
) -> tuple[float | None, list[float] | None, str | None]:
    """Median over languages, its interval, and why there is none.

    Args:
        n_groups: groups that were resampled, of the table that has fewest.
    """
    if not boundaries:
        return None, None, "no language other than English was probed"
    known = [b for b in boundaries if b.value is not None]
    if 2 * len(known) < len(boundaries):
        why = "; ".join(f"{b.language}: {b.reason}" for b in boundaries if b.reason)
        return None, None, f"no late phase ({why})"
    value = float(np.median([b.value for b in known if b.value is not None]))
    samples = np.stack([b.samples for b in known])
    usable = samples[:, np.isfinite(samples).all(0)]
    if not usable.size:
        return value, None, None
    tail = expanded_tail(n_groups, CONFIDENCE)
    low, high = np.quantile(np.median(usable, 0), [tail, 1 - tail])
    return value, [float(low), float(high)], None


def choose_blocks(
    late_start: int, block_parameters: Sequence[int], total_parameters: int, cap: float
) -> tuple[list[int], str | None]:
    """The last blocks from ``late_start`` on that stay within the cap, or why there are none."""
    blocks: list[int] = []
    spent = 0
    for block in range(len(block_parameters), late_start - 1, -1):
        spent += block_parameters[block - 1]
        if spent / total_parameters > cap:
            break
        blocks.insert(0, block)
    if blocks:
        return blocks, None
    share = block_parameters[-1] / total_parameters
    return [], (
        f"the last block alone is {share:.1%} of the parameters, above the cap of {cap:.1%}; "
        "raise locate.max_trainable_share"
    )


def cap_effect(rule: Sequence[int], blocks: Sequence[int], cap: float) -> str:
    """In words: the blocks that the rule names, and what the cap on trained parameters leaves of them."""
    named = f"rule {_span(rule)}"
    if list(rule) == list(blocks):
        return f"{named}, within the cap of {cap:.0%}"
    return f"{named}, cap of {cap:.0%}: {_span(blocks) if blocks else 'none'}; the cap decided"


def _span(blocks: Sequence[int]) -> str:
    return f"{blocks[0]}-{blocks[-1]}" if len(blocks) > 1 else f"{blocks[0]}"


def curve_turns(boundaries: Sequence[Boundary]) -> dict[str, float]:
    """Curve -> what it alone would say: its median turn over the languages where it counts."""
    turns: dict[str, list[float]] = {}
    for boundary in boundaries:
        for one in boundary.evidence if boundary.reason is None else ():
            if one.reason is None and one.turn is not None:
                turns.setdefault(one.name, []).append(one.turn)
    return {name: float(np.median(values)) for name, values in turns.items()}


def _weigh(target: str, evidence: Sequence[Evidence], early: float | None) -> Boundary:
    lens = evidence[0]
    used = [e for e in evidence if e.reason is None and e.turn is not None]
    if lens not in used:
        nan = np.full(len(lens.turns), np.nan)
        return Boundary(target, None, nan, early, tuple(evidence), lens.reason)
    agree = curves_agree([_turn_interval(one.turns) for one in used])
    if not agree:
        used = [lens]
    weights = np.array([WEIGHTS[e.name] for e in used])
    weights = weights / weights.sum()
    turns = np.array([e.turn for e in used], dtype=np.float64)
    return Boundary(
        target,
        float(weights @ turns),
        weights @ np.stack([e.turns for e in used]),
        early,
        tuple(evidence),
        None,
        agree,
    )


def curves_agree(intervals: Sequence[list[float] | None]) -> bool:
    """Whether no two intervals lie more than a layer apart: blocks are whole layers."""
    known = [one for one in intervals if one is not None]
    return not known or max(low for low, _ in known) - min(high for _, high in known) <= 1.0


def _describe(boundary: Boundary) -> dict[str, Any]:
    return {
        "boundary": boundary.value,
        "reason": boundary.reason,
        "curves_agree": boundary.curves_agree,
        "rise_half_done": boundary.early_end,
        "curves": {
            e.name: {
                "turn": e.turn,
                "turn_interval": _turn_interval(e.turns),
                "counts": e.reason is None and boundary.reason is None,
                "reason": e.reason,
                "values": [round(float(v), 6) for v in e.curve],
            }
            for e in boundary.evidence
        },
    }


def _turn_interval(turns: Array) -> list[float] | None:
    finite = turns[np.isfinite(turns)]
    if not len(finite):
        return None
    tail = (1 - CONFIDENCE) / 2
    return [float(v) for v in np.quantile(finite, [tail, 1 - tail])]
