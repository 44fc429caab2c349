"""The language lens: in which language each layer would answer.

At every position that predicts a token of the answer, each layer's residual state goes through
the model's own final norm and head. The arg-max tokens of an item are joined back into text, split
into words, and each word is given to a language identifier. Source: LinguaMap, arXiv 2601.20009,
section 4; the lens itself: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from linguamap.languages import words
from linguamap.probes.curves import lens_curves
from linguamap.probes.layer_reading import (
    BATCH_TOKENS,
    ITEM_FIELDS,
    Row,
    by_text,
    item_columns,
    read_texts,
)
from linguamap.probes.logit_scan import BLOCK_ROWS, TopTokens
from linguamap.probes.texts import LensText, encode_texts
from linguamap.progress import Progress, silent

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import EncodedText, Positions
    from linguamap.scoring.language_id import Identifier

__all__ = [
    "LensText",
    "WordCounts",
    "identifier_ceiling",
    "identifier_noise",
    "language_lens",
    "lens_curves",
]

NOISE_TOKENS = (200, 32)
"""Texts of random tokens, and their length, for :func:`identifier_noise`."""

ITEMS_SCHEMA = pa.schema(
    [
        *ITEM_FIELDS,
        ("word_language", pa.string()),
        ("n", pa.int32()),
        ("n_words", pa.int32()),
    ]
)


def language_lens(
    lm: LanguageModel,
    texts: Sequence[LensText],
    identifier: Identifier,
    *,
    positions: Positions = "all",
    top_k: int = 1,
    batch_tokens: int = BATCH_TOKENS,
    block_rows: int = BLOCK_ROWS,
    known: dict[str, Tensor] | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """Words per language that each layer would write, counted per item.

    Args:
        texts: the model reads prompt and answer (teacher-forced).
        positions: ``all`` positions that predict an answer token, or only the ``last`` of the
            prompt, which predicts the first answer token.
        top_k: read the k likeliest tokens; the tokens of one rank are joined into one text.
        batch_tokens: bound of batch x padded length in a forward pass.
        block_rows: rows whose logits are alive at once.
        known: see :func:`linguamap.probes.layer_reading.read_texts`.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`: ``n`` of the item's ``n_words`` words at this layer are in
        ``word_language`` (null: the identifier cannot place them). Where a layer writes no word at
        all there is one row with n = n_words = 0.
    Raises:
        UserError: no text, or an answer without tokens.
    """
    encoded = encode_texts(lm, texts, positions)
    (found,) = read_texts(
        lm,
        encoded,
        [WordCounts(lm, identifier, top_k)],
        batch_tokens=batch_tokens,
        block_rows=block_rows,
        known=known,
        progress=progress,
    )
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
