"""Two rivals that train nothing, steering and few-shot prompting, with the same files as a training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linguamap.config import RunConfig, TuneConfig
from linguamap.generation.local import check_length, encode
from linguamap.models.language_model import LanguageModel
from linguamap.progress import Progress, silent
from linguamap.records import Prompt, UserError
from linguamap.run.folder import peak_memory_bytes, write_text
from linguamap.tuning.delta import Delta, save_delta
from linguamap.tuning.layers import check_layers, count_parameters
from linguamap.tuning.steer import STRENGTHS, beginnings, language_vectors, steered_loss
from linguamap.tuning.trainer import Data


def steer(
    lm: LanguageModel,
    data: Data,
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
    validation = beginnings([data.examples[index] for index in data.validation])
    started = time.monotonic()
    vectors = language_vectors(lm, training, chosen, progress)
    build_seconds = round(time.monotonic() - started, 3)
    strength, source = config.strength, "config"
    losses: dict[str, float] = {}
    if validation:
        tried = sorted({0.0, *STRENGTHS} if strength is None else {0.0, strength})
        for number, one in enumerate(tried, start=1):
            losses[f"{one:g}"] = steered_loss(lm, validation, vectors, one)
            progress("strength", number, len(tried), f"{one:g}: loss {losses[f'{one:g}']:.3f}")
    if strength is None:
        if not losses:
            raise UserError(
                "tune: the strength is chosen on validation items, and there are none; set "
                "tune.strength, or tune.validation_share above 0"
            )
        strength = min(STRENGTHS, key=lambda one: losses[f"{one:g}"])
        source = "lowest loss of the first tokens of validation answers"
    delta = Delta(
        {f"steer.{layer}.{language}": vector for (layer, language), vector in vectors.items()},
        dict(lm.identity),
        "steer",
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
    longest = max(encoded, key=lambda one: len(one.token_ids))
    check_length(
        lm,
        [longest],
        config.evaluate.max_new_tokens,
        advice=f"it holds {len(longest.prompt.shots)} examples: lower tune.shots",
        stage="few_shot",
    )
    written = save_delta(
        out / "delta.safetensors", Delta({}, dict(lm.identity), "few_shot", layers=())
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
