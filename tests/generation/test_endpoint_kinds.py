"""What real servers answer besides the plain case: refused prompts and settings, other forms of a reply."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_server import Answer, FakeServer, Request, chat, completion, fake_server

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation import endpoint
from linguamap.generation import server as server_module
from linguamap.generation.endpoint import answer_over_endpoint
from linguamap.records import Completion, Part, Prompt, UserError
from linguamap.run.files import read_json

BASE = ModelConfig(name="tiny", chat="no")
CHAT = ModelConfig(name="tiny", chat="yes")
KEY = "sk-another-secret-98765"


def prompts(n: int) -> list[Prompt]:
    parts = [(Part("Q", f"Q{i}?\n"), Part("I", "A:")) for i in range(n)]
    return [
        Prompt(str(i), "sums", "sums", "en", "monolingual", part, ("1",))
        for i, part in enumerate(parts)
    ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for variable in ("LINGUAMAP_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)
    monkeypatch.setattr(server_module, "GARBLED_SECONDS", 0.01)
    with fake_server() as running:
        yield running


class Call:
    """One call of :func:`answer_over_endpoint`, and all that it handed on."""

    def __init__(self) -> None:
        self.saved: list[Completion] = []
        self.told: list[str] = []

    def ask(
        self,
        url: str,
        asked: list[Prompt],
        model: ModelConfig = BASE,
        record: Path | None = None,
        **settings: Any,
    ) -> list[Completion]:
        answer_over_endpoint(
            asked,
            EvaluateConfig(endpoint=url, **{"concurrency": 1, "timeout": 5, **settings}),
            model,
            done=frozenset(one.prompt_id for one in self.saved),
            save=self.saved.extend,
            record=record,
            progress=lambda label, done, total, note="": None if label else self.told.append(note),
        )
        return self.saved

    def by_item(self) -> dict[str, Completion]:
        return {one.prompt_id.rpartition("/")[2]: one for one in self.saved}


def refusing(word: str, refusal: Answer) -> Callable[[Request], Answer]:
    """A server that refuses every prompt with a word in it, and answers the rest."""
    return lambda request: refusal if word in json.dumps(request.body) else completion(" 42")


def error(message: str, status: int = 400, **more: Any) -> Answer:
    return Answer({"error": {"message": message, **more}}, status)


# Refused prompts -------------------------------------------------------------------------------

REFUSALS = [
    error("filtered by the content management policy", code="content_filter", param="prompt"),
    error("This model's maximum context length is 64 tokens. However, you requested 93 tokens (21 in "
          "the messages, 72 in the completion). Please reduce the length.", param="max_tokens"),
    error("'max_tokens' is too large: 72. This model's maximum context length is 64 tokens."),
    error("the request exceeds the available context size", 400, type="exceed_context_size_error"),
    Answer(b"Request Entity Too Large", 413),
    error("your input was flagged; how to 'stop' a seed is not allowed", 403),
    Answer({"detail": [{"loc": ["body", "messages"], "msg": "Value error"}]}, 422),
    error("model runner has unexpectedly stopped", 500),
    error("Context size has been exceeded.", 500, type="server_error"),
    Answer(b"", cut=True),  # it broke down and was started again
    error("inputs tokens + max_new_tokens must be <= 4096. Given: 4090 and 72", 422),
    Answer({"choices": [], "promptFeedback": {"blockReason": "OTHER"}}),
    Answer({"error": {"message": "Provider returned error", "code": 400}}),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("place", [0, 2, 5])
def test_one_refused_prompt_is_one_answer_with_an_error(
    server: FakeServer, refusal: Answer, place: int
) -> None:
    """Wherever it stands: another prompt is answered afterwards, or else the control question."""
    server.behave = refusing(f"Q{place}?", refusal)
    call = Call()
    call.ask(server.url, prompts(6))
    found = call.by_item()
    assert len(found) == len(call.saved) == 6
    assert {item for item, one in found.items() if one.finish == "error"} == {str(place)}
    assert found[str(place)].answer == ""
    assert found[str(place)].error
    n_requests = len(server.requests)
    call.ask(server.url, prompts(6))
    assert len(server.requests) == n_requests  # nothing is asked, or paid, twice


def test_the_words_of_the_refusal_are_kept(server: FakeServer) -> None:
    server.behave = refusing("Q1?", error("flagged\x1b[31m\nas spam"))
    call = Call()
    call.ask(server.url, prompts(3))
    assert call.by_item()["1"].error == "the server refused the prompt: flagged [31m as spam"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_refuses_every_prompt_ends_the_call_and_nothing_is_saved(
    server: FakeServer, refusal: Answer
) -> None:
    server.behave = refusing("?", refusal)  # the control question has no question mark
    call = Call()
    with pytest.raises(UserError):
        call.ask(server.url, prompts(4))
    server.behave = lambda request: refusal
    with pytest.raises(UserError):
        call.ask(server.url, prompts(4))
    assert call.saved == []


@pytest.mark.parametrize("status", [400, 402, 403, 404])
def test_a_server_that_begins_to_refuse_everything_loses_no_prompt(
    server: FakeServer, status: int
) -> None:
    """As where the credit ends: what it refuses from there on is asked again later."""
    server.behave = lambda request: (
        completion("1")
        if len(server.requests) <= 5
        else error("Your credit balance is too low", status)
    )
    call = Call()
    with pytest.raises(UserError):
        call.ask(server.url, prompts(40), concurrency=3)
    assert len(call.saved) == 5
    assert {one.finish for one in call.saved} == {"stop"}
    server.behave = lambda request: completion("2")
    assert len(call.ask(server.url, prompts(40))) == 40


def test_a_prompt_on_which_the_server_failed_once_is_asked_again(server: FakeServer) -> None:
    failing = iter([error("bad gateway", 502)] * 6)
    server.behave = lambda request: (
        next(failing, completion("late"))
        if request.body["prompt"].startswith("Q1")
        else completion("1")
    )
    call = Call()
    call.ask(server.url, prompts(3))
    assert [one.answer for one in call.saved] == ["1", "1", "late"]


# Refused settings ------------------------------------------------------------------------------

SETTINGS = [
    ("max_tokens", "max_completion_tokens",
     error("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
           "'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter")),
    ("max_tokens", "max_completion_tokens", error("max_tokens is deprecated", param="max_tokens")),
    ("temperature", None,
     error("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
           "value is supported.", param="temperature", code="unsupported_value")),
    ("temperature", None,
     Answer({"error": "Input validation error: `temperature` must be strictly positive"}, 422)),
    ("stop", None, error("Unsupported parameter: 'stop' is not supported with this model.")),
    ("seed", None, error("Unrecognized request argument supplied: seed")),
    ("seed", None, Answer({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                                       "msg": "Extra inputs are not permitted"}]}, 422)),
    ("seed", "random_seed", error("seed is not supported. Use random_seed instead.")),
    ("seed", None, error('Invalid JSON payload received. Unknown name "seed": Cannot find field.')),
    ("stop", None, error("property 'stop' is unsupported")),
    ("seed", None, Answer([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown "
                                      'name "seed": Cannot find field.'}}], 400)),
    ("temperature", None, error("ValidationException: `temperature` is deprecated for this model.")),
    ("seed", None, error("Unsupported param: seed", 500, type="server_error")),
    ("chat_template_kwargs", None, error("chat_template_kwargs: extra fields are not permitted")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "instead", "refusal"), SETTINGS)
def test_a_refused_setting_is_renamed_or_left_out_for_the_run(
    server: FakeServer, tmp_path: Path, name: str, instead: str | None, refusal: Answer
) -> None:
    server.behave = lambda request: refusal if name in request.body else chat({"content": "1"})
    model = ModelConfig(name="tiny", chat="yes", thinking="no")
    call, record = Call(), tmp_path / "endpoint.json"
    call.ask(server.url, prompts(4), model, record, concurrency=4, stop=["#"])
    assert [one.answer for one in call.saved] == ["1"] * 4
    (sentence,) = call.told
    assert f"does not take {name}" in sentence
    assert read_json(record)["parameters"] == {name: instead}
    assert all((instead in request.body) for request in server.requests[-1:] if instead)
    server.requests.clear()
    call.ask(server.url, prompts(6), model, record, concurrency=1, stop=["#"])
    assert len(server.requests) == 2  # a resumed run asks as the first one did
    assert len(call.told) == 1


def test_a_server_that_takes_no_setting_at_all_is_asked_without_them(server: FakeServer) -> None:
    def behave(request: Request) -> Answer:
        for name in ("max_completion_tokens", "max_tokens", "temperature", "seed", "stop"):
            if name in request.body:
                return error(f"Unsupported parameter: '{name}'", param=name)
        return completion(" 42\nQ: more")

    server.behave = behave
    call = Call()
    call.ask(server.url, prompts(1))
    assert call.saved[0].answer == "42"  # the stop string is cut here
    assert set(server.requests[-1].body) == {"model", "prompt"}


def test_a_server_that_moved_takes_a_setting_under_its_usual_name_again(
    server: FakeServer, tmp_path: Path
) -> None:
    """What was left out stays out: all answers of a run are asked for alike."""
    names = {"max_tokens": "max_tokens is not supported", "seed": "unknown parameter: seed"}
    server.behave = lambda request: next(
        (error(said) for name, said in names.items() if name in request.body), completion("1")
    )
    call, record = Call(), tmp_path / "endpoint.json"
    call.ask(server.url, prompts(2), BASE, record)
    with fake_server() as other:
        call.ask(other.url, prompts(3), BASE, record)
        body = other.requests[0].body
    assert "max_tokens" in body
    assert "max_completion_tokens" not in body
    assert "seed" not in body


def test_a_server_that_moved_must_offer_the_same_model(server: FakeServer, tmp_path: Path) -> None:
    server.offered = ["qwen"]
    call, record = Call(), tmp_path / "endpoint.json"
    call.ask(server.url, prompts(2), BASE, record)
    with fake_server() as other:
        other.offered = ["gemma"]
        with pytest.raises(UserError, match=r"of the model 'qwen'.*offers: gemma.*another --out"):
            call.ask(other.url, prompts(3), BASE, record)
        other.offered = ["gemma", "qwen"]
        call.ask(other.url, prompts(3), BASE, record)
        assert [request.body["model"] for request in other.requests] == ["qwen"]


def test_a_call_without_an_answer_leaves_no_record(server: FakeServer, tmp_path: Path) -> None:
    """A run that never got an answer may be started with other settings."""
    server.behave = lambda request: error("no", 404)
    with pytest.raises(UserError):
        Call().ask(server.url, prompts(2), BASE, tmp_path / "endpoint.json")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_record_is_named(server: FakeServer, tmp_path: Path) -> None:
    record = tmp_path / "endpoint.json"
    record.write_text('{"chat": [], "parameters": 5}', encoding="utf-8")
    with pytest.raises(UserError, match=r"endpoint.json is broken; delete it"):
        Call().ask(server.url, prompts(1), BASE, record)


# Forms of a reply ------------------------------------------------------------------------------

THINKING_BLOCK = {"type": "thinking", "thinking": [{"type": "text", "text": "6x7"}]}


@pytest.mark.parametrize(
    ("message", "thinking", "answer"),
    [
        ({"content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]}, None, "42"),
        ({"content": [THINKING_BLOCK, {"type": "text", "text": "42"}]}, "6x7", "42"),
        ({"content": [{"type": "thinking", "thinking": "6x7"}, {"text": "42"}]}, "6x7", "42"),
        ({"content": [{"type": "redacted_thinking", "data": "x"}, "42"]}, None, "42"),
        ({"content": {"type": "text", "text": "42"}}, None, "42"),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}, None, 5]}, None, ""),
        ({"content": "42", "reasoning": [{"type": "text", "text": "6x7"}]}, "6x7", "42"),
        ({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "6x7"}]}, "6x7", ""),
        ({"content": "42", "reasoning": None, "reasoning_content": ""}, None, "42"),
        ({"content": None, "refusal": "I can't help with that."}, None, "I can't help with that."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, None, "No."),
        ({"role": "assistant"}, None, ""),
        ({"content": "half an emoji \ud83d"}, None, "half an emoji \ufffd"),
        ({"content": "a\x00b", "reasoning": "\udc00"}, "\ufffd", "a\ufffdb"),
    ],
)  # fmt: skip
def test_an_answer_is_read_wherever_it_stands(
    server: FakeServer, message: dict[str, Any], thinking: str | None, answer: str
) -> None:
    server.behave = lambda request: chat(message)
    (one,) = Call().ask(server.url, prompts(1), CHAT)
    assert (one.thinking, one.answer, one.finish) == (thinking, answer, "stop")


@pytest.mark.parametrize(
    ("message", "finish", "error"),
    [
        ({"content": None, "tool_calls": [{"function": {"name": "calc"}}]}, "tool_calls", "tool"),
        ({"content": "", "function_call": {"name": "calc"}}, "function_call", "called a tool"),
        ({"content": None}, "content_filter", "filtered"),
        ({"content": ""}, "SAFETY", "filtered"),
    ],
)
def test_what_is_no_answer_is_named(
    server: FakeServer, message: dict[str, Any], finish: str, error: str
) -> None:
    server.behave = lambda request: chat(message, finish)
    (one,) = Call().ask(server.url, prompts(1), CHAT)
    assert one.finish == "error"
    assert error in str(one.error)


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_an_answer_that_a_limit_ended_says_so(server: FakeServer, finish: str) -> None:
    server.behave = lambda request: chat({"content": "It is"}, finish)
    assert Call().ask(server.url, prompts(1), CHAT)[0].finish == "length"


@pytest.mark.parametrize("path", ["chat", "text"])
def test_a_stream_that_nobody_asked_for_is_read(server: FakeServer, path: str) -> None:
    def piece(text: str, **more: Any) -> dict[str, Any]:
        said = {"delta": {"content": text}} if path == "chat" else {"text": text}
        return {"choices": [{"index": 0, **said, **more}]}

    events = [piece(" 4"), piece("2", finish_reason="length"), {"choices": [], "usage": {}}]
    lines = [
        ": a sign of life",
        *(f"data: {json.dumps(event)}" for event in events),
        "data: [DONE]",
    ]
    server.behave = lambda request: Answer("\n\n".join(lines).encode())
    (one,) = Call().ask(server.url, prompts(1), CHAT if path == "chat" else BASE)
    assert (one.answer, one.finish) == ("42", "length")


@pytest.mark.parametrize("count", [10**400, 10**30, -5, True, "7", 2.5, None, [1]])
def test_a_count_of_tokens_that_is_none_is_not_counted(server: FakeServer, count: Any) -> None:
    reply = {"choices": [{"text": "42"}], "usage": {"completion_tokens": count}}
    server.behave = lambda request: Answer(reply)
    (one,) = Call().ask(server.url, prompts(1))
    assert (one.answer, one.n_tokens) == ("42", 0)


def test_a_number_of_5000_digits_is_read_over(server: FakeServer) -> None:
    digits = b"9" * 5000
    body = b'{"choices": [{"text": "42"}], "usage": {"completion_tokens": ' + digits + b"}}"
    server.behave = lambda request: Answer(body)
    assert Call().ask(server.url, prompts(1))[0].answer == "42"


def test_signs_of_life_before_a_reply_are_read_over(server: FakeServer) -> None:
    reply = json.dumps({"choices": [{"text": "42"}]})
    server.behave = lambda request: Answer(f": PROCESSING\n\n: PROCESSING\n\n{reply}".encode())
    assert Call().ask(server.url, prompts(1))[0].answer == "42"


def test_an_overload_told_in_a_reply_of_status_200_ends_the_call(server: FakeServer) -> None:
    """It passes, so no prompt may be written off for it; the reason of the server behind is told."""
    busy = {
        "choices": [{"message": {"content": None}, "finish_reason": "stop"}],
        "error": {
            "message": "Provider returned error",
            "code": 429,
            "metadata": {"raw": "slow down"},
        },
    }
    server.behave = lambda request: (
        Answer(busy) if len(server.requests) > 2 else chat({"content": "1"})
    )
    call = Call()
    with pytest.raises(UserError, match=r"returned error: slow down.*lower evaluate.concurrency"):
        call.ask(server.url, prompts(5), CHAT)
    assert [one.answer for one in call.saved] == ["1", "1"]


@pytest.mark.parametrize(("finish", "saved"), [("end_turn", True), ("network_error", False)])
def test_an_answer_that_broke_off_is_asked_again(
    server: FakeServer, finish: str, saved: bool
) -> None:
    halves = iter([chat({"content": "half"}, finish)])
    server.behave = lambda request: next(halves, chat({"content": "whole"}))
    assert Call().ask(server.url, prompts(1), CHAT)[0].answer == ("half" if saved else "whole")


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_template_that_knows_no_system_role_may_say_so_with_any_status(
    server: FakeServer, status: int
) -> None:
    """llama.cpp fails with 500 where a template raises an exception."""
    said = "Jinja Exception: Only user and assistant roles are supported!"

    def behave(request: Request) -> Answer:
        turns = [turn["role"] for turn in request.body["messages"]]
        return error(said, status) if "system" in turns else chat({"content": "1"})

    server.behave = behave
    asked = [
        Prompt("0", "sums", "sums", "en", "monolingual",
               (Part("P", "Be brief.\n"), Part("Q", "Q?\n"), Part("I", "A:")), ("1",))
    ]  # fmt: skip
    assert Call().ask(server.url, asked, CHAT)[0].answer == "1"
    assert len(server.requests) == 2


def test_a_server_without_a_template_may_say_that_it_was_not_found(server: FakeServer) -> None:
    missing = Answer({"error": "Template error: template not found"}, 422)
    server.behave = lambda r: missing if "messages" in r.body else completion("1")
    call = Call()
    call.ask(server.url, prompts(2), ModelConfig(name="tiny"))
    assert [one.answer for one in call.saved] == ["1", "1"]
    assert len(call.told) == 1


def test_an_answer_of_megabytes_is_cut(server: FakeServer) -> None:
    server.behave = lambda request: chat({"content": "x" * 2_000_000, "reasoning": "y" * 2_000_000})
    (one,) = Call().ask(server.url, prompts(1), CHAT)
    assert len(one.answer) == 20_000
    assert one.thinking is not None
    assert len(one.thinking) == 20_000
    assert one.finish == "length"


# Time and size of an exchange ------------------------------------------------------------------


@contextmanager
def raw_server(first: bytes, again: bytes, seconds: float) -> Iterator[str]:
    """A server that sends some bytes, and then others for ever, so many seconds apart."""
    closing = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                if connection.recv(65536).startswith(b"GET"):
                    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
                    connection.recv(65536)
                connection.sendall(first)
                while not closing.wait(seconds):
                    connection.sendall(again)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        closing.set()


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 O", b"K"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" "),
    ],
)
@pytest.mark.usefixtures("server")
def test_the_time_out_bounds_the_whole_exchange(first: bytes, again: bytes) -> None:
    with (
        raw_server(first, again, 0.02) as url,
        pytest.raises(UserError, match=r"no whole answer within 0.3 s 3 times"),
    ):
        Call().ask(url, prompts(1), timeout=0.3)


@pytest.mark.parametrize(
    ("headers", "again", "said"),
    [
        (b"Transfer-Encoding: chunked", b"10000\r\n" + b" " * 65536 + b"\r\n", "does not end"),
        (b"Content-Encoding: br", b" ", "packed"),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_reply_has_a_largest_size(
    monkeypatch: pytest.MonkeyPatch, headers: bytes, again: bytes, said: str
) -> None:
    monkeypatch.setattr(server_module, "LONGEST_REPLY_BYTES", 1_000_000)
    with (
        raw_server(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n", again, 0) as url,
        pytest.raises(UserError, match=said),
    ):
        Call().ask(url, prompts(1))


# What goes out, and what is shown --------------------------------------------------------------


def test_nothing_set_for_other_programs_goes_out(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}\nX-Mine: {KEY}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    Call().ask(server.url, prompts(1))
    assert KEY not in json.dumps(server.requests[0].headers)
    assert not [name for name in server.requests[0].headers if name.startswith(("x-", "openai"))]


def test_a_key_in_any_case_and_an_escape_in_a_models_name_stay_off_the_screen(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUAMAP_API_KEY", KEY)
    server.offered = [f"\x1b[31mred\u202e {KEY.upper()}", "b\x07"]
    server.behave = lambda request: error(f"no such model, {KEY}", 404)
    with pytest.raises(UserError, match=r"offers: \[31mred \[key\], b; name one") as told:
        Call().ask(server.url, prompts(1))
    assert KEY.lower() not in str(told.value).lower()
    assert str(told.value).isprintable()


def test_a_key_hidden_in_json_escapes_is_found(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUAMAP_API_KEY", KEY)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    server.behave = lambda request: Answer(f'{{"choices": [{{"text": "{escaped}"}}]}}'.encode())
    assert Call().ask(server.url, prompts(1))[0].answer == "[key]"


def test_it_works_inside_a_running_loop(server: FakeServer) -> None:
    """As in a notebook."""
    import asyncio

    async def cell() -> list[Completion]:
        return Call().ask(server.url, prompts(2))

    assert len(asyncio.run(cell())) == 2


def test_refusals_in_a_row_are_tried_on_the_control_question(server: FakeServer) -> None:
    """A benchmark of which one language is filtered: the question is asked now and then."""
    server.behave = refusing("?", error("filtered"))
    call = Call()
    call.saved = [Completion("sums/monolingual/en/0", "1", None, "stop", 1)]
    call.ask(server.url, prompts(40))
    assert len(call.saved) == 40
    control = [r for r in server.requests if "?" not in r.body["prompt"]]
    assert 1 <= len(control) <= 39 // endpoint.MOST_HELD + 1
