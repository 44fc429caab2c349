"""Answers over an OpenAI-compatible server: what is asked, what is read, and every way to fail."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import Answer, FakeServer, Request, chat, completion, fake_server

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation import completion_client
from linguamap.generation import server as server_module
from linguamap.generation.address import api_key, check_url
from linguamap.generation.endpoint import answer_over_endpoint
from linguamap.pipeline import Pipeline
from linguamap.records import Completion, Part, Prompt, UserError
from linguamap.run.files import append_rows, read_json, read_rows, write_rows
from linguamap.run.folder import open_run
from linguamap.run.manifest import write_manifest
from linguamap.run.settings import load_config

BASE = ModelConfig(name="tiny", chat="no")
CHAT = ModelConfig(name="tiny")
KEY = "sk-very-secret-0123456789"


def prompts(n: int) -> list[Prompt]:
    return [
        Prompt(str(i), "sums", "sums", "en", "monolingual", (Part("P", f"Q{i}:"),), ("1",))
        for i in range(n)
    ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A fake server, no key in the environment, and waits of hundredths of a second."""
    for variable in ("LINGUAMAP_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)
    monkeypatch.setattr(server_module, "GARBLED_SECONDS", 0.01)
    with fake_server() as running:
        yield running


@pytest.fixture
def two_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat rendering of P and the rest, independent of the real one's wording."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user"}]
    monkeypatch.setattr(
        completion_client,
        "render_chat",
        lambda prompt: [turns[0], {**turns[1], "content": prompt.text}],
    )


def ask(
    server: FakeServer | str,
    asked: list[Prompt],
    model: ModelConfig = BASE,
    *,
    done: frozenset[str] = frozenset(),
    into: list[Completion] | None = None,
    **settings: Any,
) -> list[Completion]:
    """The completions in the order in which they were saved."""
    url = server if isinstance(server, str) else server.url
    saved: list[Completion] = [] if into is None else into
    config = EvaluateConfig(endpoint=url, **{"concurrency": 4, "timeout": 5, **settings})
    answer_over_endpoint(asked, config, model, seed=7, done=done, save=saved.extend)
    return saved


def failing_first(times: int, fault: Answer) -> Callable[[Request], Answer]:
    """A server that fails so many times and then answers."""
    left = iter([fault] * times)
    return lambda request: next(left, completion(" 42"))


# What is asked, and what comes back ------------------------------------------------------------


def test_a_base_model_is_asked_for_the_continuation_of_the_prompt(server: FakeServer) -> None:
    server.behave = lambda request: completion(" 42\n\nQ:", "length", tokens=9)
    (one,) = ask(server, prompts(1), max_new_tokens=12)
    (request,) = server.requests
    assert request.path == "/completions"
    seed = request.body.pop("seed")
    assert 0 <= seed < 2**31
    assert request.body == {
        "model": "tiny", "prompt": "Q0:", "max_tokens": 12, "temperature": 0.0, "stop": ["\n"],
    }  # fmt: skip
    assert "authorization" not in request.headers
    # The server did not cut at the stop string; the answer ended there all the same.
    assert one == Completion("sums/monolingual/en/0", "42", None, "stop", 9)


@pytest.mark.usefixtures("two_turns")
def test_a_chat_model_is_asked_in_turns(server: FakeServer) -> None:
    server.behave = lambda request: chat({"content": "It is\n42."}, "length")
    (one,) = ask(server, prompts(1), ModelConfig(name="tiny", thinking="no"), temperature=0.5)
    (request,) = server.requests
    assert request.path == "/chat/completions"
    assert [turn["role"] for turn in request.body["messages"]] == ["system", "user"]
    assert request.body["temperature"] == 0.5
    assert request.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "stop" not in request.body
    assert one == Completion("sums/monolingual/en/0", "It is\n42.", None, "length", 0)


@pytest.mark.usefixtures("two_turns")
def test_a_template_without_a_system_role_gets_one_turn(server: FakeServer) -> None:
    def behave(request: Request) -> Answer:
        if len(request.body["messages"]) == 2:
            return Answer({"error": {"message": "System role not supported"}}, 400)
        return chat({"content": request.body["messages"][0]["content"]})

    server.behave = behave
    found = ask(server, prompts(3), CHAT, concurrency=1)
    assert [one.answer for one in found] == [f"Be brief.\nQ{i}:" for i in range(3)]
    assert len(server.requests) == 4  # learned once


@pytest.mark.usefixtures("two_turns")
@pytest.mark.parametrize(
    ("message", "thinking", "answer"),
    [
        ({"content": "42", "reasoning_content": " six times seven "}, "six times seven", "42"),
        ({"content": "42", "reasoning": "6x7"}, "6x7", "42"),
        ({"content": None, "reasoning_content": "still at it"}, "still at it", ""),
        ({"reasoning_content": "still at it"}, "still at it", ""),
        ({"content": "<think>6x7</think> 42", "reasoning_content": None}, "6x7", "42"),
        ({"content": "<think>6x"}, "6x", ""),
        ({"content": None}, None, ""),
    ],
)
def test_reasoning_is_kept_apart(
    server: FakeServer, message: dict[str, Any], thinking: str | None, answer: str
) -> None:
    server.behave = lambda request: chat(message)
    (one,) = ask(server, prompts(1), CHAT)
    assert (one.thinking, one.answer) == (thinking, answer)


def test_a_filtered_answer_is_an_error_and_not_an_answer(server: FakeServer) -> None:
    server.behave = lambda request: completion("", "content_filter")
    (one,) = ask(server, prompts(1), stop=[])
    assert one.finish == "error"
    assert one.error is not None


def test_a_stop_string_before_the_answer_does_not_end_it(server: FakeServer) -> None:
    """Local generation skips leading line ends; a server's stop strings do not."""
    server.behave = lambda request: completion("" if "stop" in request.body else "\n 42\nQ: next")
    assert ask(server, prompts(1))[0].answer == "42"
    assert len(server.requests) == 2
    # vLLM says that the end token came: then there is nothing to ask again.
    server.behave = lambda request: completion("", stop_reason=None)
    assert ask(server, prompts(1))[0].answer == ""
    assert len(server.requests) == 3


def test_concurrency_is_used_and_not_exceeded(server: FakeServer) -> None:
    together = threading.Barrier(4, timeout=5)
    now, most, lock = 0, 0, threading.Lock()

    def behave(request: Request) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()  # goes on only when four requests are here at once
        with lock:
            now -= 1
        return completion(request.body["prompt"])

    server.behave = behave
    asked = prompts(12)
    found = ask(server, asked, concurrency=4)
    assert most == 4
    assert {one.prompt_id: one.answer for one in found} == {p.prompt_id: p.text for p in asked}


def test_one_at_a_time_keeps_the_order_and_reports_progress(server: FakeServer) -> None:
    asked, seen, saved = prompts(5), [], []
    config = EvaluateConfig(endpoint=server.url, concurrency=1)
    answer_over_endpoint(
        asked,
        config,
        BASE,
        done=frozenset({asked[1].prompt_id}),
        save=saved.extend,
        progress=lambda label, done, total, note="": seen.append((label, done, total)),
        label="x",
    )
    assert [one.prompt_id for one in saved] == [asked[i].prompt_id for i in (0, 2, 3, 4)]
    assert [request.body["prompt"] for request in server.requests] == ["Q0:", "Q2:", "Q3:", "Q4:"]
    assert seen[0] == ("x", 1, 5)
    assert seen[-1] == ("x", 5, 5)


def test_seeds_differ_by_prompt_and_not_by_run(server: FakeServer) -> None:
    ask(server, prompts(3), concurrency=1)
    ask(server, prompts(3), concurrency=1, done=frozenset({prompts(1)[0].prompt_id}))
    seeds = [request.body["seed"] for request in server.requests]
    assert len(set(seeds[:3])) == 3
    assert seeds[3:] == seeds[1:3]


def test_nothing_left_to_ask_needs_no_server() -> None:
    done = frozenset(prompt.prompt_id for prompt in prompts(2))
    assert ask("http://127.0.0.1:9", prompts(2), done=done) == []


@pytest.mark.parametrize(
    ("offered", "set_name", "expected"),
    [(["a"], None, "a"), (["a"], "b", "b"), (["a", "b"], None, "tiny"), ([], None, "tiny")],
)
def test_the_models_name(
    server: FakeServer, offered: list[str], set_name: str | None, expected: str
) -> None:
    server.offered = offered
    ask(server, prompts(1), endpoint_model=set_name)
    assert server.requests[0].body["model"] == expected


@pytest.mark.parametrize("fault", [Answer(b"", 404), Answer(b"", 500), Answer(b"<html>")])
def test_a_server_that_cannot_list_its_models_is_asked_all_the_same(
    server: FakeServer, fault: Answer
) -> None:
    server.models = fault
    assert ask(server, prompts(1))[0].answer == "ok"


# What may pass is tried again ------------------------------------------------------------------

GARBAGE = [
    Answer(b""),
    Answer(b"<html>Welcome</html>"),
    Answer(b"\xff\xfe{"),
    Answer(b"[" * 100_000),
    Answer([]),
    Answer({"choices": []}),
    Answer({"choices": [{"text": 5}]}),
    Answer({"choices": ["text"]}),
    Answer({"choices": [{"text": "half", "finish_reason": "abort"}]}),
]


@pytest.mark.parametrize(
    "fault",
    [Answer(b"", status) for status in (408, 429, 500, 502, 503)]
    + [Answer(b'{"choices": [', cut=True), *GARBAGE],
)
def test_a_passing_fault_costs_no_answer(server: FakeServer, fault: Answer) -> None:
    server.behave = failing_first(2, fault)
    assert [one.answer for one in ask(server, prompts(1))] == ["42"]
    assert len(server.requests) == 3


def test_retry_after_is_honoured(server: FakeServer) -> None:
    server.behave = failing_first(1, Answer(b"", 429, {"Retry-After": "0.4"}))
    started = time.monotonic()
    ask(server, prompts(1))
    assert 0.4 <= time.monotonic() - started < 3


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "-5", "Mon, 99 Foo 99999 99:99:99 GMT"])
def test_nonsense_in_retry_after_is_no_reason_to_wait_or_to_stop(
    server: FakeServer, value: str
) -> None:
    server.behave = failing_first(1, Answer(b"", 429, {"Retry-After": value}))
    started = time.monotonic()
    assert ask(server, prompts(1))[0].answer == "42"
    assert time.monotonic() - started < 3


