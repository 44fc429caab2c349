"""What a delta becomes for other programs: a merged model folder, or a PEFT adapter of LoRA factors."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.config import ModelConfig
from linguamap.records import UserError
from linguamap.run.files import save_tensors, take_usual_mode, write_json
from linguamap.tuning.delta import Delta, apply_delta, check_base, read_delta, transposed_weights
from linguamap.tuning.methods import METHODS, method_of

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

KEPT = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json",
)  # fmt: skip
"""Files of the base that are copied as they are; other programs know some of them by their bytes."""


def merge(base: Callable[[], LanguageModel], delta: Path, out: Path) -> Path:
    """Write the tuned model as an ordinary folder, which Transformers, vLLM and llama.cpp's converter read.

    ``AutoModelForCausalLM.from_pretrained(out)`` then gives the same logits as the base with the
    delta applied. Tokenizer, chat template and generation config are the base's own. The folder
    appears under its name only when it is complete.

    Args:
        base: loads the base, whose dtype becomes the folder's; called when nothing else is wrong. It
            is changed in place.
        delta: a delta of that base.
        out: a folder that does not exist yet, or is empty.
    Raises:
        UserError: wrong base, broken delta, a method that changes no weight, ``out`` holds
            something, or a full disk.
    """
    _check_new(out)
    method = method_of(read_delta(delta).method)
    if not method.changes_weights:
        others = [other.name for other in METHODS.values() if other.changes_weights]
        raise UserError(
            f"merge: {delta} is of the method {method.name}, which changes no weight, so there is "
            f"nothing to merge; use one of {', '.join(others)}, or load the delta with linguamap"
        )
    lm = apply_delta(base(), delta)
    need = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < need:
        raise UserError(
            f"merge: the model needs {need / 1e9:.1f} GB in {out.parent}, {free / 1e9:.1f} GB are "
            "free; free some or name another folder"
        )
    with _appearing(out) as folder:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
        for path in _base_files(lm):
            shutil.copyfile(path, folder / path.name)
    return out


def write_adapter(base: Callable[[], LanguageModel], delta: Path, out: Path) -> Path:
    """Write a LoRA delta as the folder that ``peft.PeftModel.from_pretrained(model, out)`` loads.

    Args:
        base: loads the base; its maps say which factors belong to transposed weights.
        out: a folder that does not exist yet, or is empty.
    Raises:
        UserError: the delta is of another method, or of another base; ``out`` holds something.
    """
    _check_new(out)
    read = read_delta(delta)
    if read.lora_scale is None:
        raise UserError(
            f"merge: an adapter has LoRA's factors, and {delta} is of the method {read.method}; leave "
            "--adapter out, or tune with --method lora"
        )
    lm = base()
    check_base(lm.identity, read, delta)
    tensors = {}
    for name, value in read.tensors.items():
        weight, _, factor = name.rpartition(".lora_")
        module = weight.removesuffix(".weight")
        tensors[f"base_model.model.{module}.lora_{factor}.weight"] = value.contiguous()
    out.parent.mkdir(parents=True, exist_ok=True)
    with _appearing(out) as folder:
        folder.mkdir()
        save_tensors(folder / "adapter_model.safetensors", tensors, {"format": "pt"})
        write_json(folder / "adapter_config.json", _adapter_config(lm, read))
    return out


def _adapter_config(lm: LanguageModel, delta: Delta) -> dict[str, object]:
    weights = sorted(name.removesuffix(".lora_A") for name in delta.tensors if name.endswith("A"))
    rank = len(next(value for name, value in delta.tensors.items() if name.endswith(".lora_A")))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": lm.name,
        "revision": lm.revision,
        "r": rank,
        "lora_alpha": rank * (delta.lora_scale or 0.0),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [name.removesuffix(".weight") for name in weights],
        "fan_in_fan_out": bool(transposed_weights(lm.model) & set(weights)),
        "inference_mode": True,
    }


def _check_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"merge: {out} exists and is not empty; name a new folder")


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its name when the block is left in good order."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "model"
        yield folder
        take_usual_mode(folder)
        if out.exists():
            out.rmdir()
        os.replace(folder, out)


def _base_files(lm: LanguageModel) -> Iterator[Path]:
    """The base's own files of :data:`KEPT`; none of a model that was handed over or read from GGUF."""
    from transformers.utils.hub import cached_file

    from linguamap.models.loading import weights_source

    try:
        source, options = weights_source(ModelConfig(name=lm.name, revision=lm.revision))
    except UserError:
        return
    if "gguf_file" in options:
        return
    for name in KEPT:
        with contextlib.suppress(OSError):  # a hub's name that is no name, or nothing in the cache
            found = cached_file(
                source, name, **options, local_files_only=True,
                _raise_exceptions_for_missing_entries=False,
            )  # fmt: skip
            if found:
                yield Path(found)
