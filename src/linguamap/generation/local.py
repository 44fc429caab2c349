"""Prompts -> answers on a local model: greedy or sampled, batched, resumable, exact.

Prompts are cut into fixed chunks of a few batches each, a function of the prompts and the settings
alone (:func:`chunks`). A chunk is answered by one :class:`~linguamap.generation.decoder.Decoder` and handed on whole. So a
killed run repeats at most the chunk in flight, and ends with the very answers of a run that was never
killed: half-precision arithmetic depends on the batch a row is in, and every row is always in the
same batches.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.decoder import Decoder, RowReader
from linguamap.generation.encoding import check_length, encode, stop_strings
from linguamap.generation.kv_cache import SharedPrefixStates, has_plain_rows, new_cache
from linguamap.models.batching import batches_by_length, right_padded
from linguamap.progress import Progress, silent
from linguamap.records import Completion, Prompt, UserError
from linguamap.run.memory import is_out_of_memory

if TYPE_CHECKING:
    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.generation.encoding import Encoded
    from linguamap.models.language_model import LanguageModel

CHUNKS = 3
"""A job is cut into about this many chunks, so that several processes can share them ..."""
CHUNK_BATCHES = range(4, 9)
"""... but each of so many batches: enough to keep the rows that are open many, and little to repeat."""
OPTION_PROMPTS = 8
"""Prompts whose options are read together: their logits are held at once."""
PROGRESS_SECONDS = 0.5


def chunks(
    encoded: Sequence[Encoded], config: EvaluateConfig, prefixes: SharedPrefixStates
) -> list[list[list[Encoded]]]:
    """Cut prompts into batches of half the rows and padded tokens allowed, and batches into chunks.

    So one batch can be read while half of the rows before it are still open.
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
            config.batch_tokens // 2,
            max(config.batch_size // 2, 1),
            sorted(range(len(encoded)), key=rank),
        )
    ]
    size = min(max(-(-len(batches) // CHUNKS), CHUNK_BATCHES[0]), CHUNK_BATCHES[-1])
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


# A choice read by likelihood ---------------------------------------------------------------------


class OptionReader(RowReader):
    """Scores options; a prompt is read once for all of its options, a few prompts together.

    A base model that answers every question with "A" may know the answer all the same. As
    lm-evaluation-harness does for base models (``acc`` of ARC and the like), the options are left out
    of the prompt, and each one's text is taken as its continuation: the one with the highest log
    probability is what the model chose. Only where all options are in one language: texts of different
    languages and scripts are not equally easy to continue with.
    """

    def __init__(
        self,
        lm: LanguageModel,
        prompts: Sequence[Prompt],
        model_config: ModelConfig | None,
        prefixes: SharedPrefixStates,
        use_cache: bool,
    ) -> None:
        super().__init__(lm, prefixes)
        self.use_cache = use_cache and has_plain_rows(new_cache(lm.model.config))
        read = [without_options(prompt) for prompt in prompts if has_one_language(prompt)]
        self.encoded = {one.prompt.prompt_id: one for one in encode(lm, read, model_config)}

    def with_scores(self, completions: Sequence[Completion]) -> list[Completion]:
        """The completions, with the scores of the options of those prompts that are so read."""
        read = [self.encoded[c.prompt_id] for c in completions if c.prompt_id in self.encoded]
        read.sort(key=lambda one: (len(one.token_ids), one.prompt.prompt_id))
        found: dict[str, tuple[float, ...]] = {}
        for start in range(0, len(read), OPTION_PROMPTS):
            batch = read[start : start + OPTION_PROMPTS]
            names = [one.prompt.prompt_id for one in batch]
            found.update(zip(names, self.scores(batch), strict=True))
        return [
            dataclasses.replace(done, option_scores=found[done.prompt_id])
            if done.prompt_id in found
            else done
            for done in completions
        ]

    @torch.inference_mode()
    def scores(self, batch: Sequence[Encoded]) -> list[tuple[float, ...]]:
        """Of each prompt the log probability (natural) of each option, in the order shown."""
        blank = "" if self.lm.is_chat else " "  # what stands between the prompt's end and an answer
        texts = [
            (number, f"{blank}{option.text}")
            for number, encoded in enumerate(batch)
            for option in encoded.prompt.options
        ]
        owners = [number for number, _ in texts]
        ids = [self.lm.tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in texts]
        read = self._together if self.use_cache else self._apart
        found: list[list[float]] = [[] for _ in batch]
        for owner, logits, one in zip(owners, read(batch, owners, ids), ids, strict=True):
            found[owner].append(_log_probability(logits, one))
        return [tuple(values) for values in found]

    def _together(
        self, batch: Sequence[Encoded], owners: list[int], ids: list[list[int]]
    ) -> Iterator[Tensor]:
        """The logits before each token of each option, from one pass over all options.

        Args:
            owners: (option,), which prompt of the batch an option belongs to.
            ids: of the options.
        """
        rows, first = self.read(batch, 0)
        index = torch.tensor(owners, device=first.device)
        rows.cache.batch_select_indices(index)
        padded, mask = right_padded(ids, self.lm.tokenizer.pad_token_id or 0)
        # The last column of the rows' mask is that of a token to come.
        whole = torch.cat([rows.mask[index, :-1], mask.to(first.device)], dim=1)
        languages = [batch[owner].prompt.language for owner in owners]
        further = self.last_logits(
            padded.to(first.device), whole, rows.cache, languages, padded.shape[1]
        )
        for owner, row, one in zip(owners, further, ids, strict=True):
            yield torch.cat([first[owner, None], row[: len(one) - 1]])

    def _apart(
        self, batch: Sequence[Encoded], owners: list[int], ids: list[list[int]]
    ) -> Iterator[Tensor]:
        """The same without a cache, from a pass over the whole text for each option."""
        for owner, one in zip(owners, ids, strict=True):
            text = torch.tensor([[*batch[owner].token_ids, *one]], device=self.lm.device)
            language = [batch[owner].prompt.language]
            logits = self.last_logits(text, torch.ones_like(text), None, language, len(one) + 1)
            yield logits[0, :-1]


def has_one_language(prompt: Prompt) -> bool:
    """Whether it is a choice whose options are all in one language."""
    return prompt.kind == "choice" and len({option.language for option in prompt.options}) == 1


def without_options(prompt: Prompt) -> Prompt:
    """The same prompt without the list of its options and that list's label.

    Worked examples in front keep theirs.
    """
    names = [name for name, _ in prompt.named_parts if name != "examples"]
    if "options" not in names:
        return prompt
    shown = names.index("options")
    return dataclasses.replace(prompt, parts=prompt.parts[: shown - 1] + prompt.parts[shown + 1 :])


def _log_probability(logits: Tensor, ids: Sequence[int]) -> float:
    """Of a text's tokens, from the logits (token, vocabulary) before each of them."""
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    return float(log_probs.gather(1, torch.tensor(ids, device=logits.device)[:, None]).sum())
