"""A teacher's answers: only right ones in the right language, asked once, taken up after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_identifier import FakeIdentifier
from fake_server import Answer, FakeServer, Request, chat, completion, fake_server

from linguamap.benchmarks import load_benchmark
from linguamap.config import RunConfig
from linguamap.progress import silent
from linguamap.records import Prompt, UserError
from linguamap.run.files import read_rows
from linguamap.run.settings import load_config
from linguamap.tuning.data.gather import TuningData, gather
from linguamap.tuning.data.teacher import FILE, taught

pytest.importorskip("openai")

RIGHT = "Primero sumo los dos números con cuidado. La respuesta es {gold}."
ENGLISH = "First I add the two numbers with care, as usual. The answer is {gold}."


def by_word(text: str) -> str | None:
    """The language of the answers above."""
    return "en" if "First" in text else "es" if "Primero" in text else None


def _gather(server: FakeServer, out: Path, *settings: str) -> TuningData:
    config = load_config(
        None,
        [
            "languages=[es]", "scenarios=[monolingual, code_mixed]", "tune.examples=8",
            f"tune.teacher={server.url}", "tune.teacher_model=big", "evaluate.concurrency=1",
            *settings,
        ],
    )  # fmt: skip
    identifier = FakeIdentifier(("en", "es"), by_word)
    return gather(
        config,
        lambda: [load_benchmark("sums", ["es"], "train")],
        [load_benchmark("sums", ["es"], "test")],
        lambda: pytest.fail("no model is needed"),
        lambda prompts, questions: taught(prompts, questions, config, identifier, out, silent),
    )


def _golds() -> dict[str, str]:
    return {
        item.question: item.gold[0] for item in load_benchmark("sums", ["es"], "train").items["es"]
    }


def _gold_of(request: Request) -> str:
    asked = request.body["messages"][-1]["content"]
    return next(gold for question, gold in _golds().items() if question in asked)


def _say(text: str) -> Callable[[Request], Answer]:
    return lambda request: chat({"content": text.format(gold=_gold_of(request))})


def test_right_answers_become_references(tmp_path: Path) -> None:
    with fake_server() as server:
        server.offered = ["big"]
        server.behave = _say(RIGHT)
        data = _gather(server, tmp_path)
    assert len(data.prompts) == 8
    for prompt in data.prompts:
        reasoning, closing = prompt.reference
        assert (reasoning.role, closing.role) == ("R", "A")
        assert reasoning.text == " Primero sumo los dos números con cuidado."
        assert closing.text.endswith(f"{prompt.gold[0]}.")
    facts = data.facts["teacher"]
    assert (facts["prompts"], facts["kept"], facts["dropped"]) == (8, 8, {})
    items = {prompt.item_id for prompt in data.prompts}
    assert facts["asked"] == len(items) == len(server.requests)  # once for both scenarios
    body = server.requests[0].body
    assert (body["model"], body["max_tokens"]) == ("big", 1024)
    assert body["messages"][0]["role"] == "system"
    assert "español" in body["messages"][0]["content"]


def test_wrong_ones_are_dropped_by_reason(tmp_path: Path) -> None:
    def behave(request: Request) -> Answer:
        gold = _gold_of(request)
        number = len(server.requests)
        if number == 1:
            return chat({"content": ENGLISH.format(gold=gold)})
        if number == 2:
            return chat({"content": RIGHT.format(gold=int(float(gold)) + 1)})
        if number == 3:
            return chat({"content": RIGHT.format(gold=gold)}, finish="length")
        if number == 4:
            return chat({"content": "Primero no lo sé decir con seguridad."})
        return chat({"content": RIGHT.format(gold=gold)})

    with fake_server() as server:
        server.behave = behave
        data = _gather(server, tmp_path, "scenarios=[monolingual]")
    facts = data.facts["teacher"]
    assert facts["dropped"] == {
        "cut": 1, "no_number": 1, "wrong_answer": 1, "wrong_language": 1,
    }  # fmt: skip
    assert facts["kept"] == len(data.prompts) == 4


def test_nothing_kept_is_an_error_that_says_why(tmp_path: Path) -> None:
    with fake_server() as server:
        server.behave = _say(ENGLISH)
        with pytest.raises(
            UserError, match=r"teacher's answers were dropped: \{'wrong_language': 8"
        ):
            _gather(server, tmp_path)


def test_stored_answers_are_not_asked_for_again(tmp_path: Path) -> None:
    """A call that broke off goes on after its answers, one torn by a kill is asked for again."""

    def fail_late(request: Request) -> Answer:
        if len(server.requests) > 3:
            return Answer({"error": {"message": "no more"}}, status=400)
        return _say(RIGHT)(request)

    with fake_server() as server:
        server.behave = fail_late
        with pytest.raises(UserError, match=r"^teacher: .* answered 400: no more"):
            _gather(server, tmp_path)
        stored = read_rows(tmp_path / FILE)
        assert len(stored) == 3
        with open(tmp_path / FILE, "ab") as file:
            file.write(b'{"key": "torn')
        server.requests.clear()
        server.behave = _say(RIGHT)
        data = _gather(server, tmp_path)
        assert len(server.requests) == data.facts["teacher"]["asked"] - 3
        server.requests.clear()
        again = _gather(server, tmp_path)
        assert server.requests == []
        assert again.prompts == data.prompts
    without_server = _gather_offline(tmp_path, data)
    assert without_server == data.prompts


def _gather_offline(out: Path, data: TuningData) -> list[Prompt]:
    """The same from the file alone, with nobody at the address."""
    gone = FakeServer()
    gone.server_close()
    url = data.facts["teacher"]["url"]
    rows = read_rows(out / FILE)
    assert all("Bearer" not in json.dumps(row) for row in rows)

    class Address:
        pass

    address: Any = Address()
    address.url = url
    return _gather(address, out).prompts


def test_another_teacher_is_asked_anew(tmp_path: Path) -> None:
    with fake_server() as server:
        server.behave = _say(RIGHT)
        _gather(server, tmp_path)
        first = len(server.requests)
        _gather(server, tmp_path, "tune.teacher_model=other")
        assert len(server.requests) == 2 * first


def test_the_key_comes_from_the_environment_and_is_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUAMAP_API_KEY", "sk-very-secret-key")
    with fake_server() as server:
        server.behave = lambda request: chat(
            {"content": f"sk-very-secret-key {RIGHT.format(gold=_gold_of(request))}"}
        )
        data = _gather(server, tmp_path)
        assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret-key"
    assert b"secret" not in (tmp_path / FILE).read_bytes()
    assert "secret" not in json.dumps(data.facts)
    assert not any("secret" in prompt.answer for prompt in data.prompts)


def test_an_answer_of_many_lines_becomes_one(tmp_path: Path) -> None:
    with fake_server() as server:
        server.behave = _say("Primero sumo\nlos dos números.\n\nLa respuesta es {gold}.")
        data = _gather(server, tmp_path)
    assert data.prompts[0].reference[0].text == " Primero sumo los dos números."


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    with fake_server() as server:
        server.behave = lambda request: completion("never asked")
        with pytest.raises(UserError, match="a teacher answers benchmark items"):
            _gather(server, tmp_path, "tune.data=x.jsonl")
        with pytest.raises(UserError, match=r"tune.tasks=false leaves them out"):
            _gather(server, tmp_path, "tune.tasks=false")
        assert server.requests == []
    assert RunConfig().tune.teacher is None
