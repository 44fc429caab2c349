"""Reading logits without keeping them: the head product in blocks of rows and of vocabulary.

Memory is one block of logits, whatever the number of layers, tokens or vocabulary entries.
The floor of the time is the head product itself, once a layer and position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from linguamap.models.structure import Structure

BLOCK_ROWS = 256
BLOCK_VOCAB = 16384
CPU_BLOCK_VOCAB = 4096
"""A processor's cores keep blocks of this size in their caches while the readers go over them."""


class Reader(Protocol):
    """Consumes the logits of a block of rows, one stretch of the vocabulary after the other."""

    name: str
    exact: bool
    """Whether scale and soft-cap matter to it; order survives them, probabilities do not."""

    def start(self, n_rows: int, device: torch.device) -> None:
        """A new block of ``n_rows`` rows begins."""

    def read(self, first: int, logits: Tensor) -> None:
        """Take in logits (row, vocab stretch) of the token ids from ``first`` on."""

    def finish(self) -> None:
        """The block has been read to the end of the vocabulary."""

    def result(self) -> Tensor:
        """(row, ...) on the CPU: what was made of all rows read so far; forgets them."""


def state_bytes(structure: Structure, block_rows: int = BLOCK_ROWS) -> int:
    """Bytes of logits alive at any time in :func:`scan_head`."""
    weight = structure.head.weight
    assert isinstance(weight, Tensor)
    n_rows = int(weight.shape[0])
    n_alive = min(_block_vocab(weight), n_rows) if _is_plain(structure.head) else n_rows
    return block_rows * n_alive * weight.element_size()


