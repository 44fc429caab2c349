"""One OpenAI-compatible server, over the ``openai`` package: bounded, retried, and kept from the key.

The package repeats what may pass (no connection, 408, 409, 429, 5xx) with growing waits and honours
``Retry-After``. Around it stands what it does not promise: a time for the whole exchange, headers
included, a largest reply, the key to its own server only, and words of a server that are fit to be shown.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from linguamap.generation.address import KEY_VARIABLE, api_key, check_url, is_loopback
from linguamap.generation.replies import (
    Broken,
    ErrorInside,
    Refused,
    bounded_json,
    holds_text,
    read_models,
    reason_of,
    times_in_a_row,
)
from linguamap.records import UserError

try:
    import openai
except ModuleNotFoundError as missing:
    raise UserError(
        f"endpoint: needs the package {missing.name}, which is not installed; "
        "run: pip install 'linguamap[endpoint]'"
    ) from None

T = TypeVar("T")

RETRIES = 5
FIRST_RETRIES = 1
"""Of the first question to a server: a wrong URL should be told at once."""
TRIES = 3
"""For what the package does not repeat: a time-out of the whole exchange, an unreadable reply."""
GARBLED_SECONDS = 1.0
PASSING = (408, 409, 429)
"""Besides 5xx, what the package takes for a refusal that passes."""
CONNECT_SECONDS = 10.0
LONGEST_REPLY_BYTES = 32 * 2**20
SHORTEST_SECRET = 8
"""Shorter keys are placeholders such as EMPTY, and words that an answer may well hold."""
LONGEST_REASON = 20_000
"""Characters of an error that are looked at."""
BUSY = (429, 503)
WAIT = "wait, or lower evaluate.concurrency"
SAYS_WHY = re.compile(r"unsupported param|jinja|chat[ _.]template|\broles?\b", re.IGNORECASE)
"""A server error that is a refusal: llama.cpp fails with 500 where a template raises an exception."""
TRIES_SO_FAR = "linguamap.tries"
"""Where a request notes which try it is; the package says so in a header."""
SENT_HEADERS = {
    "host", "content-type", "content-length", "accept", "accept-encoding", "connection",
    "user-agent", "authorization",
}  # fmt: skip
"""The package would add OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS and facts about this machine."""

UNREADABLE = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, and halves of a character that JSON escapes can name: no UTF-8 holds them."""


class Unusable(openai.OpenAIError):
    """A reply that is too long or packed in a way that could unpack to any length."""


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """The HTTP client under the package: each exchange ends in time, with a bounded reply."""

    def __init__(self, seconds: float, authorization: str | None, **options: Any) -> None:
        super().__init__(follow_redirects=False, **options)
        self.seconds = seconds
        self.authorization = authorization
        self.under_way: set[asyncio.Task[Any] | None] = set()
        self.giving_up = False

    async def send(self, request: Any, **options: Any) -> Any:
        """The whole reply. What is set in the environment for other programs is not sent along.

        Raises:
            TimeoutError: it was not whole in time, whatever it was that came so far.
            Unusable: it has no end, or is packed.
        """
        request.extensions[TRIES_SO_FAR] = (
            int(request.headers.get("x-stainless-retry-count", 0)) + 1
        )
        for name in set(request.headers) - SENT_HEADERS:
            del request.headers[name]
        request.headers.pop("authorization", None)
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        request.headers["Accept-Encoding"] = "identity"
        task = asyncio.current_task()
        self.under_way.add(task)
        try:
            async with asyncio.timeout(self.seconds):
                response = await super().send(request, stream=True, auth=None)
                try:
                    data = await self._read(response)
                finally:
                    await response.aclose()
        finally:
            self.under_way.discard(task)
        if self.giving_up and not response.is_success:
            raise asyncio.CancelledError
        kept = response.headers.get("retry-after")
        headers = {} if kept is None else {"retry-after": kept}
        reason = data[:LONGEST_REASON].decode("utf-8", "replace")
        if response.status_code >= 500 and SAYS_WHY.search(reason):
            headers["x-should-retry"] = "false"  # which the package obeys
        return type(response)(response.status_code, headers=headers, content=data, request=request)

    async def _read(self, response: Any) -> bytes:
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packing not in ("identity", "gzip", "deflate"):
            raise Unusable("its reply is packed though it was asked for plain")
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > LONGEST_REPLY_BYTES:
                raise Unusable("its reply does not end")
        return bytes(data)


