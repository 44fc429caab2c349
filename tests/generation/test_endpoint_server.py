"""The same answers from a real server process, ``transformers serve``, as from local generation."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import save_tiny

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.endpoint import answer_over_endpoint
from linguamap.generation.local import generate
from linguamap.models.loading import load_model
from linguamap.records import Completion, Part, Prompt

TEXTS = [
    "Question: Which planet is the largest?\nAnswer:",
    "Pregunta: ¿Cuál es la capital de Francia?\nRespuesta: La capital de Francia es",
    "سؤال: ما هي عاصمة مصر؟\nالجواب: عاصمة مصر هي",
    "質問：日本の首都はどこですか。\n答え：",
    "प्रश्न: भारत की राजधानी क्या है?\nउत्तर:",
]
TEMPLATE = (
    "{% for turn in messages %}<s>{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running ``transformers serve`` in float32; it loads the model that is asked for."""
    for package in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason="run: pip install fastapi uvicorn openai")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = "from transformers.cli.transformers import main; main()"
    options = f"serve --host 127.0.0.1 --port {port} --device cpu --dtype float32".split()
    with open(log, "wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"transformers serve did not start: {log.read_text(errors='replace')[-2000:]}")


def parts(text: str) -> tuple[Part, ...]:
    """Preamble, question, and the label at which the answer begins."""
    question, label = text.split("\n")
    return Part("P", "Be brief.\n"), Part("Q", question + "\n"), Part("I", label)


def compare(url: str, folder: Path, chat: bool, config: EvaluateConfig) -> list[Completion]:
    """Check that both ways give the same answers, and return them in the order of ``TEXTS``."""
    asked = [
        Prompt(str(i), "sums", "sums", "en", "monolingual", parts(text), ("1",))
        for i, text in enumerate(TEXTS)
    ]
    local: list[Completion] = []
    lm = load_model(ModelConfig(name=str(folder), dtype="float32"))
    assert lm.is_chat == chat
    generate(lm, asked, config, save=local.extend)
    remote: list[Completion] = []
    over = config.model_copy(update={"endpoint": url, "endpoint_model": str(folder)})
    model = ModelConfig(name=str(folder), chat="auto" if chat else "no")
    answer_over_endpoint(asked, over, model, save=remote.extend)
    expected = {one.prompt_id: one.answer for one in local}
    assert {one.prompt_id: one.answer for one in remote} == expected
    assert all(one.n_tokens > 0 for one in remote)
    return sorted(remote, key=lambda one: one.prompt_id)


@pytest.mark.starter
def test_completions_of_the_starter_model_equal_local_ones(serve: str, starter_dir: Path) -> None:
    """Greedy, float32, the same stop at the end of the line."""
    found = compare(serve, starter_dir, False, EvaluateConfig(max_new_tokens=10, concurrency=3))
    assert all(one.answer and "\n" not in one.answer for one in found)
    assert "stop" in {one.finish for one in found}


@pytest.mark.starter
def test_chat_completions_equal_local_ones(serve: str, tmp_path: Path) -> None:
    """A tiny model under a chat template: the server renders the same turns to the same tokens."""
    folder = save_tiny(tmp_path / "chat", "llama")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    found = compare(serve, folder, True, EvaluateConfig(max_new_tokens=12, concurrency=3))
    assert len({one.answer for one in found}) > 1
