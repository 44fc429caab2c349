"""The fitted lens: an affine map from each layer's states to the last layer's, read with the same head.

The logit lens takes a middle layer's state for one of the last layer, and what the head makes of a state
in another basis may be the head's own habit. Here each layer is first mapped to the last one by the ridge
regression

    min over W, b of   mean_n w(n) |W h_l(n) + b - h_L(n)|^2   +   penalty * |W D|^2

over positions n of other texts, the same map for all languages; D are the standard deviations of the
layer's dimensions, and w(n) = 1 / |h_L(n)|^2 over its mean. Errors count relative to the state's size, since the norm before the head takes sizes
out. The penalty is the one that does best on texts held out.

Source: tuned lens, Belrose et al. 2023 (arXiv:2303.08112), which fits the same map by gradient descent on
the divergence of the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.models.batching import batches_by_length, right_padded
from linguamap.progress import Progress, silent

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

FIT_TOKENS = 4000
"""Tokens at most whose states are fitted on, those held out included."""
TEXT_TOKENS = 64
"""Of one text, so that many texts take part."""
HELD_EVERY = 5
"""One in so many texts is held out."""
PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Times the number of positions, on standardised dimensions."""
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class FittedLens:
    """Maps of the layers below the last one.

    Attributes:
        weights: (d_model, d_model) of layer 0..L-1, for rows of states; ``biases``: (d_model,).
        penalties: the chosen ones.
        explained: of layer 0..L-1 the share of the last layer's variance on the texts held out, in
            relative size; may lie below 0.
        n_fitted, n_held: positions.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    penalties: list[float]
    explained: list[float]
    n_fitted: int
    n_held: int

    def __call__(self, layer: int, states: Tensor) -> Tensor:
        """States (row, d_model) of a layer as the last layer's; those of the last are left alone."""
        if layer == len(self.weights):
            return states
        weight, bias = (one[layer].to(states.device) for one in (self.weights, self.biases))
        return (states.float() @ weight + bias).to(states.dtype)


def fit_lens(
    lm: LanguageModel, texts: Mapping[str, Sequence[str]], progress: Progress = silent
) -> FittedLens | None:
    """Fit each layer's map.

    Args:
        texts: language -> texts, none of which the lens reads. Languages take turns.
    Returns:
        None with fewer than two texts of two tokens.
    """
    turns = zip_longest(*(dict.fromkeys(filter(str.strip, own)) for own in texts.values()))
    spread = [text for turn in turns for text in turn if text is not None]
    token_ids = [ids[:TEXT_TOKENS] for ids in lm.tokenizer(spread)["input_ids"]] if spread else []
    chosen: list[list[int]] = []
    for ids in token_ids:
        if len(ids) > 1 and sum(map(len, chosen)) + len(ids) <= FIT_TOKENS:
            chosen.append(ids)
    if len(chosen) < 2:
        return None
    states, is_held = _states(lm, chosen, progress)
    target, fits = states.pop(), []
    for layer, own in enumerate(states):
        fits.append(_fit(own, target, is_held))
        progress("fitted lens", layer + 1, len(states), "layers")
    weights, biases, penalties, explained = (list(one) for one in zip(*fits, strict=True))
    n_held = int(is_held.sum())
    return FittedLens(weights, biases, penalties, explained, len(is_held) - n_held, n_held)


def _states(
    lm: LanguageModel, token_ids: Sequence[Sequence[int]], progress: Progress
) -> tuple[list[Tensor], Tensor]:
    """(position, d_model) of every layer, without each text's first position, which holds the massive
    activations; and which positions are of texts held out."""
    found: list[list[Tensor]] = [[] for _ in range(lm.n_layers + 1)]
    held: list[Tensor] = []
    batches = batches_by_length(list(map(len, token_ids)), BATCH_TOKENS)
    for done, batch in enumerate(batches, 1):
        ids, mask = right_padded([token_ids[j] for j in batch], lm.tokenizer.pad_token_id or 0)
        inside = mask.bool()
        inside[:, 0] = False

        def see(layer: int, hidden: Tensor, inside: Tensor = inside) -> None:
            found[layer].append(hidden[inside.to(hidden.device)].cpu())

        with lm.watch(range(lm.n_layers + 1), see):
            lm.run(ids, mask)
        rows = torch.tensor([j % HELD_EVERY == HELD_EVERY - 1 for j in batch])
        held.append(rows[:, None].expand_as(inside)[inside])
        progress("fitted lens: states", done, len(batches), "batches")
    is_held = torch.cat(held)
    if not is_held.any():  # under five texts
        is_held[-1] = True
    return [torch.cat(parts) for parts in found], is_held


def _fit(states: Tensor, target: Tensor, is_held: Tensor) -> tuple[Tensor, Tensor, float, float]:
    """One layer's weight, bias, penalty and explained share."""
    x, y = states.double(), target.double()
    size = y.square().mean(1).clamp_min(1e-12)
    share = (1 / size / (1 / size).mean())[:, None]  # of each row in all sums
    fit, held = ~is_held, is_held
    mean_x, mean_y = ((one * share)[fit].sum(0) / share[fit].sum() for one in (x, y))
    root = share.sqrt()
    xc, yc = (x - mean_x) * root, (y - mean_y) * root
    scale = xc[fit].square().mean(0).sqrt().clamp_min(1e-12)
    xc = xc / scale
    values, vectors = torch.linalg.eigh(xc[fit].T @ xc[fit])
    cross = vectors.T @ (xc[fit].T @ yc[fit])
    turned, total = xc[held] @ vectors, float(yc[held].square().sum())
    n = int(fit.sum())

    def error(penalty: float) -> float:
        guess = turned @ (cross / (values.clamp_min(0.0) + penalty * n)[:, None])
        return float((yc[held] - guess).square().sum())

    errors = {penalty: error(penalty) for penalty in PENALTIES}
    best = min(errors, key=errors.__getitem__)
    weight = vectors @ (cross / (values.clamp_min(0.0) + best * n)[:, None]) / scale[:, None]
    bias = mean_y - mean_x @ weight
    return weight.float(), bias.float(), best, 1 - errors[best] / max(total, 1e-12)
