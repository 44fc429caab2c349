"""Tuning from prompts to a delta: the table of contents of this package."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from linguamap.models.trial_pass import emulated_dtype
from linguamap.progress import Progress, say, silent
from linguamap.records import Prompt, UserError
from linguamap.run.files import write_json, write_text
from linguamap.run.memory import peak_memory_bytes
from linguamap.run.processes import ProcessGroup
from linguamap.run.record import remove_files
from linguamap.scoring.language_id import Identifier, make_identifier
from linguamap.tuning.check import Checker, make_checker
from linguamap.tuning.data.batches import TrainingData, TrainingExample
from linguamap.tuning.data.training_examples import (
    decoded_sample,
    shortened,
    training_data,
)
from linguamap.tuning.delta import Delta, save_delta
from linguamap.tuning.layers import Trainable, add_lora, choose_all, choose_parameters
from linguamap.tuning.methods import Method, method_of
from linguamap.tuning.training.activation_cache import ActivationCache
from linguamap.tuning.training.distributed import shard, split_work, wants_sharding
from linguamap.tuning.training.master_weights import MasterWeights, choose_precision
from linguamap.tuning.training.split_model import SplitModel
from linguamap.tuning.training.trainer import Trainer, training_key
from linguamap.tuning.training.training_state import check_tracker
from linguamap.tuning.untrained import steer

if TYPE_CHECKING:
    from linguamap.config import ModelConfig, TuneConfig
    from linguamap.models.language_model import LanguageModel

SAMPLES = 4
SHOWN = 2
"""Of these samples so many are shown on the screen, shortened."""


def tune(
    lm: LanguageModel,
    prompts: Sequence[Prompt | TrainingExample],
    config: TuneConfig,
    layers: tuple[int, ...],
    out: Path,
    *,
    seed: int,
    progress: Progress | None = None,
    model_config: ModelConfig | None = None,
    shared_cache: Path | None = None,
    processes: ProcessGroup | None = None,
    identifier: Identifier | None = None,
) -> dict[str, Any]:
    """Train some blocks of a model on worked answers and write the delta.

    Writes ``delta.safetensors``, ``tuning.json``, ``log.jsonl`` and ``sample.txt`` into ``out``. A
    killed call goes on where it was when it is made again; on a CPU it ends with the very weights
    of one that was never killed.

    Args:
        lm: the base. It is used up: frozen blocks are freed once their states are kept, so load it
            again (with the delta) to go on.
        prompts: rendered prompts with their reference answers, or examples already tokenised.
        layers: the blocks to train, or to put adapters or vectors in, 1..L; method ``full`` does not
            use them.
        out: the folder for the results.
        seed: of validation split and order.
        model_config: how a chat model's prompts are rendered.
        shared_cache: folder of boundary states that stays, for other trainings on these examples;
            None keeps them under ``out`` until the end.
        processes: this process among those that share the work; all must make the same call.
        identifier: reads the check after each epoch; None takes lingua.
    Returns:
        What ``tuning.json`` holds.
    Raises:
        UserError: no usable example, an example that is too long, nothing to train, or a loss that is
            not finite from the start.
    """
    report = progress or silent
    method = method_of(config.method)
    if method.loss_on is not None:
        config = config.model_copy(update={"loss_on": method.loss_on})
    data = training_data(lm, prompts, config, model_config, seed)
    examples = data.examples
    check_tracker(config.tracker)
    group = processes or ProcessGroup()
    if group.writes:
        _show_samples(examples, lm, out, report)
    if method.trains is None:
        tuning = steer(lm, data, config, layers, out, seed=seed, progress=report)
        write_json(out / "tuning.json", tuning)
        return tuning
    weights = lm.dtype
    precision = choose_precision(config.dtype, lm.model, weights)
    if slow := emulated_dtype(precision.products, lm.device, "tune.dtype"):
        say(report, slow)
    trainable = _choose(lm, layers, method, config, seed)
    split = SplitModel(lm, _first_tuned(method, trainable), precision.autocast)
    sharded = group.world_size > 1 and wants_sharding()
    work = split_work(group, data, config.batch_tokens, sharded)
    checker = _checker(lm, config, data, identifier)
    started = time.monotonic()
    cache = _build_cache(
        split,
        [examples[index] for index in work.indices],
        config,
        work.folder(out / "cache"),
        shared_cache and work.folder(shared_cache),
        report,
    )
    split.prepare()
    if cache is not None and cache.complete:
        split.release()
    if sharded:
        trainable = shard(split, cache, trainable, precision)
    build_seconds = round(time.monotonic() - started, 3)
    trainer = Trainer(
        split,
        cache,
        data,
        MasterWeights(trainable.parameters),
        precision,
        config,
        out,
        seed=seed,
        key=training_key(_facts(lm, config, trainable, seed, precision.name), examples),
        progress=report,
        work=work,
        checker=checker if isinstance(checker, Checker) else None,
    )
    best = trainer.run()
    group.wait()
    if not group.writes:
        return {}
    if trainable.lora_scale is None:
        best = {name: tensor.to(weights) for name, tensor in best.items()}
    delta = Delta(
        best,
        dict(lm.identity),
        config.method,
        trainable.layers,
        trainable.untied,
        trainable.lora_scale,
    )
    written = save_delta(out / "delta.safetensors", delta)
    tuning = _tuning(config, trainable, trainer, written, seed) | {
        "precision": precision.name,
        "build_seconds": build_seconds,
        **_cache_facts(cache),
        "processes": group.world_size,
        "sharded": sharded,
        "checks": trainer.state.checks,
        "no_checks": checker if isinstance(checker, str) else None,
    }
    write_json(out / "tuning.json", tuning)
    remove_files(out / "checkpoint", "state.safetensors", "best.safetensors")
    remove_files(out / "cache", "*.states*", "*.json")
    return tuning


def _checker(
    lm: LanguageModel, config: TuneConfig, data: TrainingData, identifier: Identifier | None
) -> Checker | str:
    """Who reads validation examples after each epoch, or why nobody does."""
    checker = make_checker(
        data.examples,
        data.validation,
        config.check_items,
        lm.tokenizer,
        lambda languages: identifier or make_identifier("lingua", languages),
    )
    if isinstance(checker, str) and config.best_by == "consistency":
        raise UserError(
            f"tune: tune.best_by=consistency needs the check after each epoch, but {checker}; set "
            "tune.best_by=loss"
        )
    return checker


def _choose(
    lm: LanguageModel, layers: tuple[int, ...], method: Method, config: TuneConfig, seed: int
) -> Trainable:
    if method.trains == "everything":
        return choose_all(lm)
    if method.trains == "adapters":
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # adapters begin at random values
            return add_lora(lm, layers, config.lora_rank)
    return choose_parameters(
        lm, layers, train_norm=config.train_norm, train_head=config.train_head == "untied"
    )


def _first_tuned(method: Method, trainable: Trainable) -> int:
    """Full tuning trains the embedding too, so nothing lies below its boundary."""
    return 1 if method.trains == "everything" else trainable.layers[0]


def _build_cache(
    split: SplitModel,
    examples: Sequence[TrainingExample],
    config: TuneConfig,
    private: Path,
    shared: Path | None,
    progress: Progress,
) -> ActivationCache | None:
    """Boundary states, or None where keeping them would not pay: nothing lies below, nothing may be
    kept, or each example is seen only once, here and by all who share them."""
    if not split.below or config.cache_gb == 0 or (config.epochs == 1 and shared is None):
        return None
    folder = None if config.cache_on == "memory" else shared or private
    cache = ActivationCache(split, examples, int(config.cache_gb * 1e9), folder)
    cache.build(progress)
    return cache


def _cache_facts(cache: ActivationCache | None) -> dict[str, Any]:
    """What was kept, what it rests on, and what it would have cost alone."""
    if cache is None:
        return {"cache_bytes": 0, "cached_examples": 0}
    return {
        "cache_bytes": cache.bytes,
        "cached_examples": sum(cache.held),
        "cache_reused_layers": cache.built_from,
        "cache_seconds_alone": round(cache.seconds_alone, 3),
    }


def _facts(
    lm: LanguageModel, config: TuneConfig, trainable: Trainable, seed: int, precision: str
) -> dict[str, Any]:
    return {
        "identity": lm.identity,
        "config": config.model_dump(),
        "layers": trainable.layers,
        "seed": seed,
        "precision": precision,
        "device": str(lm.device),
    }


def _tuning(
    config: TuneConfig,
    trainable: Trainable,
    trainer: Trainer,
    written: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    state, data = trainer.state, trainer.data
    training = [data.examples[index] for index in data.training]
    return {
        "method": config.method,
        "layers": list(trainable.layers),
        "trainable_parameters": trainable.count,
        "total_parameters": trainable.total_parameters,
        "trainable_share": trainable.share,
        "epochs": len(state.train_loss),
        "seconds_per_epoch": state.seconds_per_epoch,
        "peak_memory_bytes": peak_memory_bytes(),
        "train_loss": state.train_loss,
        "validation_loss": state.validation_loss,
        "best_epoch": state.best_epoch,
        "stopped": state.stopped,
        **written,
        "seed": seed,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size * config.accumulation,
        "steps": state.step,
        "training_examples": len(training),
        "validation_examples": len(data.validation),
        "training_tokens": sum(len(example.token_ids) for example in training),
        "target_tokens": sum(example.n_targets for example in training),
        "loss_on": config.loss_on,
    }


def _show_samples(
    examples: Sequence[TrainingExample], lm: LanguageModel, out: Path, progress: Progress
) -> None:
    """Write a few examples as text, what is trained on marked, and show the first of them."""
    step = max(1, math.ceil(len(examples) / SAMPLES))
    samples = [decoded_sample(example, lm.tokenizer) for example in examples[::step]]
    write_text(out / "sample.txt", "\n\n".join(samples) + "\n")
    shown = "\n".join(shortened(sample) for sample in samples[:SHOWN])
    say(progress, f"{shown}\nTrained on: the text between ⟦ and ⟧. More: {out.name}/sample.txt")
