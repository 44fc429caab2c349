"""One pass over texts in which every layer's logits at the answer's positions are read once.

Several consumers share the pass and its head products: the language lens takes the likeliest tokens,
the token-set mass the probabilities. States that were read before, bit for bit, are not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa
import torch
from torch import Tensor

from linguamap.headscan import BLOCK_ROWS, Reader, scan_head
from linguamap.lens_text import EncodedText, LensText, batched, right_padded
from linguamap.model import LanguageModel, head_fingerprint
from linguamap.progress import Progress, silent

BATCH_TOKENS = 2048

Row = dict[str, object]

ITEM_FIELDS = [
    ("item_id", pa.string()),
    ("group", pa.string()),
    ("kind", pa.string()),
    ("scenario", pa.string()),
    ("target_language", pa.string()),
    ("layer", pa.int32()),
]
"""What every table of items begins with."""


class Consumer(Protocol):
    """Turns what its reader made of a batch's layers into rows of a table."""

    schema: pa.Schema

    @property
    def reader(self) -> Reader:
        """What takes in the logits."""

    def rows(self, batch: Sequence[EncodedText], by_layer: Mapping[int, Tensor]) -> list[Row]:
        """Rows of the schema.

        Args:
            by_layer: layer -> (row, ...): the texts' answer positions, text after text.
        """


def read_texts(
    lm: LanguageModel,
    encoded: Sequence[EncodedText],
    consumers: Sequence[Consumer],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    block_rows: int = BLOCK_ROWS,
    known: dict[str, Tensor] | None = None,
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> list[list[pa.RecordBatch]]:
    """Run the texts through the model and let the consumers read every layer.

    Args:
        layers: those to read, 0 to L; None reads all.
        batch_tokens: bound of batch x padded length in a forward pass. Batches are a function of
            the texts and this number alone.
        block_rows: rows whose logits are alive at once.
        known: what readers made of states that were read before; states that are bit for bit the
            same are not read again, and new ones are added.
        share: (rank, count): only the batches whose number modulo count is rank.
    Returns:
        For each consumer one record batch a batch of this share, in the batches' order.
    """
    tables: list[list[pa.RecordBatch]] = [[] for _ in consumers]
    own = list(batched(encoded, batch_tokens))[share[0] :: share[1]]
    total, done = sum(map(len, own)), 0
    readers = [consumer.reader for consumer in consumers]
    wanted = range(lm.n_layers + 1) if layers is None else layers
    for batch in own:
        found = _read_batch(lm, batch, readers, wanted, block_rows, known)
        for consumer, table, by_layer in zip(consumers, tables, found, strict=True):
            rows = consumer.rows(batch, by_layer)
            table.append(pa.RecordBatch.from_pylist(rows, schema=consumer.schema))
        done += len(batch)
        progress("lens", done, total, "texts")
    return tables


def by_text(batch: Sequence[EncodedText], rows: Tensor) -> Iterator[tuple[LensText, Tensor]]:
    """Cut the rows of a batch into those of each text."""
    start = 0
    for one in batch:
        stop = start + one.stop - one.first
        yield one.text, rows[start:stop]
        start = stop


def item_columns(text: LensText, layer: int) -> Row:
    """The values of :data:`ITEM_FIELDS`."""
    return {
        "item_id": text.item_id,
        "group": text.group,
        "kind": text.kind,
        "scenario": text.scenario,
        "target_language": text.language,
        "layer": layer,
    }


def states_digest(states: Tensor) -> str:
    """A hash of residual states, bit for bit."""
    raw = states.contiguous().view(torch.uint8).cpu().numpy()
    return hashlib.sha256(raw.tobytes()).hexdigest()


def _read_batch(
    lm: LanguageModel,
    batch: Sequence[EncodedText],
    readers: Sequence[Reader],
    layers: Sequence[int],
    block_rows: int,
    known: dict[str, Tensor] | None,
) -> list[dict[int, Tensor]]:
    """What each reader makes of the batch's rows: for each reader layer -> (row, ...)."""
    ids, mask = right_padded([one.token_ids for one in batch], lm.tokenizer.pad_token_id or 0)
    rows = torch.cat([torch.full((e.stop - e.first,), i) for i, e in enumerate(batch)])
    places = torch.cat([torch.arange(e.first, e.stop) for e in batch])
    head = "" if known is None else head_fingerprint(lm)
    results: list[dict[int, Tensor]] = [{} for _ in readers]

    def see(layer: int, hidden: Tensor) -> None:
        chosen = hidden[rows.to(hidden.device), places.to(hidden.device)]
        digest = "" if known is None else states_digest(chosen)
        keys = [_key(digest, reader.name, head) for reader in readers]
        unread = [i for i, key in enumerate(keys) if known is None or key not in known]
        if unread:
            scan_head(lm.structure, chosen, [readers[i] for i in unread], block_rows)
        for i, reader in enumerate(readers):
            found = reader.result() if i in unread or known is None else known[keys[i]]
            results[i][layer] = found
            if known is not None:
                known[keys[i]] = found

    with lm.watch(layers, see):
        lm.run(ids, mask)
    return results


def _key(digest: str, reader: str, head: str) -> str:
    """A name for what one reader makes of these states under one head."""
    return hashlib.sha256(f"{digest} {reader} {head}".encode()).hexdigest()
