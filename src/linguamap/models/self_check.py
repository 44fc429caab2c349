"""The self-check at load: proof that the probes read and change what they think they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.models.trial_pass import (
    Check,
    allowed_deviation,
    relative_deviation,
    trial_forward,
    trial_ids,
)
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


def check_model(lm: LanguageModel) -> list[Check]:
    """Check that lens, hooks and changes to blocks do what the probes assume.

    Returns:
        Five checks: ``lens`` (last layer's lens equals the logits), ``hooks`` (layers 0..L-1 equal
        ``output_hidden_states``, whose last entry is usually normed), ``order`` (changing a layer
        changes the layers from there on and none before), ``effect`` (and the logits),
        ``causal`` (a later token changes no earlier position). Whether the model's cache can be used
        is checked by those who decode (:mod:`linguamap.generation.cache_check`).
    """
    ids = trial_ids(lm.model)
    layers = list(range(lm.n_layers + 1))
    states: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        states[layer] = hidden.clone()

    with lm.watch(layers, keep):
        output = trial_forward(lm.model, ids, output_hidden_states=True)
    logits: Tensor = output.logits
    return [
        _check_lens(lm, states[lm.n_layers], logits),
        _check_hooks(lm, states, output.hidden_states),
        *_check_order(lm, ids, states, logits),
        _check_causal(lm, ids, logits),
    ]


def verify_model(lm: LanguageModel) -> None:
    """Raise a :class:`UserError` that names the first check that failed."""
    for check in check_model(lm):
        if not check.passed:
            raise UserError(
                f"model: {lm.name} fails the self-check '{check.name}' ({check.detail}); its "
                "probes would be wrong. `linguamap doctor` shows all checks"
            )


def _check_lens(lm: LanguageModel, last: Tensor, logits: Tensor) -> Check:
    deviation = relative_deviation(lm.project(last), logits)
    return Check(
        "lens",
        deviation <= allowed_deviation(lm.dtype),
        f"lens at layer {lm.n_layers} against logits: {deviation:.1e}, allowed {allowed_deviation(lm.dtype):.0e}",
    )


def _check_hooks(
    lm: LanguageModel, states: dict[int, Tensor], reported: tuple[Tensor, ...] | None
) -> Check:
    if reported is None:
        return Check("hooks", False, "the model reports no hidden states")
    if len(reported) != lm.n_layers + 1:
        detail = f"{lm.n_layers} blocks found, but {len(reported)} hidden states reported"
        return Check("hooks", False, detail)
    for first in (0, 1):  # state-space models report the blocks without the embedding
        worst = max(relative_deviation(states[i + first], reported[i]) for i in range(lm.n_layers))
        if worst <= allowed_deviation(lm.dtype):
            break
    detail = f"layers {first} to {lm.n_layers - 1 + first} against output_hidden_states"
    return Check("hooks", worst <= allowed_deviation(lm.dtype), f"{detail}: {worst:.1e}")


def _check_order(
    lm: LanguageModel, ids: Tensor, states: dict[int, Tensor], logits: Tensor
) -> list[Check]:
    """Disturb the output of the first, middle and last block, and see which layers move."""
    wrong: list[str] = []
    without_effect: list[int] = []
    for target in sorted({1, (lm.n_layers + 1) // 2, lm.n_layers}):
        noise = torch.randn(states[target].shape, generator=torch.Generator().manual_seed(target))
        shift = noise.to(states[target]) * states[target].double().std().to(states[target])
        moved: dict[int, bool] = {}

        def disturb(
            layer: int,
            hidden: Tensor,
            target: int = target,
            shift: Tensor = shift,
            moved: dict[int, bool] = moved,
        ) -> Tensor | None:
            changed = hidden + shift if layer == target else None
            seen = hidden if changed is None else changed
            moved[layer] = (
                relative_deviation(seen, states[layer]) > allowed_deviation(lm.dtype) / 10
            )
            return changed

        with lm.watch(range(lm.n_layers + 1), disturb):
            changed_logits = trial_forward(lm.model, ids).logits
        wrong += [
            f"block {target} changed, layer {layer} {'moved' if has_moved else 'did not move'}"
            for layer, has_moved in moved.items()
            if has_moved != (layer >= target)
        ]
        if relative_deviation(changed_logits, logits) <= allowed_deviation(lm.dtype) / 10:
            without_effect.append(target)
    return [
        Check("order", not wrong, wrong[0] if wrong else "a changed block moves what follows only"),
        Check(
            "effect",
            not without_effect,
            f"changing block {without_effect[0]} leaves the logits as they were"
            if without_effect
            else "changed blocks change the logits",
        ),
    ]


def _check_causal(lm: LanguageModel, ids: Tensor, logits: Tensor) -> Check:
    other = ids.clone()
    other[0, -1] = ids[0, 0]
    changed = trial_forward(lm.model, other).logits
    deviation = relative_deviation(changed[:, :-1], logits[:, :-1])
    return Check(
        "causal",
        deviation <= allowed_deviation(lm.dtype),
        f"another last token moves earlier logits by {deviation:.1e}",
    )
