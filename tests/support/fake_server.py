"""A small HTTP server on loopback that answers as a test tells it to, faults included."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What came: ``path`` without ``/v1``, the JSON body, the headers in lower case."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What goes out.

    Attributes:
        body: bytes as they are, anything else as JSON.
        cut: promise more bytes than are sent, and close.
        trickle: after the headers, one blank at a time for ever, this many seconds apart.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    trickle: float | None = None


def completion(text: str, finish: str = "stop", tokens: int | None = 3, **choice: Any) -> Answer:
    """A good reply of ``/completions``."""
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    return Answer({"choices": [{"text": text, "finish_reason": finish, **choice}]} | usage)


def chat(message: dict[str, Any], finish: str = "stop") -> Answer:
    """A good reply of ``/chat/completions``."""
    return Answer({"choices": [{"message": message, "finish_reason": finish}]})


class FakeServer(ThreadingHTTPServer):
    """Answers ``/models`` with ``offered`` and every other request with ``behave(request)``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave: Callable[[Request], Answer] = lambda request: completion(" ok")
        self.models: Answer | None = None
        self.offered: list[str] = ["tiny"]
        self.requests: list[Request] = []
        self.closing = threading.Event()  # wait on it to be slow without outliving the test

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, request: Request) -> Answer:
        if request.path == "/models":
            return self.models or Answer({"data": [{"id": name} for name in self.offered]})
        self.requests.append(request)
        return self.behave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(Request(self.path.removeprefix("/v1"), body, headers))
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        endless = answer.cut or answer.trickle is not None
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) + (1_000_000 if endless else 0)))
        self.end_headers()
        self.wfile.write(data)
        while answer.trickle is not None and not self.server.closing.wait(answer.trickle):
            self.wfile.write(b" ")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A running server, stopped when the block ends."""
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
