"""The decoding loop: a chunk of prompts in, answers out, with as few wasted products as possible.

Three things keep it fast. Tokens that prompts open with alike are read once
(:mod:`linguamap.generation.shared_prefix`). A row leaves when its answer ends. And as soon as the next batch fits
beside the rows that are left, it joins them: a step of few rows costs hardly less than one of many.

A model whose cache cannot be used gets none of this: each of its answers is written alone, and
every token from a pass over the whole text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from linguamap.generation.kv_cache import (
    Rows,
    SharedPrefixStates,
    has_plain_rows,
    join,
    open_rows,
)
from linguamap.generation.thinking import (
    MarkedText,
    answer_ends,
    cut_at_stop,
    end_token_ids,
    split_thinking,
)
from linguamap.records import Completion

if TYPE_CHECKING:
    from linguamap.config import EvaluateConfig
    from linguamap.generation.encoding import Encoded
    from linguamap.models.language_model import LanguageModel


class RowReader:
    """Forward passes over rows of prompts, whose states a cache keeps."""

    def __init__(self, lm: LanguageModel, prefixes: SharedPrefixStates | None = None) -> None:
        """Take a model, and the states of shared prefixes; None reads every prompt whole."""
        self.lm, self.prefixes = lm, prefixes or SharedPrefixStates(lm, use_cache=False)
        accepted = inspect.signature(lm.model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.takes_cache = "use_cache" in accepted
        self.takes_keep = "logits_to_keep" in accepted

    def read(self, batch: Sequence[Encoded], start: int) -> tuple[Rows, Tensor]:
        """One forward pass over what no prefix has covered, see
        :func:`linguamap.generation.kv_cache.open_rows`.

        Args:
            start: place of the batch's first prompt in its chunk.
        Returns:
            The rows, whose newest tokens are yet to be chosen, and the logits (row, vocabulary) of
            those.
        """
        texts = [encoded.token_ids for encoded in batch]
        opened = open_rows(texts, [encoded.prefix for encoded in batch], self.prefixes)
        languages = [encoded.prompt.language for encoded in batch]
        logits = self.logits(opened.ids, opened.mask, opened.cache, languages)
        places = list(range(start, start + len(batch)))
        newest = opened.mask.new_zeros(len(batch))
        return Rows(places, opened.cache, _with_column(opened.mask), newest), logits

    def step(self, rows: Rows, prompts: Sequence[Encoded]) -> Tensor:
        """Read each row's newest token; the logits (row, vocabulary) of the next one."""
        languages = [prompts[place].prompt.language for place in rows.places]
        logits = self.logits(rows.newest[:, None], rows.mask, rows.cache, languages)
        rows.mask = _with_column(rows.mask)
        return logits

    def logits(
        self, ids: Tensor, mask: Tensor, cache: DynamicCache | None, languages: list[str]
    ) -> Tensor:
        """One forward pass; the logits (row, vocabulary) after the last token of each row."""
        return self.last_logits(ids, mask, cache, languages, 1)[:, -1]

    def last_logits(
        self, ids: Tensor, mask: Tensor, cache: DynamicCache | None, languages: list[str], n: int
    ) -> Tensor:
        """One forward pass; the logits (row, n, vocabulary) after each of the last ``n`` columns."""
        options: dict[str, Any] = {}
        if self.takes_positions:
            options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if self.takes_keep:
            options["logits_to_keep"] = n
        if cache is not None:
            options |= {"past_key_values": cache, "use_cache": True}
        elif self.takes_cache:
            options["use_cache"] = False
        with self.lm.speaking(languages):
            output = self.lm.model(input_ids=ids, attention_mask=mask, **options)
        logits: Tensor = output.logits[:, -n:]
        return logits


