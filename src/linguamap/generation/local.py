"""Prompts -> answers on a local model: greedy or sampled, batched, resumable, exact.

Prompts are cut into fixed units of a few batches each, a function of the prompts and the settings
alone (:func:`units`). A unit is answered by one :class:`~linguamap.generation.decoder.Decoder` and handed on whole. So a
killed run repeats at most the unit in flight, and ends with the very answers of a run that was never
killed: half-precision arithmetic depends on the batch a row is in, and every row is always in the
same batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.cache_check import cache_fault
from linguamap.generation.decoder import Decoder, Encoded, end_token_ids
from linguamap.generation.shared_prefix import BeginningStates, shared_beginnings
from linguamap.models.language_model import LanguageModel
from linguamap.progress import Progress, silent
from linguamap.prompts.scenarios import render_chat, without_system
from linguamap.records import Completion, Prompt, UserError

__all__ = [
    "Decoder",
    "Encoded",
    "check_length",
    "encode",
    "end_token_ids",
    "generate",
    "stop_strings",
    "units",
]

UNITS = 6
"""A job is cut into about this many units, so that several processes can share them ..."""
UNIT_BATCHES = range(2, 5)
"""... but each of so many batches: enough to finish their last rows together, and little to repeat."""
PROGRESS_SECONDS = 0.5


def encode(
    lm: LanguageModel, prompts: Sequence[Prompt], model_config: ModelConfig | None = None
) -> list[Encoded]:
    """Turn prompts into token ids: plain text for base models, the chat template for chat models."""
    options: dict[str, Any] = {}
    thinking = model_config.thinking if model_config else "auto"
    if thinking != "auto":
        options["enable_thinking"] = thinking == "yes"
    if not prompts:
        return []
    if lm.is_chat:
        texts = [chat_token_ids(lm, prompt, options) for prompt in prompts]
    else:
        texts = lm.tokenizer([prompt.text for prompt in prompts])["input_ids"]
    return [
        Encoded(*fields) for fields in zip(prompts, texts, shared_beginnings(texts), strict=True)
    ]


def chat_token_ids(lm: LanguageModel, prompt: Prompt, options: dict[str, Any]) -> list[int]:
    """The prompt under the model's chat template; a template without a system role gets one turn."""
    messages = render_chat(prompt)
    try:
        text = lm.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **options
        )
    except Exception as error:  # the template's own raise_exception arrives as a Jinja error
        if type(error).__name__ != "TemplateError":
            raise
        text = lm.tokenizer.apply_chat_template(
            without_system(messages),
            add_generation_prompt=True,
            tokenize=False,
            **options,
        )
    return list(lm.tokenizer(text, add_special_tokens=False)["input_ids"])


def stop_strings(lm: LanguageModel, config: EvaluateConfig) -> tuple[str, ...]:
    """Where an answer ends, besides the end token.

    In the plain-text layout every field is one line, so a base model's answer ends with its line.
    A chat model ends its own turn.
    """
    if config.stop is not None:
        return tuple(config.stop)
    return () if lm.is_chat else ("\n",)


def units(
    encoded: Sequence[Encoded], config: EvaluateConfig, beginnings: BeginningStates
) -> list[list[list[Encoded]]]:
    """Cut prompts into batches of bounded rows and padded tokens, and batches into units.

    Prompts with most tokens to read come first, so that a batch holds prompts of like length and
    memory runs out at the start if at all.
    """

    def to_read(one: Encoded) -> int:
        return len(one.token_ids) - beginnings.n_tokens(one.beginning)

    batches: list[list[Encoded]] = []
    longest = 0
    for one in sorted(encoded, key=lambda e: (-to_read(e), -len(e.token_ids), e.prompt.prompt_id)):
        longest = max(longest, len(one.token_ids))
        full = (
            not batches
            or len(batches[-1]) >= config.batch_size
            or (len(batches[-1]) + 1) * (longest + config.max_new_tokens) > config.batch_tokens
        )
        if full:
            batches.append([])
            longest = len(one.token_ids)
        batches[-1].append(one)
    size = min(max(round(len(batches) / UNITS), UNIT_BATCHES[0]), UNIT_BATCHES[-1])
    return [batches[start : start + size] for start in range(0, len(batches), size)]


