"""A causal language model, ready to be probed: weights, tokenizer, structure, identity.

:mod:`linguamap.models.self_check` proves at load that ``project`` of the last layer equals the model's
logits and that ``watch`` sees the residual stream that ``output_hidden_states`` reports. Not
guaranteed: that a model's remote code leaves the residual stream alone elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from linguamap.models.prepared_tokenizer import prepare_tokenizer
from linguamap.models.steering import Steering
from linguamap.models.structure import (
    Structure,
    find_structure,
    hidden_in,
    hidden_out,
    replace_hidden,
)
from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.config import ModelConfig

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
        steering: language vectors that forward passes add, see :meth:`speaking`; None for a plain
            model. :meth:`steered` makes a model that has them.
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
    steering: Steering | None = None

    @property
    def n_layers(self) -> int:
        """L: layers are 0 (embedding) to L."""
        return len(self.structure.blocks)

    @functools.cached_property
    def d_model(self) -> int:
        """Size of the residual stream, seen in a forward pass."""
        plain = dataclasses.replace(self, steering=None)
        ids = torch.zeros((1, 1), dtype=torch.long)
        return int(plain.block_outputs(ids, layers=[0])[0].shape[-1])

    @property
    def vocab_size(self) -> int:
        """Rows of the head, padded rows included: the size of the logits."""
        head: Any = self.structure.head
        return int(head.weight.shape[0])

    @property
    def max_positions(self) -> int | None:
        """Tokens that the config says the model reads at most; None if it states no limit."""
        text = self.model.config.get_text_config()
        found = (getattr(text, key, None) for key in ("max_position_embeddings", "n_positions"))
        return next((int(limit) for limit in found if limit is not None), None)

    @torch.no_grad()
    def project(self, hidden: Tensor) -> Tensor:
        """Logits (..., vocab) of residual states (..., d_model), exactly as the model makes them:
        final norm, head, scale and soft-cap."""
        structure = self.structure
        return structure.after_head(structure.head(structure.before_head(hidden)))

    def steered(self, vectors: Mapping[tuple[int, str], Tensor], strength: float) -> LanguageModel:
        """This model with language vectors; both share the weights.

        Args:
            vectors: (layer 1..L, language) -> (d_model,), added to the outputs of these blocks.
            strength: what they are multiplied by.
        Raises:
            UserError: a layer that the model does not have, or a vector of another size.
        """
        for (layer, _), vector in vectors.items():
            if not 1 <= layer <= self.n_layers or vector.shape != (self.d_model,):
                raise UserError(
                    f"steering: a vector of {tuple(vector.shape)} for block {layer} does not fit "
                    f"the model, whose {self.n_layers} blocks have d_model {self.d_model}"
                )
        return dataclasses.replace(self, steering=Steering(vectors, strength))

    @contextlib.contextmanager
    def speaking(self, languages: Sequence[str] | None) -> Iterator[None]:
        """Forward passes in the ``with`` block are of batch rows in these languages.

        A steered model adds the languages' vectors at every position of a row, prompt and answer
        alike, so that a text gives the same states whether it runs in one pass or token by token on
        a key-value cache, and whatever padding it has. Other models take no notice.

        Raises:
            UserError: the steered model has no vector for one of the languages.
            ValueError: the languages of a steered model's rows are not given, or not one a row.
        """
        if self.steering is None:
            yield
            return
        if languages is None:
            raise ValueError("steering: a steered model must be told the language of each row")
        add = self.steering.adder(languages)
        blocks = self.structure.blocks
        handles = [
            _attach(blocks, layer, add, first=True) for layer in self.steering.layers
        ]  # first: whoever watches a layer sees it steered
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def run(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        languages: Sequence[str] | None = None,
        cache: Any = None,
    ) -> None:
        """Run embedding and blocks, without the head; ``watch`` sees what happens.

        Args:
            input_ids: (batch, position).
            attention_mask: (batch, position), 1 for text; padding may be on either side. With a
                cache, its columns stand in front.
            languages: of the rows, see :meth:`speaking`; only a steered model needs them.
            cache: keys and values of tokens before these, to which theirs are added.
        """
        trunk: Any = self.structure.trunk
        input_ids = input_ids.to(self.device)
        options: dict[str, Any] = {}
        accepted = inspect.signature(type(trunk).forward).parameters
        if "use_cache" in accepted:
            options["use_cache"] = cache is not None
        if cache is not None:
            options["past_key_values"] = cache
        if "logits_to_keep" in accepted:
            options["logits_to_keep"] = 1
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = mask.to(self.device)
        if "position_ids" in accepted and bool((mask[:, 0] == 0).any()):
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)[:, -input_ids.shape[1] :]
        with self.speaking(languages):
            trunk(input_ids=input_ids, attention_mask=mask, **options)

    def run_cached(self, input_ids: Tensor, attention_mask: Tensor, cache: Any) -> None:
        """:meth:`run` into a cache."""
        self.run(input_ids, attention_mask, cache=cache)

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
        languages: Sequence[str] | None = None,
    ) -> list[Tensor]:
        """Residual states (batch, position, d_model) of the wanted layers, in that order.

        Only these layers are kept; None keeps all L + 1. The other arguments are :meth:`run`'s.
        """
        wanted = list(range(self.n_layers + 1)) if layers is None else list(layers)
        kept: dict[int, Tensor] = {}

        def keep(layer: int, hidden: Tensor) -> None:
            kept[layer] = hidden

        with self.watch(sorted(set(wanted)), keep):
            self.run(input_ids, attention_mask, languages)
        return [kept[layer] for layer in wanted]

    def head_fingerprint(self) -> str:
        """A hash of what turns the last layer into logits: tail, head, gain, scale and soft-cap."""
        structure = self.structure
        parts = [weights_fingerprint(module) for module in (*structure.tail, structure.head)]
        parts.append(repr((structure.head_gain, structure.scale, structure.softcap)))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def assemble(config: ModelConfig, model: Any, tokenizer: Any) -> LanguageModel:
    """A :class:`LanguageModel` of parts that are in memory already; not self-checked."""
    lm = LanguageModel(
        model=model,
        tokenizer=prepare_tokenizer(tokenizer, model.get_input_embeddings().weight.shape[0]),
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


def _attach(blocks: list[nn.Module], layer: int, see: See, first: bool = False) -> Any:
    """Hook a layer, before the hooks that are there already if ``first``."""
    if layer == 0:

        def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
            hidden = hidden_in(args, kwargs)
            assert hidden is not None
            changed = see(0, hidden)
            if changed is None:
                return None
            return (
                tuple(changed if value is hidden else value for value in args),
                {key: changed if value is hidden else value for key, value in kwargs.items()},
            )

        return blocks[0].register_forward_pre_hook(before, with_kwargs=True, prepend=first)

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        hidden = hidden_out(output)
        assert hidden is not None
        changed = see(layer, hidden)
        return None if changed is None else replace_hidden(output, changed)

    return blocks[layer - 1].register_forward_hook(after, prepend=first)


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