# What will not pass is one line ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message", "tries"),
    [
        (Answer({"error": {"message": "no\x1b[2Jmemory"}}, 500), r"answered 500: no \[2Jmemory 6 t", 12),
        (Answer(b"", 429), r"answered 429 6 times.*concurrency", 6),
        (Answer(b"", 429, {"Retry-After": "3600"}), r"429 and asks to be left alone .Retry-After: 3600", 1),
        (Answer(b"{", cut=True), r"broke off.* 6 times", 12),
        (Answer(b"<html>Hi"), r"cannot be read 3 times in a row.*'<html>Hi'", 6),
        (Answer(b"", 302, {"Location": "http://127.0.0.1:9/"}), r"answered 302", 2),
        (Answer(b"", 402), r"answered 402", 2),
        (Answer(b"", 404), r"/v1/completions answered 404", 2),
    ],
)  # fmt: skip
def test_a_lasting_fault_names_the_url_and_what_happened(
    server: FakeServer, fault: Answer, message: str, tries: int
) -> None:
    """What may be the prompt's own fault is tried on a control question, too."""
    server.behave = lambda request: fault
    saved: list[Completion] = []
    with pytest.raises(UserError, match=message) as error:
        ask(server, prompts(1), into=saved)
    assert saved == []
    assert server.url + "/v1" in str(error.value)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)
    assert len(server.requests) == tries


