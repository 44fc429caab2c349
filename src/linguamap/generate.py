"""Prompts -> answers on a local model: greedy or sampled, batched, resumable, exact.

Prompts are sorted by length and cut into fixed groups, a function of the prompts and the settings
alone. A group is generated as one left-padded batch whose finished rows are taken out as they end,
and handed on whole. So a killed run repeats at most the group in flight, and ends with the very
answers of a run that was never killed: half-precision arithmetic depends on the batch a row is in,
and every row is always in the same batch.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.model import LanguageModel
from linguamap.progress import Progress, silent
from linguamap.records import Completion, Prompt, UserError
from linguamap.scenarios import render_chat
from linguamap.thinking import cut_at_stop, split_thinking


@dataclass(frozen=True)
class Encoded:
    """A prompt ready for the model. ``token_ids`` starts with the tokens that open a text."""

    prompt: Prompt
    token_ids: list[int]


def encode(
    lm: LanguageModel, prompts: Sequence[Prompt], model_config: ModelConfig | None = None
) -> list[Encoded]:
    """Turn prompts into token ids: plain text for base models, the chat template for chat models."""
    if not lm.is_chat:
        batches = lm.tokenizer([prompt.text for prompt in prompts])["input_ids"] if prompts else []
        return [Encoded(prompt, ids) for prompt, ids in zip(prompts, batches, strict=True)]
    options: dict[str, Any] = {}
    thinking = model_config.thinking if model_config else "auto"
    if thinking != "auto":
        options["enable_thinking"] = thinking == "yes"
    return [Encoded(prompt, chat_token_ids(lm, prompt, options)) for prompt in prompts]


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
        joined = "\n".join(message["content"] for message in messages)
        text = lm.tokenizer.apply_chat_template(
            [{"role": "user", "content": joined}],
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


def groups(encoded: Sequence[Encoded], config: EvaluateConfig) -> list[list[Encoded]]:
    """Cut prompts, longest first, into batches of bounded rows and bounded padded tokens."""
    ordered = sorted(encoded, key=lambda e: (-len(e.token_ids), e.prompt.prompt_id))
    batches: list[list[Encoded]] = []
    for one in ordered:
        longest = len(batches[-1][0].token_ids) if batches else 0
        full = (
            not batches
            or len(batches[-1]) >= config.batch_size
            or (len(batches[-1]) + 1) * (longest + config.max_new_tokens) > config.batch_tokens
        )
        if full:
            batches.append([])
        batches[-1].append(one)
    return batches


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
    """Answer all prompts, or one process's share of them, group by group.

    Args:
        prompts: what to answer; their texts should differ, equal ones are simply answered twice.
        done: ids of prompts answered by an earlier, interrupted call with the same arguments.
            A group is skipped if all its prompts are done.
        share: (rank, count): only every ``count``-th group from number ``rank`` on. Groups and
            their seeds are those of a single process, and so are the answers.
        save: receives the completions of each finished group, in the group's order.
    Raises:
        UserError: out of memory even for a single prompt.
    """
    batches = groups(encode(lm, prompts, model_config), config)
    stops = stop_strings(lm, config)
    rank, count = share
    own = [(number, batch) for number, batch in enumerate(batches) if number % count == rank]
    total = sum(len(batch) for _, batch in own)
    finished = tokens = 0
    started = time.monotonic()
    for number, batch in own:
        if not all(one.prompt.prompt_id in done for one in batch):
            completions = _answer_group(lm, batch, config, stops, seed + number)
            save(completions)
            tokens += sum(completion.n_tokens for completion in completions)
        finished += len(batch)
        rate = tokens / max(time.monotonic() - started, 1e-9)
        progress(label, finished, total, f"{rate:.0f} tokens/s" if tokens else "resumed")


def _answer_group(
    lm: LanguageModel,
    batch: list[Encoded],
    config: EvaluateConfig,
    stops: tuple[str, ...],
    seed: int,
) -> list[Completion]:
    """One batch; out of memory halves it until single prompts are left."""
    try:
        return Decoder(lm, config, stops, seed).run(batch)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    if lm.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(batch) == 1:
        raise UserError(
            f"generate: out of memory for a single prompt of {len(batch[0].token_ids)} tokens; "
            "use a smaller model, model.dtype=bfloat16 or a smaller evaluate.max_new_tokens"
        )
    middle = len(batch) // 2
    return [
        completion
        for half in (batch[:middle], batch[middle:])
        for completion in _answer_group(lm, half, config, stops, seed)
    ]


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


class Decoder:
    """Generates one batch with a key-value cache, taking rows out as they end."""

    def __init__(
        self, lm: LanguageModel, config: EvaluateConfig, stops: tuple[str, ...], seed: int
    ) -> None:
        self.lm = lm
        self.config = config
        self.stops = stops
        self.ends = end_token_ids(lm)
        self.random = torch.Generator(device=lm.device).manual_seed(seed)
        accepted = inspect.signature(lm.model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.takes_keep = "logits_to_keep" in accepted

    @torch.inference_mode()
    def run(self, batch: Sequence[Encoded]) -> list[Completion]:
        """Answers in the order of ``batch``."""
        device = self.lm.device
        longest = max(len(one.token_ids) for one in batch)
        pad = self.lm.tokenizer.pad_token_id or 0
        ids = torch.full((len(batch), longest), pad)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, longest - len(one.token_ids) :] = torch.tensor(one.token_ids)
            mask[row, longest - len(one.token_ids) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        cache = DynamicCache(config=self.lm.model.config.get_text_config())
        written: list[list[int]] = [[] for _ in batch]
        finish: list[str | None] = [None] * len(batch)
        alive = list(range(len(batch)))  # the batch row behind each cache row
        for _ in range(self.config.max_new_tokens):
            chosen = self._step(ids, mask, cache)
            keep: list[int] = []
            for place, (row, token) in enumerate(zip(alive, chosen.tolist(), strict=True)):
                written[row].append(token)
                if token in self.ends or self._stopped(written[row]):
                    finish[row] = "stop"
                else:
                    keep.append(place)
            if not keep:
                break
            if len(keep) < len(alive):
                index = torch.tensor(keep, device=device)
                cache.batch_select_indices(index)
                mask, chosen = mask[index], chosen[index]
                alive = [alive[place] for place in keep]
            ids = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=1)
        return [self._completion(one.prompt, w, f) for one, w, f in zip(batch, written, finish)]

    def _step(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """One forward pass and the chosen next token of each row (batch,)."""
        options: dict[str, Any] = {}
        if self.takes_positions:
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if self.takes_keep:
            options["logits_to_keep"] = 1
        output = self.lm.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options
        )
        logits: torch.Tensor = output.logits[:, -1]
        if self.config.temperature == 0:
            return logits.argmax(-1)
        chances = torch.softmax(logits.float() / self.config.temperature, dim=-1)
        return torch.multinomial(chances, 1, generator=self.random)[:, 0]

    def _stopped(self, token_ids: list[int]) -> bool:
        """Whether a stop string stands in the text after its first visible character."""
        if not self.stops:
            return False
        # Only the new token can complete a stop string; a few tokens before it give it context.
        tail = self.lm.tokenizer.decode(token_ids[-8:], skip_special_tokens=True)
        if not any(stop in tail for stop in self.stops):
            return False
        return cut_at_stop(self._text(token_ids), self.stops) is not None

    def _text(self, token_ids: list[int]) -> str:
        return str(self.lm.tokenizer.decode(token_ids, skip_special_tokens=True))

    def _completion(self, prompt: Prompt, token_ids: list[int], finish: str | None) -> Completion:
        text = self._text(token_ids)
        cut = cut_at_stop(text, self.stops)
        thinking, answer = split_thinking(text if cut is None else cut)
        return Completion(
            prompt_id=prompt.prompt_id,
            answer=answer,
            thinking=thinking,
            finish="stop" if finish == "stop" else "length",
            n_tokens=len(token_ids),
        )


def end_token_ids(lm: LanguageModel) -> frozenset[int]:
    """All tokens that end a text: the tokenizer's and the generation config's."""
    ends: set[int] = set()
    generation = getattr(lm.model, "generation_config", None)
    for value in (lm.tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)):
        if isinstance(value, int):
            ends.add(value)
        elif value is not None:
            ends.update(int(one) for one in value)
    return frozenset(ends)
