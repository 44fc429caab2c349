"""Two rivals that train nothing, steering and few-shot prompting, with the same files as a training.

Steering adds language vectors, differences of mean hidden states. The vector of a language at a layer
is the mean hidden state of answers in that language minus the mean of the means of the other languages.
A text's state is its mean over answer positions, so that long texts count no more than short ones, and
every other language counts alike.

Source: difference of means as in contrastive activation addition (Rimsky et al. 2023,
arXiv:2312.06681), with the run's other languages as the contrast; adding activations at inference
began with Turner et al. 2023 (arXiv:2308.10248).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from linguamap.generation.encoding import check_length, encode
from linguamap.models.batching import batches_by_length
from linguamap.progress import Progress, silent
from linguamap.records import Prompt, UserError
from linguamap.run.files import write_text
from linguamap.run.memory import peak_memory_bytes
from linguamap.tuning.blocks import check_layers
from linguamap.tuning.data.batches import TrainingData, TrainingExample, answer_beginnings, collate
from linguamap.tuning.delta import Delta, save_delta
from linguamap.tuning.layers import count_parameters
from linguamap.tuning.methods import FEW_SHOT, STEER

if TYPE_CHECKING:
    from linguamap.config import RunConfig, TuneConfig
    from linguamap.models.language_model import LanguageModel

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


def steer(
    lm: LanguageModel,
    data: TrainingData,
    config: TuneConfig,
    layers: tuple[int, ...],
    out: Path,
    *,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Make language vectors and write them as a delta.

    With ``tune.strength`` unset it is the one of :data:`STRENGTHS` under which the first tokens of the
    validation items' answers have the lowest loss. The losses, in nats per token and without steering
    too (``0``), are kept in ``strength_losses``.

    Raises:
        UserError: fewer than two languages, or no validation item to choose the strength on.
    """
    chosen = check_layers(layers, lm.n_layers)
    training = [data.examples[index] for index in data.training]
    validation = answer_beginnings(
        [data.examples[index] for index in data.validation[:TRIED_EXAMPLES]], FIRST_TOKENS
    )
    started = time.monotonic()
    vectors = language_vectors(lm, training, chosen, progress)
    build_seconds = round(time.monotonic() - started, 3)
    strength, source = config.strength, "config"
    losses: dict[str, float] = {}
    if validation:
        tried = sorted({0.0, *STRENGTHS} if strength is None else {0.0, strength})
        for number, value in enumerate(tried, start=1):
            losses[f"{value:g}"] = steered_loss(lm, validation, vectors, value)
            progress("strength", number, len(tried), f"{value:g}: loss {losses[f'{value:g}']:.3f}")
    if strength is None:
        if not losses:
            raise UserError(
                "tune: the strength is chosen on validation items, and there are none; set "
                "tune.strength, or tune.validation_share above 0"
            )
        strength = min(STRENGTHS, key=lambda value: losses[f"{value:g}"])
        source = "lowest loss of the first tokens of validation answers"
    delta = Delta(
        {f"steer.{layer}.{language}": vector for (layer, language), vector in vectors.items()},
        dict(lm.identity),
        STEER.name,
        chosen,
        strength=strength,
    )
    written = save_delta(out / "delta.safetensors", delta)
    return _common(lm, config, chosen, out, written, seed) | {
        "strength": strength,
        "strength_source": source,
        "strength_losses": losses or None,
        "languages": sorted({language for _, language in vectors}),
        "build_seconds": build_seconds,
        "training_examples": len(training),
        "validation_examples": len(data.validation),
    }


