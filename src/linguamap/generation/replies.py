"""What a server's reply says: the first choice's text, its reasoning, why it ended; or what failed.

Servers agree on where the answer stands only nearly: content may be a text or a list of blocks,
reasoning has fields of its own under three names, a refusal too, and some stream though nobody asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from linguamap.records import UserError

LENGTH = (
    "length",
    "max_tokens",
    "model_length",
    "max_output_tokens",
    "model_context_window_exceeded",
)
"""What ended an answer at a limit, in the words of OpenAI, Anthropic, Mistral, Google and Z.AI."""
FILTERED = ("content_filter", "content_filtered", "safety", "recitation", "blocklist",
            "prohibited_content", "spii", "refusal", "sensitive")  # fmt: skip
FAILED = ("abort", "error", "network_error", "insufficient_system_resource")
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Beside the content: vLLM and DeepSeek, newer vLLM and Ollama, others, OpenRouter."""
REASONING_BLOCKS = (
    "thinking",
    "reasoning",
    "reasoning.text",
    "reasoning.summary",
    "redacted_thinking",
)
"""Types of a block of content that is no part of the answer."""
TEXT_FIELDS = ("text", "content", "refusal", "thinking", "reasoning", "summary")
"""Where a block may hold its words."""


@dataclass(frozen=True)
class Reply:
    """What one request brought.

    Attributes:
        text: the answer as the server sent it; a refusal in its own field is one.
        reasoning: the reasoning that the server split off itself, or None.
        finish: why the model stopped.
        n_tokens: generated tokens as the server counts them; 0 if it does not say.
        by_stop_string: whether a stop string ended the answer; None if the server does not say.
        fault: why this is no answer (filtered, a tool was called), or None.
    """

    text: str
    reasoning: str | None
    finish: Literal["stop", "length"]
    n_tokens: int
    by_stop_string: bool | None
    fault: str | None = None


def read_completion(reply: Any) -> Reply:
    """The first choice of a ``/completions`` reply.

    Raises:
        ValueError: it holds no such choice.
    """
    choice = _first_choice(reply)
    if "text" not in choice:
        raise ValueError("its first choice has no text")
    text, reasoning = _split(choice["text"])
    return _reply(reply, choice, text, reasoning, None)


def read_chat(reply: Any) -> Reply:
    """The first choice of a ``/chat/completions`` reply, reasoning apart where the server splits it.

    Raises:
        ValueError: it holds no such choice.
    """
    choice = _first_choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ValueError("its first choice has no message")
    text, reasoning = _split(message.get("content"))
    named = (_words(message.get(name)) for name in REASONING_FIELDS)
    reasoning = next((words for words in named if words.strip()), reasoning)
    text = text or _words(message.get("refusal"))
    calls = message.get("tool_calls") or message.get("function_call")
    fault = "the model called a tool instead of answering" if calls and not text.strip() else None
    return _reply(reply, choice, text, reasoning, fault)


def _first_choice(reply: Any) -> dict[str, Any]:
    if isinstance(reply, list):
        return _joined(reply)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("it has no choices")
    return choices[0]


def _joined(events: list[Any]) -> dict[str, Any]:
    """The choice that a stream of events spells out, piece by piece."""
    choice: dict[str, Any] = {}
    message: dict[str, Any] = {}
    found = False
    for event in events:
        if isinstance(event, dict) and event.get("error"):
            raise ValueError(f"it holds an error: {event['error']}")
        if not isinstance(event, dict) or not event.get("choices"):
            continue  # usage, a sign of life
        piece = _first_choice(event)
        found = True
        delta = piece.get("delta")
        for name, value in (delta if isinstance(delta, dict) else {}).items():
            message[name] = message.get(name, "") + value if isinstance(value, str) else value
        if isinstance(piece.get("text"), str):
            choice["text"] = choice.get("text", "") + piece["text"]
        choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    if not found:
        raise ValueError("its events hold no choices")
    return {"message": message, **choice}


def _split(content: Any) -> tuple[str, str | None]:
    """Text and reasoning of content in any form; what is neither is left out.

    Raises:
        ValueError: it is no text and no list of blocks.
    """
    if content is None:
        return "", None
    if not isinstance(content, (str, list, dict)):
        raise ValueError(f"its text is a {type(content).__name__}")
    blocks = content if isinstance(content, list) else [content]
    thought = [_is_reasoning(block) for block in blocks]
    text = "".join(_words(block) for block, is_thought in zip(blocks, thought) if not is_thought)
    reasoning = "\n".join(_words(block) for block, is_thought in zip(blocks, thought) if is_thought)
    return text, reasoning if any(thought) else None


