"""Where the language is committed: causal evidence that rests on no reading of middle layers.

Handover: a prompt is run, but at its last position the residual stream after layer l is replaced by
that of the same item's prompt in another language. If the words that follow turn to the other
language, what decided it was already there after layer l. Complement: one block at a time is
left out while the answer is written.

All layers are rows of one batch: everything before the last position is the same for all of them
and is run once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.kv_cache import has_plain_rows, new_cache
from linguamap.languages import words
from linguamap.models.batching import left_padded
from linguamap.progress import Progress, silent
from linguamap.scoring.stats import clustered_rate

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.texts import PromptPair
    from linguamap.scoring.language_id import Identifier

RIVAL = "en"
Intervention = Literal["to_english", "from_english", "skip"]

OPTION_LETTERS = frozenset("ABCDEFGHIJ")
"""lingua calls a lone A or C Spanish, and B English."""

ITEMS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("group", pa.string()),
        ("kind", pa.string()),
        ("language", pa.string()),
        ("intervention", pa.string()),
        ("layer", pa.int32()),
        ("text", pa.string()),
        ("word_language", pa.string()),
        ("has_word", pa.bool_()),
    ]
)

CURVES_SCHEMA = pa.schema(
    [
        ("layer", pa.int32()),
        ("language", pa.string()),
        ("intervention", pa.string()),
        ("english", pa.float64()),
        ("english_low", pa.float64()),
        ("english_high", pa.float64()),
        ("target", pa.float64()),
        ("target_low", pa.float64()),
        ("target_high", pa.float64()),
        ("n", pa.int32()),
    ]
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


Edit = Callable[[int, int, Tensor], Tensor | None]
"""(step, layer, hidden (row, 1, d_model)) -> what to go on with, or None."""


def supports_handover(lm: LanguageModel) -> bool:
    """Whether the model continues from a key-value cache, whose rows the layers are copies of."""
    if cache_fault(lm) is not None or not has_plain_rows(new_cache(lm.model.config)):
        return False
    return "past_key_values" in inspect.signature(lm.model.forward).parameters


def handover(
    lm: LanguageModel,
    pairs: Sequence[PromptPair],
    identifier: Identifier,
    *,
    new_tokens: int = 4,
    items_per_batch: int = 4,
    skip: bool = True,
    progress: Progress = silent,
) -> pa.Table:
    """The first word after each intervention, per item and layer.

    Args:
        pairs: prompts in the target language and in English.
        new_tokens: greedy tokens, enough for one word.
        skip: also leave out one block at a time, in the target-language prompt.
    Returns:
        Columns of :data:`ITEMS_SCHEMA`. intervention ``to_english``: target-language prompt with the
        English one's state after ``layer``; ``from_english``: the reverse; ``skip``: block ``layer``
        left out at the last position and those that follow. layer -1: nothing was done.
        ``word_language`` is null if the first word cannot be placed, or if there is none.
    """
    batches = handover_batches(
        lm,
        pairs,
        identifier,
        new_tokens=new_tokens,
        items_per_batch=items_per_batch,
        skip=skip,
        progress=progress,
    )
    return pa.Table.from_batches(batches, ITEMS_SCHEMA)


def handover_batches(
    lm: LanguageModel,
    pairs: Sequence[PromptPair],
    identifier: Identifier,
    *,
    new_tokens: int = 4,
    items_per_batch: int = 4,
    skip: bool = True,
    share: tuple[int, int] = (0, 1),
    progress: Progress = silent,
) -> list[pa.RecordBatch]:
    """The rows of :func:`handover`, one record batch a batch of items.

    Args:
        share: (rank, count): only the batches whose number modulo count is rank.
    """
    found: list[pa.RecordBatch] = []
    ordered = sorted(pairs, key=lambda pair: len(pair.prompt_ids), reverse=True)
    firsts = range(0, len(ordered), items_per_batch)
    batches = [ordered[first : first + items_per_batch] for first in firsts]
    batches = batches[share[0] :: share[1]]
    total, done = sum(map(len, batches)), 0
    for batch in batches:
        rows: list[dict[str, object]] = []
        target = [pair.prompt_ids for pair in batch]
        english = [pair.english_ids for pair in batch]
        texts: dict[Intervention, list[list[str]]] = {
            "to_english": _exchange(lm, target, english, new_tokens),
            "from_english": _exchange(lm, english, target, new_tokens),
        }
        if skip:
            texts["skip"] = _skip_blocks(lm, target, new_tokens)
        for intervention, written in texts.items():
            for pair, by_row in zip(batch, written, strict=True):
                rows += [_row(pair, intervention, i, text) for i, text in enumerate(by_row)]
        found.append(with_languages(rows, identifier))
        done += len(batch)
        progress("handover", done, total, "prompts")
    return found


def handover_curves(table: pa.Table, *, confidence: float = 0.95) -> pa.Table:
    """Share of first words that are English, and that are in the prompt's target language.

    Continuations without a word are left out; words that cannot be placed stay in the denominator.
    A few prompts often agree, where a bootstrap has no spread: the band is Wilson's, clustered by
    group.
    """
    frame = [row for row in table.to_pylist() if row["has_word"]]
    keys = sorted({(r["intervention"], r["language"], r["layer"]) for r in frame})
    rows: list[dict[str, object]] = []
    for intervention, language, layer in keys:
        part = [
            r
            for r in frame
            if (r["intervention"], r["language"], r["layer"]) == (intervention, language, layer)
        ]
        groups = [f"{r['kind']}/{r['group']}" for r in part]
        english, target = (
            clustered_rate([r["word_language"] == wanted for r in part], groups, confidence)
            for wanted in (RIVAL, language)
        )
        rows.append(
            {"layer": layer, "language": language, "intervention": intervention, "n": len(part)}
            | {"english": english.value, "english_low": english.low, "english_high": english.high}
            | {"target": target.value, "target_low": target.low, "target_high": target.high}
        )
    return pa.Table.from_pylist(rows, CURVES_SCHEMA)


def next_tokens(lm: LanguageModel, pair: PromptPair) -> NextTokens | None:
    """The handover of one prompt to its English counterpart as a curve, which one first word is not.

    Returns:
        None if both prompts go on with the same token: nothing tells them apart there.
    """
    states = _last_states(lm, [pair.english_ids])
    n_rows = lm.n_layers + 2
    (logits,) = _steps(lm, [pair.prompt_ids], n_rows, _exchanging(states, n_rows), 1)
    probs = logits.float().softmax(-1)
    target, english = int(probs[0].argmax()), int(probs[-1].argmax())  # row 0: untouched
    if target == english:
        return None
    picked = probs[:, [target, english]].tolist()
    return NextTokens(
        lm.tokenizer.decode([target]),
        lm.tokenizer.decode([english]),
        [row[0] for row in picked[1:]],
        [row[1] for row in picked[1:]],
        (picked[0][0], picked[0][1]),
    )


def _exchange(
    lm: LanguageModel, into: Sequence[list[int]], donors: Sequence[list[int]], new_tokens: int
) -> list[list[str]]:
    """Continuations of each prompt with the donor's last state after layer -1 (none), 0, ... L."""
    n_rows = lm.n_layers + 2
    edit = _exchanging(_last_states(lm, donors), n_rows)
    return _continue(lm, into, n_rows, edit, new_tokens)


