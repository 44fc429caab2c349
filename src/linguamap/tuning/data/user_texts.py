"""Users' own training texts -> examples: of parts the answer is trained on, of conversations the assistant's turns.

Parts are put together as they stand, so blanks and line breaks belong into the texts; a chat model gets
them as turns. On a base model a conversation of one question and one answer is read as parts. ``group``
keeps lines that belong together on one side of the validation split. Steering needs ``language``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.models.chat_template import TemplateRefusal, render_conversation, without_system
from linguamap.records import Part, Prompt, Role, UserError
from linguamap.tuning.data.batches import TrainingExample
from linguamap.tuning.data.training_examples import chat_end, spans_mask
from linguamap.tuning.data.training_forms import Message, TrainingText, read_training_texts

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


def read_jsonl(path: Path, lm: LanguageModel) -> list[Prompt | TrainingExample]:
    """Read a file of training texts in any form of :mod:`linguamap.tuning.data.training_forms`.

    Raises:
        UserError: missing file, or a line that is in no form or does not fit the model, with its number.
    """
    return [
        _prompt(text) if text.parts else _conversation(text, lm)
        for text in read_training_texts(path)
    ]


def _prompt(text: TrainingText) -> Prompt:
    return Prompt(
        item_id=text.name,
        benchmark="jsonl",
        kind="open",
        language=text.language or "",
        scenario="monolingual",
        parts=tuple(part for part in text.parts if part.role in ("P", "I", "Q")),
        gold=(text.parts[-1].text,),
        reference=tuple(part for part in text.parts if part.role in ("R", "A")),
        group=text.group,
    )


def _conversation(text: TrainingText, lm: LanguageModel) -> Prompt | TrainingExample:
    if not lm.is_chat:
        return _prompt(_as_parts(text, lm))
    try:
        return _turns(text, lm)
    except UserError as error:
        raise UserError(f"tune: {text.place}: {error}") from None


def _as_parts(text: TrainingText, lm: LanguageModel) -> TrainingText:
    """A conversation of one exchange for a model without turns: each message a line."""
    roles = [message["role"] for message in text.messages]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        raise UserError(
            f"tune: {text.place} is a conversation of several turns, and {lm.name} has no chat template; "
            "use the parts P, I, Q, R and A, or prompt and completion"
        )
    *asked, said = (message["content"] for message in text.messages)
    names: tuple[Role, ...] = ("Q",) if len(asked) == 1 else ("P", "Q")
    lines = [Part(name, f"{words.rstrip()}\n") for name, words in zip(names, asked, strict=True)]
    return TrainingText(text.name, text.group, text.language, text.place, (*lines, Part("A", said)))


def _turns(text: TrainingText, lm: LanguageModel) -> TrainingExample:
    messages = list(text.messages)
    try:
        whole = _rendered(lm, messages)
        fits = messages[0]["role"] != "system" or messages[0]["content"].strip() in whole
    except TemplateRefusal:
        fits = messages[0]["role"] != "system"
        if fits:
            raise
    if not fits:
        messages = [dict(message) for message in without_system(messages)]
        whole = _rendered(lm, messages)
    encoded = lm.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    mask = spans_mask(whole, encoded["offset_mapping"], _spoken(lm, whole, messages))
    ids = list(encoded["input_ids"])
    for place, end in _turn_ends(ids, mask, chat_end(lm)):
        mask[place:end] = [True] * (end - place)
    return TrainingExample(
        example_id=f"jsonl/{text.name}",
        token_ids=tuple(ids),
        loss_mask=(False, *mask[1:]),
        group=f"jsonl/{text.group}",
        language=text.language,
    )


def _rendered(lm: LanguageModel, messages: Sequence[Message], *, ask: bool = False) -> str:
    return render_conversation(lm.tokenizer, messages, ask=ask)


def _spoken(lm: LanguageModel, text: str, messages: list[Message]) -> list[tuple[int, int]]:
    """Character spans of the assistant's words in the rendered conversation.

    Raises:
        UserError: a turn whose words are not in the text, or cannot be told from the template's.
    """
    spans = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and message["content"].strip():
            span = _turn(lm, text, messages, place)
            if span is None:
                raise UserError(
                    f"the answer in message {place + 1} is not found in the text that "
                    "the chat template makes; cut the conversation after it, or leave the line out"
                )
            spans.append(span)
    return spans


def _turn(
    lm: LanguageModel, text: str, messages: list[Message], place: int
) -> tuple[int, int] | None:
    """Where the words of one message stand: between what the template puts around any words.

    That is seen by rendering the whole conversation with a stand-in for this message, since a
    template may write a turn otherwise when others follow (Qwen3 takes earlier thinking out). Words
    that change their own header (the last turn's thinking) begin where the template's own opening
    of an answer ends.
    """
    stand_in = "standin"
    while stand_in in text:
        stand_in += "x"
    replaced = [*messages[:place], {**messages[place], "content": stand_in}, *messages[place + 1 :]]
    before, found, after = _rendered(lm, replaced).partition(stand_in)
    end = len(text) - len(after)
    if not found or not text.endswith(after):
        return None
    if not text.startswith(before):
        before = _rendered(lm, messages[:place], ask=True) if place else ""
        if not before or not text.startswith(before):
            return None
    return (len(before), end) if text[len(before) : end].strip() else None


def _turn_ends(ids: list[int], mask: list[bool], end: list[int]) -> list[tuple[int, int]]:
    """Where the template's end of turn follows trained tokens."""
    return [
        (place, place + len(end))
        for place in range(1, len(ids) - len(end) + 1)
        if mask[place - 1] and not mask[place] and ids[place : place + len(end)] == end
    ]
