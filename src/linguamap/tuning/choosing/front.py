"""What training some blocks would take, and which sets of blocks are worth it.

The prediction counts products of a weight with a token's states: one for the forward pass, one for the
gradient of the states, one for that of the weights. A block below the lowest trained one takes none,
since its states are kept; a frozen one above it takes two; a trained one three; the head two at each
target token. Attention between positions is left out, and so is the one pass in which states are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from linguamap.run.contents import BlockScores, CandidateSet, TrainingCost

LAYER_NUMBERS = 17
"""Numbers a block keeps for its backward pass, at each token and of d_model: 34 bytes of two-byte ones.
Source: Korthikanti et al. 2022 (arXiv:2205.05198), equation 1, without attention's scores."""
OPTIMISER_BYTES, HALF_OPTIMISER_BYTES = 12, 18
"""For a trained weight besides itself: gradient and two moments; of a half-precision one a float32 copy
with its gradient, too."""


def operations(
    blocks: Iterable[int], sizes: Sequence[int], head: int, tokens: int, target_tokens: int
) -> float:
    """Products of a weight with a token's states in training some blocks on so many tokens.

    Args:
        sizes: parameters of block 1..L.
        head: parameters of the head.
    """
    chosen = set(blocks)
    above = sum(sizes[min(chosen) - 1 :])
    trained = sum(sizes[block - 1] for block in chosen)
    return tokens * (2.0 * above + trained) + 2.0 * target_tokens * head


def memory_bytes(
    blocks: Iterable[int], sizes: Sequence[int], total: int, cost: TrainingCost
) -> int:
    """Weights from the lowest trained block on, the optimiser's numbers, and what the backward pass reads.

    Args:
        total: parameters of the whole model.
    """
    chosen = set(blocks)
    lowest = min(chosen)
    weights = (total - sum(sizes[: lowest - 1])) * cost.weight_bytes
    per_weight = HALF_OPTIMISER_BYTES if cost.weight_bytes == 2 else OPTIMISER_BYTES
    trained = sum(sizes[block - 1] for block in chosen) * per_weight
    n_above = len(sizes) - lowest + 1
    states = cost.batch_tokens * cost.d_model * LAYER_NUMBERS * n_above * cost.weight_bytes
    return weights + trained + states


def candidates(
    ranked: Sequence[int], scores: BlockScores, sizes: Sequence[int], total: int, cap: float
) -> list[tuple[tuple[int, ...], float, float]]:
    """For each lowest block, the best one, two, ... blocks from it on: blocks, gain, share.

    Args:
        ranked: the blocks that may be chosen, from the best to the worst.
        cap: on the share of the parameters.
    """
    values = [max(value, 0.0) for value in scores.values or ()]
    promised = sum(values)
    if not promised:
        return []
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    for lowest in ranked:
        chosen: list[int] = []
        for block in (one for one in ranked if one >= lowest):
            share = sum(sizes[one - 1] for one in (*chosen, block)) / total
            if share <= cap:
                chosen.append(block)
                gain = sum(values[one - 1] for one in chosen) / promised
                found[tuple(sorted(chosen))] = (gain, share)
    return [(blocks, *facts) for blocks, facts in found.items()]


def front(
    sets: Iterable[tuple[tuple[int, ...], float, float]],
    sizes: Sequence[int], total: int, cost: TrainingCost,
) -> tuple[CandidateSet, ...]:  # fmt: skip
    """The sets that no other one outdoes in gain, seconds and memory at once, the cheapest first."""
    priced = [
        CandidateSet(
            blocks,
            gain,
            share,
            operations(blocks, sizes, cost.head_parameters, cost.tokens, cost.target_tokens)
            * cost.seconds_per_operation,
            memory_bytes(blocks, sizes, total, cost),
        )
        for blocks, gain, share in sets
    ]
    kept: list[CandidateSet] = []
    for one in sorted(priced, key=lambda it: (it.seconds_per_epoch, -it.gain, it.memory_bytes)):
        if not any(it.gain >= one.gain and it.memory_bytes <= one.memory_bytes for it in kept):
            kept.append(one)
    return tuple(kept)


def cheapest(sets: Sequence[CandidateSet]) -> CandidateSet | None:
    """The set with the most gain a second."""
    return max(sets, key=lambda one: one.gain / one.seconds_per_epoch, default=None)
