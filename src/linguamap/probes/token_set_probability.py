"""The language lens without an identifier: probability of the tokens of one language only.

A token belongs to a language if it occurs in texts of that language and in those of no other. What
the softmax of a layer's logits gives to a language's tokens needs no arg-max, no word and no
identifier, and so is free of their faults; it sees only part of a language, which is stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from linguamap.probes.curves import ratio_bands
from linguamap.probes.layer_reading import (
    BATCH_TOKENS,
    ITEM_FIELDS,
    Row,
    by_text,
    item_columns,
    read_texts,
)
from linguamap.probes.logit_scan import BLOCK_ROWS, SetProbability
from linguamap.probes.texts import encode_texts
from linguamap.progress import Progress, silent

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import EncodedText, LensText, Positions

MIN_COUNT = 2
"""Occurrences below which a token says too little about its language."""

ITEMS_SCHEMA = pa.schema(
    [
        *ITEM_FIELDS,
        ("set_language", pa.string()),
        ("mass", pa.float64()),
        ("n_positions", pa.int32()),
    ]
)

CURVES_SCHEMA = pa.schema(
    [
        ("layer", pa.int32()),
        ("target_language", pa.string()),
        ("set_language", pa.string()),
        ("mass", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n_items", pa.int32()),
        ("n_positions", pa.int64()),
    ]
)


@dataclass(frozen=True)
class TokenSets:
    """Tokens of one language only.

    Attributes:
        tokens: disjoint token ids of each language.
        coverage: share in [0, 1] of a language's running tokens that are in its set; null where
            there are no tokens to look at.
    """

    tokens: Mapping[str, Sequence[int]]
    coverage: Mapping[str, float | None]


def exclusive_tokens(
    lm: LanguageModel,
    texts_by_language: Mapping[str, Sequence[str]],
    min_count: int = MIN_COUNT,
    covered: Mapping[str, Sequence[str]] | None = None,
) -> TokenSets:
    """Tokens that occur in the texts of one language only.

    Args:
        texts_by_language: word lists or sentences of each language.
        min_count: occurrences below which a token says too little.
        covered: texts that the coverage is counted on; None takes those that the sets are made
            from, which flatters it.
    Returns:
        Tokens without a letter are in no set.
    """
    counts = _token_counts(lm, texts_by_language)
    seen_in = Counter(token for found in counts.values() for token in found)
    with_letter = {
        token: any(c.isalpha() or c == "\ufffd" for c in lm.tokenizer.decode([token]))
        for token, n_languages in seen_in.items()
        if n_languages == 1
    }
    sets = {
        language: sorted(
            token for token, n in found.items() if n >= min_count and with_letter.get(token)
        )
        for language, found in counts.items()
    }
    running = counts if covered is None else _token_counts(lm, covered)
    coverage = {
        language: sum(found[token] for token in sets.get(language, ())) / sum(found.values())
        if found
        else None
        for language, found in running.items()
    }
    return TokenSets(sets, coverage)


def _token_counts(
    lm: LanguageModel, texts_by_language: Mapping[str, Sequence[str]]
) -> dict[str, Counter[int]]:
    return {
        language: Counter(
            token
            for ids in (
                lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
            )
            for token in ids
        )
        for language, texts in texts_by_language.items()
    }


def token_set_probability(
    lm: LanguageModel,
    texts: Sequence[LensText],
    token_sets: Mapping[str, Sequence[int]],
    *,
    positions: Positions = "all",
    batch_tokens: int = BATCH_TOKENS,
    block_rows: int = BLOCK_ROWS,
    progress: Progress = silent,
) -> pa.Table:
    """Probability per layer of the tokens of one language only.

    Args:
        token_sets: disjoint token ids per language, see :func:`exclusive_tokens`.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`: mean probability over the item's positions, in [0, 1],
        by the softmax of the model's logits, scale and soft-cap included. They do not add up to 1:
        tokens that several languages share belong to no set.
    """
    (found,) = read_texts(
        lm,
        encode_texts(lm, texts, positions),
        [SetProbabilities(lm, token_sets)],
        batch_tokens=batch_tokens,
        block_rows=block_rows,
        progress=progress,
    )
    return pa.Table.from_batches(found, ITEMS_SCHEMA)


class SetProbabilities:
    """Makes the rows of :func:`token_set_probability` of a batch of texts.

    Args:
        token_sets: disjoint token ids per language.
    """

    schema = ITEMS_SCHEMA

    def __init__(self, lm: LanguageModel, token_sets: Mapping[str, Sequence[int]]) -> None:
        self._names = list(token_sets)
        membership = torch.full((lm.vocab_size,), -1)
        for index, name in enumerate(self._names):
            membership[torch.tensor(list(token_sets[name]), dtype=torch.long)] = index
        self.reader = SetProbability(membership, len(self._names))

    def rows(self, batch: Sequence[EncodedText], by_layer: Mapping[int, Tensor]) -> list[Row]:
        """See :class:`linguamap.probes.layer_reading.Consumer`."""
        rows: list[Row] = []
        for layer, probs in by_layer.items():
            for text, positions in by_text(batch, probs):
                base = {**item_columns(text, layer), "n_positions": len(positions)}
                means = positions.double().mean(0).tolist()
                rows += [
                    {**base, "set_language": name, "mass": value}
                    for name, value in zip(self._names, means, strict=True)
                ]
        return rows


def token_set_curves(
    table: pa.Table, *, bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> pa.Table:
    """Mean probability over all positions of a layer, with a bootstrap band over item groups.

    Args:
        table: columns of :data:`ITEMS_SCHEMA`.
    Returns:
        Columns of :data:`CURVES_SCHEMA`; the band is null where there is only one group.
    """
    rows: list[Row] = []
    columns = {name: np.array(table[name].to_pylist(), dtype=object) for name in table.column_names}
    for target in sorted(set(columns["target_language"])):
        part = {
            name: values[columns["target_language"] == target] for name, values in columns.items()
        }
        groups, group = np.unique(part["group"].astype(str), return_inverse=True)
        sets, chosen = np.unique(part["set_language"].astype(str), return_inverse=True)
        layers = part["layer"].astype(int)
        shape = (int(layers.max()) + 1, len(sets), len(groups))
        sums, counts = np.zeros(shape), np.zeros(shape)
        n = part["n_positions"].astype(float)
        np.add.at(sums, (layers, chosen, group), part["mass"].astype(float) * n)
        np.add.at(counts, (layers, chosen, group), n)
        items = set(zip(part["item_id"], part["scenario"], part["kind"], strict=True))
        for layer in range(shape[0]):
            found = ratio_bands(sums[layer], counts[layer], bootstrap, seed, confidence)
            rows += [
                {
                    "layer": layer,
                    "target_language": target,
                    "set_language": str(name),
                    "mass": band.value,
                    "low": band.low,
                    "high": band.high,
                    "n_items": len(items),
                    "n_positions": int(counts[layer, i].sum()),
                }
                for i, (name, band) in enumerate(zip(sets, found, strict=True))
            ]
    return pa.Table.from_pylist(rows, CURVES_SCHEMA)