def check_length(
    lm: LanguageModel,
    encoded: Sequence[Encoded],
    max_new_tokens: int,
    *,
    advice: str = "lower evaluate.max_new_tokens, leave the item out, or take a model that reads more",
    stage: str = "generate",
) -> None:
    """Refuse the longest prompt that would run past the model's last position with its answer.

    Raises:
        UserError: it names the prompt, what it takes and what the model reads.
    """
    limit = lm.max_positions
    if limit is None or not encoded:
        return
    longest = max(encoded, key=lambda one: len(one.token_ids))
    tokens = len(longest.token_ids)
    if tokens + max_new_tokens > limit:
        raise UserError(
            f"{stage}: {longest.prompt.prompt_id} takes {tokens + max_new_tokens} tokens ({tokens} "
            f"and {max_new_tokens} for its answer), the model reads {limit}; {advice}"
        )


def generate(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
    *,
    model_config: ModelConfig | None = None,
    seed: int = 0,
    done: frozenset[str] = frozenset(),
    share: tuple[int, int] = (0, 1),
    save: Callable[[list[Completion]], None],
    progress: Progress = silent,
    label: str = "generate",
) -> None:
    """Answer all prompts, or one process's share of them, unit by unit.

    Args:
        prompts: what to answer; their ids must differ.
        done: ids of prompts answered by an earlier, interrupted call with the same arguments.
            A unit is skipped if all its prompts are done.
        share: (rank, count): only every ``count``-th unit from number ``rank`` on. Units and
            their seeds are those of a single process, and so are the answers.
        save: receives the completions of each finished unit, in the unit's order.
    Raises:
        UserError: a prompt with its answer is longer than the model reads, or out of memory even
            for a single prompt.
    """
    rank, count = share
    use_cache = cache_fault(lm) is None
    beginnings = BeginningStates(lm, use_cache)
    encoded = encode(lm, prompts, model_config)
    check_length(lm, encoded, config.max_new_tokens)
    cut = list(enumerate(units(encoded, config, beginnings)))[rank::count]
    meter = _Meter(progress, label, sum(len(batch) for _, unit in cut for batch in unit))
    meter.note = "" if use_cache else ", slowly: no cache"
    stops = stop_strings(lm, config)
    for number, unit in cut:
        if all(one.prompt.prompt_id in done for batch in unit for one in batch):
            meter.skip(sum(map(len, unit)))
            continue

        def decoder(seed: int = seed + number) -> Decoder:
            return Decoder(lm, config, stops, seed, beginnings, meter.ended, use_cache)

        save(_answer(decoder, unit))
        meter.show()


class _Meter:
    """Answers and tokens so far, shown now and then.

    Attributes:
        note: what else is said beside the speed.
    """

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self.progress, self.label, self.total = progress, label, total
        self.note = ""
        self.finished = self.tokens = 0
        self.started = self.shown = time.monotonic()

    def skip(self, n: int) -> None:
        self.finished += n
        self.show()

    def ended(self, completion: Completion) -> None:
        self.finished += 1
        self.tokens += completion.n_tokens
        if time.monotonic() - self.shown > PROGRESS_SECONDS:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        rate = self.tokens / max(self.shown - self.started, 1e-9)
        detail = f"{rate:.0f} tokens/s{self.note}" if self.tokens else "resumed"
        self.progress(self.label, self.finished, self.total, detail)


def _answer(
    new_decoder: Callable[[], Decoder], unit: Sequence[Sequence[Encoded]]
) -> list[Completion]:
    """One unit. Out of memory keeps the answers that are complete and halves the batches of the
    others, until single prompts are left."""
    decoder = new_decoder()
    try:
        return decoder.run(unit)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    answers = decoder.answers
    largest = max(map(len, unit))
    left = [one for batch in unit for one in batch if one.prompt.prompt_id not in answers]
    if largest == 1 and len(unit) == 1:
        raise UserError(
            f"generate: out of memory for a single prompt of {len(left[0].token_ids)} tokens; "
            "use a smaller model, model.dtype=bfloat16 or a smaller evaluate.max_new_tokens"
        )
    size = max(largest // 2, 1)
    for start in range(0, len(left), size):
        part = [left[start : start + size]]
        for completion in _answer(new_decoder, part):
            answers[completion.prompt_id] = completion
    return [answers[one.prompt.prompt_id] for batch in unit for one in batch]


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