def _last_states(lm: LanguageModel, prompts: Sequence[list[int]]) -> list[Tensor]:
    """Each prompt's states (layer, d_model) at its last position."""
    return [
        torch.stack([h[0, -1] for h in lm.block_outputs(torch.tensor([ids]))]) for ids in prompts
    ]


def _exchanging(states: Sequence[Tensor], n_rows: int) -> Edit:
    """Give each item's row l + 1 the item's state after layer l, once."""

    def edit(step: int, layer: int, hidden: Tensor) -> Tensor | None:
        if step > 0:
            return None
        changed = hidden.clone()
        for item, donor in enumerate(states):
            changed[item * n_rows + layer + 1, 0] = donor[layer].to(hidden)
        return changed

    return edit


def _skip_blocks(
    lm: LanguageModel, prompts: Sequence[list[int]], new_tokens: int
) -> list[list[str]]:
    """Continuations with no block (row 0) and with block 1, ... L left out; row 1 repeats row 0."""
    n_rows = lm.n_layers + 2
    before: dict[int, Tensor] = {}

    def edit(step: int, layer: int, hidden: Tensor) -> Tensor | None:
        changed = hidden
        if layer > 0:
            changed = hidden.clone()
            changed[layer + 1 :: n_rows] = before[layer - 1][layer + 1 :: n_rows].to(hidden)
        before[layer] = changed
        return changed

    return _continue(lm, prompts, n_rows, edit, new_tokens)


