"""A choice read by likelihood: which of its options the model finds most probable as the answer.

A base model that answers every question with "A" may know the answer all the same. As
lm-evaluation-harness does for base models (``acc`` of ARC and the like), the options are left out of
the prompt, and each one's text is taken as its continuation: the one with the highest log probability
is what the model chose. Only where all options are in one language: texts of different languages
and scripts are not equally easy to continue with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from linguamap.generation.decoder import RowReader
from linguamap.generation.encoding import encode
from linguamap.generation.kv_cache import has_plain_rows, new_cache
from linguamap.models.batching import right_padded

if TYPE_CHECKING:
    from linguamap.config import ModelConfig
    from linguamap.generation.encoding import Encoded
    from linguamap.generation.kv_cache import SharedPrefixStates
    from linguamap.models.language_model import LanguageModel
    from linguamap.records import Completion, Prompt


class OptionReader(RowReader):
    """Scores options; a prompt is read once for all of its options."""

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
        return [
            dataclasses.replace(done, option_scores=self.scores(self.encoded[done.prompt_id]))
            if done.prompt_id in self.encoded
            else done
            for done in completions
        ]

    @torch.inference_mode()
    def scores(self, encoded: Encoded) -> tuple[float, ...]:
        """Log probability (natural) of each option, in the order shown."""
        options = encoded.prompt.options
        blank = "" if self.lm.is_chat else " "  # what stands between the prompt's end and an answer
        ids = [
            self.lm.tokenizer(f"{blank}{option.text}", add_special_tokens=False)["input_ids"]
            for option in options
        ]
        logits = self._together(encoded, ids) if self.use_cache else self._apart(encoded, ids)
        return tuple(_log_probability(found, one) for found, one in zip(logits, ids, strict=True))

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
