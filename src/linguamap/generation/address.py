"""Where an OpenAI-compatible server is, and the key to it: nothing secret in a URL, nothing in a file."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from linguamap.records import UserError

KEY_VARIABLE = "LINGUAMAP_API_KEY"
OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"
"""The only host that the key in OPENAI_API_KEY goes to: many users have one set for other programs."""


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
            f"give the bare URL, and a key only in the environment variable {KEY_VARIABLE}"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"endpoint: {url!r} is no URL of a server; write http://HOST:PORT/v1")
    name = f"[{host}]" if ":" in host else host
    place = name if port is None else f"{name}:{port}"
    path = parts.path.rstrip("/")
    for address in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(address)
    return f"{parts.scheme}://{place}{path or '/v1'}"


def api_key(url: str) -> tuple[str, str] | None:
    """The variable that holds the key for a server and the key, or None without one.

    Args:
        url: where the key will go. OPENAI_API_KEY is read for https://api.openai.com only, and there
            after LINGUAMAP_API_KEY.
    Raises:
        UserError: the key holds characters that no HTTP header can carry.
    """
    parts = urlsplit(url)
    to_openai = (parts.scheme, parts.hostname, parts.port or 443) == ("https", OPENAI_HOST, 443)
    for variable in (KEY_VARIABLE, OPENAI_KEY_VARIABLE) if to_openai else (KEY_VARIABLE,):
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
