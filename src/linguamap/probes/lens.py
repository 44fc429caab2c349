"""The language lens: in which language each layer would answer.

At every position that predicts a token of the answer, each layer's residual state goes through
the model's own final norm and head. The arg-max tokens of an item are joined back into text, split
into words, and each word is given to a language identifier. Source: LinguaMap, arXiv 2601.20009,
section 4; the lens itself: nostalgebraist 2020, "interpreting GPT: the logit lens".

The same without an identifier: the probability that a layer gives to the tokens of one language only,
those that occur in its texts and in no other language's. It needs no arg-max and no word, and sees
only a part of a language, which is stated as the coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from linguamap.languages import words
from linguamap.probes.layer_reading import (
    ITEM_FIELDS,
    Row,
    by_text,
    item_columns,
    read_texts,
)
from linguamap.probes.logit_scan import SetProbability, TopTokens
from linguamap.probes.texts import encode_texts

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import EncodedText, LensText, Positions
    from linguamap.scoring.language_id import Identifier

NOISE_TOKENS = (200, 32)
"""Texts of random tokens, and their length, for :func:`identifier_noise`."""

ITEMS_SCHEMA = pa.schema(
    [*ITEM_FIELDS, ("word_language", pa.string()), ("n", pa.int32()), ("n_words", pa.int32())]
)

MIN_COUNT = 2
"""Occurrences below which a token says too little about its language."""

SET_ITEMS_SCHEMA = pa.schema(
    [
        *ITEM_FIELDS,
        ("set_language", pa.string()),
        ("probability", pa.float64()),
        ("n_positions", pa.int32()),
    ]
)


def language_lens(
    lm: LanguageModel,
    texts: Sequence[LensText],
    identifier: Identifier,
    *,
    positions: Positions = "all",
    top_k: int = 1,
    **options: Any,
) -> pa.Table:
    """Words per language that each layer would write, counted per item.

    Args:
        texts: the model reads prompt and answer (teacher-forced).
        positions: ``all`` positions that predict an answer token, or only the ``last`` of the
            prompt, which predicts the first answer token.
        top_k: read the k likeliest tokens; the tokens of one rank are joined into one text.
        options: of :func:`linguamap.probes.layer_reading.read_texts`.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`: ``n`` of the item's ``n_words`` words at this layer are in
        ``word_language`` (null: the identifier cannot place them). Where a layer writes no word at
        all there is one row with n = n_words = 0.
    Raises:
        UserError: no text, or an answer without tokens.
    """
    consumer = WordCounts(lm, identifier, top_k)
    (found,) = read_texts(lm, encode_texts(lm, texts, positions), [consumer], **options)
    return pa.Table.from_batches(found, ITEMS_SCHEMA)


class WordCounts:
    """Makes the lens's rows of a batch of texts: each layer's arg-max text, word by word.

    Args:
        identifier: asked about each word once, however often it comes.
        top_k: likeliest tokens to read, each rank as one text.
    """

    schema = ITEMS_SCHEMA

    def __init__(self, lm: LanguageModel, identifier: Identifier, top_k: int = 1) -> None:
        self.reader = TopTokens(top_k)
        self._tokenizer = lm.tokenizer
        self._identifier = identifier
        self._language: dict[str, str | None] = {}

    def rows(self, batch: Sequence[EncodedText], by_layer: Mapping[int, Tensor]) -> list[Row]:
        """See :class:`linguamap.probes.layer_reading.Consumer`."""
        spans = [
            (text, layer, self._words_of(own))
            for layer, ids in by_layer.items()
            for text, own in by_text(batch, ids)
        ]
        new = sorted({word for _, _, found in spans for word in found} - self._language.keys())
        self._language.update(zip(new, self._identifier.identify_words(new), strict=True))
        rows: list[Row] = []
        for text, layer, found in spans:
            counts = Counter(self._language[word] for word in found) or Counter({None: 0})
            base = item_columns(text, layer)
            rows += [
                {**base, "word_language": name, "n": n, "n_words": len(found)}
                for name, n in counts.items()
            ]
        return rows

    def _words_of(self, ids: Tensor) -> list[str]:
        """Words of (position, rank) token ids; each rank is decoded as one text."""
        found: list[str] = []
        for rank in ids.T.tolist():
            found += words(self._tokenizer.decode(rank, skip_special_tokens=True))
        return found


def identifier_noise(lm: LanguageModel, identifier: Identifier, seed: int = 0) -> dict[str, Any]:
    """What a layer that says nothing would score: the words of tokens drawn at random.

    An identifier finds some language in nearly any word, English above all. A share of words is
    evidence only beyond this.

    Returns:
        ``shares`` per language over all words (unplaced ones count in the denominator), ``n_words``.
    """
    drawn = np.random.default_rng(seed).integers(0, len(lm.tokenizer), size=NOISE_TOKENS)
    texts = [lm.tokenizer.decode(row, skip_special_tokens=True) for row in drawn.tolist()]
    found = identifier.identify_words([word for text in texts for word in words(text)])
    counts = Counter(code for code in found if code is not None)
    return {
        "shares": {code: n / len(found) for code, n in counts.most_common()},
        "n_words": len(found),
    }


def identifier_ceiling(
    identifier: Identifier, texts_by_language: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float | int | None]]:
    """What a perfect layer would score: the identifier's share of right answers on gold words.

    Args:
        texts_by_language: texts known to be in the language.
    Returns:
        Per language the ``value``: share of running words placed in it (null without words) and ``n_words``.
    """
    found = {
        language: [word for text in texts for word in words(text)]
        for language, texts in texts_by_language.items()
    }
    unique = sorted({word for gold in found.values() for word in gold})
    placed = dict(zip(unique, identifier.identify_words(unique), strict=True))
    return {
        language: {
            "value": sum(placed[word] == language for word in gold) / len(gold) if gold else None,
            "n_words": len(gold),
        }
        for language, gold in found.items()
    }


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


class SetProbabilities:
    """Makes the rows of :data:`SET_ITEMS_SCHEMA`: mean probability over a text's positions, by the
    softmax of the model's logits, scale and soft-cap included. It does not add up to 1 over the sets.

    Args:
        token_sets: disjoint token ids per language, see :func:`exclusive_tokens`.
    """

    schema = SET_ITEMS_SCHEMA

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
                    {**base, "set_language": name, "probability": value}
                    for name, value in zip(self._names, means, strict=True)
                ]
        return rows
