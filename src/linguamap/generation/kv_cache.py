"""Rows of a key-value cache: taken out, joined, and started from a prefix that several prompts share.

All caches here are left-padded: the columns of a row are those of its mask, its tokens stand at the
right end without gaps. A sliding-window layer keeps only the last columns; the others keep all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from linguamap.models.batching import left_padded

if TYPE_CHECKING:
    from linguamap.generation.shared_prefix import SharedPrefix
    from linguamap.models.language_model import LanguageModel

KEPT_BYTES_SHARE = 0.25
"""Kept prefixes take at most this share of the weights' size; further ones are read anew."""


def new_cache(config: Any) -> DynamicCache:
    """An empty cache with the layers that a model's (Transformers) config asks for."""
    return DynamicCache(config=config.get_text_config())


def _layers(cache: DynamicCache) -> list[Any]:
    return list(cache.layers)


def has_plain_rows(cache: DynamicCache) -> bool:
    """Whether every layer keeps keys and values by position, so that rows can be cut and joined."""
    return bool(cache.layers) and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers
    )


def window(cache: DynamicCache) -> int | None:
    """Columns of the narrowest sliding window; None if all layers look back without limit."""
    return min((layer.sliding_window for layer in _layers(cache) if layer.is_sliding), default=None)


@dataclass
class Rows:
    """Answers being written, a cache row each.

    Attributes:
        places: (row,), which prompt of the chunk a row answers.
        cache: keys and values of all columns but the newest.
        mask: (row, column), 1 for tokens, 0 for padding, the newest token's column included.
        newest: (row,), the last token of each row, not in the cache yet.
    """

    places: list[int]
    cache: DynamicCache
    mask: Tensor
    newest: Tensor

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows, in this order."""
        index = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask, self.newest = self.mask[index], self.newest[index]
        self.places = [self.places[row] for row in rows]

    def trim(self) -> None:
        """Drop the leading columns that are padding in every row."""
        n = int(self.mask.argmax(dim=1).min())
        if n:
            self.mask = self.mask[:, n:]
            for layer in _layers(self.cache):
                _drop_columns(layer, n)


def join(parts: Sequence[Rows]) -> Rows | None:
    """All rows of several caches in the first one's, padded on the left to the widest; None of none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    for part in parts:
        part.trim()
    n_columns = max(part.mask.shape[1] for part in parts)
    first = parts[0].cache
    for number, layer in enumerate(_layers(first)):
        if not layer.is_initialized:
            continue
        layers = [_layers(part.cache)[number] for part in parts]
        stored = n_columns - 1  # the mask counts the newest token, which is not in the cache yet
        if layer.is_sliding:
            stored = min(stored, layer.sliding_window - 1)
            layer.cumulative_length = n_columns - 1
        layer.keys = torch.cat([_widened(part.keys, stored) for part in layers])
        layer.values = torch.cat([_widened(part.values, stored) for part in layers])
    return Rows(
        [place for part in parts for place in part.places],
        first,
        torch.cat([_padded(part.mask, n_columns) for part in parts]),
        torch.cat([part.newest for part in parts]),
    )


def cache_bytes(cache: DynamicCache) -> int:
    """Memory of its keys and values."""
    held = [layer for layer in _layers(cache) if layer.is_initialized]
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in held)


def fill_with_prefixes(
    empty: DynamicCache, parts: Sequence[tuple[DynamicCache, int]], n_columns: int
) -> None:
    """Fill an empty cache with the first tokens of texts that were read alone before.

    Args:
        empty: receives one row a part.
        parts: the cache (one row, from the text's first token on) and how many of its tokens.
        n_columns: shorter rows are padded on the left.
    """
    for number, layer in enumerate(_layers(empty)):
        sources = [(_layers(cache)[number], length) for cache, length in parts]
        if not all(source.is_initialized for source, _ in sources):
            continue
        keys, values = (
            torch.cat(
                [
                    _widened(getattr(source, name)[..., :length, :], n_columns)
                    for source, length in sources
                ]
            )
            for name in ("keys", "values")
        )
        layer.update(keys, values)


@dataclass(frozen=True)
class PrefixStates:
    """A prefix that was read.

    Attributes:
        cache: one row.
        hidden: (1, position, d_model), if the reading gives any.
    """

    cache: DynamicCache
    hidden: Tensor | None = None


Read = Callable[[Tensor, Tensor, DynamicCache], Tensor | None]
"""Reads ids (batch, n) with their mask (batch, column) into a cache; may return states (batch, n, d_model)."""