@torch.no_grad()
def scan_head(
    structure: Structure,
    hidden: Tensor,
    readers: Sequence[Reader],
    block_rows: int = BLOCK_ROWS,
) -> None:
    """Final norm and head over residual states, handing the logits to readers block by block.

    Args:
        hidden: (row, d_model), residual states before the final norm.
        readers: each sees every row's whole vocabulary once, in rising order of token id.
        block_rows: rows whose logits are alive at once.
    """
    exact = any(reader.exact for reader in readers)
    for part in hidden.tensor_split(max(-(-len(hidden) // block_rows), 1)):
        rows = structure.before_head(part)
        for reader in readers:
            reader.start(len(rows), rows.device)
        for first, stretch in _vocab_blocks(structure.head, rows):
            logits = structure.after_head(stretch) if exact else stretch
            for reader in readers:
                reader.read(first, logits if reader.exact else stretch)
        for reader in readers:
            reader.finish()


@torch.no_grad()
def token_logits(structure: Structure, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Logits (row, k) in float32 of a few tokens of each row, without the rest of the vocabulary.

    Args:
        hidden: (row, d_model), residual states before the final norm.
        token_ids: (row, k).
    """
    rows, head = structure.before_head(hidden), structure.head
    if not _is_plain(head):
        logits = head(rows).float()
        return structure.after_head(logits.gather(1, token_ids.to(logits.device)))
    assert isinstance(head, nn.Linear)
    ids = token_ids.to(head.weight.device)
    logits = (head.weight[ids].float() @ rows.to(ids.device).float()[:, :, None]).squeeze(-1)
    return structure.after_head(logits if head.bias is None else logits + head.bias[ids])


def _is_plain(head: nn.Module) -> bool:
    """Whether the head is a matrix product that may be cut: not quantised, not offloaded."""
    if type(head) is not nn.Linear or head.weight.device.type == "meta":
        return False
    return head.weight.is_floating_point()


def _vocab_blocks(head: nn.Module, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Stretches of the head's output with the token id at which each begins."""
    if not _is_plain(head):
        yield 0, head(rows)
        return
    assert isinstance(head, nn.Linear)
    rows, size = rows.to(head.weight.device), _block_vocab(head.weight)
    for first in range(0, head.weight.shape[0], size):
        part = slice(first, first + size)
        bias = None if head.bias is None else head.bias[part]
        yield first, nn.functional.linear(rows, head.weight[part], bias)


def _block_vocab(weight: Tensor) -> int:
    return min(BLOCK_VOCAB, CPU_BLOCK_VOCAB) if weight.device.type == "cpu" else BLOCK_VOCAB


class TopTokens:
    """The ``k`` likeliest token ids of every row, best first; ties go to the lower id."""

    exact = False

    def __init__(self, k: int = 1) -> None:
        self.k = k
        self.name = f"top {k}"
        self.blocks: list[Tensor] = []

    def start(self, n_rows: int, device: torch.device) -> None:
        self._ids = torch.empty((n_rows, 0), dtype=torch.long, device=device)
        self._values: Tensor | None = None

    def read(self, first: int, logits: Tensor) -> None:
        k = min(self.k, logits.shape[-1])
        if self._values is None:
            self._values, ids = logits.max(-1, keepdim=True) if k == 1 else logits.topk(k, -1)
            self._ids = ids + first
        elif self.k == 1:
            self._replace_lower(self._values, first, logits)
        else:
            values, ids = logits.topk(k, -1)
            values = torch.cat([self._values, values], -1)
            ids = torch.cat([self._ids, ids + first], -1)
            order = values.argsort(dim=-1, descending=True, stable=True)[:, : self.k]
            self._values, self._ids = values.gather(-1, order), ids.gather(-1, order)

    def _replace_lower(self, best: Tensor, first: int, logits: Tensor) -> None:
        """Take over the stretch's maxima where they are higher.

        The maximum alone is several times cheaper than the maximum with its place, and few rows
        have a new one in a later stretch.
        """
        if logits.device.type != "cpu":  # counting the rows would hold up an accelerator
            values, ids = logits.max(-1, keepdim=True)
            self._ids = torch.where(values > best, ids + first, self._ids)
            self._values = torch.maximum(values, best)
            return
        rows = (logits.amax(-1, keepdim=True) > best).squeeze(-1).nonzero().squeeze(-1)
        if len(rows):
            best[rows], ids = logits[rows].max(-1, keepdim=True)
            self._ids[rows] = ids + first

    def finish(self) -> None:
        self.blocks.append(self._ids.to("cpu", torch.int32))

    def result(self) -> Tensor:
        """(row, k) int32 token ids of all rows read so far; forgets them."""
        rows, self.blocks = torch.cat(self.blocks), []
        return rows


class SetProbability:
    """Probability of each row on disjoint sets of tokens, after scale and soft-cap.

    Args:
        membership: (vocab,) index of the set that a token belongs to, or -1 for none; shorter
            than the head where the head has padded rows.
        n_sets: number of sets.
    """

    exact = True

    def __init__(self, membership: Tensor, n_sets: int) -> None:
        self.membership = membership.to("cpu", torch.int32)
        digest = hashlib.sha256(self.membership.numpy().tobytes()).hexdigest()
        self.name = f"probability of {n_sets} sets {digest}"
        self.n_sets = n_sets
        self.blocks: list[Tensor] = []
        self._members: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def start(self, n_rows: int, device: torch.device) -> None:
        self._log_total = torch.full((n_rows, 1), float("-inf"), device=device)
        self._probs = torch.zeros((n_rows, self.n_sets), device=device)

    def read(self, first: int, logits: Tensor) -> None:
        probs = torch.softmax(logits, -1, dtype=torch.float32)
        # The likeliest token's probability is 1 / sum(exp(logits - peak)).
        peak = logits.amax(-1, keepdim=True).float()
        log_total = peak - probs.amax(-1, keepdim=True).log()
        both = torch.logaddexp(self._log_total, log_total)
        tokens, sets = self._members_of(first, logits)
        stretch = probs.index_select(1, tokens) @ sets
        self._probs = (
            self._probs * (self._log_total - both).exp() + stretch * (log_total - both).exp()
        )
        self._log_total = both

    def _members_of(self, first: int, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the stretch of the tokens that are in a set, and (token, set) one-hot."""
        key = (first, logits.shape[-1])
        if key not in self._members:
            part = self.membership[first : first + logits.shape[-1]]
            places = (part >= 0).nonzero().squeeze(-1)
            sets = nn.functional.one_hot(part[places].long(), self.n_sets).float()
            self._members[key] = (places.to(logits.device), sets.to(logits.device))
        return self._members[key]

    def finish(self) -> None:
        self.blocks.append(self._probs.cpu())

    def result(self) -> Tensor:
        """(row, set) float32 probabilities of all rows read so far; forgets them."""
        rows, self.blocks = torch.cat(self.blocks), []
        return rows


class TopProbability:
    """The probability of each row's likeliest token, after scale and soft-cap."""

    exact = True
    name = "top probability"

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []

    def start(self, n_rows: int, device: torch.device) -> None:
        self._peak = torch.full((n_rows,), float("-inf"), device=device)
        self._sum = torch.zeros(n_rows, device=device)

    def read(self, first: int, logits: Tensor) -> None:
        logits = logits.float()
        peak = torch.maximum(self._peak, logits.amax(-1))
        self._sum *= torch.exp(self._peak - peak)
        self._sum += torch.exp(logits - peak[:, None]).sum(-1)
        self._peak = peak

    def finish(self) -> None:
        self.blocks.append(self._sum.reciprocal().cpu())

    def result(self) -> Tensor:
        """(row,) float32 probabilities of all rows read so far; forgets them."""
        rows, self.blocks = torch.cat(self.blocks), []
        return rows
