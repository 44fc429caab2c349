"""Loading a model: weights and tokenizer through Transformers, its faults in one line each, proof."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from linguamap.models.chat_template import WAY_OUT, render_conversation
from linguamap.models.language_model import LanguageModel, assemble
from linguamap.models.load_faults import (
    INDEX,
    check_config,
    check_folder,
    check_index,
    check_weights,
    loading_fault,
    no_unpickling,
)
from linguamap.models.prepared_tokenizer import OTHERS, id_fault
from linguamap.models.self_check import verify_model
from linguamap.models.trial_pass import cpu_multiplies_in
from linguamap.outside import nearest
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.config import ModelConfig


def load_model(config: ModelConfig, *, verify: bool = True) -> LanguageModel:
    """Load a model, find its structure and prove it by the self-check.

    A tuned model is this one with a delta applied, see :func:`linguamap.tuning.delta.apply_delta`.

    Args:
        config: ``name`` is ``starter``, a hub name, a local folder or a ``.gguf`` file.
        verify: refuse a model that fails the self-check; False leaves that to the caller.
    Raises:
        UserError: unknown or broken model, no causal decoder, a failed self-check.
    """
    with quiet():
        model, tokenizer = load_weights(config)
        lm = assemble(config, model.eval(), tokenizer)
        if verify:
            verify_model(lm)
            if lm.is_chat:
                check_chat_marks(tokenizer, model.get_input_embeddings().weight.shape[0])
    return lm


def check_chat_marks(tokenizer: Any, n_rows: int) -> None:
    """Try the chat template on a short question.

    Raises:
        UserError: it fails, or writes a token without a row in the embedding.
    """
    text = render_conversation(tokenizer, [{"role": "user", "content": "2 + 3?"}], ask=True)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if fault := id_fault(tokenizer, ids, n_rows):
        raise UserError(f"model: the chat template needs it, but {fault}; {OTHERS}, or {WAY_OUT}")


def weights_source(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Where the weights are, and what else ``from_pretrained`` needs to be told."""
    if config.name == "starter":
        from linguamap.models.starter import starter_folder

        return str(starter_folder()), {}
    path = Path(config.name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model: the GGUF file {path} does not exist{nearest(path)}")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        check_folder(path)
        return str(path), {}
    if config.name.startswith((".", "/", "~")) or config.name.count("/") > 1:
        raise UserError(f"model: the folder {path} does not exist{nearest(path)}")
    return config.name, {"revision": config.revision} if config.revision else {}


def load_weights(config: ModelConfig) -> tuple[Any, Any]:
    """Model and tokenizer, as Transformers loads them; nothing is unpickled.

    Raises:
        UserError: not found, not understood, broken, incomplete, an encoder-decoder, or too large.
    """
    if not config.trust_remote_code:  # kernels of the hub are foreign code, too
        os.environ.setdefault("USE_HUB_KERNELS", "0")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source, options = weights_source(config)
    common = {**options, "trust_remote_code": config.trust_remote_code}
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        with no_unpickling():
            found = AutoConfig.from_pretrained(source, **common)
            check_config(
                found, config.name, config.trust_remote_code or config.attention is not None
            )
            if "gguf_file" in options:  # reading a large vocabulary out of GGUF takes long
                common["config"] = found
            elif not Path(source).is_dir() and (index := _hub_index(source, options)):
                check_index(index)
            model, info = load(
                source, **common, **_weight_options(config), output_loading_info=True
            )
            common.pop("config", None)
            tokenizer = AutoTokenizer.from_pretrained(source, **common)
    except (UserError, MemoryError):
        raise
    except torch.OutOfMemoryError:
        raise UserError(
            f"model: {config.name} does not fit into memory; set model.dtype=bfloat16, "
            "model.quantization=4bit or model.device_map=auto"
        ) from None
    except Exception as error:  # Transformers and a model's own code raise of every kind
        raise loading_fault(config.name, error) from error
    check_weights(model, info, config.name)
    return model, tokenizer


def _weight_options(config: ModelConfig) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if not config.name.endswith(".gguf"):
        options["use_safetensors"] = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if config.device_map is not None:
        if config.device_map.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(
                f"model: model.device_map={config.device_map} needs CUDA, and PyTorch finds none "
                "here; leave it out, or set model.device_map=cpu"
            )
        options["device_map"] = config.device_map
        device = "cpu" if config.device_map == "cpu" else device
    elif device == "cuda":
        options["device_map"] = {"": torch.cuda.current_device()}
    if config.dtype == "auto":
        options["dtype"] = default_dtype(device)
    else:
        options["dtype"] = getattr(torch, config.dtype)
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    if config.quantization is not None:
        import transformers

        quantized: Any = transformers.BitsAndBytesConfig
        options["quantization_config"] = quantized(**{f"load_in_{config.quantization}": True})
    return options


def default_dtype(device: str) -> torch.dtype | str:
    """bfloat16 on a CPU that computes in it, else float32; elsewhere the checkpoint's own."""
    if device != "cpu":
        return "auto"
    return torch.bfloat16 if cpu_multiplies_in(torch.bfloat16) else torch.float32


def _hub_index(name: str, options: dict[str, Any]) -> Path | None:
    """The index of a hub model's weights, where it has one."""
    from transformers.utils.hub import cached_file

    found = cached_file(name, INDEX, **options, _raise_exceptions_for_missing_entries=False)
    return Path(found) if found else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' bars and warnings off the screen; faults are raised, not printed."""
    from transformers.utils import logging

    hf_logging: Any = logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        silent: Any = _OtherThreads(sys.stderr)
        with contextlib.redirect_stderr(silent):  # GGUF's bar asks nobody
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


class _OtherThreads:
    """What the thread that made it writes is dropped; a progress line that another one draws stays.

    All else is the screen's own: Rich looks there for the file behind a proxy that it has put there itself.
    """

    def __init__(self, screen: Any) -> None:
        self.screen, self.silent = screen, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self.silent:
            return len(text)
        written: int = self.screen.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.screen, name)