class SharedPrefixStates:
    """Keys and values of shared prefixes, computed when first needed.

    A prefix is always read alone, so its states do not depend on which prompts are read together.
    """

    def __init__(self, lm: LanguageModel, use_cache: bool = True, read: Read | None = None) -> None:
        """Without the use of a cache there are no states, and every text is read whole.

        Args:
            read: how a prefix is read; None runs embedding and blocks.
        """
        self.lm = lm
        self._read: Read = read or lm.run_cached
        cache = new_cache(lm.model.config)
        # Vectors that depend on the language make a prefix's states depend on it, too.
        self.possible = use_cache and has_plain_rows(cache) and lm.steering is None
        narrowest = window(cache) if self.possible else None
        self.longest = None if narrowest is None else narrowest - 1
        weights = sum(p.numel() * p.element_size() for p in lm.model.parameters())
        self._free = int(weights * KEPT_BYTES_SHARE)
        self._kept: dict[SharedPrefix, PrefixStates] = {}

    def __getitem__(self, prefix: SharedPrefix) -> PrefixStates:
        """The prefix, as far as every layer's cache can keep it."""
        kept = self._kept.get(prefix)
        if kept is not None:
            return kept
        cache = new_cache(self.lm.model.config)
        ids = torch.tensor([prefix.token_ids[: self.longest]], device=self.lm.device)
        states = PrefixStates(cache, self._read(ids, torch.ones_like(ids), cache))
        size = cache_bytes(cache)
        if size <= self._free:
            self._free -= size
            self._kept[prefix] = states
        return states

    def n_tokens(self, prefix: SharedPrefix | None) -> int:
        """How many tokens of a text need not be read."""
        if prefix is None or not self.possible:
            return 0
        return min(len(prefix.token_ids), self.longest or len(prefix.token_ids))


@dataclass(frozen=True)
class OpenRows:
    """Texts of which the first tokens stand in a cache and the last ``n`` are still to be read.

    Attributes:
        ids: (batch, n), padded on the left.
        mask: (batch, column), those of the cache included.
        kept: tokens of each text that stand in the cache.
        known: each text's prefix, where it has one.
    """

    ids: Tensor
    mask: Tensor
    cache: DynamicCache
    kept: list[int]
    known: list[PrefixStates | None]


def open_rows(
    texts: Sequence[Sequence[int]],
    prefixes: Sequence[SharedPrefix | None],
    states: SharedPrefixStates,
) -> OpenRows:
    """Put what is known of the texts' beginnings into one cache.

    Every row is to read its last n tokens, with one n for the batch, and takes the tokens before them
    from its prefix. So no padding stands inside a text.

    Args:
        texts: token ids.
    """
    lm = states.lm
    n_known = [states.n_tokens(prefix) for prefix in prefixes]
    n = max(len(text) - k for text, k in zip(texts, n_known, strict=True))
    kept = [max(len(text) - n, 0) for text in texts]
    unread = [text[k:] for text, k in zip(texts, kept, strict=True)]
    ids, mask = left_padded(unread, lm.tokenizer.pad_token_id or 0, kept)
    cache = new_cache(lm.model.config)
    known = [
        states[prefix] if k and prefix else None for prefix, k in zip(prefixes, kept, strict=True)
    ]
    spare = next((one for one in known if one is not None), None)
    if spare is not None:
        # A row that takes nothing from a prefix still needs padding of the right shape.
        parts = [((one or spare).cache, k) for one, k in zip(known, kept, strict=True)]
        fill_with_prefixes(cache, parts, max(kept))
    return OpenRows(ids.to(lm.device), mask.to(lm.device), cache, kept, known)


def _drop_columns(layer: Any, n: int) -> None:
    if not layer.is_initialized:
        return
    left = layer.get_seq_length() - n
    if layer.is_sliding:
        layer.cumulative_length = left
    # A full window keeps its last columns, which the dropped ones were not among.
    layer.keys = layer.keys[..., -left:, :]
    layer.values = layer.values[..., -left:, :]


def _widened(states: Tensor, n_columns: int) -> Tensor:
    """(batch, head, column, d_head) padded on the left to, or cut to the last, ``n_columns`` columns."""
    missing = n_columns - states.shape[-2]
    if missing <= 0:
        return states[..., -n_columns:, :] if n_columns else states[..., :0, :]
    return torch.nn.functional.pad(states, (0, 0, missing, 0))


def _padded(mask: Tensor, n_columns: int) -> Tensor:
    return torch.nn.functional.pad(mask, (n_columns - mask.shape[1], 0))
