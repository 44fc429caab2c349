"""Users' own training texts -> examples: of parts the answer is trained on, of conversations the assistant's turns.

Parts are put together as they stand, so blanks and line breaks belong into the texts; a chat model gets
them as turns. On a base model a conversation of one question and one answer is read as parts. ``group``
keeps lines that belong together on one side of the validation split. Steering needs ``language``.

=====================  ==========================================================================
form                   keys
=====================  ==========================================================================
parts                  ``Q`` and ``A``, and ``P``, ``I``, ``R`` where there are any
conversation           ``messages``: role and content (a text, or a list of text parts)
ShareGPT               ``conversations``: from and value
Alpaca                 ``instruction`` and ``output``, and ``input``, ``system``
prompt and completion  ``prompt`` and ``completion``: texts, or two lists of messages
=====================  ==========================================================================

Each line may add ``id``, ``group`` and ``language``, and lines of several forms may be mixed.

Each line may add ``id``, ``group`` and ``language``, and lines of several forms may be mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from linguamap.languages import get_language, language_code
from linguamap.models.chat_template import TemplateRefusal, render_conversation, without_system
from linguamap.outside import as_text, json_rows, shown
from linguamap.prompts.own_prompts import SPEAKERS
from linguamap.records import Part, Prompt, Role, UserError
from linguamap.tuning.data.batches import TrainingExample
from linguamap.tuning.data.trained_tokens import chat_end, spans_mask

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

ROLES: tuple[Role, ...] = get_args(Role)

FORMS = (
    "the parts Q and A (P, I and R may be added), messages, conversations (ShareGPT), instruction and "
    "output (Alpaca), or prompt and completion"
)

ROLES_OF = SPEAKERS | {
    "function_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
"""Names of roles, in small letters, and the role that chat templates know; tools beside those who speak."""

Message = dict[str, Any]


@dataclass(frozen=True)
class TrainingText:
    """One line of a file.

    Attributes:
        name: its id, else its number.
        group: what stays on one side of the validation split.
        place: file and line, for messages.
        parts: in the order P, I, Q, R, A; empty for a conversation.
        messages: role and content, and what else a message has; empty for parts.
    """

    name: str
    group: str
    language: str | None
    place: str
    parts: tuple[Part, ...] = ()
    messages: tuple[Message, ...] = ()


def read_training_texts(path: Path) -> list[TrainingText]:
    """All lines of a file.

    Raises:
        UserError: no file, no line, or one that is in none of the forms, with its number.
    """
    found = []
    for place, row in json_rows(path):
        try:
            found.append(_text(row, place))
        except (UserError, ValueError) as error:
            raise UserError(f"tune: {place}: {error}") from None
    if not found:
        raise UserError(f"tune: {path} holds no line")
    return found


def _text(row: Mapping[str, Any], place: str) -> TrainingText:
    number = row.get("id")
    if not isinstance(number, str | int | float):  # exports put tables there
        number = None
    name = as_text(number) or f"line {place.rpartition(' ')[2]}"
    group = as_text(row.get("group")) or name
    language = _language(row.get("language"))
    parts, messages = _content(row)
    return TrainingText(name, group, language, place, parts, tuple(messages))


def _language(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"language must be one code such as fr, found {shown(value)}")
    return get_language(language_code(value) or value).code


def _content(row: Mapping[str, Any]) -> tuple[tuple[Part, ...], list[Message]]:
    for key in ("messages", "conversations"):
        if key in row:
            return (), _messages(row[key], key)
    if "Q" in row and "A" in row:
        return _parts({role: _part(row, role) for role in ROLES}), []
    if "instruction" in row and "output" in row:
        asked = [_part(row, "instruction"), _part(row, "input")]
        question = "\n\n".join(filter(None, asked))
        system = _part(row, "system")
        if row.get("history"):
            return (), _messages(
                _with_history(row["history"], system, question, row["output"]), "history"
            )
        return _parts({
            "P": f"{system}\n" if system else "", "Q": f"{question}\n", "A": _part(row, "output"),
        }), []  # fmt: skip
    if "prompt" in row and "completion" in row:
        if isinstance(row["prompt"], list) and isinstance(row["completion"], list):
            return (), _messages([*row["prompt"], *row["completion"]], "prompt and completion")
        return _parts({"Q": _part(row, "prompt"), "A": _part(row, "completion")}), []
    keys = ", ".join(map(shown, row)) or "none"
    raise ValueError(f"has the keys {keys}; a line has {FORMS}")


def _with_history(history: object, system: str, question: str, output: object) -> list[Message]:
    """The earlier turns of an Alpaca line, pairs of question and answer, and its own turn."""
    if not isinstance(history, list) or any(
        not isinstance(pair, list) or len(pair) != 2 for pair in history
    ):
        raise ValueError(f"history must be a list of [question, answer], found {shown(history)}")
    turns = [text for pair in [*history, [question, output]] for text in pair]
    said = [
        Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(turns)
    ]
    return [Message(role="system", content=system), *said] if system else said


def _part(row: Mapping[str, Any], key: str) -> str:
    try:
        return as_text(row.get(key)) or ""
    except ValueError as error:
        raise ValueError(f"'{key}' is {error}") from None


def _parts(texts: Mapping[Role, str]) -> tuple[Part, ...]:
    for name, text in (("question", texts["Q"]), ("answer", texts["A"])):
        if not text.strip():
            raise ValueError(f"the {name} is empty; fill it in or leave the line out")
    return tuple(Part(role, texts[role]) for role in ROLES if texts.get(role))


def _messages(values: object, key: str) -> list[Message]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"'{key}' must be a list of messages, each a role and a content")
    messages = [_message(value, number) for number, value in enumerate(values, 1)]
    said = [message for message in messages if message["role"] == "assistant"]
    if not said:
        roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
        raise ValueError(
            f"no message has the role assistant, only {roles}; nothing can be trained on"
        )
    if not any(message["content"].strip() for message in said):
        raise ValueError(
            "the assistant only calls tools, which is not trained on; leave the line out"
        )
    return messages


def _message(value: object, number: int) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"message {number} is no table of role and content: {shown(value)}")
    role = value.get("role", value.get("from"))
    known = ROLES_OF.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise ValueError(
            f"message {number} has the role {shown(role)}; known are {', '.join(ROLES_OF)}"
        )
    content = value.get("content", value.get("value"))
    if content is None and not value.get("tool_calls"):
        raise ValueError(f"message {number} has no content")
    others = {name: one for name, one in value.items() if name not in ("from", "value")}
    return {**others, "role": known, "content": _said(content, number)}


def _said(content: object, number: int) -> str:
    """The text of a content; empty for a call of tools."""
    pieces = content if isinstance(content, list) else [content]
    texts = []
    for piece in pieces:
        if isinstance(piece, dict):
            if not isinstance(piece.get("text"), str):
                kind = shown(piece.get("type", "unknown"))
                raise ValueError(
                    f"message {number} has a part of type {kind}; only text is trained on"
                )
            piece = piece["text"]
        try:
            texts.append(as_text(piece) or "")
        except ValueError as error:
            raise ValueError(f"the content of message {number} is {error}") from None
    return "".join(texts)


def read_jsonl(path: Path, lm: LanguageModel) -> list[Prompt | TrainingExample]:
    """Read a file of training texts in any form of this module.

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
