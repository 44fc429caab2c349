"""The explorer answers for its own address and its own page alone.

A site that a user visits could otherwise reach the page through a name of its own that points at this
machine (DNS rebinding), or send forms to it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class OwnPageOnly:
    """ASGI middleware that refuses foreign ``Host`` and ``Origin`` headers with status 403.

    Args:
        hosts: names that the page goes by; None takes any, for a page that others on the network may use,
            since their names for this machine are not known. A foreign origin is refused all the same.
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None = LOOPBACK) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._is_own(dict(scope["headers"])):
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"not this page's address"})
            return
        await self.app(scope, receive, send)

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1").casefold()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        origin = headers.get(b"origin")
        if self.hosts is not None and name not in self.hosts:
            return False
        return origin is None or urlsplit(origin.decode("latin-1").casefold()).netloc == host