@pytest.mark.parametrize("slow", ["silent", "trickling"])
def test_a_slow_server_is_left(server: FakeServer, slow: str) -> None:
    def behave(request: Request) -> Answer:
        if slow == "trickling":
            return Answer(b"{", trickle=0.05)
        server.closing.wait(5)
        return completion("late")

    server.behave = behave
    with pytest.raises(UserError, match=r"no whole answer within 0.2 s 3 times.*evaluate.timeout"):
        ask(server, prompts(1), timeout=0.2)


def test_a_refused_connection_asks_whether_the_server_runs(server: FakeServer) -> None:
    with fake_server() as gone:
        url = gone.url
    with pytest.raises(UserError, match=r"cannot be reached .*start the server"):
        ask(url, prompts(1))


def test_a_missing_or_wrong_key_is_named_by_its_variable(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave = lambda request: Answer({"error": "no"}, 401)
    with pytest.raises(UserError, match=r"wants a key \(401\).*LINGUAMAP_API_KEY"):
        ask(server, prompts(1))
    monkeypatch.setenv("LINGUAMAP_API_KEY", KEY)
    with pytest.raises(UserError, match=r"does not accept the key in LINGUAMAP_API_KEY"):
        ask(server, prompts(1))
    assert len(server.requests) == 2


def test_an_unknown_model_gets_the_list_of_known_ones(server: FakeServer) -> None:
    server.offered = ["gemma", "qwen"]
    server.behave = lambda request: Answer({"error": {"message": "no such model"}}, 404)
    hint = r"404: no such model; asked for the model 'tiny'; .*gemma, qwen.*endpoint_model"
    with pytest.raises(UserError, match=hint):
        ask(server, prompts(1))


@pytest.mark.usefixtures("two_turns")
@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_chat_that_fails_where_text_is_completed_says_so(server: FakeServer, status: int) -> None:
    """transformers serve, for one, answers 500 without a word where there is no chat template."""
    refusal = Answer({"message": "no"}, status)
    server.behave = base_model(refusal)
    with pytest.raises(UserError, match=rf"{status}: no.* does complete plain text.*model.chat=no"):
        ask(server, prompts(1), ModelConfig(name="tiny", chat="yes"))
    server.behave = lambda request: refusal
    with pytest.raises(UserError, match=f"{status}: no") as error:
        ask(server, prompts(1), ModelConfig(name="tiny", chat="yes"))
    assert "model.chat" not in str(error.value)


VLLM = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a "
    "chat template if the tokenizer does not define one."
)
TRANSFORMERS = (
    "Cannot use chat template functions because tokenizer.chat_template is not set and no template "
    "argument was passed!"
)