class Server:
    """A server that is asked with retries by many tasks at once; use it with ``async with``."""

    def __init__(self, url: str, timeout: float) -> None:
        """
        Args:
            url: as in :func:`linguamap.generation.address.check_url`.
            timeout: seconds that one try may take, connection and whole reply.
        """
        self.url = check_url(url)
        self.timeout = timeout
        found = api_key(self.url)
        self._key_variable = found[0] if found else None
        self._key = found[1] if found else ""
        self._secret = re.compile(re.escape(self._key), re.IGNORECASE) if self._key else None
        try:
            self._http = BoundedClient(
                timeout,
                f"Bearer {self._key}" if self._key else None,
                timeout=openai.Timeout(None, connect=min(timeout, CONNECT_SECONDS)),
                trust_env=not is_loopback(self.url),  # a proxy cannot reach this machine's servers
            )
            self._client = openai.AsyncOpenAI(
                base_url=self.url, api_key=self._key or "none", http_client=self._http
            )
        except (
            ValueError,
            ImportError,
            TypeError,
        ) as error:  # a URL or proxy that httpx cannot use
            raise UserError(
                f"endpoint: {self.url} cannot be used ({self.clean(str(error))})"
            ) from None

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    def give_up(self, tasks: set[asyncio.Task[None]]) -> None:
        """Let requests under way end; end the waits of all others, and repeat nothing from here on."""
        self._http.giving_up = True
        for task in tasks - self._http.under_way:
            task.cancel()

    async def models(self) -> list[str]:
        """Names that the server offers; empty if it cannot say.

        Raises:
            UserError: there is no server, or it wants a key.
        """
        try:
            return await self._repeated("GET", "/models", None, read_models, FIRST_RETRIES)
        except Refused:
            return []
        except Broken as broken:
            if broken.kind in ("connect", "timeout"):
                raise
            return []

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], T]) -> T:
        """Post ``body`` and read the reply, trying again what may pass.

        Args:
            path: below the base URL, e.g. ``/completions``.
            read: turns the reply's JSON into a value; its ``ValueError`` marks an unreadable reply.
        Raises:
            Broken: the server is gone, too slow, overloaded or sends what cannot be read.
            Refused: the server says no.
            UserError: it wants a key, or another one.
        """
        return await self._repeated("POST", path, body, read, RETRIES)

    async def _repeated(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], T],
        retries: int,
    ) -> T:
        tries = TRIES if retries == RETRIES else 1
        for attempt in range(1, tries + 1):
            try:
                text = await self._once(method, path, body, retries)
                return read(self._parsed(path, text))
            except TimeoutError:
                fault = self._too_slow(attempt)
            except (Unusable, ValueError, RecursionError) as error:
                fault = self._garbled(error, "" if isinstance(error, Unusable) else text, attempt)
                await asyncio.sleep(attempt * GARBLED_SECONDS if attempt < tries else 0)
        raise fault

    async def _once(
        self, method: Literal["GET", "POST"], path: str, body: dict[str, Any] | None, retries: int
    ) -> str:
        client = self._client.with_options(max_retries=retries)
        try:
            if method == "GET":
                return await client.get(path, cast_to=str)
            # ASCII escapes carry lone surrogates, which UTF-8 cannot.
            content = json.dumps(body).encode("ascii")
            options: openai.RequestOptions = {"headers": {"Content-Type": "application/json"}}
            return await client.post(path, cast_to=str, content=content, options=options)
        except openai.APIStatusError as error:
            raise self._status(path, error) from None
        except openai.APIConnectionError as error:
            raise self._unconnected(error) from None

    def _parsed(self, path: str, text: str) -> Any:
        """A reply's JSON, or the events of a server that streams unasked; every string is scrubbed."""
        text = text.removeprefix("\ufeff").lstrip()
        lines = [line for line in text.split("\n") if not line.startswith(":")]  # signs of life
        events = [line[5:].strip() for line in lines if line.startswith("data:")]
        value: Any = [bounded_json(event) for event in events if event != "[DONE]"]
        if not events:
            value = bounded_json("\n".join(lines))
        reply = self._scrubbed(value)
        if isinstance(reply, dict) and reply.get("error") and not holds_text(reply):
            detail, parameter, code = reason_of(reply)
            status = int(code) if code.isdigit() else 0
            if 400 <= status < 500 and status not in PASSING:
                raise Refused(self.url + path, status, self.clean(detail), parameter, code)
            raise ErrorInside(f"it holds an error: {detail}", busy=status in BUSY)
        return reply

    def _scrubbed(self, value: Any) -> Any:
        """A value without the key, and without characters that no file can hold."""
        if isinstance(value, str):
            value = UNREADABLE.sub("\ufffd", value)
            return self._without_key(value) if len(self._key) >= SHORTEST_SECRET else value
        if isinstance(value, list):
            return [self._scrubbed(inner) for inner in value]
        if isinstance(value, dict):
            return {self._scrubbed(name): self._scrubbed(inner) for name, inner in value.items()}
        return value

    def _without_key(self, text: str) -> str:
        return self._secret.sub("[key]", text) if self._secret else text

    def clean(self, text: str, longest: int = 300) -> str:
        """A server's words, fit for one line of a terminal: no key, no control characters."""
        shown = "".join(c if c.isprintable() else " " for c in self._without_key(text))
        return " ".join(shown.split())[:longest]

    # What went wrong ---------------------------------------------------------------------------

    def _status(self, path: str, error: openai.APIStatusError) -> Exception:
        """What an HTTP status other than success means."""
        status = error.status_code
        detail, parameter, code = reason_of(error.response.text[:LONGEST_REASON])
        detail = self.clean(detail)
        if status == 401:
            return self.key_fault(status)
        if status in PASSING or (status >= 500 and not SAYS_WHY.search(detail)):
            busy = status in BUSY
            wait = self.clean(error.response.headers.get("retry-after", ""), 40)
            times = times_in_a_row(error.request.extensions.get(TRIES_SO_FAR, 1))
            what = f"answered {status}" + (f": {detail}" if detail else "") + times
            if wait and not times:  # longer than the package waits for
                what += f" and asks to be left alone (Retry-After: {wait})"
            return Broken(self.url + path, "busy" if busy else "status", what, WAIT if busy else "")
        return Refused(self.url + path, status, detail, parameter, code)

    def key_fault(self, status: int) -> UserError:
        """The server does not let this key, or nobody without one, ask."""
        if self._key_variable is None:
            return UserError(
                f"endpoint: {self.url} wants a key ({status}); "
                f"set the environment variable {KEY_VARIABLE}"
            )
        return UserError(
            f"endpoint: {self.url} does not accept the key in {self._key_variable} ({status})"
        )

    def _unconnected(self, error: openai.APIConnectionError) -> Broken:
        cause = error.__cause__
        times = times_in_a_row(error.request.extensions.get(TRIES_SO_FAR, 1))
        said = self.clean(str(cause)) or type(cause).__name__
        start = "start the server, or give the address where it runs"
        if isinstance(error, openai.APITimeoutError):
            what = f"cannot be reached (no connection within {CONNECT_SECONDS:g} s){times}"
            return Broken(self.url, "connect", what, start)
        if type(cause).__name__ == "ConnectError":
            return Broken(self.url, "connect", f"cannot be reached ({said}){times}", start)
        # Some servers end on a prompt that is too long for them, and are started again.
        return Broken(self.url, "status", f"broke off ({said}){times}")

    def _too_slow(self, tries: int) -> Broken:
        return Broken(
            self.url,
            "timeout",
            f"gave no whole answer within {self.timeout:g} s{times_in_a_row(tries)}",
            "raise evaluate.timeout, or lower evaluate.concurrency or evaluate.max_new_tokens",
        )

    def _garbled(self, error: Exception, text: str, tries: int) -> Broken:
        shown = f": {self.clean(text[:400], 80)!r}" if text else ""
        what = f"sent a reply that cannot be read{times_in_a_row(tries)} ({self.clean(str(error))}){shown}"
        busy = isinstance(error, ErrorInside) and error.busy
        return Broken(self.url, "busy" if busy else "garbled", what, WAIT if busy else "")