def _is_reasoning(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in REASONING_BLOCKS


def _words(value: Any) -> str:
    """The words of a text, a block, or blocks within blocks; none of anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_words(inner) for inner in value)
    if isinstance(value, dict):
        return next((words for name in TEXT_FIELDS if (words := _words(value.get(name)))), "")
    return ""


def _reply(
    reply: Any, choice: dict[str, Any], text: str, reasoning: str | None, fault: str | None
) -> Reply:
    ended = choice.get("finish_reason")
    finish = ended.lower() if isinstance(ended, str) else "stop"
    if finish in FAILED or (choice.get("error") and not text.strip()):
        raise ValueError(f"the server ended the answer with {choice.get('error') or ended!r}")
    if finish in FILTERED and not text.strip():
        fault = "the server filtered the answer"
    last = reply[-1] if isinstance(reply, list) else reply
    usage = last.get("usage") if isinstance(last, dict) else None
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # vLLM and SGLang name the stop string that was met; an end token is null or a number there.
    told = [choice[name] for name in ("stop_reason", "matched_stop") if name in choice]
    return Reply(
        text=text,
        reasoning=reasoning.strip() if reasoning and reasoning.strip() else None,
        finish="length" if finish in LENGTH else "stop",
        n_tokens=count if type(count) is int and 0 < count < 2**31 else 0,
        by_stop_string=isinstance(told[0], str) if told else None,
        fault=fault,
    )


# How a server says no or fails: as an exception, or inside a reply of success --------------------


Kind = Literal["connect", "timeout", "busy", "status", "garbled"]
LONGEST_NUMBER = 15
"""Digits of a whole number; a longer one counts something that does not exist."""


class Broken(UserError):
    """The server gave no reply that can be used, however often it was asked.

    Attributes:
        kind: what happened, at last.
    """

    def __init__(self, url: str, kind: Kind, what: str, advice: str = "") -> None:
        super().__init__("; ".join(part for part in (f"endpoint: {url} {what}", advice) if part))
        self.kind = kind


class Refused(UserError):
    """The server understood and says no: another try would end the same.

    Attributes:
        status: the HTTP status, 3xx or 4xx.
        detail: the server's words, shortened.
        parameter, code: which of its parameters a refusal names, and how it classes it; or empty.
    """

    def __init__(self, url: str, status: int, detail: str, parameter: str, code: str) -> None:
        super().__init__(f"endpoint: {url} answered {status}: {detail or 'without a reason'}")
        self.status = status
        self.detail = detail
        self.parameter = parameter
        self.code = code


class ErrorInside(ValueError):
    """A reply of status 200 that is an error, as gateways send it whose own server fails."""

    def __init__(self, what: str, busy: bool) -> None:
        super().__init__(what)
        self.busy = busy


def holds_text(reply: dict[str, Any]) -> bool:
    """Whether a reply has an answer beside its error."""
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return bool(content or (isinstance(choice, dict) and choice.get("text")))


def times_in_a_row(tries: int) -> str:
    return f" {tries} times in a row" if tries > 1 else ""


def bounded_json(text: str) -> Any:
    """JSON whose whole numbers are bounded; deeper nesting than Python's is a ``RecursionError``."""
    return json.loads(
        text, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_NUMBER else None
    )


def read_models(reply: Any) -> list[str]:
    listed = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    names = [model.get("id") for model in listed if isinstance(model, dict)]
    return [name for name in names if isinstance(name, str)]


def reason_of(said: Any) -> tuple[str, str, str]:
    """Message, parameter and code of an error reply; its text, unless that is a page."""
    reply = said
    if isinstance(said, str):
        try:
            reply = bounded_json(said)
        except (ValueError, RecursionError):
            return "" if said.lstrip().startswith("<") else said, "", ""
    if isinstance(reply, list) and reply and isinstance(reply[0], dict):
        reply = reply[0]  # Google's form
    if not isinstance(reply, dict):
        return json.dumps(reply), "", ""
    named = (reply[name] for name in ("error", "detail", "message") if reply.get(name))
    error = next(named, reply)
    if isinstance(error, list) and error and isinstance(error[0], dict):
        # FastAPI's form: [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
        place = error[0].get("loc")
        parameter = str(place[-1]) if isinstance(place, list) and place else ""
        return f"{parameter}: {error[0].get('msg')}", parameter, ""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else json.dumps(error), "", ""
    fields = [error.get(name) for name in ("message", "param", "code")]
    about = error.get("metadata")
    if isinstance(about, dict) and isinstance(about.get("raw"), str):
        fields[0] = f"{fields[0]}: {about['raw']}"  # OpenRouter: what the server behind it said
    message, parameter, code = (
        str(field) if isinstance(field, (str, int)) else "" for field in fields
    )
    return message or json.dumps(error), parameter, code