def _continue(
    lm: LanguageModel, prompts: Sequence[list[int]], n_rows: int, edit: Edit, new_tokens: int
) -> list[list[str]]:
    """Greedy continuations of ``n_rows`` copies of each prompt, edited layer by layer."""
    steps = _steps(lm, prompts, n_rows, edit, new_tokens)
    written = torch.stack([logits.argmax(-1) for logits in steps], 1)
    texts = lm.tokenizer.batch_decode(written, skip_special_tokens=True)
    return [texts[i * n_rows : (i + 1) * n_rows] for i in range(len(prompts))]


@torch.no_grad()
def _steps(
    lm: LanguageModel, prompts: Sequence[list[int]], n_rows: int, edit: Edit, new_tokens: int
) -> Iterator[Tensor]:
    """Logits (row, vocabulary) of each greedy token of ``n_rows`` edited copies of each prompt.

    The prompts but for their last token run once; the copies begin with that token.
    """
    ids, mask, cache = _prefill(lm, prompts)
    cache.batch_repeat_interleave(n_rows)
    mask = mask.repeat_interleave(n_rows, 0)
    token = ids[:, -1:].repeat_interleave(n_rows, 0)
    for step in range(new_tokens):
        with lm.watch(range(lm.n_layers + 1), partial(edit, step)):
            logits = lm.model(
                input_ids=token, past_key_values=cache, **_options(lm.model, mask, 1)
            ).logits[:, -1]
        yield logits
        token = logits.argmax(-1, keepdim=True)
        mask = torch.cat([mask, torch.ones_like(token)], 1)


def _prefill(lm: LanguageModel, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor, Any]:
    """Left-padded ids and mask (item, position) and the cache of all positions but the last."""
    ids, mask = left_padded(prompts, lm.tokenizer.pad_token_id or 0)
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    cache = new_cache(lm.model.config)
    trunk: Any = lm.structure.trunk
    seen = mask[:, :-1]
    trunk(input_ids=ids[:, :-1], past_key_values=cache, **_options(trunk, seen, seen.shape[1]))
    return ids, mask, cache


def _options(module: Any, mask: Tensor, n_new: int) -> dict[str, Any]:
    """Mask, positions and cache use for the last ``n_new`` positions of ``mask``."""
    options: dict[str, Any] = {"attention_mask": mask, "use_cache": True}
    if "position_ids" in inspect.signature(type(module).forward).parameters:
        options["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)[:, -n_new:]
    return options


def _row(pair: PromptPair, intervention: str, index: int, text: str) -> dict[str, object]:
    return {
        "item_id": pair.item_id,
        "group": pair.group,
        "kind": pair.kind,
        "language": pair.language,
        "intervention": intervention,
        "layer": index - 1,
        "text": text,
    }


def with_languages(rows: Sequence[Mapping[str, object]], identifier: Identifier) -> pa.RecordBatch:
    """Add the language of each continuation's first word; the letter of an option is no word."""
    firsts = [
        next((word for word in words(str(row["text"])) if word not in OPTION_LETTERS), None)
        for row in rows
    ]
    unique = sorted({word for word in firsts if word is not None})
    language = dict(zip(unique, identifier.identify_words(unique), strict=True))
    return pa.RecordBatch.from_pylist(
        [
            {**row, "has_word": word is not None, "word_language": language.get(word or "")}
            for row, word in zip(rows, firsts, strict=True)
            if not (row["intervention"] == "skip" and row["layer"] == 0)
        ],
        schema=ITEMS_SCHEMA,
    )