def few_shot(
    lm: LanguageModel, prompts: Sequence[Prompt], config: RunConfig, out: Path
) -> dict[str, Any]:
    """Write the empty delta of few-shot prompting; the examples stand in the prompts of ``after``.

    Args:
        prompts: the test prompts with their worked examples.
    Raises:
        UserError: a prompt with its examples is longer than the model reads.
    """
    encoded = encode(lm, prompts, config.model)
    longest = max(encoded, key=lambda prompt: len(prompt.token_ids))
    check_length(
        lm,
        [longest],
        config.evaluate.answer_tokens(lm.is_chat),
        advice=f"it holds {len(longest.prompt.shots)} examples: lower tune.shots",
        stage=FEW_SHOT.name,
    )
    written = save_delta(
        out / "delta.safetensors", Delta({}, dict(lm.identity), FEW_SHOT.name, layers=())
    )
    write_text(out / "sample.txt", longest.prompt.text + "\n")
    return _common(lm, config.tune, (), out, written, config.seed) | {
        "shots": config.tune.shots,
        "fewest_shots": min(len(prompt.shots) for prompt in prompts),
        "longest_prompt_tokens": len(longest.token_ids),
    }


def _common(
    lm: LanguageModel,
    config: TuneConfig,
    layers: tuple[int, ...],
    out: Path,
    written: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The fields of ``tuning.json`` that every method has, and an empty log."""
    write_text(out / "log.jsonl", "")
    return {
        "method": config.method,
        "layers": list(layers),
        "trainable_parameters": 0,
        "total_parameters": count_parameters(lm.model),
        "trainable_share": 0.0,
        "epochs": 0,
        "seconds_per_epoch": [],
        "peak_memory_bytes": peak_memory_bytes(),
        "train_loss": [],
        "validation_loss": [],
        "best_epoch": None,
        "stopped": None,
        **written,
        "seed": seed,
    }


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
    nameless = [example.example_id for example in examples if not example.language]
    if nameless:
        raise UserError(
            f"tune: {nameless[0]} has no language, so it belongs to no vector; give "
            "'language' with each training example"
        )
    languages = sorted({str(example.language) for example in examples})
    if len(languages) < 2:
        raise UserError(
            f"tune: steering needs texts in two languages or more, found {', '.join(languages)}; "
            "add languages to the run"
        )
    sums: Vectors = {}
    counts: dict[str, int] = defaultdict(int)
    seen = 0
    for indices in batches_by_length([len(e.token_ids) for e in examples], BATCH_TOKENS):
        states = _answer_means(lm, [examples[index] for index in indices], layers)
        for row, index in enumerate(indices):
            language = str(examples[index].language)
            counts[language] += 1
            for layer, means in zip(layers, states, strict=True):
                key = (layer, language)
                sums[key] = sums.get(key, 0) + means[row]
        seen += len(indices)
        progress("language vectors", seen, len(examples), "")
    means_of = {key: total / counts[key[1]] for key, total in sums.items()}
    return {
        (layer, language): (
            means_of[layer, language]
            - torch.stack(
                [means_of[layer, other] for other in languages if other != language]
            ).mean(0)
        ).float()
        for layer in layers
        for language in languages
    }


@torch.no_grad()
def steered_loss(
    lm: LanguageModel, examples: Sequence[TrainingExample], vectors: Vectors, strength: float
) -> float:
    """Nats per target token of examples while each is steered to its own language."""
    steered = lm.steered(vectors, strength)
    total, target_tokens = 0.0, 0
    for indices in batches_by_length([len(e.token_ids) for e in examples], BATCH_TOKENS):
        batch = collate(examples, indices, lm.tokenizer.pad_token_id or 0)
        languages = [str(examples[index].language) for index in indices]
        mask = _mask(examples, indices)
        (states,) = steered.block_outputs(batch.ids, mask, [lm.n_layers], languages)
        rows = states[batch.rows, batch.columns]
        for start in range(0, len(rows), BLOCK_ROWS):
            logits = lm.project(rows[start : start + BLOCK_ROWS]).float()
            targets = batch.targets[start : start + BLOCK_ROWS].to(logits.device)
            total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        target_tokens += len(rows)
    return total / target_tokens


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
