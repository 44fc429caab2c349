"""What is wrong with a model that Transformers cannot load, and what to do, in one line."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import HF_HUB_CACHE

from linguamap.outside import read_json, shown
from linguamap.records import UserError

INDEX = "model.safetensors.index.json"
SETTINGS_FILES = ("config.json", "generation_config.json", "tokenizer_config.json")
NO_PICKLES = (
    "pickles can run code and are never read; convert the weights to safetensors where you trust them "
    "(Transformers: save_pretrained), or take a revision that has model.safetensors"
)
ADAPTER = (
    "it is an adapter (LoRA) without its base model; merge it first (PEFT: merge_and_unload, then "
    "save_pretrained) and give the merged folder"
)

ADVICE = (
    ("trust_remote_code", "the model brings its own code; if you trust it, set model.trust_remote_code=true"),
    ("adapter_config.json", ADAPTER),
    ("pytorch_model.bin|\\.bin\\b|\\.pt\\b", NO_PICKLES),
    ("does not recognize this architecture|KeyError", "update Transformers, or set model.trust_remote_code=true if the model brings its own code"),
    ("Unrecognized configuration class", "it has no causal language model in Transformers (a vision model, an encoder?); take its text model"),
    ("gated|401|403", "log in to the hub with an account that may read it (hf auth login)"),
    ("[Tt]okenizer", "its tokenizer files are missing or broken; put tokenizer.json and tokenizer_config.json beside the weights"),
    ("SafetensorError|incomplete metadata|header", "its weights are cut or broken; download them again"),
    ("offline|connect|resolve", "check the network, or give a folder"),
)  # fmt: skip
"""Pattern of Transformers' message -> what to do; the first that fits."""
GENERAL = "give 'starter', a hub name (with --revision), a model folder or a .gguf file"


def loading_fault(name: str, error: BaseException) -> UserError:
    """Whatever was raised while a model was loaded, as one line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    told = f"{kind}: {text}" if text else kind
    advice = next((what for pattern, what in ADVICE if re.search(pattern, told)), GENERAL)
    near = difflib.get_close_matches(name, _models_here(), n=1)
    hint = f"; did you mean '{near[0]}'?" if near and near[0] != name else ""
    return UserError(f"model: {name} cannot be loaded ({told[:300]}); {advice}{hint}")


def _models_here() -> list[str]:
    """Names that would load without a network: the starter, the hub's cache, this folder's own."""
    cached = sorted(Path(HF_HUB_CACHE).glob("models--*"))
    names = [path.name.removeprefix("models--").replace("--", "/") for path in cached]
    here = [path.parent.name for path in sorted(Path().glob("*/config.json"))]
    return ["starter", *names, *here]


def check_folder(folder: Path) -> None:
    """Refuse a folder that would not load, or from which something would be unpickled.

    Raises:
        UserError: no config.json, an adapter, weights in pickles only, an index that names such files
            or other folders, or settings that are no JSON table.
    """
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(f"model: the folder {folder} has no config.json: {ADAPTER}")
    if not (folder / "config.json").is_file():
        raise UserError(f"model: the folder {folder} has no config.json; give a model folder")
    for name in SETTINGS_FILES:
        path = folder / name
        if path.is_file() and not isinstance(read_json(path), dict):
            raise UserError(f"model: {path} holds no table of keys; restore the file or delete it")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"only {pickles[0]}, a pickle: {NO_PICKLES}" if pickles else "give a model folder"
        if not any(folder.glob("*.gguf")):
            raise UserError(f"model: the folder {folder} has no safetensors weights, {found}")
    if (folder / INDEX).is_file():
        check_index(folder / INDEX)


def check_index(path: Path) -> None:
    """Refuse an index of weights that names anything but safetensors files beside it."""
    index = read_json(path)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise UserError(f"model: {path} names no weights; download it again")
    for name in files.values():
        if (
            not isinstance(name, str)
            or not name.endswith(".safetensors")
            or "/" in name
            or "\\" in name
        ):
            raise UserError(f"model: {path} names the file {shown(name)}; {NO_PICKLES}")


def check_config(config: Any, name: str, trusted: bool) -> None:
    """Refuse what a config may ask for and a run does not do.

    Raises:
        UserError: an encoder-decoder; attention from a hub repository, which is foreign code.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"model: {name} ({config.model_type}) is an encoder-decoder; use a causal "
            "(decoder-only) language model"
        )
    for part in (config, config.get_text_config()):
        attention = getattr(part, "_attn_implementation", None)
        if isinstance(attention, str) and "/" in attention and not trusted:
            raise UserError(
                f"model: {name} asks for attention code from the hub ({shown(attention)}); set "
                "model.attention=sdpa, or model.trust_remote_code=true if you trust it"
            )


def check_weights(model: Any, info: dict[str, Any], name: str) -> None:
    """Refuse weights that are not all there, not all used, or no numbers.

    Args:
        info: what ``from_pretrained`` says of the keys that it loaded.
    Raises:
        UserError: it names the first tensor.
    """
    if missing := sorted(info.get("missing_keys") or ()):
        more = f" and {len(missing) - 1} more tensors" if len(missing) > 1 else ""
        raise UserError(
            f"model: {name} has no weights for {missing[0]}{more}; it is no complete causal language model"
        )
    blocks = model.config.get_text_config().num_hidden_layers
    for key in sorted(info.get("unexpected_keys") or ()):
        number = re.match(
            r"(?:model\.|transformer\.|gpt_neox\.|backbone\.)?(?:layers|h|blocks)\.(\d+)\.", key
        )
        if number and int(number[1]) >= blocks:
            raise UserError(
                f"model: the weights of {name} hold {key}, but its config.json says {blocks} blocks; "
                "restore the config that belongs to the weights"
            )
    for key, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.device.type != "meta" and tensor.numel():
            low, high = torch.aminmax(tensor.detach())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise UserError(
                    f"model: the weights {key} of {name} are not all finite (NaN or infinity); "
                    "take another checkpoint"
                )


@contextlib.contextmanager
def no_unpickling() -> Iterator[None]:
    """Refuse every ``torch.load`` in the block, with ``weights_only`` or without."""

    def refuse(*_: Any, **__: Any) -> None:
        raise UserError(f"model: its weights are a pickle: {NO_PICKLES}")

    load, torch.load = torch.load, refuse
    try:
        yield
    finally:
        torch.load = load