def base_model(refusal: Answer) -> Callable[[Request], Answer]:
    """A server of a model without a chat template."""
    return lambda request: refusal if "messages" in request.body else completion(" 42\nQ")


@pytest.mark.usefixtures("two_turns")
@pytest.mark.parametrize(
    "refusal",
    [
        Answer({"object": "error", "message": VLLM, "code": 400}, 400),
        Answer({"error": {"message": TRANSFORMERS}}, 422),
        Answer({"detail": "The model tiny does not have a chat template."}, 404),
    ],
)
def test_a_model_without_a_chat_template_is_asked_for_completions(
    server: FakeServer, refusal: Answer, tmp_path: Path
) -> None:
    """Decided on the first prompt, alone, and told once."""
    server.behave = base_model(refusal)
    told: list[str] = []
    saved: list[Completion] = []
    answer_over_endpoint(
        prompts(6),
        EvaluateConfig(endpoint=server.url, concurrency=4),
        CHAT,
        save=saved.extend,
        record=tmp_path / "endpoint.json",
        progress=lambda label, done, total, note="": None if label else told.append(note),
    )
    assert [request.path for request in server.requests] == ["/chat/completions"] + [
        "/completions"
    ] * 6
    assert all(request.body["stop"] == ["\n"] for request in server.requests[1:])
    assert {one.answer for one in saved} == {"42"}
    assert len(saved) == 6
    assert read_json(tmp_path / "endpoint.json")["chat"] is False
    (line,) = told
    assert "model.chat=no" in line


@pytest.mark.usefixtures("two_turns")
def test_other_refusals_of_a_chat_are_not_taken_for_a_missing_template(server: FakeServer) -> None:
    for status, words in (
        (400, "chat_template_kwargs: extra fields are not permitted"),
        (400, "Chat template error: conversation roles must alternate"),
        (402, VLLM),
        (400, "the prompt is too long"),
    ):
        server.requests.clear()
        server.behave = base_model(Answer({"message": words}, status))
        with pytest.raises(UserError):
            ask(server, prompts(3), CHAT)
        asked = [r.path for r in server.requests if r.body.get("max_tokens") != 1]
        assert set(asked) == {"/chat/completions"}  # but for the question what the server can do


