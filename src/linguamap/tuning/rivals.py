"""Low-rank adapters (LoRA) through PEFT: the cheap rival of training whole blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from linguamap.records import UserError
from linguamap.tuning.layers import Trainable, check_layers, count_parameters

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

LORA_SCALE = 2.0
"""alpha / rank: what B @ A is multiplied by."""


def add_lora(lm: LanguageModel, layers: Sequence[int], rank: int) -> Trainable:
    """Put adapters beside every linear map of some blocks; only these get gradients.

    Args:
        layers: block numbers, 1..L.
        rank: of each adapter.
    Returns:
        The adapters' factors, named ``NAME.lora_A`` (rank, in) and ``NAME.lora_B`` (out, rank) after
        the weight that B @ A is added to.
    Raises:
        UserError: PEFT is not installed, or the blocks have no linear maps.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from transformers.pytorch_utils import Conv1D
    except ImportError:
        raise UserError(
            "tune: method 'lora' needs PEFT; run: pip install 'linguamap[lora]'"
        ) from None
    chosen = check_layers(layers, lm.n_layers)
    total = count_parameters(lm.model)
    inside = {id(m) for layer in chosen for m in lm.structure.blocks[layer - 1].modules()}
    linear = {
        name: isinstance(module, Conv1D)
        for name, module in lm.model.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear | Conv1D)
    }
    if not linear:
        raise UserError("tune: the chosen blocks have no linear maps for LoRA; use selective")
    for transposed in sorted(set(linear.values())):
        names = [name for name, value in linear.items() if value is transposed]
        config = LoraConfig(
            r=rank,
            lora_alpha=int(rank * LORA_SCALE),
            lora_dropout=0.0,
            target_modules=names,
            fan_in_fan_out=transposed,
        )
        inject_adapter_in_model(config, lm.model, adapter_name=f"linguamap{int(transposed)}")
    lm.model.requires_grad_(False)
    parameters: dict[str, nn.Parameter] = {}
    for name, parameter in lm.model.named_parameters():
        for factor in ("lora_A", "lora_B"):
            base, mark, _ = name.partition(f".{factor}.")
            if mark:
                parameter.requires_grad_(True)
                parameters[f"{base}.weight.{factor}"] = parameter
    return Trainable(chosen, parameters, total, lora_scale=LORA_SCALE)
