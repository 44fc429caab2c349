"""One pass over texts in which every layer's logits at the answer's positions are read once.

Several consumers share the pass and its head products: the language lens takes the likeliest tokens,
the token sets the probabilities. States that were read before, bit for bit, are not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from linguamap.models.batching import batches_by_length, right_padded
from linguamap.probes.logit_scan import BLOCK_ROWS, Reader, scan_head
from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.run.files import replacing

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import EncodedText, LensText

BATCH_TOKENS = 2048
POOL_BLOCKS = 8
"""So many blocks' rows of states, of as many layers as it takes, wait for each other."""

Row = dict[str, object]
Mapped = Callable[[int, Tensor], Tensor]
"""Layer, states (row, d_model) -> states that the head reads, see :mod:`linguamap.probes.fitted_lens`."""

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
    **options: Any,
) -> list[list[pa.RecordBatch]]:
    """Run the texts through the model and let the consumers read every layer.

    Args:
        options: of :func:`read_layers`.
    Returns:
        For each consumer one record batch a batch of this share, in the batches' order.
    Raises:
        UserError: the model's states are not finite in its dtype.
    """
    tables: list[list[pa.RecordBatch]] = [[] for _ in consumers]
    readers = [consumer.reader for consumer in consumers]
    for places, read in read_layers(lm, encoded, readers, **options):
        batch = [encoded[place] for place in places]
        for consumer, table, by_layer in zip(consumers, tables, read, strict=True):
            rows = consumer.rows(batch, by_layer)
            table.append(pa.RecordBatch.from_pylist(rows, schema=consumer.schema))
    return tables


def read_layers(
    lm: LanguageModel,
    encoded: Sequence[EncodedText],
    readers: Sequence[Reader],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    block_rows: int = BLOCK_ROWS,
    known: dict[str, Tensor] | None = None,
    mapped: Mapped | None = None,
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> Iterator[tuple[list[int], list[dict[int, Tensor]]]]:
    """Run the texts through the model, batch by batch, and let the readers see every layer's logits.

    Args:
        layers: those to read, 0 to L; None reads all.
        batch_tokens: bound of batch x padded length in a forward pass. Batches are a function of
            the texts and this number alone.
        block_rows: rows whose logits are alive at once.
        known: what readers made of states that were read before; states that are bit for bit the
            same are not read again, and new ones are added.
        mapped: what is read in place of a layer's states.
        share: (rank, count): only the batches whose number modulo count is rank.
    Yields:
        Which texts a batch holds, and for each reader layer -> (row, ...): the texts' answer
        positions, text after text.
    """
    lengths = [len(text.token_ids) for text in encoded]
    wanted = range(lm.n_layers + 1) if layers is None else layers
    batches = batches_by_length(lengths, batch_tokens)[share[0] :: share[1]]
    done, total = 0, sum(map(len, batches))
    for places in batches:
        batch = [encoded[place] for place in places]
        yield places, _read_batch(lm, batch, readers, wanted, block_rows, known, mapped)
        done += len(batch)
        progress("lens", done, total, "texts")


def load_readings(path: Path | None) -> dict[str, Tensor]:
    """What :func:`save_readings` wrote; nothing if there is no such file."""
    if path is None or not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def save_readings(path: Path, known: Mapping[str, Tensor]) -> None:
    """Keep what readers made of states, so that another model's equal states are not read again."""
    arrays: Any = {name: values.numpy() for name, values in known.items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


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
    mapped: Mapped | None,
) -> list[dict[int, Tensor]]:
    """What each reader makes of the batch's rows: for each reader layer -> (row, ...)."""
    ids, mask = right_padded([one.token_ids for one in batch], lm.tokenizer.pad_token_id or 0)
    rows = torch.cat([torch.full((e.stop - e.first,), i) for i, e in enumerate(batch)])
    places = torch.cat([torch.arange(e.first, e.stop) for e in batch])
    pool = _Pool(lm, readers, block_rows, known)

    def see(layer: int, hidden: Tensor) -> None:
        states = hidden[rows.to(hidden.device), places.to(hidden.device)]
        pool.add(layer, states if mapped is None else mapped(layer, states))

    with lm.watch(layers, see):
        lm.run(ids, mask, [encoded.text.language for encoded in batch])
    return pool.results()


class _Pool:
    """States of several layers that go through the head together, so that its blocks are full."""

    def __init__(
        self,
        lm: LanguageModel,
        readers: Sequence[Reader],
        block_rows: int,
        known: dict[str, Tensor] | None,
    ) -> None:
        self.structure, self.readers = lm.structure, readers
        self.block_rows, self.known = block_rows, known
        self.head = "" if known is None else lm.head_fingerprint()
        self._results: list[dict[int, Tensor]] = [{} for _ in readers]
        self._waiting: list[tuple[int, Tensor, list[str]]] = []
        self._unread: list[int] = []

    def add(self, layer: int, states: Tensor) -> None:
        """Take in one layer's states (row, d_model); known ones are not read again.

        Raises:
            UserError: a state is not finite: float16 ends at 65,504, which some models exceed.
        """
        if not bool(states.isfinite().all()):
            kind = str(states.dtype).removeprefix("torch.")
            raise UserError(
                f"lens: states of layer {layer} are not finite in {kind}; set model.dtype to "
                "bfloat16 or float32"
            )
        known = self.known
        digest = "" if known is None else states_digest(states)
        keys = [_key(digest, reader.name, self.head) for reader in self.readers]
        unread = [i for i, key in enumerate(keys) if known is None or key not in known]
        for i, key in enumerate(keys):
            if i not in unread and known is not None:
                self._results[i][layer] = known[key]
        if unread != self._unread:
            self._read()
        self._unread = unread
        if unread:
            self._waiting.append((layer, states, keys))
        if sum(len(waiting) for _, waiting, _ in self._waiting) >= POOL_BLOCKS * self.block_rows:
            self._read()

    def results(self) -> list[dict[int, Tensor]]:
        """For each reader layer -> (row, ...)."""
        self._read()
        return self._results

    def _read(self) -> None:
        if not self._waiting:
            return
        device = self._waiting[-1][1].device  # layers of one model may lie on several
        states, again = _different(torch.cat([one.to(device) for _, one, _ in self._waiting]))
        readers = [self.readers[i] for i in self._unread]
        scan_head(self.structure, states, readers, self.block_rows)
        sizes = [len(one) for _, one, _ in self._waiting]
        for i, reader in zip(self._unread, readers, strict=True):
            parts = torch.split(reader.result()[again], sizes)
            for (layer, _, keys), part in zip(self._waiting, parts, strict=True):
                part = part.clone()
                self._results[i][layer] = part
                if self.known is not None:
                    self.known[keys[i]] = part
        self._waiting = []


def _different(states: Tensor) -> tuple[Tensor, Tensor]:
    """The rows without repeats, in order of first appearance, and which of them each row is.

    A token that occurs again has the same state below the first block.
    """
    raw = states.contiguous().view(torch.uint8).cpu().numpy()
    place: dict[bytes, int] = {}
    keep: list[int] = []
    again: list[int] = []
    for row, values in enumerate(raw):
        number = place.setdefault(values.tobytes(), len(keep))
        if number == len(keep):
            keep.append(row)
        again.append(number)
    if len(keep) < len(again):
        states = states[torch.tensor(keep, device=states.device)]
    return states, torch.tensor(again)


def _key(digest: str, reader: str, head: str) -> str:
    """A name for what one reader makes of these states under one head."""
    return hashlib.sha256(f"{digest} {reader} {head}".encode()).hexdigest()
