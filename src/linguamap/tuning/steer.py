"""Language vectors: differences of mean hidden states. Nothing is trained.

The vector of a language at a layer is the mean hidden state of answers in that language minus the mean
of the means of the other languages. A text's state is its mean over answer positions, so that long
texts count no more than short ones, and every other language counts alike.

Source: difference of means as in contrastive activation addition (Rimsky et al. 2023,
arXiv:2312.06681), with the run's other languages as the contrast; adding activations at inference
began with Turner et al. 2023 (arXiv:2308.10248).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from linguamap.models.language_model import LanguageModel
from linguamap.progress import Progress, silent
from linguamap.records import UserError
from linguamap.tuning.batches import TrainingExample, batches_by_length, collate

STRENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""What is tried where the strength is chosen on validation items."""
FIRST_TOKENS = 4
"""An answer's language is chosen with its first tokens; the later ones follow from those before, and
their loss says only how much the vectors disturb."""
TRIED_EXAMPLES = 24
"""Validation examples at most that each strength is tried on: it takes a forward pass each."""
BATCH_TOKENS = 4096
BLOCK_ROWS = 256

Vectors = dict[tuple[int, str], Tensor]


@torch.no_grad()
def language_vectors(
    lm: LanguageModel,
    examples: Sequence[TrainingExample],
    layers: Sequence[int],
    progress: Progress = silent,
) -> Vectors:
    """One vector per layer and language, from worked answers.

    Args:
        examples: tokenised, each with its language; the positions of ``loss_mask`` are read.
        layers: block numbers 1..L; layer l is the output of block l.
    Returns:
        (layer, language) -> (d_model,), float32, on the CPU.
    Raises:
        UserError: an example without a language, or fewer than two languages.
    """
    nameless = [one.example_id for one in examples if not one.language]
    if nameless:
        raise UserError(
            f"tune: {nameless[0]} has no language, so it belongs to no vector; give "
            "'language' with each training example"
        )
    languages = sorted({str(one.language) for one in examples})
    if len(languages) < 2:
        raise UserError(
            f"tune: steering needs texts in two languages or more, found {', '.join(languages)}; "
            "add languages to the run"
        )
    sums: Vectors = {}
    counts: dict[str, int] = defaultdict(int)
    seen = 0
    for indices in batches_by_length([len(one.token_ids) for one in examples], BATCH_TOKENS):
        states = _answer_means(lm, [examples[index] for index in indices], layers)
        for place, index in enumerate(indices):
            language = str(examples[index].language)
            counts[language] += 1
            for layer, means in zip(layers, states, strict=True):
                key = (layer, language)
                sums[key] = sums.get(key, 0) + means[place]
        seen += len(indices)
        progress("language vectors", seen, len(examples), "")
    means_of = {key: total / counts[key[1]] for key, total in sums.items()}
    return {
        (layer, language): (
            means_of[layer, language]
            - torch.stack([means_of[layer, o] for o in languages if o != language]).mean(0)
        ).float()
        for layer in layers
        for language in languages
    }


def beginnings(examples: Sequence[TrainingExample]) -> list[TrainingExample]:
    """At most :data:`TRIED_EXAMPLES` of the examples, counted at their answers' first tokens only, and
    cut behind them."""
    found = []
    for one in examples[:TRIED_EXAMPLES]:
        places = [place for place, counted in enumerate(one.loss_mask) if counted][:FIRST_TOKENS]
        size = places[-1] + 1
        mask = tuple(place in places for place in range(size))
        found.append(dataclasses.replace(one, token_ids=one.token_ids[:size], loss_mask=mask))
    return found


@torch.no_grad()
def steered_loss(
    lm: LanguageModel, examples: Sequence[TrainingExample], vectors: Vectors, strength: float
) -> float:
    """Nats per counted token of examples while each is steered to its own language."""
    steered = lm.steered(vectors, strength)
    total, counted = 0.0, 0
    for indices in batches_by_length([len(one.token_ids) for one in examples], BATCH_TOKENS):
        batch = collate(examples, indices, lm.tokenizer.pad_token_id or 0)
        languages = [str(examples[index].language) for index in indices]
        mask = _mask(examples, indices)
        (states,) = steered.block_outputs(batch.ids, mask, [lm.n_layers], languages)
        rows = states[batch.rows, batch.columns]
        for start in range(0, len(rows), BLOCK_ROWS):
            logits = lm.project(rows[start : start + BLOCK_ROWS]).float()
            targets = batch.targets[start : start + BLOCK_ROWS].to(logits.device)
            total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        counted += len(rows)
    return total / counted


def _answer_means(
    lm: LanguageModel, examples: Sequence[TrainingExample], layers: Sequence[int]
) -> list[Tensor]:
    """For each layer (batch, d_model): the mean over the positions of ``loss_mask``, in float64."""
    indices = range(len(examples))
    batch = collate(examples, indices, lm.tokenizer.pad_token_id or 0)
    marks = torch.zeros(batch.ids.shape, dtype=torch.float64)
    for row, example in enumerate(examples):
        marks[row, : len(example.loss_mask)] = torch.tensor(example.loss_mask).double()
    marks /= marks.sum(1, keepdim=True)
    states = lm.block_outputs(batch.ids, _mask(examples, indices), layers)
    return [torch.einsum("bp,bpd->bd", marks, state.cpu().double()) for state in states]


def _mask(examples: Sequence[TrainingExample], indices: Sequence[int]) -> Tensor:
    """(batch, position), 1 for text; examples are padded on the right."""
    lengths = torch.tensor([len(examples[index].token_ids) for index in indices])
    return (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
