"""What is trained: finding the chosen blocks' parameters (or putting adapters in), freezing the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from linguamap.records import UserError
from linguamap.tuning.blocks import check_layers

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


@dataclass(frozen=True)
class Trainable:
    """The parameters that get gradients; everything else is frozen.

    Attributes:
        layers: the chosen blocks, 1..L.
        parameters: state-dict name -> parameter, in the model's order.
        total_parameters: of the whole model, tied ones once.
        untied: whether the head was given its own weights.
        lora_scale: what adapters are multiplied by; None if whole weights are trained.
    """

    layers: tuple[int, ...]
    parameters: dict[str, nn.Parameter]
    total_parameters: int
    untied: bool = False
    lora_scale: float | None = None

    @property
    def count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def share(self) -> float:
        """Trained parameters over all, in [0, 1]."""
        return self.count / self.total_parameters


def choose_parameters(
    lm: LanguageModel,
    layers: Sequence[int],
    *,
    train_norm: bool = False,
    train_head: bool = False,
) -> Trainable:
    """Freeze a model except for some blocks, chosen by module identity.

    A head that shares its weights with the embedding gets a copy of its own if it is to be trained:
    the embedding feeds the frozen prefix and must not change.

    Args:
        layers: block numbers, 1..L.
        train_norm: also the modules between the last block and the head.
        train_head: also the head.
    Raises:
        UserError: nothing to train; quantised or shared weights among the chosen blocks.
    """
    chosen = check_layers(layers, lm.n_layers)
    total = count_parameters(lm.model)
    modules = [lm.structure.blocks[layer - 1] for layer in chosen]
    untied = False
    if train_norm:
        modules.extend(lm.structure.tail)
    if train_head:
        untied = untie_head(lm)
        modules.append(lm.structure.head)
    wanted = {id(parameter) for module in modules for parameter in module.parameters()}
    rest = [parameter for module in _others(lm, modules) for parameter in module.parameters(False)]
    if any(id(parameter) in wanted for parameter in rest):
        raise UserError(
            "layers: the chosen blocks share weights with frozen ones; train all of them (full)"
        )
    return freeze_except(lm.model, wanted, chosen, total, untied)


def choose_all(lm: LanguageModel) -> Trainable:
    """Full fine-tuning: every parameter, embedding and (tied) head too."""
    wanted = {id(parameter) for parameter in lm.model.parameters()}
    layers = tuple(range(1, lm.n_layers + 1))
    return freeze_except(lm.model, wanted, layers, count_parameters(lm.model), False)


def freeze_except(
    model: nn.Module, wanted: set[int], layers: tuple[int, ...], total: int, untied: bool
) -> Trainable:
    """Let gradients reach the parameters with these ids only.

    Raises:
        UserError: none is left, or one of them is quantised.
    """
    parameters: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if id(parameter) in wanted:
            if not parameter.is_floating_point():
                raise UserError(
                    f"layers: {name} is quantised and cannot be trained; load the model without "
                    "quantization, or use --method lora"
                )
            parameters[name] = parameter
    if not parameters:
        raise UserError("layers: the chosen blocks have no parameters, nothing would be trained")
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    return Trainable(layers, parameters, total, untied)


def is_tied(lm: LanguageModel) -> bool:
    """Whether head and embedding are one tensor."""
    head, embed = getattr(lm.structure.head, "weight", None), lm.structure.embed.weight
    return head is embed


def untie_head(lm: LanguageModel) -> bool:
    """Give the head its own copy of the embedding's weights; True if they were shared."""
    if not is_tied(lm):
        return False
    head: Any = lm.structure.head
    head.weight = nn.Parameter(torch.clone(head.weight.detach()))
    for config in {id(c): c for c in (lm.model.config, lm.model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    return True


def count_parameters(model: nn.Module) -> int:
    """All parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _others(lm: LanguageModel, modules: list[nn.Module]) -> list[nn.Module]:
    inside = {id(inner) for module in modules for inner in module.modules()}
    return [module for module in lm.model.modules() if id(module) not in inside]


LORA_SCALE = 2.0
"""alpha / rank: what B @ A is multiplied by."""


MAMBA = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
"""Architectures whose kernels read the output projection's weights themselves, past an adapter."""


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
    spared = "out_proj" if lm.model.config.model_type in MAMBA else None
    linear = {
        name: isinstance(module, Conv1D)
        for name, module in lm.model.named_modules()
        if id(module) in inside
        and isinstance(module, nn.Linear | Conv1D)
        and name.rpartition(".")[2] != spared
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


def remove_lora(lm: LanguageModel) -> None:
    """Take adapters out again; the model is what it was before :func:`add_lora`."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in list(lm.model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(module, name, child.get_base_layer())
    lm.model.__dict__.pop("peft_config", None)
