"""``linguamap run`` on a file of own prompts: asked before and after, trained on answers in the language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import call
from fake_server import Answer, FakeServer, Request, chat, fake_server
from tiny import save_tiny

from linguamap.config import RunConfig
from linguamap.prompts.own_prompts import in_halves
from linguamap.run.files import read_rows

SPANISH = "El gato duerme en la casa de mi hermana y come tres manzanas por la tarde."
ENGLISH = "The cat sleeps in the house of my sister and eats three apples in the evening."
SMALL = [
    flag
    for one in ("evaluate.max_new_tokens=6", "probe.items=4", "probe.bootstrap=20",
                "locate.bootstrap=20", "tune.epochs=1")
    for flag in ("--set", one)
]  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Answers in Spanish, but in English where the prompt ends in 3?"""
    for variable in ("LINGUAMAP_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    def behave(request: Request) -> Answer:
        asked = request.body["messages"][-1]["content"]
        return chat({"content": ENGLISH if asked.endswith("3?") else SPANISH})

    with fake_server() as running:
        running.behave = behave
        yield running


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"¿Pregunta número {n}?\n" for n in range(16)), "utf-8")
    return path


def halves(path: Path) -> tuple[set[str], set[str]]:
    config = RunConfig.model_validate(
        {"languages": ["en", "es"], "data": {"prompts_language": "es"}}
    )
    train, asked = in_halves(path, config)
    return {one.text for one in train}, {one.text for one in asked}


@pytest.mark.slow
def test_own_answers_in_the_language_are_trained_on(
    server: FakeServer, prompts: Path, tmp_path: Path
) -> None:
    model = save_tiny(tmp_path / "m", "llama", max_position_embeddings=2048)
    command = ("run", prompts, "-l", "es", "-m", model, "--endpoint", server.url, *SMALL)
    train, asked = halves(prompts)
    right = {text for text in train if not text.endswith("3?\n")}

    done = call(*command, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[1] == "asks    8 prompts: mine.txt; answers wanted in Spanish"
    assert said[2].startswith("texts   answers of the model itself to the other 8")
    assert f"texts: {len(right)} of 8 answers are in the language from beginning to end" in said
    run = tmp_path / "runs" / "mine"
    assert {row["prompt"] for row in read_rows(run / "before" / "answers.jsonl")} == asked
    facts = json.loads((run / "tuned" / "tuning.json").read_text("utf-8"))["data"]
    assert facts["source"] == ["mine (own answers)"]
    assert (facts["asked"], facts["examples"]) == (8, len(right))
    sample = (run / "tuned" / "sample.txt").read_text("utf-8")
    assert SPANISH in sample
    assert ENGLISH not in sample
    assert "Task accuracy" not in done.stdout  # there is no task
    page = (run / "report.html").read_text("utf-8")
    assert "In which language the answers are" in page
    assert "answers of the model itself in the language asked for, to prompts" in " ".join(
        page.split()
    )
    assert "got the task right" not in page
    assert "has no items in" not in page

    again = call(*command, cwd=tmp_path)
    assert "report" in next(one for one in again.stderr.splitlines() if one.startswith("done"))


@pytest.mark.slow
def test_without_answers_in_the_language_it_says_what_to_do_and_a_teacher_helps(
    server: FakeServer, prompts: Path, tmp_path: Path
) -> None:
    """A random model writes no Spanish; the same command with a teacher goes on."""
    model = save_tiny(tmp_path / "m", "llama", max_position_embeddings=2048)
    command = ("run", prompts, "-l", "es", "-m", model, *SMALL)
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "linguamap: tune: 0 of 8 own answers are in the language asked for from beginning to end, and it "
        "takes 4 at least; start the same command with a teacher (--teacher URL) or texts of yours "
        "(--train-data FILE.jsonl)"
    )
    done = call(*command, "--teacher", server.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "done    before" in done.stderr.splitlines()
    facts = json.loads((tmp_path / "runs/mine/tuned/tuning.json").read_text("utf-8"))["data"]
    assert facts["source"] == ["mine (a teacher)"]
    curves = json.loads((tmp_path / "runs/mine/probe/probe.json").read_text("utf-8"))["lens"]
    assert (curves["n_reference"], curves["n_generated"]) == (4, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["FILE"], "line 1: names no language; add one, or give --language"),
        (["FILE", "-l", "es", "--languages", "en,fr"], "asks for es, which --languages en,fr leaves out"),
        (["FILE", "-l", "es", "--benchmarks", "sums"], "or --benchmarks, not both"),
        (["FOLDER"], "is a folder; a run folder is named with --out"),
        (["-l", "es"], "--language goes with a file of prompts; else give --languages"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    arguments: list[str], words: str, prompts: Path, tmp_path: Path
) -> None:
    named = {"FILE": str(prompts), "FOLDER": str(tmp_path)}
    done = call("run", *(named.get(one, one) for one in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
