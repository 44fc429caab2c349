"""The delta: only the trained tensors, and which base they belong to.

A delta is a safetensors file. Its tensors carry their state-dict names and the dtype of the model
they were trained in; LoRA deltas hold pairs ``NAME.lora_A`` and ``NAME.lora_B`` instead. Two methods
train nothing: a ``steer`` delta holds vectors ``steer.LAYER.LANGUAGE`` and their strength, a
``few_shot`` delta no tensor at all. The metadata names the base; another base is refused. Nothing is
ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from linguamap.records import UserError
from linguamap.run.files import load_tensors, read_json, save_tensors
from linguamap.tuning.layers import is_tied, untie_head
from linguamap.tuning.methods import method_of

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

FORMAT = "linguamap-delta-1"
IDENTITY = ("config_sha256", "weights_sha256")
"""What must agree between a delta and its base. The name is for people: the same model may be
loaded from the hub, from a folder or from a cache."""


@dataclass(frozen=True)
class Delta:
    """Trained tensors and the base that they belong to.

    Attributes:
        tensors: state-dict name -> new value; or the two factors of each change (LoRA).
        base: ``name``, ``revision``, ``config_sha256`` and ``weights_sha256`` of the base.
        untied: whether the head has weights of its own in the tuned model only.
        lora_scale: what B @ A is multiplied by; None if the tensors are whole weights.
        strength: what steering vectors are multiplied by; None for other methods.
    """

    tensors: dict[str, Tensor]
    base: dict[str, str]
    method: str
    layers: tuple[int, ...]
    untied: bool = False
    lora_scale: float | None = None
    strength: float | None = None

    @property
    def vectors(self) -> dict[tuple[int, str], Tensor]:
        """(layer, language) -> steering vector (d_model,); empty for other methods."""
        if method_of(self.method).applies != "vectors":
            return {}
        keys = {name: name.split(".", 2) for name in self.tensors}
        return {(int(key[1]), key[2]): self.tensors[name] for name, key in keys.items()}


def save_delta(path: Path, delta: Delta) -> dict[str, Any]:
    """Write a delta atomically.

    Returns:
        ``delta_bytes`` and ``delta_sha256`` of the file, to be kept in ``tuning.json`` beside it.
    """
    facts = {
        "format": FORMAT,
        "base": json.dumps(delta.base),
        "method": delta.method,
        "layers": json.dumps(delta.layers),
        "untied": json.dumps(delta.untied),
        "lora_scale": json.dumps(delta.lora_scale),
        "strength": json.dumps(delta.strength),
    }
    save_tensors(path, delta.tensors, facts)
    return {"delta_bytes": path.stat().st_size, "delta_sha256": _sha256(path)}


def read_delta(path: Path) -> Delta:
    """Read a delta whose bytes are those that ``tuning.json`` beside it vouches for.

    Where it does not (of an older version, or not there), at least all values must be finite.

    Raises:
        UserError: the file is missing, damaged, broken, or no delta.
    """
    try:
        noted = _noted_sha256(path)
        if noted is not None and _sha256(path) != noted:
            raise UserError(
                f"delta: {path} is damaged (its SHA-256 is not the one in tuning.json); tune again"
            )
        tensors, facts = load_tensors(path)
        if facts.get("format") != FORMAT:
            raise UserError(
                f"delta: {path} is a safetensors file, but no delta of this version "
                f"(format {facts.get('format')!r}, wanted {FORMAT!r}); use a run's "
                "tuned/delta.safetensors"
            )
        if noted is None:
            _check_finite(tensors, path)
        return Delta(
            tensors=tensors,
            base=json.loads(facts["base"]),
            method=facts["method"],
            layers=tuple(json.loads(facts["layers"])),
            untied=json.loads(facts["untied"]),
            lora_scale=json.loads(facts["lora_scale"]),
            strength=json.loads(facts.get("strength", "null")),
        )
    except FileNotFoundError:
        raise UserError(f"delta: {path} does not exist; give a run's delta.safetensors") from None
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"delta: {path} is broken or no delta ({error})") from None


@torch.no_grad()
def apply_delta(lm: LanguageModel, path: Path) -> LanguageModel:
    """The tuned model: a base with a delta.

    The weights are changed in place, so the base is gone; a ``steer`` delta changes none of them.

    Returns:
        A model whose identity has the delta's ``delta_sha256``.
    Raises:
        UserError: broken file, or a base other than the one the delta was made from.
    """
    delta = read_delta(path)
    check_base(lm.identity, delta, path)
    if method_of(delta.method).changes_weights:
        if delta.untied and is_tied(lm):
            untie_head(lm)
        parameters = dict(lm.model.named_parameters())
        for name, value in new_weights(delta, lm.model).items():
            parameters[name].copy_(value)
    tuned = lm.steered(delta.vectors, delta.strength or 0.0) if delta.vectors else lm
    return replace(tuned, identity=lm.identity | {"delta_sha256": _sha256(path)})


def check_base(identity: Mapping[str, str], delta: Delta, path: Path) -> None:
    """Raise a :class:`UserError` that names both models if a delta belongs to another base."""
    if "delta_sha256" in identity:
        raise UserError(
            f"delta: {path} belongs to the plain {_title(delta.base)}, but this model was tuned "
            "already; load the base without a delta"
        )
    differing = [key for key in IDENTITY if identity.get(key) != delta.base.get(key)]
    if differing:
        what = " and ".join(key.removesuffix("_sha256") for key in differing)
        raise UserError(
            f"delta: {path} was trained on {_title(delta.base)}, but the model is "
            f"{_title(identity)} (other {what}); apply it to the model it was made from"
        )


def new_weights(delta: Delta, model: nn.Module) -> dict[str, Tensor]:
    """The changed parameters' values, in the base's dtype.

    Raises:
        UserError: a tensor does not fit the model.
    """
    parameters, transposed = dict(model.named_parameters()), transposed_weights(model)
    weights: dict[str, Tensor] = {}
    for name, value in delta.tensors.items():
        if delta.lora_scale is None:
            base, change = name, None
        elif name.endswith(".lora_A"):
            base = name.removesuffix(".lora_A")
            change = delta.tensors[f"{base}.lora_B"].float() @ value.float() * delta.lora_scale
        else:
            continue
        if base not in parameters:
            raise UserError(f"delta: the model has no parameter {base}")
        parameter = parameters[base]
        if change is not None:
            change = change.t() if base in transposed else change
            value = parameter.float() + change.to(parameter.device)
        if value.shape != parameter.shape:
            raise UserError(
                f"delta: {base} is {tuple(value.shape)} in the delta and "
                f"{tuple(parameter.shape)} in the model"
            )
        weights[base] = value.to(parameter.dtype)
    return weights


def transposed_weights(model: nn.Module) -> frozenset[str]:
    """Weights that are stored (in, out), as GPT-2's are, whatever their shape looks like."""
    from transformers.pytorch_utils import Conv1D

    found = (name for name, module in model.named_modules() if isinstance(module, Conv1D))
    return frozenset(f"{name}.weight" for name in found)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted_sha256(path: Path) -> str | None:
    """What ``tuning.json`` says of the run's delta in its folder, if it does."""
    beside = path.with_name("tuning.json")
    if path.name != "delta.safetensors" or not beside.is_file():
        return None
    tuning = read_json(beside)
    return tuning.get("delta_sha256") if isinstance(tuning, dict) else None


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"delta: {path} is damaged ({name} holds values that are not finite); tune again"
            )


def _title(identity: Mapping[str, Any]) -> str:
    revision = identity.get("revision")
    weights = str(identity.get("weights_sha256", ""))[:8]
    return f"'{identity.get('name')}'{f' at {revision}' if revision else ''} (weights {weights})"
