"""A causal language model, ready to be probed: weights, tokenizer, structure, identity.

Guarantees, proved by :mod:`linguamap.model_check` at load: ``project`` of the last layer equals the
model's logits; ``watch`` sees the residual stream that ``output_hidden_states`` reports. Not
guaranteed: that a model's remote code leaves the residual stream alone elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linguamap.config import ModelConfig
from linguamap.model_check import Check, check_model, verify_model
from linguamap.records import UserError
from linguamap.structure import Structure, find_structure, hidden_in, hidden_out, replace_hidden

__all__ = ["Check", "LanguageModel", "Structure", "check_model", "load_model", "verify_model"]

See = Callable[[int, Tensor], Tensor | None]
"""Called with a layer and its (batch, position, d_model); a returned tensor takes its place."""

SAMPLES_PER_TENSOR = 1024


@dataclass
class LanguageModel:
    """A loaded model with what the stages need to know about it.

    Attributes:
        identity: ``name``, ``revision``, ``config_sha256``, ``weights_sha256`` of the base weights
            (see :func:`weights_fingerprint`), and ``delta_sha256`` if a delta was applied.
        is_chat: whether prompts go through the tokenizer's chat template.
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str | None
    structure: Structure
    is_chat: bool
    dtype: torch.dtype
    device: torch.device
    identity: dict[str, str]

    @property
    def n_layers(self) -> int:
        """L: layers are 0 (embedding) to L."""
        return len(self.structure.blocks)

    @functools.cached_property
    def d_model(self) -> int:
        """Width of the residual stream, seen in a forward pass."""
        ids = torch.zeros((1, 1), dtype=torch.long)
        return int(self.block_outputs(ids, layers=[0])[0].shape[-1])

    @property
    def vocab_size(self) -> int:
        """Rows of the head, padded rows included: the size of the logits."""
        return int(self.structure.head.weight.shape[0])

    @torch.no_grad()
    def project(self, hidden: Tensor) -> Tensor:
        """Logits (..., vocab) of residual states (..., d_model), exactly as the model makes them:
        final norm, head, scale and soft-cap."""
        structure = self.structure
        return structure.after_head(structure.head(structure.before_head(hidden)))

    @torch.no_grad()
    def run(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> None:
        """Run embedding and blocks, without the head; ``watch`` sees what happens.

        Args:
            input_ids: (batch, position).
            attention_mask: (batch, position), 1 for text; padding may be on either side.
        """
        trunk = self.structure.trunk
        input_ids = input_ids.to(self.device)
        options: dict[str, Any] = {}
        accepted = _parameters(type(trunk))
        if "use_cache" in accepted:
            options["use_cache"] = False
        if "logits_to_keep" in accepted:
            options["logits_to_keep"] = 1
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = mask.to(self.device)
        if "position_ids" in accepted and bool((mask[:, 0] == 0).any()):
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
        trunk(input_ids=input_ids, attention_mask=mask, **options)

    @contextlib.contextmanager
    def watch(self, layers: Sequence[int], see: See) -> Iterator[None]:
        """Call ``see`` with each of these layers in every forward pass inside the ``with`` block.

        Args:
            layers: 0 (embedding output) to L (output of the last block, before the final norm).
            see: gets (layer, hidden); hidden is (batch, position, d_model) and belongs to the
                model: copy what is kept. If it returns a tensor, the model goes on with that.
        """
        handles = []
        try:
            for layer in layers:
                handles.append(_attach(self.structure.blocks, layer, see))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def block_outputs(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        layers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Residual states (batch, position, d_model) of the layers asked for, in that order.

        Only these layers are kept; None keeps all L + 1.
        """
        wanted = list(range(self.n_layers + 1)) if layers is None else list(layers)
        kept: dict[int, Tensor] = {}

        def keep(layer: int, hidden: Tensor) -> None:
            kept[layer] = hidden

        with self.watch(sorted(set(wanted)), keep):
            self.run(input_ids, attention_mask)
        return [kept[layer] for layer in wanted]


def load_model(config: ModelConfig, *, delta: Path | None = None) -> LanguageModel:
    """Load a model, find its structure and prove it by :func:`check_model`.

    Args:
        config: ``name`` is ``starter``, a hub name, a local folder or a ``.gguf`` file.
        delta: a delta file to apply; its base must be this model.
    Raises:
        UserError: unknown or broken model, no causal decoder, a failed self-check, wrong base.
    """
    source, options = _source(config)
    with _quiet():
        model, tokenizer = _from_pretrained(config, source, options)
        lm = _assemble(config, model.eval(), tokenizer)
        verify_model(lm)
    if delta is not None:
        from linguamap.tuning.delta import apply_delta

        apply_delta(lm, delta)
        lm.identity["delta_sha256"] = hashlib.sha256(Path(delta).read_bytes()).hexdigest()
    return lm


def _assemble(config: ModelConfig, model: Any, tokenizer: Any) -> LanguageModel:
    lm = LanguageModel(
        model=model,
        tokenizer=_prepare_tokenizer(tokenizer),
        name=config.name,
        revision=config.revision or getattr(model.config, "_commit_hash", None),
        structure=find_structure(model),
        is_chat=_is_chat(config, tokenizer),
        dtype=model.dtype,
        device=next(model.get_input_embeddings().parameters()).device,
        identity={},
    )
    lm.identity = _identity(lm)
    return lm


def weights_fingerprint(model: nn.Module) -> str:
    """A hash that tells one base from another in under a second.

    Covers each parameter's name and shape, and its values at up to 1,024 evenly spaced places,
    rounded to bfloat16 so that a bfloat16 and a float32 load of one checkpoint agree. Does not
    cover buffers, or changes that miss all of those places or vanish in bfloat16.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        if parameter.device.type == "meta":
            continue
        flat = parameter.detach().reshape(-1)
        count = min(len(flat), SAMPLES_PER_TENSOR)
        places = torch.arange(count) * (len(flat) - 1) // max(count - 1, 1)
        sample = flat[places.to(flat.device)]
        if sample.is_floating_point():
            sample = sample.to(torch.bfloat16).view(torch.int16)
        digest.update(sample.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def default_dtype(device: str) -> torch.dtype | str:
    """bfloat16 on a CPU that computes in it, else float32; elsewhere the checkpoint's own."""
    if device != "cpu":
        return "auto"
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if asked is not None and asked():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def _attach(blocks: list[nn.Module], layer: int, see: See) -> Any:
    if layer == 0:

        def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
            hidden = hidden_in(args, kwargs)
            assert hidden is not None
            changed = see(0, hidden)
            if changed is None:
                return None
            swap = lambda value: changed if value is hidden else value  # noqa: E731
            return tuple(map(swap, args)), {key: swap(value) for key, value in kwargs.items()}

        return blocks[0].register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        hidden = hidden_out(output)
        assert hidden is not None
        changed = see(layer, hidden)
        return None if changed is None else replace_hidden(output, changed)

    return blocks[layer - 1].register_forward_hook(after)


@functools.lru_cache(maxsize=64)
def _parameters(module_type: type[nn.Module]) -> frozenset[str]:
    return frozenset(inspect.signature(module_type.forward).parameters)


def _source(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Where the weights are, and what else ``from_pretrained`` needs to be told."""
    if config.name == "starter":
        from linguamap.starter import starter_folder

        return str(starter_folder()), {}
    path = Path(config.name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model: the GGUF file {path} does not exist")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"model: the folder {path} has no config.json; give a model folder")
        return str(path), {}
    if config.name.startswith((".", "/", "~")) or config.name.count("/") > 1:
        raise UserError(f"model: the folder {path} does not exist")
    return config.name, {"revision": config.revision} if config.revision else {}


def _from_pretrained(config: ModelConfig, source: str, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    common = {**options, "trust_remote_code": config.trust_remote_code}
    try:
        found = AutoConfig.from_pretrained(source, **common)
        if getattr(found, "is_encoder_decoder", False):
            raise UserError(
                f"model: {config.name} ({found.model_type}) is an encoder-decoder; use a causal "
                "(decoder-only) language model"
            )
        model, info = AutoModelForCausalLM.from_pretrained(
            source, **common, **_weight_options(config), output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
    except torch.OutOfMemoryError:
        raise UserError(
            f"model: {config.name} does not fit into memory; set model.dtype=bfloat16, "
            "model.quantization=4bit or model.device_map=auto"
        ) from None
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        raise UserError(
            f"model: {config.name} cannot be loaded ({_first_line(error)}); give 'starter', a hub "
            "name (with --revision), a model folder or a .gguf file"
        ) from error
    if info.get("missing_keys"):
        names = sorted(info["missing_keys"])
        raise UserError(
            f"model: {config.name} has no weights for {names[0]}"
            + (f" and {len(names) - 1} more tensors" if len(names) > 1 else "")
            + "; it is no complete causal language model"
        )
    return model, tokenizer


def _weight_options(config: ModelConfig) -> dict[str, Any]:
    options: dict[str, Any] = {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if config.device_map is not None:
        options["device_map"] = config.device_map
        device = "cpu" if config.device_map == "cpu" else device
    elif device == "cuda":
        options["device_map"] = {"": 0}
    if config.dtype == "auto":
        options["dtype"] = default_dtype(device)
    else:
        options["dtype"] = getattr(torch, config.dtype)
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    if config.quantization is not None:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            **{f"load_in_{config.quantization}": True}
        )
    return options


def _prepare_tokenizer(tokenizer: Any) -> Any:
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        spare = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        if spare is None:
            raise UserError("model: the tokenizer has no pad, end, unknown or start token")
        tokenizer.pad_token = spare
    return tokenizer


def _is_chat(config: ModelConfig, tokenizer: Any) -> bool:
    if config.chat == "auto":
        return bool(getattr(tokenizer, "chat_template", None))
    if config.chat == "yes" and not getattr(tokenizer, "chat_template", None):
        raise UserError("model: chat=yes, but the tokenizer has no chat template; use chat=no")
    return config.chat == "yes"


def _identity(lm: LanguageModel) -> dict[str, str]:
    volatile = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
    settings = {k: v for k, v in lm.model.config.to_dict().items() if k not in volatile}
    text = json.dumps(settings, sort_keys=True, default=str)
    return {
        "name": lm.name,
        "revision": lm.revision or "",
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "weights_sha256": weights_fingerprint(lm.model),
    }


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Transformers' bars and warnings off the screen; faults are raised, not printed."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.ERROR)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
