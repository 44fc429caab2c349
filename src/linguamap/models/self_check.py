"""The self-check at load: proof that the probes read and change what they think they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.config import EvaluateConfig
from linguamap.models.structure import probe_forward, probe_ids
from linguamap.records import Prompt, UserError

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-8, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest deviation allowed, relative to the largest value compared. Half precision rounds
differently in batches of other shapes; a missing norm, scale or soft-cap is far beyond this."""


@dataclass(frozen=True)
class Check:
    """One promise about a model, whether it holds, and the figures behind that."""

    name: str
    passed: bool
    detail: str


def check_model(lm: LanguageModel) -> list[Check]:
    """Check that lens, hooks and changes to blocks do what the probes assume.

    Whether the cache holds is also noted in ``lm.cache_fault``, by which the model is served.

    Returns:
        Six checks: ``lens`` (last layer's lens equals the logits), ``hooks`` (layers 0..L-1 equal
        ``output_hidden_states``, whose last entry is usually normed), ``order`` (changing a layer
        changes the layers from there on and none before), ``effect`` (and the logits),
        ``causal`` (a later token changes no earlier position), ``cache`` (rows decoded together
        with the model's cache get the logits of each text alone without one). The last always
        passes: a model without a usable cache is served without one, and ``detail`` says so.
    """
    ids = probe_ids(lm.model)
    layers = list(range(lm.n_layers + 1))
    states: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        states[layer] = hidden.clone()

    with lm.watch(layers, keep):
        output = probe_forward(lm.model, ids, output_hidden_states=True)
    logits: Tensor = output.logits
    return [
        _check_lens(lm, states[lm.n_layers], logits),
        _check_hooks(lm, states, output.hidden_states),
        *_check_order(lm, ids, states, logits),
        _check_causal(lm, ids, logits),
        _check_cache(lm),
    ]


def verify_model(lm: LanguageModel) -> None:
    """Raise a :class:`UserError` that names the first check that failed."""
    for check in check_model(lm):
        if not check.passed:
            raise UserError(
                f"model: {lm.name} fails the self-check '{check.name}' ({check.detail}); its "
                "probes would be wrong. `linguamap doctor` shows all checks"
            )


def _deviation(a: Tensor, b: Tensor) -> float:
    b = b.to(a.device)
    if a.shape != b.shape:
        return float("inf")
    return float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12))


def _allowed(lm: LanguageModel) -> float:
    return TOLERANCE.get(lm.dtype, TOLERANCE[torch.bfloat16])


def _check_lens(lm: LanguageModel, last: Tensor, logits: Tensor) -> Check:
    deviation = _deviation(lm.project(last), logits)
    return Check(
        "lens",
        deviation <= _allowed(lm),
        f"lens at layer {lm.n_layers} against logits: {deviation:.1e}, allowed {_allowed(lm):.0e}",
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
        worst = max(_deviation(states[i + first], reported[i]) for i in range(lm.n_layers))
        if worst <= _allowed(lm):
            break
    detail = f"layers {first} to {lm.n_layers - 1 + first} against output_hidden_states"
    return Check("hooks", worst <= _allowed(lm), f"{detail}: {worst:.1e}")


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
            moved[layer] = _deviation(seen, states[layer]) > _allowed(lm) / 10
            return changed

        with lm.watch(range(lm.n_layers + 1), disturb):
            changed_logits = probe_forward(lm.model, ids).logits
        wrong += [
            f"block {target} changed, layer {layer} {'moved' if has_moved else 'did not move'}"
            for layer, has_moved in moved.items()
            if has_moved != (layer >= target)
        ]
        if _deviation(changed_logits, logits) <= _allowed(lm) / 10:
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
    changed = probe_forward(lm.model, other).logits
    deviation = _deviation(changed[:, :-1], logits[:, :-1])
    return Check(
        "causal",
        deviation <= _allowed(lm),
        f"another last token moves earlier logits by {deviation:.1e}",
    )


def _check_cache(lm: LanguageModel) -> Check:
    lm.cache_fault = None  # the cache is tried as if it held
    try:
        deviation = _cache_deviation(lm)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a cache may fail in any way; the reason is kept
        lines = str(error).strip().splitlines() or [""]
        lm.cache_fault = f"{type(error).__name__}: {lines[0]}"
    else:
        found = f"rows decoded with it against whole texts: {deviation:.1e}"
        if deviation <= _allowed(lm):
            return Check("cache", True, f"{found}, allowed {_allowed(lm):.0e}")
        lm.cache_fault = found
    detail = f"cannot be used ({lm.cache_fault}); answers are slow, and there is no handover"
    return Check("cache", True, detail)


@torch.no_grad()
def _cache_deviation(lm: LanguageModel) -> float:
    """Largest deviation of logits over two rows and the tokens after them.

    The rows differ in length; the longer one takes its first tokens from a beginning that was read
    before, and leaves after the first token that follows.
    """
    from linguamap.generation.decoder import Decoder, Encoded
    from linguamap.generation.shared_prefix import Beginning, BeginningStates

    ids = probe_ids(lm.model)[0].tolist()
    prompt = Prompt("check", "check", "open", "en", "monolingual", (), ())
    texts = [Encoded(prompt, ids, Beginning(tuple(ids[:4]))), Encoded(prompt, ids[:1:-2])]
    decoder = Decoder(lm, EvaluateConfig(), (), 0, BeginningStates(lm))
    rows, logits = decoder.read(texts, 0)
    written: list[list[int]] = [list(one.token_ids) for one in texts]
    found: list[list[Tensor]] = [[] for _ in texts]
    for keep in ([0, 1], [1], []):
        rows.newest = logits.argmax(-1)
        for place, token, row in zip(rows.places, rows.newest.tolist(), logits, strict=True):
            written[place].append(token)
            found[place].append(row)
        if keep:
            rows.keep([rows.places.index(place) for place in keep])
            logits = decoder.step(rows, texts)
    worst = 0.0
    for whole, steps in zip(written, found, strict=True):
        alone = torch.tensor([whole[:-1]], device=lm.device)
        expected = probe_forward(lm.model, alone).logits[0, -len(steps) :]
        worst = max(worst, _deviation(torch.stack(steps), expected))
    return worst
