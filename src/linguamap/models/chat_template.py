"""Conversations under a model's chat template, rendered apart: limited in time, memory and output."""

from __future__ import annotations

import atexit
import json
import selectors
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from linguamap.models.template_worker import SECONDS
from linguamap.records import UserError

Messages = Sequence[Mapping[str, Any]]

START_SECONDS = 120.0
"""Until a new process has answered an empty job."""
EMPTY_JOB = b'{"template":"","messages":[],"options":{},"most":1}\n'
MOST_CHARACTERS = 1_000_000
"""That a template may write beyond ten times what it was given."""
WAY_OUT = "ask the model in plain text with --set model.chat=no, or mend its chat template"


class TemplateRefusal(UserError):
    """The template itself refuses a conversation, as with a role that it does not know."""


def render_conversation(
    tokenizer: Any, messages: Messages, *, ask: bool = False, **options: Any
) -> str:
    """A conversation as the model reads it.

    Args:
        ask: also write what opens the model's next answer.
        options: further variables of the template, e.g. ``enable_thinking``.
    Raises:
        TemplateRefusal: the template calls ``raise_exception``.
        UserError: it is broken, takes too long, or writes too much.
    """
    job = {
        "template": chat_template(tokenizer),
        "messages": [dict(message) for message in messages],
        "options": {**tokenizer.special_tokens_map, **options, "add_generation_prompt": ask},
    }
    size = sum(len(str(message.get("content"))) for message in messages)
    result = _WORKER.render(job | {"most": MOST_CHARACTERS + 10 * size})
    if "refused" in result:
        raise TemplateRefusal(
            f"model: the chat template refuses the conversation ({result['refused']}); {WAY_OUT}"
        )
    if "text" not in result:
        raise UserError(f"model: the chat template fails ({result['fault']}); {WAY_OUT}")
    return result["text"]


def without_system(messages: Messages) -> list[Mapping[str, Any]]:
    """The same messages for a chat template without a system role: the first user turn takes it in."""
    if messages[0]["role"] != "system":
        return list(messages)
    system, first, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n{first['content']}"}, *rest]


def chat_template(tokenizer: Any) -> str:
    """The template's source.

    Raises:
        UserError: there are several, and none is the default.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError:
        names = tokenizer.chat_template
        raise UserError(
            f"model: the tokenizer has the chat templates {', '.join(names)} and no default; name one "
            f"of them default in its files, or {WAY_OUT}"
        ) from None
    if not isinstance(template, str):
        raise UserError(f"model: the chat template is no text; {WAY_OUT}")
    return template


class _Worker:
    """One process for all templates, started when first needed and again after it had to be ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def render(self, job: Mapping[str, Any]) -> dict[str, str]:
        data = json.dumps(job).encode("ascii") + b"\n"
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = _started()
                self._ask(EMPTY_JOB, START_SECONDS)
            result = self._ask(data, SECONDS)
            if result is not None:
                return result
            self.end()
        return {
            "fault": f"it takes longer than {SECONDS} seconds, or more memory than a text can need"
        }

    def _ask(self, data: bytes, seconds: float) -> dict[str, str] | None:
        """One answer, None if the process ended or took too long."""
        assert self._process is not None
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(data)
            stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "linguamap.models.template_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the parent's
    )


_WORKER = _Worker()
atexit.register(_WORKER.end)
