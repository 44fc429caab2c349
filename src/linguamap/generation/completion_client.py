"""One OpenAI-compatible server: its URL and key, time-outs, retries, and what went wrong.

What may pass (no connection, a time-out, 429, 5xx, an unreadable reply) is tried again with growing,
jittered waits; what will not pass is one :class:`UserError`. The key is taken from the environment,
sent in one header, and cut out of whatever the server says.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar

from linguamap.generation.address import KEY_VARIABLE, api_key, check_url, is_loopback
from linguamap.records import UserError

try:
    import httpx2
    import tenacity
except ModuleNotFoundError as missing:
    raise UserError(
        f"endpoint: needs the package {missing.name}, which is not installed; "
        "run: pip install 'linguamap[endpoint]'"
    ) from None

T = TypeVar("T")
Kind = Literal["connect", "timeout", "status", "garbled"]

ATTEMPTS: Mapping[Kind, int] = {"connect": 6, "timeout": 3, "status": 6, "garbled": 4}
FIRST_ATTEMPTS: Mapping[Kind, int] = {"connect": 3, "timeout": 1, "status": 1, "garbled": 1}
"""Of the first question to a server: a wrong URL should be told at once."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
CONNECT_SECONDS = 10.0
LONGEST_REPLY_BYTES = 32 * 2**20
SHORTEST_SECRET = 8
"""Shorter keys are placeholders such as EMPTY, and words that an answer may well hold."""


