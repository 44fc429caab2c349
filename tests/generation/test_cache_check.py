"""Whether a model's cache can be used, and what is said of one that cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import KINDS, STATE_SPACE, tiny_lm, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from linguamap.config import ModelConfig
from linguamap.generation.cache_check import cache_fault, check_cache
from linguamap.models.language_model import assemble


def _small() -> dict[str, Any]:
    return {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_of_all_but_state_space_models_can_be_used(kind: str) -> None:
    check = check_cache(tiny_lm(kind))
    assert (check.name, check.passed) == ("cache", kind not in STATE_SPACE), check


class Forgetful(LlamaForCausalLM):
    """Takes a cache and does not read it: no error, wrong answers."""

    def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        mask = kwargs["attention_mask"][:, -kwargs["input_ids"].shape[1] :]
        return super().forward(*args, **kwargs | {"use_cache": False, "attention_mask": mask})


class Strict(LlamaForCausalLM):
    def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        if past_key_values is not None:
            raise TypeError("give me a StateCache\nof my own")
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize(
    ("kind", "reason"), [(Forgetful, "against whole texts"), (Strict, "TypeError: give me a State")]
)
def test_a_cache_that_fails_is_noted_with_the_reason(kind: Any, reason: str) -> None:
    lm = assemble(ModelConfig(), kind(LlamaConfig(**_small())).eval(), tiny_tokenizer())
    fault = cache_fault(lm)
    assert fault is not None
    assert reason in fault
    assert "\n" not in fault


def test_a_lack_of_memory_is_no_fault_of_the_cache() -> None:
    lm = tiny_lm("llama")

    def full(*args: Any) -> None:
        raise torch.OutOfMemoryError("planted")

    lm.structure.trunk.register_forward_pre_hook(
        lambda module, args, kw: full() if kw.get("past_key_values") is not None else None,
        with_kwargs=True,
    )
    with pytest.raises(torch.OutOfMemoryError):
        check_cache(lm)
