"""How a server says no or fails: as an exception, or inside a reply of success."""

from __future__ import annotations

import json
from typing import Any, Literal

from linguamap.records import UserError

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
