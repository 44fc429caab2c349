"""The language lens: in which language each layer would answer.

At every position that predicts a token of the answer, each layer's residual state goes through
the model's own final norm and head. The arg-max tokens of an item are joined back into text, split
into words, and each word is given to a language identifier. Source: LinguaMap, arXiv 2601.20009,
section 4; the lens itself: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa
import torch
from torch import Tensor

from linguamap.curves import lens_curves
from linguamap.headscan import BLOCK_ROWS, Reader, SetMass, TopTokens, scan_head
from linguamap.langid import Identifier
from linguamap.languages import words
from linguamap.lens_text import (
    EncodedText,
    LensText,
    Positions,
    batched,
    encode_texts,
    right_padded,
)
from linguamap.model import LanguageModel, head_fingerprint
from linguamap.progress import Progress, silent

__all__ = [
    "LensText",
    "exclusive_tokens",
    "identifier_ceiling",
    "language_lens",
    "lens_curves",
    "token_set_mass",
]

ITEMS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),
        ("scenario", pa.string()),
        ("target_language", pa.string()),
        ("layer", pa.int32()),
        ("word_language", pa.string()),
        ("n", pa.int32()),
        ("n_words", pa.int32()),
    ]
)

MASS_SCHEMA = pa.schema(
    [
        *(ITEMS_SCHEMA.field(name) for name in ITEMS_SCHEMA.names[:6]),
        ("set_language", pa.string()),
        ("mass", pa.float64()),
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
    batch_tokens: int = 2048,
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
        known: token ids of states that were read before, by :func:`states_digest`; states that
            are bit for bit the same are not read again, and new ones are added.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`: ``n`` of the item's ``n_words`` words at this layer are in
        ``word_language`` (null: the identifier cannot place them). Where a layer writes no word at
        all there is one row with n = n_words = 0.
    Raises:
        UserError: no text, or an answer without tokens.
    """
    encoded = encode_texts(lm, texts, positions)
    reader = TopTokens(top_k)
    spans: list[tuple[LensText, int, list[str]]] = []
    for batch in batched(encoded, batch_tokens):
        by_layer = _read_layers(lm, batch, reader, block_rows, known)
        for layer, ids in enumerate(by_layer):
            start = 0
            for one in batch:
                stop = start + one.stop - one.first
                spans.append((one.text, layer, _words_of(lm, ids[start:stop])))
                start = stop
        progress("lens", len(spans) // len(by_layer), len(texts), "texts")
    unique = sorted({word for _, _, found in spans for word in found})
    language = dict(zip(unique, identifier.identify_words(unique), strict=True))
    return _count(spans, language)


def token_set_mass(
    lm: LanguageModel,
    texts: Sequence[LensText],
    token_sets: Mapping[str, Sequence[int]],
    *,
    positions: Positions = "all",
    batch_tokens: int = 2048,
    block_rows: int = 64,
    progress: Progress = silent,
) -> pa.Table:
    """Probability mass per layer on tokens of one language only: the lens without an identifier.

    Args:
        token_sets: disjoint token ids per language, see :func:`exclusive_tokens`.
    Returns:
        Columns of :data:`MASS_SCHEMA`: mean mass over the item's positions, in [0, 1]. The masses
        do not add up to 1: tokens that several languages share belong to no set.
    """
    names = list(token_sets)
    membership = torch.full((lm.vocab_size,), -1)
    for index, name in enumerate(names):
        membership[torch.tensor(list(token_sets[name]), dtype=torch.long)] = index
    reader = SetMass(membership, len(names))
    rows: list[dict[str, object]] = []
    encoded = encode_texts(lm, texts, positions)
    done = 0
    for batch in batched(encoded, batch_tokens):
        for layer, mass in enumerate(_read_layers(lm, batch, reader, block_rows)):
            start = 0
            for one in batch:
                stop = start + one.stop - one.first
                means = mass[start:stop].double().mean(0).tolist()
                base = {**_item_columns(one.text, layer), "n_positions": stop - start}
                rows += [
                    {**base, "set_language": name, "mass": value}
                    for name, value in zip(names, means, strict=True)
                ]
                start = stop
        done += len(batch)
        progress("token mass", done, len(texts), "texts")
    return pa.Table.from_pylist(rows, MASS_SCHEMA)


def exclusive_tokens(
    lm: LanguageModel, texts_by_language: Mapping[str, Sequence[str]], min_count: int = 2
) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Tokens that occur in the texts of one language only, and how much of it they cover.

    Args:
        texts_by_language: word lists or sentences of each language.
        min_count: occurrences below which a token says too little.
    Returns:
        Token ids per language, and per language the share of its running tokens in these texts
        that are in its set. Tokens without a letter are in no set.
    """
    counts = {
        language: Counter(
            token
            for ids in lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
            for token in ids
        )
        for language, texts in texts_by_language.items()
    }
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
    coverage = {
        language: sum(found[token] for token in sets[language]) / max(sum(found.values()), 1)
        for language, found in counts.items()
    }
    return sets, coverage


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


def states_digest(states: Tensor, salt: str) -> str:
    """A hash of residual states, bit for bit; ``salt`` stands for what they are read with."""
    raw = states.contiguous().view(torch.uint8).cpu().numpy()
    return hashlib.sha256(salt.encode() + raw.tobytes()).hexdigest()


def _read_layers(
    lm: LanguageModel,
    batch: Sequence[EncodedText],
    reader: TopTokens | SetMass,
    block_rows: int,
    known: dict[str, Tensor] | None = None,
) -> list[Tensor]:
    """What the reader makes of each layer: one (row, ...) tensor a layer, rows text by text."""
    ids, mask = right_padded([one.token_ids for one in batch], lm.tokenizer.pad_token_id or 0)
    rows = torch.cat([torch.full((e.stop - e.first,), i) for i, e in enumerate(batch)])
    places = torch.cat([torch.arange(e.first, e.stop) for e in batch])
    salt = "" if known is None else f"{reader.name} {head_fingerprint(lm)}"
    results: list[Tensor] = []
    readers: list[Reader] = [reader]

    def see(layer: int, hidden: Tensor) -> None:
        chosen = hidden[rows.to(hidden.device), places.to(hidden.device)]
        digest = "" if known is None else states_digest(chosen, salt)
        if known is not None and digest in known:
            results.append(known[digest])
            return
        scan_head(lm.structure, chosen, readers, block_rows)
        results.append(reader.result())
        if known is not None:
            known[digest] = results[-1]

    with lm.watch(range(lm.n_layers + 1), see):
        lm.run(ids, mask)
    return results


def _words_of(lm: LanguageModel, ids: Tensor) -> list[str]:
    """Words of (position, rank) token ids; each rank is decoded as one text."""
    found: list[str] = []
    for rank in ids.T.tolist():
        found += words(lm.tokenizer.decode(rank, skip_special_tokens=True))
    return found


def _item_columns(text: LensText, layer: int) -> dict[str, object]:
    return {
        "item_id": text.item_id,
        "group": text.group,
        "kind": text.kind,
        "scenario": text.scenario,
        "target_language": text.language,
        "layer": layer,
    }


def _count(
    spans: Sequence[tuple[LensText, int, list[str]]], language: Mapping[str, str | None]
) -> pa.Table:
    rows: list[dict[str, object]] = []
    for text, layer, found in spans:
        counts = Counter(language[word] for word in found) or Counter({None: 0})
        base = _item_columns(text, layer)
        rows += [
            {**base, "word_language": name, "n": n, "n_words": len(found)}
            for name, n in counts.items()
        ]
    return pa.Table.from_pylist(rows, ITEMS_SCHEMA)
