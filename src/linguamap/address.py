"""Where an OpenAI-compatible server is, and the key to it: nothing secret in a URL, nothing in a file."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from linguamap.records import UserError

KEY_VARIABLES = ("LINGUAMAP_API_KEY", "OPENAI_API_KEY")


def check_url(url: str) -> str:
    """The server's base URL, fit for messages and files: no credentials, no trailing slash.

    Args:
        url: ``http://localhost:8000`` (``/v1`` is added) or a full base such as
            ``https://host/api/v1``.
    Raises:
        UserError: not an http(s) URL, or one that carries a user name, password, query or fragment,
            which could be a key and would end up in the run folder.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        secret = "@" in url or bool(parts.query or parts.fragment)
    except ValueError:
        raise UserError("endpoint: the URL is malformed; write http://HOST:PORT/v1") from None
    if secret:
        raise UserError(
            "endpoint: the URL holds a user name, password or query; "
            f"give the bare URL, and a key only in the environment variable {KEY_VARIABLES[0]}"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"endpoint: {url!r} is no URL of a server; write http://HOST:PORT/v1")
    name = f"[{host}]" if ":" in host else host
    place = name if port is None else f"{name}:{port}"
    path = parts.path.rstrip("/")
    for address in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(address)
    return f"{parts.scheme}://{place}{path or '/v1'}"


def api_key() -> tuple[str, str] | None:
    """The variable that holds the key and the key, or None without one.

    Raises:
        UserError: the key holds characters that no HTTP header can carry.
    """
    for variable in KEY_VARIABLES:
        if key := os.environ.get(variable, "").strip():
            if not all("!" <= character <= "~" for character in key):
                raise UserError(
                    f"endpoint: {variable} holds blanks or characters outside ASCII; "
                    "set it to the bare key"
                )
            return variable, key
    return None


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