class Decoder(RowReader):
    """Writes the answers of one chunk.

    Attributes:
        answers: completions so far, by prompt id; still there after a failure.
    """

    def __init__(
        self,
        lm: LanguageModel,
        config: EvaluateConfig,
        stops: tuple[str, ...],
        seed: int,
        prefixes: SharedPrefixStates | None = None,
        ended: Callable[[Completion], None] = lambda completion: None,
        use_cache: bool = True,
    ) -> None:
        """Set up for one chunk.

        Args:
            stops: strings that end an answer.
            prefixes: states of shared prefixes; None reads every prompt whole.
            ended: called with each answer as it ends.
            use_cache: False writes each answer alone, see
                :func:`linguamap.generation.cache_check.cache_fault`.
        """
        super().__init__(lm, prefixes)
        self.config, self.stops = config, stops
        self.longest = config.answer_tokens(lm.is_chat)
        self.ended, self.use_cache = ended, use_cache
        self.ends = end_token_ids(lm)
        self.marked = MarkedText(lm.tokenizer)
        self.random = torch.Generator(device=lm.device).manual_seed(seed)
        self.answers: dict[str, Completion] = {}

    @torch.inference_mode()
    def run(self, batches: Sequence[Sequence[Encoded]]) -> list[Completion]:
        """Answers in the order of the batches' prompts."""
        prompts = [prompt for batch in batches for prompt in batch]
        if not self.use_cache:
            for encoded in prompts:
                self._write_alone(encoded)
            return [self.answers[encoded.prompt.prompt_id] for encoded in prompts]
        written: list[list[int]] = [[] for _ in prompts]
        rows: Rows | None = None
        start = 0
        for batch in batches:
            while rows is not None and not self._fits(rows, prompts, batch):
                rows = self._advance(rows, prompts, written)
            fresh, logits = self.read(batch, start)
            start += len(batch)
            fresh.newest = self._choose(logits)
            rows = join([one for one in (rows, self._take(fresh, prompts, written)) if one])
        while rows is not None:
            rows = self._advance(rows, prompts, written)
        return [self.answers[encoded.prompt.prompt_id] for encoded in prompts]

    def _fits(self, rows: Rows, prompts: Sequence[Encoded], batch: Sequence[Encoded]) -> bool:
        """Whether a batch may be answered together with these rows."""
        if not has_plain_rows(rows.cache):
            return False
        together = [*(prompts[place] for place in rows.places), *batch]
        longest = max(len(encoded.token_ids) for encoded in together) + self.longest
        return (
            len(together) <= self.config.batch_size
            and len(together) * longest <= self.config.batch_tokens
        )

    def _advance(
        self, rows: Rows, prompts: Sequence[Encoded], written: list[list[int]]
    ) -> Rows | None:
        """One more token of each row; the rows that are left."""
        rows.newest = self._choose(self.step(rows, prompts))
        return self._take(rows, prompts, written)

    def _write_alone(self, encoded: Encoded) -> None:
        """Answer one prompt without a cache and without padding."""
        written: list[int] = []
        while not written or not self._ended(encoded, written):
            ids = torch.tensor([[*encoded.token_ids, *written]], device=self.lm.device)
            logits = self.logits(ids, torch.ones_like(ids), None, [encoded.prompt.language])
            written.append(int(self._choose(logits)))

    def _take(
        self, rows: Rows, prompts: Sequence[Encoded], written: list[list[int]]
    ) -> Rows | None:
        """Write each row's newest token down; the rows whose answers do not end with it."""
        keep: list[int] = []
        for row, (place, token) in enumerate(zip(rows.places, rows.newest.tolist(), strict=True)):
            written[place].append(token)
            if not self._ended(prompts[place], written[place]):
                keep.append(row)
        if not keep:
            return None
        if len(keep) < len(rows.places):
            rows.keep(keep)
        return rows

    def _choose(self, logits: Tensor) -> Tensor:
        """The next token of each row (row,)."""
        if self.config.temperature == 0:
            return logits.argmax(-1)
        probs = torch.softmax(logits.float() / self.config.temperature, dim=-1)
        return torch.multinomial(probs, 1, generator=self.random)[:, 0]

    def _ended(self, encoded: Encoded, token_ids: list[int]) -> bool:
        """Whether this answer is complete; then it is among the answers."""
        default = self.config.stop is None
        stops = answer_ends(self.stops, encoded.prompt.bare) if default else self.stops
        stopped = token_ids[-1] in self.ends or self._stopped(token_ids, stops)
        if not stopped and len(token_ids) < self.longest:
            return False
        text = self.marked.decode(token_ids)
        cut = cut_at_stop(text, stops)
        opened = self.lm.is_chat and self.marked.ends_in_thinking(encoded.token_ids)
        thinking, answer = split_thinking(text if cut is None else cut, opened)
        completion = Completion(
            prompt_id=encoded.prompt.prompt_id,
            answer=answer,
            thinking=thinking,
            finish="stop" if stopped else "length",
            n_tokens=len(token_ids),
        )
        self.answers[completion.prompt_id] = completion
        self.ended(completion)
        return True

    def _stopped(self, token_ids: list[int], stops: tuple[str, ...]) -> bool:
        """Whether a stop string ends the text, see :func:`linguamap.generation.thinking.cut_at_stop`."""
        if not stops:
            return False
        # Only the new token can complete a stop string; a few tokens before it give it context.
        tail = self.lm.tokenizer.decode(token_ids[-8:], skip_special_tokens=True)
        if not any(stop in tail for stop in stops):
            return False
        return cut_at_stop(self.marked.decode(token_ids), stops) is not None


def _with_column(mask: Tensor) -> Tensor:
    return torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