def test_a_resumed_run_takes_the_same_decision(server: FakeServer, tmp_path: Path) -> None:
    """Its server may have got a chat template in between."""
    settings = [
        "model.name=tiny", "languages=[fr]", "data.benchmarks=[sums]", "scenarios=[monolingual]",
        "evaluate.items=3", f"evaluate.endpoint={server.url}", "evaluate.concurrency=1",
    ]  # fmt: skip
    server.behave = base_model(Answer({"message": VLLM}, 400))
    run = open_run(tmp_path / "run", load_config(None, settings))
    Pipeline(run).before()
    notes = read_json(run.folder / "before" / "endpoint.json")
    assert notes["chat"] is False
    assert write_manifest(run)["model"]["endpoint"] == notes
    rows = read_rows(run.folder / "before" / "answers.jsonl")
    assert len(rows) == 3
    write_rows(run.folder / "before" / "answers.jsonl", rows[:1])
    (run.folder / "stages.json").unlink()
    server.requests.clear()
    server.behave = lambda request: (
        completion(" 7") if "prompt" in request.body else chat({"content": "8"})
    )
    Pipeline(open_run(tmp_path / "run", None)).before()
    assert [request.path for request in server.requests] == ["/completions"] * 2
    words = read_json(run.folder / "before" / "summary.json")["english_words"]
    assert words is None or sorted(words) == ["name", "sha256"]


def test_a_request_of_the_confusion_benchmark_ends_at_the_next_question(server: FakeServer) -> None:
    parts = (Part("I", "Q: "), Part("Q", "Why?\n"), Part("I", "A:"))
    asked = [
        Prompt(str(bare), "mine", "open", "en", "monolingual", parts, (), bare=bare)
        for bare in (True, False)
    ]
    server.behave = lambda request: completion(" One.\nTwo.\nQ: More?")
    found = ask(server, asked, concurrency=1)
    assert [request.body["stop"] for request in server.requests] == [["\nQ:"], ["\n"]]
    assert [one.answer for one in found] == ["One.\nTwo.", "One."]
    ask(server, asked[:1], stop=["\n"])
    assert server.requests[-1].body["stop"] == ["\n"]


def test_what_was_finished_or_under_way_is_saved_before_the_error(server: FakeServer) -> None:
    """Three answers come after the fourth request has failed for good."""
    together = threading.Barrier(4, timeout=5)

    def behave(request: Request) -> Answer:
        together.wait()
        if request.body["prompt"] == "Q3:":
            return Answer({"error": "bad"}, 401)
        time.sleep(0.2)
        return completion("late")

    server.behave = behave
    saved: list[Completion] = []
    with pytest.raises(UserError, match=r"wants a key \(401\)"):
        ask(server, prompts(8), into=saved)
    assert sorted(one.prompt_id[-1] for one in saved) == ["0", "1", "2"]
    assert len(server.requests) == 4
    together.abort()
    server.behave = lambda request: completion("now")
    server.requests.clear()
    ask(server, prompts(8), into=saved, done=frozenset(one.prompt_id for one in saved))
    assert len(server.requests) == 5
    assert len({one.prompt_id for one in saved}) == 8


def test_a_failure_does_not_wait_for_the_waits_of_others(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 60.0)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 60.0)
    seen = threading.Event()

    def behave(request: Request) -> Answer:
        if request.body["prompt"] == "Q0:":
            seen.set()
            return Answer(b"", 500)
        seen.wait(5)
        time.sleep(0.1)
        return Answer(b"", 401)

    server.behave = behave
    started = time.monotonic()
    with pytest.raises(UserError, match="wants a key"):
        ask(server, prompts(2))
    assert time.monotonic() - started < 5


def test_an_interrupted_call_returns_at_once(server: FakeServer) -> None:
    """The requests under way hang; the user's stop does not wait for them."""

    def behave(request: Request) -> Answer:
        if request.body["prompt"] != "Q0:":
            server.closing.wait(20)
        return completion("ok")

    def stop(completions: list[Completion]) -> None:
        raise KeyboardInterrupt

    server.behave = behave
    config = EvaluateConfig(endpoint=server.url, concurrency=4)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        answer_over_endpoint(prompts(4), config, BASE, save=stop)
    assert time.monotonic() - started < 5


