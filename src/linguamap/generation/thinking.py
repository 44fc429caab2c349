"""Where an answer ends, and what a thinking model wrote for itself before it.

A reasoning block stands between two marks. Some are plain text (``<think>``), others are special tokens that
decoding leaves out (``[THINK]``): :class:`MarkedText` keeps them until the block is split off. Many chat
templates open the block in the prompt, so that the opening mark is not in what the model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

BLOCKS = {
    "<think>": "</think>",  # DeepSeek-R1, Qwen3 and most others
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # EXAONE Deep
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "[THINK]": "[/THINK]",  # Magistral
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A Reasoning
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<|channel|>analysis<|message|>": "<|end|>",  # gpt-oss
}
"""What opens a reasoning block, and what closes it."""

CHANNEL, MESSAGE = "<|channel|>", "<|message|>"
FRAME = (CHANNEL, MESSAGE, "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|channel>",
         "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|begin_of_solution|>",
         "<|end_of_solution|>")  # fmt: skip
"""Marks around answers and messages; no part of any answer."""

TAIL_TOKENS = 64
"""Of a prompt, so many last tokens are looked at for an open block."""

LINE_END = ("\n",)
"""What ends a base model's answer in the plain layout, where every field is one line."""
NEXT_QUESTION = ("\nQ:",)
"""What ends it in the layout of the Language Confusion Benchmark, whose rule judges line by line."""

_CLOSINGS = [
    mark for mark in BLOCKS.values() if mark != "<|end|>"
]  # Phi ends answers with that one
_START = re.compile(r"\s*(?:" + "|".join(map(re.escape, BLOCKS)) + ")")
_END = re.compile("|".join(map(re.escape, _CLOSINGS)))
_FRAME = re.compile("|".join(map(re.escape, FRAME)))
_CHANNELS = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)


def split_thinking(text: str, opened: bool = False) -> tuple[str | None, str]:
    """Split a reasoning block off: ``(thinking, answer)``.

    A block that was opened and never closed is all thinking, and the answer is empty: the token
    limit cut the model off before it answered.

    Args:
        opened: the prompt ends inside a reasoning block, see :func:`ends_in_thinking`.
    """
    if opened and CHANNEL in text:
        text = f"{CHANNEL}analysis{MESSAGE}{text}"
    if CHANNEL in text:
        return _split_channels(text)
    end = _END.search(text)
    start = _START.match(text)
    begin = start.end() if start else 0
    if end is not None:
        return _plain(text[begin : end.start()]), _plain(text[end.end() :])
    if start is not None or opened:
        return _plain(text[begin:]), ""
    return None, _plain(text)


def ends_in_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends with the opening of a reasoning block.

    Only its very end tells: anything before may be a user's words.
    """
    return prompt.rstrip().endswith(tuple(BLOCKS))


class MarkedText:
    """Decodes tokens without the special ones, but for the marks of reasoning blocks."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        pieces = {*BLOCKS, *_CLOSINGS, *FRAME}
        found = {mark: _special(tokenizer, mark) for mark in sorted(pieces)}
        self.marks = {number: mark for mark, number in found.items() if number is not None}

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some tokens; what no mark is in, is decoded as always."""
        runs: list[str] = []
        start = 0
        for place, token in enumerate(token_ids):
            if token in self.marks:
                runs += [self._plain(token_ids[start:place]), self.marks[token]]
                start = place + 1
        return "".join([*runs, self._plain(token_ids[start:])])

    def ends_in_thinking(self, prompt_ids: Sequence[int]) -> bool:
        """:func:`ends_in_thinking` of a prompt's tokens."""
        tail = list(prompt_ids[-TAIL_TOKENS:])
        return ends_in_thinking(str(self.tokenizer.decode(tail, skip_special_tokens=False)))

    def _plain(self, token_ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))


def cut_at_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text up to the first stop string; None without one.

    A stop string of blanks alone counts after the first visible character only: many models begin
    their answers on a new line.
    """
    start = len(text) - len(text.lstrip())
    found = [
        place for stop in stops if (place := text.find(stop, 0 if stop.strip() else start)) >= 0
    ]
    return text[: min(found)] if found else None


def answer_ends(stops: tuple[str, ...], bare: bool) -> tuple[str, ...]:
    """The strings that end the answer to one prompt.

    Args:
        stops: those of the run.
        bare: whether the prompt is a request that stands alone. There a base model's line end gives
            way to the next question.
    """
    return NEXT_QUESTION if stops == LINE_END and bare else stops


def end_token_ids(lm: LanguageModel) -> frozenset[int]:
    """All tokens that end a text: the tokenizer's and the generation config's."""
    ends: set[int] = set()
    generation = getattr(lm.model, "generation_config", None)
    for value in (lm.tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)):
        if isinstance(value, int):
            ends.add(value)
        elif value is not None:
            ends.update(map(int, value))
    return frozenset(ends)


def _split_channels(text: str) -> tuple[str | None, str]:
    """gpt-oss: messages in channels, of which ``final`` is the answer and all others are thinking."""
    messages = _CHANNELS.findall(text)
    answer = "\n".join(said.strip() for channel, said in messages if channel == "final")
    thinking = [said.strip() for channel, said in messages if channel != "final"]
    return "\n".join(thinking) if thinking or not answer else None, _plain(answer)


def _plain(text: str) -> str:
    return _FRAME.sub("", text).strip()


def _special(tokenizer: Any, mark: str) -> int | None:
    """The token of a mark, if it is one token that decoding leaves out."""
    number = tokenizer.convert_tokens_to_ids(mark)
    if not isinstance(number, int) or number < 0:
        return None
    shown = str(tokenizer.decode([number], skip_special_tokens=False)).strip()
    kept = str(tokenizer.decode([number], skip_special_tokens=True))
    return number if shown == mark and mark not in kept else None
