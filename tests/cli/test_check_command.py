"""The command ``check`` on own prompts: a number for continuous integration, answers, layers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import Answer, FakeServer, Request, chat, fake_server
from tiny import save_tiny
from typer.testing import CliRunner, Result

from linguamap.cli.app import app
from linguamap.records import UserError
from linguamap.scoring.stats import wilson
from linguamap.tuning.data.user_texts import read_training_texts

SPANISH = "El gato duerme en la casa de mi hermana y come tres manzanas por la tarde."
ENGLISH = "The cat sleeps in the house of my sister and eats three apples in the evening."
ANSWERS = {
    "uno": SPANISH,
    "dos": ENGLISH,
    "tres": f"{SPANISH} {ENGLISH}",
    "cuatro": f"{SPANISH}\n{SPANISH}",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for variable in ("LINGUAMAP_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    def behave(request: Request) -> Answer:
        return chat({"content": ANSWERS[request.body["messages"][-1]["content"]]})

    with fake_server() as running:
        running.behave = behave
        yield running


def prompts(path: Path, *texts: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_one_object_with_the_share_and_every_answer(server: FakeServer, tmp_path: Path) -> None:
    path = prompts(tmp_path / "p.txt", *ANSWERS)
    done = call(path, "-l", "es", "--model", "tiny", "--endpoint", server.url, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    # One answer is English and one half and half, which is no language: two of four are Spanish.
    assert (found["consistency"]["value"], found["consistency"]["n"]) == (0.5, 4)
    limits = wilson(2, 4)
    assert (found["consistency"]["low"], found["consistency"]["high"]) == (limits.low, limits.high)
    by_id = {one["id"]: one for one in found["answers"]}
    assert [by_id[f"line {n}"]["language_correct"] for n in (1, 2, 3, 4)] == [
        True,
        False,
        False,
        True,
    ]
    assert by_id["line 2"]["answer_language"] == "en"
    assert by_id["line 3"]["drift"] == {"sentence": 2, "language": "en", "text": ENGLISH}
    assert [by_id[f"line {n}"]["line_pass"] for n in (1, 2, 4)] == [True, False, True]
    assert found["n_turned"] == 1
    assert found["overtakes_english"] == {"all": None, "astray": None}


@pytest.mark.parametrize(("bound", "status"), [("0.5", 0), ("0.51", 1)])
def test_the_status_says_whether_the_share_is_reached(
    server: FakeServer, tmp_path: Path, bound: str, status: int
) -> None:
    path = prompts(tmp_path / "p.txt", "uno", "dos")
    common = (path, "-l", "es", "-m", "tiny", "--endpoint", server.url, "--fail-under", bound)
    done = call(*common)
    assert done.exit_code == status, done.output
    assert ("check failed: 50%, wanted 51%" in done.stderr) == bool(status)
    assert json.loads(call(*common, "--json").stdout)["passed"] == (not status)


def test_the_screen_fits_and_names_the_wrong_answers(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prompts(tmp_path / "p.txt", *ANSWERS)
    monkeypatch.setenv("COLUMNS", "80")
    done = call(path, "-l", "es", "-m", "tiny", "--endpoint", server.url)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "in the language 50% (15–85%) of 4 answers" in lines
    assert any(line.startswith("line 2 English The cat sleeps") for line in lines)
    assert any(line.startswith("line 3 English, sentence 2 The cat") for line in lines)
    assert max(map(len, done.stdout.splitlines()[:-4])) <= 80


def test_right_answers_become_training_texts(server: FakeServer, tmp_path: Path) -> None:
    """A teacher's, where a server answers; an answer that turns to another language is none."""
    path, texts = prompts(tmp_path / "p.txt", *ANSWERS), tmp_path / "texts.jsonl"
    done = call(path, "-l", "es", "-m", "tiny", "--endpoint", server.url, "--texts", texts)
    assert "linguamap tune --languages en,es --train-data" in " ".join(done.stdout.split())
    found = read_training_texts(texts)
    assert [one.name for one in found] == ["line 1", "line 4"]
    assert found[0].messages == (
        {"role": "user", "content": "uno"}, {"role": "assistant", "content": SPANISH},
    )  # fmt: skip


def test_a_local_model_shows_its_layers(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m", "llama")
    path = prompts(tmp_path / "p.txt", "¿Dónde duerme el gato?")
    arguments = (path, "-l", "es", "-m", folder, "--set", "evaluate.max_new_tokens=12")
    found = json.loads(call(*arguments, "--json").stdout)
    assert set(found["overtakes_english"]["all"]) <= {"es"}
    assert "In the layers: Spanish" in call(*arguments).stdout


def test_bad_input_asks_no_model(tmp_path: Path) -> None:
    path = prompts(tmp_path / "p.txt", "uno")
    for arguments, words in [
        ((path,), "names no language"),
        ((tmp_path / "q.txt", "-l", "es"), "q.txt"),
        ((path, "-l", "es", "-m", "/no/such/model"), "/no/such/model does not exist"),
    ]:
        done = call(*arguments)
        assert isinstance(done.exception, UserError)
        assert words in str(done.exception)
