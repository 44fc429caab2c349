"""The sixth self-check: whether a model's key-value cache gives what whole passes give.

Who decodes asks :func:`cache_fault` first. A model without a usable cache is not refused; its answers
are written without one, and there is no handover.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from linguamap.generation.decoder import RowReader
from linguamap.generation.encoding import Encoded
from linguamap.generation.kv_cache import SharedPrefixStates
from linguamap.generation.shared_prefix import SharedPrefix
from linguamap.models.trial_pass import (
    Check,
    allowed_deviation,
    relative_deviation,
    trial_forward,
    trial_ids,
)
from linguamap.records import Prompt

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

_CHECKED: WeakKeyDictionary[Any, Check] = WeakKeyDictionary()
"""What was found, by model: trying it takes a few forward passes."""


def check_cache(lm: LanguageModel) -> Check:
    """Whether rows decoded together with the model's cache get the logits of each text alone.

    Returns:
        ``detail`` says how far they differ, or how the cache failed.
    """
    if lm.model not in _CHECKED:
        _CHECKED[lm.model] = _try_cache(dataclasses.replace(lm, steering=None))
    return _CHECKED[lm.model]


def cache_fault(lm: LanguageModel) -> str | None:
    """Why the model's cache cannot be used; None if it can."""
    check = check_cache(lm)
    return None if check.passed else check.detail


def _try_cache(lm: LanguageModel) -> Check:
    try:
        worst = _worst_deviation(lm)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a cache may fail in any way; the reason is kept
        lines = str(error).strip().splitlines() or [""]
        return Check("cache", False, f"{type(error).__name__}: {lines[0]}")
    allowed = allowed_deviation(lm.dtype)
    detail = f"rows decoded with it against whole texts: {worst:.1e}, allowed {allowed:.0e}"
    return Check("cache", worst <= allowed, detail)


@torch.no_grad()
def _worst_deviation(lm: LanguageModel) -> float:
    """Largest deviation of logits over two rows and the tokens after them.

    The rows differ in length; the longer one takes its first tokens from a prefix that was read
    before, and leaves after the first token that follows.
    """
    ids = trial_ids(lm.model)[0].tolist()
    prompt = Prompt("check", "check", "open", "en", "monolingual", (), ())
    texts = [Encoded(prompt, ids, SharedPrefix(tuple(ids[:4]))), Encoded(prompt, ids[:1:-2])]
    reader = RowReader(lm, SharedPrefixStates(lm))
    rows, logits = reader.read(texts, 0)
    written: list[list[int]] = [list(text.token_ids) for text in texts]
    steps: list[list[Tensor]] = [[] for _ in texts]
    for keep in ([0, 1], [1], []):
        rows.newest = logits.argmax(-1)
        for place, token, row in zip(rows.places, rows.newest.tolist(), logits, strict=True):
            written[place].append(token)
            steps[place].append(row)
        if keep:
            rows.keep([rows.places.index(place) for place in keep])
            logits = reader.step(rows, texts)
    worst = 0.0
    for whole, seen in zip(written, steps, strict=True):
        alone = torch.tensor([whole[:-1]], device=lm.device)
        expected = trial_forward(lm.model, alone).logits[0, -len(seen) :]
        worst = max(worst, relative_deviation(torch.stack(seen), expected))
    return worst
