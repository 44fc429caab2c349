"""A choice read by likelihood: which of the offered options the model finds most probable.

A base model that answers every question with "A" may know the answer all the same. As
lm-evaluation-harness does for base models (``acc_norm``), each option's text is taken as the
continuation of the prompt; its log probability, divided by its characters so that long options do not
lose by their length alone, is its score, and the highest one is what the model chose. Only where all
options are in one language: between languages and scripts no length is fair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.generation.decoder import RowReader
from linguamap.generation.kv_cache import has_plain_rows, new_cache
from linguamap.models.batching import right_padded

if TYPE_CHECKING:
    from linguamap.generation.encoding import Encoded
    from linguamap.generation.kv_cache import SharedPrefixStates
    from linguamap.models.language_model import LanguageModel
    from linguamap.records import Completion, Prompt


class OptionReader(RowReader):
    """Scores options; a prompt is read once for all of its options."""

    def __init__(self, lm: LanguageModel, prefixes: SharedPrefixStates, use_cache: bool) -> None:
        super().__init__(lm, prefixes)
        self.use_cache = use_cache and has_plain_rows(new_cache(lm.model.config))

    def with_scores(
        self, chunk: Sequence[Sequence[Encoded]], completions: Sequence[Completion]
    ) -> list[Completion]:
        """A chunk's completions with the scores of the options of those prompts that are so read."""
        asked = {encoded.prompt.prompt_id: encoded for batch in chunk for encoded in batch}
        return [
            dataclasses.replace(done, option_scores=self.scores(asked[done.prompt_id]))
            if has_one_language(asked[done.prompt_id].prompt)
            else done
            for done in completions
        ]

    @torch.inference_mode()
    def scores(self, encoded: Encoded) -> tuple[float, ...]:
        """Log probability (natural) per character of each option, in the order shown."""
        options = encoded.prompt.options
        blank = "" if self.lm.is_chat else " "  # what stands between the prompt's end and an answer
        ids = [
            self.lm.tokenizer(f"{blank}{option.text}", add_special_tokens=False)["input_ids"]
            for option in options
        ]
        logits = self._together(encoded, ids) if self.use_cache else self._apart(encoded, ids)
        return tuple(
            _log_probability(found, one) / len(option.text)
            for found, one, option in zip(logits, ids, options, strict=True)
        )

    def _together(self, encoded: Encoded, ids: list[list[int]]) -> list[Tensor]:
        """The logits before each token of each option, from one pass over all options."""
        rows, first = self.read([encoded], 0)
        rows.cache.batch_select_indices(
            torch.zeros(len(ids), dtype=torch.long, device=first.device)
        )
        padded, mask = right_padded(ids, self.lm.tokenizer.pad_token_id or 0)
        # The last column of the rows' mask is that of a token to come.
        whole = torch.cat([rows.mask[:, :-1].expand(len(ids), -1), mask.to(first.device)], dim=1)
        further = self.last_logits(
            padded.to(first.device),
            whole,
            rows.cache,
            [encoded.prompt.language] * len(ids),
            padded.shape[1],
        )
        return [
            torch.cat([first, row[: len(one) - 1]]) for row, one in zip(further, ids, strict=True)
        ]

    def _apart(self, encoded: Encoded, ids: list[list[int]]) -> list[Tensor]:
        """The same without a cache, from a pass over the whole text for each option."""
        found = []
        for one in ids:
            text = torch.tensor([[*encoded.token_ids, *one]], device=self.lm.device)
            language = [encoded.prompt.language]
            logits = self.last_logits(text, torch.ones_like(text), None, language, len(one) + 1)
            found.append(logits[0, :-1])
        return found


def has_one_language(prompt: Prompt) -> bool:
    """Whether it is a choice whose options are all in one language."""
    return prompt.kind == "choice" and len({option.language for option in prompt.options}) == 1


def _log_probability(logits: Tensor, ids: Sequence[int]) -> float:
    """Of a text's tokens, from the logits (token, vocabulary) before each of them."""
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    return float(log_probs.gather(1, torch.tensor(ids, device=logits.device)[:, None]).sum())
