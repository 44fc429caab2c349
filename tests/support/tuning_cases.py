"""Small models and examples for the tuning tests, and plain training as the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tiny import VOCAB, save_tiny
from torch import Tensor

from linguamap.config import ModelConfig, TuneConfig
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.records import Part, Prompt
from linguamap.tuning.data.batches import TrainingExample, epoch_order
from linguamap.tuning.training.master_weights import learning_rates

ARCHITECTURES = ("llama", "qwen3", "gemma3_text", "bloom", "gpt2", "gpt_neox")


def tiny_lm(folder: Path, kind: str, **changes: Any) -> LanguageModel:
    """A tiny random model loaded from disk in float32."""
    torch.set_num_threads(1)
    if not folder.joinpath("config.json").exists():
        save_tiny(folder, kind, **changes)
    return load_model(ModelConfig(name=str(folder), dtype="float32"))


def some_examples(
    n: int, seed: int = 0, length: tuple[int, int] = (20, 40)
) -> list[TrainingExample]:
    """Random token ids of various lengths; a random stretch at the end is trained on."""
    random = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=random))

    examples = []
    for number in range(n):
        size = draw(*length)
        counted = draw(4, 12)
        ids = torch.randint(3, VOCAB, (size,), generator=random).tolist()
        mask = [place >= size - counted for place in range(size)]
        examples.append(
            TrainingExample(f"e{number}", tuple(ids), tuple(mask), group=f"t/{number // 2}")
        )
    return examples


def some_prompts(n: int = 6) -> list[Prompt]:
    """Prompts with worked answers in two languages."""
    texts = {
        "es": ("Responde en español.\n", "Cuenta las manzanas.\n\n", "Pregunta:", "Respuesta:"),
        "en": ("Answer in English.\n", "Count the apples.\n\n", "Question:", "Answer:"),
    }
    prompts = []
    for number in range(n):
        for language, (preamble, instruction, question, answer) in texts.items():
            prompts.append(
                Prompt(
                    item_id=f"i{number}",
                    benchmark="sums",
                    kind="sums",
                    language=language,
                    scenario="monolingual",
                    parts=(
                        Part("P", preamble),
                        Part("I", instruction + question + " "),
                        Part("Q", f"Ana {number} + {number + 1}?"),
                        Part("I", "\n" + answer),
                    ),
                    gold=(str(2 * number + 1),),
                    reference=(
                        Part("R", f" {number} y {number + 1}."),
                        Part("A", f" = {2 * number + 1}"),
                    ),
                )
            )
    return prompts


def plain_loss(model: Any, examples: Sequence[TrainingExample]) -> tuple[Tensor, int]:
    """Summed cross entropy and number of counted tokens, by the whole model and its full logits."""
    longest = max(len(example.token_ids) for example in examples)
    ids = torch.zeros((len(examples), longest), dtype=torch.long)
    attention = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        size = len(example.token_ids)
        ids[row, :size] = torch.tensor(example.token_ids)
        attention[row, :size] = 1
        for place, counted in enumerate(example.loss_mask):
            if counted:
                labels[row, place] = example.token_ids[place]
    logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits
    loss = F.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), reduction="sum"
    )
    return loss, int((labels != -100).sum())


def plain_training(
    model: Any,
    names: Sequence[str],
    examples: Sequence[TrainingExample],
    config: TuneConfig,
    seed: int,
) -> list[float]:
    """Train the named parameters as any plain script would; returns the mean loss of each epoch."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    trained = [parameters[name] for name in names]
    optimizer = torch.optim.AdamW(trained, weight_decay=config.weight_decay)
    lengths = [len(example.token_ids) for example in examples]
    losses = []
    orders = [epoch_order(lengths, config.batch_size, seed, e) for e in range(config.epochs)]
    rates = learning_rates(config.schedule, config.learning_rate, sum(map(len, orders)))
    for order in orders:
        total, tokens = 0.0, 0
        for indices in order:
            loss, counted = plain_loss(model, [examples[index] for index in indices])
            optimizer.zero_grad()
            (loss / counted).backward()
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(trained, config.clip_norm)
            optimizer.param_groups[0]["lr"] = rates.pop(0)
            optimizer.step()
            total, tokens = total + float(loss.detach()), tokens + counted
        losses.append(total / tokens)
    return losses


def spoken_examples(n: int) -> list[TrainingExample]:
    """Random examples of various lengths that name a language, half English, half Spanish."""
    return [
        replace(example, language=("en", "es")[number % 2])
        for number, example in enumerate(some_examples(n))
    ]
