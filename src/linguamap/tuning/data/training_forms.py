"""The forms in which people keep training texts, read as one: parts, or a conversation.

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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from linguamap.languages import get_language, language_code
from linguamap.outside import as_text, json_rows, shown
from linguamap.records import Part, Role, UserError

ROLES: tuple[Role, ...] = get_args(Role)

FORMS = (
    "the parts Q and A (P, I and R may be added), messages, conversations (ShareGPT), instruction and "
    "output (Alpaca), or prompt and completion"
)

SPEAKERS = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
    "bot": "assistant", "ai": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
"""Names of roles, in small letters, and the role that chat templates know."""

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
    name = as_text(row.get("id")) or f"line {place.rpartition(' ')[2]}"
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
        return _parts({
            "P": f"{system}\n" if system else "", "Q": f"{question}\n", "A": _part(row, "output"),
        }), []  # fmt: skip
    if "prompt" in row and "completion" in row:
        if isinstance(row["prompt"], list) and isinstance(row["completion"], list):
            return (), _messages([*row["prompt"], *row["completion"]], "prompt and completion")
        return _parts({"Q": _part(row, "prompt"), "A": _part(row, "completion")}), []
    keys = ", ".join(map(shown, row)) or "none"
    raise ValueError(f"has the keys {keys}; a line has {FORMS}")


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
    known = SPEAKERS.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise ValueError(
            f"message {number} has the role {shown(role)}; known are {', '.join(SPEAKERS)}"
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