# The key stays where it is ---------------------------------------------------------------------


def echoing(request: Request) -> Answer:
    """A server that sends the key back wherever it can."""
    seen = request.headers["authorization"]
    return {
        "Q0:": completion(f"you said {seen}"),
        "Q1:": Answer({"error": {"message": f"bad request by {seen}"}}, 400),
        "Q2:": Answer({"error": f"overload by {seen}"}, 500),
        "Q3:": Answer(f"<html>{seen}".encode()),
        "Q4:": Answer(b"", 401),
    }[request.body["prompt"]]


def test_the_key_is_in_the_header_only(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("LINGUAMAP_API_KEY", f" {KEY}\n")
    server.behave = echoing
    texts = []
    with caplog.at_level(logging.DEBUG):
        found = ask(server, prompts(1))
        for number in range(1, 5):
            with pytest.raises(UserError) as error:
                ask(server, prompts(5)[number : number + 1])
            texts.append("".join(map(repr, (error.value, error.value.__context__))))
    append_rows(tmp_path / "answers.jsonl", [{"answer": one.answer} for one in found])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert found[0].answer == "you said Bearer [key]"
    assert "HTTP Request" in caplog.text  # the HTTP library did log
    for text in (*texts, caplog.text, (tmp_path / "answers.jsonl").read_text()):
        assert KEY not in text


@pytest.mark.parametrize(
    ("url", "keys", "used"),
    [
        ("https://api.openai.com/v1", ("OPENAI_API_KEY",), "OPENAI_API_KEY"),
        ("https://api.openai.com:443/v1", ("OPENAI_API_KEY",), "OPENAI_API_KEY"),
        ("https://api.openai.com/v1", ("OPENAI_API_KEY", "LINGUAMAP_API_KEY"), "LINGUAMAP_API_KEY"),
        ("http://api.openai.com/v1", ("OPENAI_API_KEY",), None),
        ("https://api.openai.com.evil.example/v1", ("OPENAI_API_KEY",), None),
        ("https://openai.com/v1", ("OPENAI_API_KEY",), None),
        ("http://localhost:8000/v1", ("OPENAI_API_KEY",), None),
        ("http://localhost:8000/v1", ("OPENAI_API_KEY", "LINGUAMAP_API_KEY"), "LINGUAMAP_API_KEY"),
    ],
)
def test_the_key_for_openai_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, url: str, keys: tuple[str, ...], used: str | None
) -> None:
    for variable in ("OPENAI_API_KEY", "LINGUAMAP_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    for variable in keys:
        monkeypatch.setenv(variable, f"{KEY}-{variable}")
    assert api_key(url) == (None if used is None else (used, f"{KEY}-{used}"))


def test_another_server_never_sees_the_key_for_openai(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(server, prompts(1))
    assert "authorization" not in server.requests[0].headers


def test_a_key_that_no_header_carries_is_refused_without_showing_it(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUAMAP_API_KEY", "sk-sécret key")
    with pytest.raises(UserError, match="LINGUAMAP_API_KEY holds blanks") as error:
        ask(server, prompts(1))
    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@host:8000/v1",
        "http://hunter2@host/v1",
        "me:hunter2@host:8000",
        "https://host/v1?api_key=hunter2",
        "https://host/v1#hunter2",
    ],
)
def test_a_url_with_a_secret_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UserError, match="environment variable LINGUAMAP_API_KEY") as error:
        ask(url, prompts(1))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://h:x/", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"write http://HOST:PORT/v1"):
        check_url(url)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("https://host/api/v1/", "https://host/api/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_the_base_url(url: str, base: str) -> None:
    assert check_url(url) == base


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "linguamap.generation.server")
    with pytest.raises(UserError, match=r"openai.*pip install 'linguamap\[endpoint\]'"):
        importlib.import_module("linguamap.generation.server")


def test_importing_loads_no_torch() -> None:
    code = "import sys, linguamap.generation.endpoint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
