"""Where the language is committed: causal evidence that rests on no reading of middle layers.

Handover: a prompt is run, but at its last position the residual stream after layer l is replaced by
that of the same item's English prompt, or the reverse. What is read is the log-odds of the token that
the target-language answer begins with against the one that the English answer begins with. If the
exchanged state moves them as far as exchanging everything does, what decided the language was there
after layer l. Complement: one block at a time is left out at the last position.

All layers are rows of one batch: everything before the last position is the same for all of them
and is run once, as is what several prompts begin with (the English one of an item stands in the pairs of
all its languages); and the head is needed for two tokens only. Source: activation patching between two
prompts, Vig et al. 2020 (arXiv:2004.12265); normalised log-odds, Wang et al. 2023 (arXiv:2211.00593).
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.kv_cache import (
    SharedPrefixStates,
    has_plain_rows,
    new_cache,
    open_rows,
)
from linguamap.generation.shared_prefix import shared_prefixes
from linguamap.models.batching import batches_by_length
from linguamap.probes.curves import ratio_bands
from linguamap.probes.logit_scan import token_logits
from linguamap.progress import Progress, silent

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import PromptPair

BATCH_CELLS = 16384
"""Bound of rows x padded length, over all layers' rows: what the copied caches take."""

ITEMS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("item_id", "group", "kind", "language", "intervention")]
    + [("layer", pa.int32()), ("log_odds", pa.float64())]
)

CURVES_SCHEMA = pa.schema(
    [("layer", pa.int32()), ("language", pa.string()), ("intervention", pa.string())]
    + [(name, pa.float64()) for name in ("shift", "low", "high", "log_odds")]
    + [("n", pa.int32())]
)


@dataclass(frozen=True)
class NextTokens:
    """How likely a prompt is to go on as it would by itself, or as its English counterpart would.

    Attributes:
        own_token, english_token: the most likely next tokens of the two prompts, decoded.
        own, english: probabilities of these tokens when the state of the last position is that of the
            English prompt after layer 0, 1, ... L; before layer 0 nothing has been read but that position's token.
        untouched: the same two probabilities when nothing is exchanged.
    """

    own_token: str
    english_token: str
    own: list[float]
    english: list[float]
    untouched: tuple[float, float]


Edit = Callable[[int, Tensor], Tensor]
"""(layer, hidden (item, row, 1, d_model)) -> what to go on with."""


@dataclass(frozen=True)
class _Prefix:
    """Prompts but for their last tokens, run once.

    Attributes:
        mask: (item, position), the last position included.
        last: (item, 1) token ids.
        states: of each item (layer, d_model), at the last position when nothing is changed.
    """

    cache: Any
    mask: Tensor
    last: Tensor
    states: Tensor


def supports_handover(lm: LanguageModel) -> bool:
    """Whether the model continues from a key-value cache, whose rows the layers are copies of.

    A steered model does not: its states are those of a language.
    """
    if lm.steering is not None:
        return False
    if cache_fault(lm) is not None or not has_plain_rows(new_cache(lm.model.config)):
        return False
    return "past_key_values" in inspect.signature(lm.model.forward).parameters


def handover(lm: LanguageModel, pairs: Sequence[PromptPair], **options: Any) -> pa.Table:
    """Log-odds of the two first tokens after each intervention, per item and layer.

    Args:
        pairs: prompts in the target language and in English.
        options: of :func:`handover_batches`.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`, ``log_odds`` of the target's token against the English one.
        intervention ``to_english``: target-language prompt with the English one's state after
        ``layer``; ``from_english``: the reverse; ``skip``: block ``layer`` left out at the last
        position. layer -1: nothing was done. Pairs whose two tokens are one are left out.
    """
    return pa.Table.from_batches(handover_batches(lm, pairs, **options), ITEMS_SCHEMA)


