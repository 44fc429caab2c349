"""Foreign names and sites are refused by the explorer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from linguamap.explore.explorer_page import OwnPageOnly


def status(headers: dict[str, str], path: str = "/", **options: Any) -> int:
    sent: list[dict[str, Any]] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    sent_headers = [(k.encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "path": path, "headers": sent_headers}
    asyncio.run(OwnPageOnly(page, **options)(scope, None, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST:80"])
def test_the_page_itself_is_answered(host: str) -> None:
    assert status({"host": host}) == 200
    assert status({"host": host, "origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:7860"},
        {"host": "127.0.0.1:7860", "origin": "http://evil.example"},
        {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:9999"},
        {"host": "127.0.0.1:7860", "origin": "null"},
    ],
)
def test_other_names_and_sites_are_refused(headers: dict[str, str]) -> None:
    assert status(headers) == 403


def test_on_the_network_any_name_is_the_pages_but_no_other_site() -> None:
    assert status({"host": "box.lan:7860"}, hosts=None) == 200
    assert status({"host": "box.lan:7860", "origin": "http://evil.example"}, hosts=None) == 403


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/upload", "/gradio_api/upload/"])
def test_nothing_can_be_left_on_the_disk(path: str) -> None:
    """The page has no field for files; Gradio's own route would store what any program sends."""
    assert status({"host": "127.0.0.1:7860"}, path) == 403
    assert status({"host": "127.0.0.1:7860"}, "/gradio_api/queue/join") == 200
