"""Prompts -> answers on a local model: greedy or sampled, batched, resumable, exact.

Prompts are cut into fixed chunks of a few batches each, a function of the prompts and the settings
alone (:func:`chunks`). A chunk is answered by one :class:`~linguamap.generation.decoder.Decoder` and handed on whole. So a
killed run repeats at most the chunk in flight, and ends with the very answers of a run that was never
killed: half-precision arithmetic depends on the batch a row is in, and every row is always in the
same batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.decoder import Decoder
from linguamap.generation.encoding import check_length, encode, stop_strings
from linguamap.generation.kv_cache import SharedPrefixStates
from linguamap.generation.option_likelihood import OptionReader
from linguamap.models.batching import batches_by_length
from linguamap.progress import Progress, silent
from linguamap.records import Completion, Prompt, UserError
from linguamap.run.memory import is_out_of_memory

if TYPE_CHECKING:
    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.generation.encoding import Encoded
    from linguamap.models.language_model import LanguageModel

CHUNKS = 6
"""A job is cut into about this many chunks, so that several processes can share them ..."""
CHUNK_BATCHES = range(2, 5)
"""... but each of so many batches: enough to finish their last rows together, and little to repeat."""
PROGRESS_SECONDS = 0.5


def chunks(
    encoded: Sequence[Encoded], config: EvaluateConfig, prefixes: SharedPrefixStates
) -> list[list[list[Encoded]]]:
    """Cut prompts into batches of bounded rows and padded tokens, and batches into chunks.

    Prompts with most tokens to read come first, so that a batch holds prompts of like length and
    memory runs out at the start if at all.
    """
    n_tokens = [len(prompt.token_ids) for prompt in encoded]

    def rank(place: int) -> tuple[int, int, str]:
        to_read = n_tokens[place] - prefixes.n_tokens(encoded[place].prefix)
        return -to_read, -n_tokens[place], encoded[place].prompt.prompt_id

    batches = [
        [encoded[place] for place in places]
        for places in batches_by_length(
            [n + config.answer_tokens(prefixes.lm.is_chat) for n in n_tokens],
            config.batch_tokens,
            config.batch_size,
            sorted(range(len(encoded)), key=rank),
        )
    ]
    size = min(max(round(len(batches) / CHUNKS), CHUNK_BATCHES[0]), CHUNK_BATCHES[-1])
    return [batches[start : start + size] for start in range(0, len(batches), size)]


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
    """Answer all prompts, or one process's share of them, chunk by chunk.

    Args:
        prompts: what to answer; their ids must differ.
        done: ids of prompts answered by an earlier, interrupted call with the same arguments.
            A chunk is skipped if all its prompts are done.
        share: (rank, count): only every ``count``-th chunk from number ``rank`` on. Chunks and
            their seeds are those of a single process, and so are the answers.
        save: receives the completions of each finished chunk, in the chunk's order.
    Raises:
        UserError: a prompt with its answer is longer than the model reads, or out of memory even
            for a single prompt.
    """
    rank, count = share
    use_cache = cache_fault(lm) is None
    prefixes = SharedPrefixStates(lm, use_cache)
    encoded = encode(lm, prompts, model_config)
    check_length(lm, encoded, config.answer_tokens(lm.is_chat))
    shared = list(enumerate(chunks(encoded, config, prefixes)))[rank::count]
    meter = _Meter(progress, label, sum(len(batch) for _, chunk in shared for batch in chunk))
    meter.note = "" if use_cache else ", slowly: no cache"
    stops = stop_strings(lm, config)
    options = None
    if config.reads_options(lm.is_chat):
        options = OptionReader(lm, prompts, model_config, prefixes, use_cache)
    progress(label, 0, meter.total, "reading the first prompts")
    for number, chunk in shared:
        if all(encoded.prompt.prompt_id in done for batch in chunk for encoded in batch):
            meter.skip(sum(map(len, chunk)))
            continue

        def decoder(seed: int = seed + number) -> Decoder:
            return Decoder(lm, config, stops, seed, prefixes, meter.ended, use_cache)

        completions = _answer(decoder, chunk)
        save(options.with_scores(completions) if options else completions)
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
    new_decoder: Callable[[], Decoder], chunk: Sequence[Sequence[Encoded]]
) -> list[Completion]:
    """One chunk. Out of memory keeps the answers that are complete and halves the batches of the
    others, until single prompts are left."""
    decoder = new_decoder()
    try:
        return decoder.run(chunk)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    answers = decoder.answers
    largest = max(map(len, chunk))
    left = [prompt for batch in chunk for prompt in batch if prompt.prompt.prompt_id not in answers]
    if largest == 1 and len(chunk) == 1:
        raise UserError(
            f"generate: out of memory for a single prompt of {len(left[0].token_ids)} tokens; "
            "use a smaller model, model.dtype=bfloat16 or a smaller evaluate.max_new_tokens"
        )
    size = max(largest // 2, 1)
    for start in range(0, len(left), size):
        part = [left[start : start + size]]
        for completion in _answer(new_decoder, part):
            answers[completion.prompt_id] = completion
    return [answers[prompt.prompt.prompt_id] for batch in chunk for prompt in batch]