class Fault(Exception):
    """A failure that may pass. ``wait`` is how long the server asks to be left alone, in seconds."""

    def __init__(self, kind: Kind, what: str, advice: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.advice = advice
        self.wait = wait


class Rejected(UserError):
    """The server understood and says no: another try would end the same.

    Attributes:
        status: the HTTP status, 3xx or 4xx.
        detail: the server's words, shortened.
    """

    def __init__(self, url: str, status: int, detail: str) -> None:
        super().__init__(f"endpoint: {url} answered {status}: {detail or 'without a reason'}")
        self.status = status
        self.detail = detail


class Abandoned(Exception):
    """The work was given up while a try was waiting for its turn."""


class Server:
    """A server that is asked with retries, from several threads at once. Close it, or use ``with``."""

    def __init__(self, url: str, timeout: float, concurrency: int) -> None:
        """
        Args:
            url: as in :func:`linguamap.generation.address.check_url`.
            timeout: seconds that one try may take, connection and whole reply.
            concurrency: the largest number of requests at once.
        """
        self.url = check_url(url)
        self.timeout = timeout
        self._connect_seconds = min(timeout, CONNECT_SECONDS)
        self.given_up = threading.Event()
        found = api_key(self.url)
        self._key_variable = found[0] if found else None
        self._key = found[1] if found else ""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            self._client = httpx2.Client(
                headers=headers,
                timeout=httpx2.Timeout(timeout, connect=self._connect_seconds),
                limits=httpx2.Limits(max_connections=concurrency + 1),
                trust_env=not is_loopback(self.url),  # a proxy cannot reach this machine's servers
            )
            httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise UserError(f"endpoint: {self.url} is no valid URL ({error})") from None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.given_up.set()
        self._client.close()

    def models(self) -> list[str]:
        """Names that the server offers; empty if it cannot say.

        Raises:
            UserError: there is no server, or it wants a key.
        """
        try:
            return self._retry(FIRST_ATTEMPTS, "GET", "/models", None, _read_models)
        except Rejected:
            return []
        except Fault as fault:
            if fault.kind in ("connect", "timeout"):
                raise self._final(fault, FIRST_ATTEMPTS) from None
            return []

    def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], T]) -> T:
        """Post ``body`` and read the reply, trying again what may pass.

        Args:
            path: below the base URL, e.g. ``/completions``.
            read: turns the reply's JSON into a value; its ``ValueError`` marks an unreadable reply.
        Raises:
            UserError: the server is gone, too slow, overloaded, sends garbage or wants a key.
            Rejected: the server says no.
            Abandoned: ``given_up`` was set while waiting for another try.
        """
        try:
            return self._retry(ATTEMPTS, "POST", path, body, read)
        except Fault as fault:
            raise self._final(fault, ATTEMPTS) from None

    def hide_key(self, text: str, shortest: int = SHORTEST_SECRET) -> str:
        """``text`` without the key: a server may send back what it was sent."""
        return text.replace(self._key, "[key]") if len(self._key) >= shortest else text

    def _retry(
        self,
        attempts: Mapping[Kind, int],
        method: str,
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], T],
    ) -> T:
        backoff = tenacity.wait_exponential_jitter(
            initial=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS, jitter=FIRST_WAIT_SECONDS
        )
        jitter = tenacity.wait_random(0, FIRST_WAIT_SECONDS)

        def wait(state: tenacity.RetryCallState) -> float:
            asked = _fault(state).wait
            return max(backoff(state), asked + jitter(state) if asked else 0.0)

        def stop(state: tenacity.RetryCallState) -> bool:
            fault = _fault(state)
            too_long = fault.wait > LONGEST_RETRY_AFTER_SECONDS
            return too_long or state.attempt_number >= attempts[fault.kind]

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Fault),
            wait=wait,
            stop=stop,
            sleep=self._sleep,
            reraise=True,
        )
        value: T = retrying(self._once, method, path, body, read)
        return value

    def _sleep(self, seconds: float) -> None:
        if self.given_up.wait(seconds):
            raise Abandoned

    def _once(
        self, method: str, path: str, body: dict[str, Any] | None, read: Callable[[Any], T]
    ) -> T:
        """One try: the value, or a :class:`Fault` that may pass, or a :class:`UserError`."""
        try:
            status, headers, data = self._exchange(method, path, body)
        except httpx2.ConnectTimeout:
            what = f"cannot be reached (no connection within {self._connect_seconds:g} s)"
            raise Fault("connect", what, "is the server running at this address?") from None
        except httpx2.TimeoutException:
            raise Fault(
                "timeout",
                f"gave no whole answer within {self.timeout:g} s",
                "raise evaluate.timeout, or lower evaluate.concurrency or evaluate.max_new_tokens",
            ) from None
        except httpx2.ConnectError as error:
            what = f"cannot be reached ({self._clean(str(error))})"
            raise Fault("connect", what, "is the server running at this address?") from None
        except httpx2.RequestError as error:
            what = f"broke off ({self._clean(str(error)) or type(error).__name__})"
            raise Fault("connect", what, "see the server's log") from None
        if not 200 <= status < 300:
            raise self._refusal(status, headers, data)
        try:
            return read(json.loads(data))
        except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
            shown = self._clean(data[:400].decode("utf-8", "replace"))[:80]
            what = f"sent a reply that cannot be read ({self._clean(str(error))}): {shown!r}"
            raise Fault("garbled", what, "is it an OpenAI-compatible server?") from None

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one reply; all of it must arrive within the time-out."""
        # ASCII escapes carry lone surrogates, which UTF-8 cannot.
        content = None if body is None else json.dumps(body).encode("ascii")
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        with self._client.stream(method, self.url + path, content=content) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the reply trickles in")
                if len(data) > LONGEST_REPLY_BYTES:
                    raise httpx2.DecodingError("the reply does not end")
            return response.status_code, response.headers, bytes(data)

    def _refusal(self, status: int, headers: Mapping[str, str], data: bytes) -> Exception:
        """What an HTTP status other than success means."""
        detail = self._clean(_detail(data))
        if status in (401, 403):
            if self._key_variable is None:
                return UserError(
                    f"endpoint: {self.url} wants a key ({status}); "
                    f"set the environment variable {KEY_VARIABLE}"
                )
            return UserError(
                f"endpoint: {self.url} does not accept the key in {self._key_variable} ({status})"
            )
        if status in (408, 425, 429) or (status >= 500 and status != 501):
            wait = _retry_after(headers.get("Retry-After"))
            what = f"answered {status}" + (f": {detail}" if detail else "")
            if wait > LONGEST_RETRY_AFTER_SECONDS:
                what += f" (and asks to be left alone for {wait:.0f} s)"
            busy = status in (429, 503)
            advice = "lower evaluate.concurrency or wait" if busy else "see the server's log"
            return Fault("status", what, advice, wait)
        return Rejected(self.url, status, detail)

    def _final(self, fault: Fault, attempts: Mapping[Kind, int]) -> UserError:
        times = 1 if fault.wait > LONGEST_RETRY_AFTER_SECONDS else attempts[fault.kind]
        tries = f" {times} times in a row" if times > 1 else ""
        return UserError(f"endpoint: {self.url} {fault.what}{tries}; {fault.advice}")

    def _clean(self, text: str) -> str:
        """A server's words, fit for one line of a terminal: no key, no control characters."""
        shown = "".join(c if c.isprintable() else " " for c in self.hide_key(text, shortest=1))
        return " ".join(shown.split())[:300]


def _fault(state: tenacity.RetryCallState) -> Fault:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Fault)  # tenacity is told to retry nothing else
    return error


def _read_models(reply: Any) -> list[str]:
    listed = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    return [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _detail(data: bytes) -> str:
    """The reason in an error reply: a known JSON field, else the text, unless it is a page."""
    text = data[:20_000].decode("utf-8", "replace")
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text
    if not isinstance(reply, dict):
        return text
    for name in ("error", "detail", "message"):
        if value := reply.get(name):
            inner = value.get("message") if isinstance(value, dict) else value
            return inner if isinstance(inner, str) else json.dumps(value)
    return text


def _retry_after(value: str | None) -> float:
    """Seconds to wait, from a number of seconds or an HTTP date; 0 if it says neither."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