@torch.no_grad()
def handover_batches(
    lm: LanguageModel,
    pairs: Sequence[PromptPair],
    *,
    batch_cells: int = BATCH_CELLS,
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> list[pa.RecordBatch]:
    """The rows of :func:`handover`, one record batch a batch of items.

    Args:
        batch_cells: bound of rows x padded length in one pass.
        share: (rank, count): only the batches whose number modulo count is rank.
    """
    lengths = [max(len(pair.prompt_ids), len(pair.english_ids)) for pair in pairs]
    batches = batches_by_length(lengths, batch_cells // (2 * lm.n_layers + 2))[share[0] :: share[1]]
    found: list[pa.RecordBatch] = []
    total, done = sum(map(len, batches)), 0
    reader = _Reader(lm, [ids for pair in pairs for ids in (pair.prompt_ids, pair.english_ids)])
    for places in batches:
        rows = _read_pairs(reader, [pairs[place] for place in places])
        found.append(pa.RecordBatch.from_pylist(rows, schema=ITEMS_SCHEMA))
        done += len(places)
        progress("handover", done, total, "prompts")
    return found


def _read_pairs(reader: _Reader, pairs: Sequence[PromptPair]) -> list[dict[str, object]]:
    """Rows of :data:`ITEMS_SCHEMA` of one batch of pairs."""
    lm = reader.lm
    target = reader.read([pair.prompt_ids for pair in pairs])
    english = reader.read([pair.english_ids for pair in pairs])
    logits = [lm.project(prefix.states[:, -1]) for prefix in (target, english)]
    firsts = _first_tokens(pairs, *logits)
    n_swaps = lm.n_layers + 2
    swap, skip, back = _exchanging(english.states), _skipping(), _exchanging(target.states)

    def both(layer: int, hidden: Tensor) -> Tensor:
        """Rows of an item: the exchanges after layer -1, 0, .. L, then block 1, .. L left out."""
        parts = (swap(layer, hidden[:, :n_swaps]), skip(layer, hidden[:, n_swaps:]))
        return torch.cat(parts, 1)

    read = _log_odds(lm, _last_layer(lm, target, n_swaps + lm.n_layers, both), firsts)
    read_back = _log_odds(lm, _last_layer(lm, english, n_swaps, back), firsts)
    rows: list[dict[str, object]] = []
    for pair, first, own, reversed_ in zip(pairs, firsts, read, read_back, strict=True):
        if first[0] == first[1]:
            continue
        curves = {
            "to_english": enumerate(own[:n_swaps], -1),
            "from_english": enumerate(reversed_, -1),
            "skip": [(-1, own[0]), *enumerate(own[n_swaps:], 1)],
        }
        facts = {key: getattr(pair, key) for key in ("item_id", "group", "kind", "language")}
        rows += [
            {**facts, "intervention": name, "layer": layer, "log_odds": value}
            for name, curve in curves.items()
            for layer, value in curve
        ]
    return rows


def handover_curves(
    table: pa.Table, *, bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> pa.Table:
    """How far an intervention moves the log-odds, with a bootstrap band over item groups.

    ``shift`` is 0 where nothing is done and 1 where the whole state is exchanged: the sum of the
    items' moves over the sum of their moves at the last layer of the same exchange; for ``skip``, of
    ``to_english``. Items are not normalised one by one: a pair whose prompts hardly differ would count
    as much as one that does.

    Returns:
        Columns of :data:`CURVES_SCHEMA`; shift and band are null where the whole exchange does not
        clearly move the log-odds (its interval reaches 0).
    """
    by_key: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        by_key.setdefault((row["language"], row["intervention"]), []).append(row)
    rows: list[dict[str, object]] = []
    for (language, intervention), part in sorted(by_key.items()):
        layers = sorted({row["layer"] for row in part})
        names = sorted({f"{row['kind']}/{row['group']}" for row in part})
        whole = "from_english" if intervention == "from_english" else "to_english"
        odds = _by_group(part, layers, names)
        scale = _by_group(by_key[language, whole], None, names)
        moved, most = odds - odds[:1], scale[-1] - scale[0]
        sign = -1.0 if whole == "to_english" else 1.0
        n = Counter(row["layer"] for row in part)[layers[0]]
        ones = np.full(len(names), 1.0)
        (end,) = ratio_bands(sign * most[None], ones, bootstrap, seed, confidence)
        known = end.value is not None and end.value > 0 and (end.low is None or end.low > 0)
        shifts = ratio_bands(sign * moved, sign * most, bootstrap, seed, confidence)
        for i, (layer, shift) in enumerate(zip(layers, shifts, strict=True)):
            facts = {"layer": layer, "language": language, "intervention": intervention, "n": n}
            band = shift if known else (None, None, None)
            values = dict(zip(("shift", "low", "high"), band, strict=True))
            rows.append({**facts, **values, "log_odds": float(odds[i].sum()) / n})
    return pa.Table.from_pylist(rows, CURVES_SCHEMA)


def _by_group(
    rows: Sequence[dict[str, Any]], layers: Sequence[int] | None, names: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(layer, group) sums of the items' log-odds."""
    layers = sorted({row["layer"] for row in rows}) if layers is None else layers
    sums = np.zeros((len(layers), len(names)))
    place = {layer: i for i, layer in enumerate(layers)}
    index = {name: i for i, name in enumerate(names)}
    for row in rows:
        sums[place[row["layer"]], index[f"{row['kind']}/{row['group']}"]] += row["log_odds"]
    return sums


@torch.no_grad()
def next_tokens(lm: LanguageModel, pair: PromptPair) -> NextTokens | None:
    """The handover of one prompt to its English counterpart, in the two prompts' own next tokens.

    Returns:
        None if both prompts go on with the same token: nothing tells them apart there.
    """
    reader = _Reader(lm, [])
    target, english = reader.read([pair.prompt_ids]), reader.read([pair.english_ids])
    n_rows = lm.n_layers + 2
    states = _last_layer(lm, target, n_rows, _exchanging(english.states))
    probs = lm.project(states).float().softmax(-1)
    own, other = int(probs[0].argmax()), int(probs[-1].argmax())  # row 0: untouched
    if own == other:
        return None
    picked = probs[:, [own, other]].tolist()
    names = (lm.tokenizer.decode([own]), lm.tokenizer.decode([other]))
    untouched, *after = picked
    return NextTokens(*names, [p for p, _ in after], [p for _, p in after], tuple(untouched))


class _Reader:
    """Reads prompts up to their last tokens, what several of them begin with once."""

    def __init__(self, lm: LanguageModel, prompts: Sequence[list[int]]) -> None:
        """Take all prompts that are to be read."""
        self.lm, self.states = lm, SharedPrefixStates(lm)
        self.prefixes = dict(zip(map(tuple, prompts), shared_prefixes(prompts), strict=True))

    def read(self, prompts: Sequence[list[int]]) -> _Prefix:
        """Prompts in a cache but for their last tokens, and the last positions' states."""
        found = open_rows(prompts, [self.prefixes.get(tuple(p)) for p in prompts], self.states)
        ids, mask, cache = found.ids, found.mask, found.cache
        states: list[Tensor] = []

        def keep(layer: int, hidden: Tensor) -> None:
            states.append(hidden[:, -1].to(self.lm.device, copy=True))

        if ids.shape[1] > 1:
            self.lm.run(ids[:, :-1], mask[:, :-1], cache=cache)
        with self.lm.watch(range(self.lm.n_layers + 1), keep):
            self.lm.run(ids[:, -1:], mask, cache=copy.deepcopy(cache))
        return _Prefix(cache, mask, ids[:, -1:], torch.stack(states, 1))


def _last_layer(lm: LanguageModel, prefix: _Prefix, n_rows: int, edit: Edit) -> Tensor:
    """(item x row, d_model) last layer at the last position of ``n_rows`` edited copies of each
    prompt; uses the prefix up."""
    prefix.cache.batch_repeat_interleave(n_rows)
    last: list[Tensor] = []

    def see(layer: int, hidden: Tensor) -> Tensor:
        changed = edit(layer, hidden.view(-1, n_rows, 1, hidden.shape[-1])).view_as(hidden)
        if layer == lm.n_layers:
            last.append(changed[:, -1])
        return changed

    with lm.watch(range(lm.n_layers + 1), see):
        token, mask = (one.repeat_interleave(n_rows, 0) for one in (prefix.last, prefix.mask))
        lm.run(token, mask, cache=prefix.cache)
    return last[0]


def _exchanging(states: Tensor) -> Edit:
    """Give row l + 1 of each item the donor's state after layer l."""

    def edit(layer: int, hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[:, layer + 1, 0] = states[:, layer].to(hidden)
        return changed

    return edit


def _skipping() -> Edit:
    """Leave block i + 1 out in row i of each item."""
    before: list[Tensor] = []

    def edit(layer: int, hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        if layer > 0:
            changed[:, layer - 1] = before.pop()[:, layer - 1].to(hidden)
        before.append(changed)
        return changed

    return edit


def _first_tokens(pairs: Sequence[PromptPair], own: Tensor, english: Tensor) -> list[list[int]]:
    """(item, 2) first tokens of the answers, or the most likely next ones of the two prompts.

    Args:
        own, english: (item, vocab) logits of the untouched prompts.
    """
    likely = torch.stack([own.argmax(-1), english.argmax(-1)], 1).tolist()
    return [list(p.first_ids or guess) for p, guess in zip(pairs, likely, strict=True)]


def _log_odds(lm: LanguageModel, states: Tensor, firsts: Sequence[list[int]]) -> list[list[float]]:
    """(item, row) log-odds of each item's first token against its second."""
    n_rows = len(states) // len(firsts)
    ids = torch.tensor(firsts, device=states.device).repeat_interleave(n_rows, 0)
    logits = token_logits(lm.structure, states, ids)
    odds: list[list[float]] = (logits[:, 0] - logits[:, 1]).view(-1, n_rows).tolist()
    return odds
