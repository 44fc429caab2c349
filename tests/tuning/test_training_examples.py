"""What is trained on, token by token."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tuning_cases import some_prompts, tiny_lm

from linguamap.config import TuneConfig
from linguamap.models.language_model import LanguageModel
from linguamap.records import Part, Prompt, UserError
from linguamap.tuning.data.batches import TrainingExample
from linguamap.tuning.data.trained_tokens import spans_mask
from linguamap.tuning.data.training_examples import (
    answer_token_ids,
    check_examples,
    decoded_sample,
    examples_from_prompts,
    shortened,
)
from linguamap.tuning.data.user_texts import read_jsonl
from linguamap.tuning.run_tuning import tune

CHAT = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return tiny_lm(tmp_path_factory.mktemp("m"), "llama")


@pytest.fixture
def chat(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    monkeypatch.setattr(lm.tokenizer, "chat_template", CHAT)
    return dataclasses.replace(lm, is_chat=True)


def _trained(example: TrainingExample, lm: LanguageModel) -> str:
    pairs = zip(example.token_ids, example.loss_mask, strict=True)
    return str(lm.tokenizer.decode([token for token, counted in pairs if counted]))


def test_answer_and_end_are_trained_on(lm: LanguageModel) -> None:
    prompt = some_prompts(1)[0]
    (example,) = examples_from_prompts(lm, [prompt], TuneConfig())
    assert lm.tokenizer.decode(example.token_ids) == (
        "Responde en español.\nCuenta las manzanas.\n\nPregunta: Ana 0 + 1?\nRespuesta: 0 y 1. = 1\n"
    )
    assert _trained(example, lm) == " 0 y 1. = 1\n"
    assert example.token_ids[: len(lm.tokenizer(prompt.text)["input_ids"])] == tuple(
        lm.tokenizer(prompt.text)["input_ids"]
    )
    assert example.group == "sums/i0"


def test_the_question_too_if_asked_for(lm: LanguageModel) -> None:
    prompt = some_prompts(1)[0]
    (example,) = examples_from_prompts(lm, [prompt], TuneConfig(loss_on="QRA"))
    assert _trained(example, lm) == "Ana 0 + 1? 0 y 1. = 1\n"


def test_tokens_belong_to_the_part_of_their_first_visible_character() -> None:
    text = "P: ab cd"
    #       01234567
    offsets = [(0, 2), (2, 5), (5, 8), (0, 0)]  # "P:", " ab", " cd", special
    assert spans_mask(text, offsets, [(3, 6)]) == [False, True, False, False]
    assert spans_mask(text, offsets, [(4, 8)]) == [False, False, True, False]
    assert spans_mask(text, [(0, 4), (4, 8)], [(3, 8)]) == [False, True]  # "P: a" straddles


def test_an_answer_that_would_merge_with_the_prompt_is_tokenised_alone() -> None:
    def tokenizer(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        merged = {"a": [1], "ab": [9], "b": [2]}
        return {"input_ids": merged[text]}

    assert answer_token_ids(tokenizer, "a", [1], "b") == [2]


def test_decoded_sample_marks_what_is_trained(lm: LanguageModel) -> None:
    (example,) = examples_from_prompts(lm, some_prompts(1)[:1], TuneConfig())
    assert decoded_sample(example, lm.tokenizer).endswith("Respuesta:⟦ 0 y 1. = 1\n⟧")


def test_two_shortened_samples_are_shown_and_all_are_stored(tmp_path: Path) -> None:
    told: list[str] = []

    def note(label: str, done: int, total: int, text: str = "") -> None:
        if not label:
            told.append(text)

    lm = tiny_lm(tmp_path / "m", "llama")
    settings = TuneConfig(epochs=1, batch_size=8)
    tune(lm, some_prompts(4), settings, (4,), tmp_path / "out", seed=0, progress=note)
    (shown,) = told
    assert shown.count("# sums/") == 2
    assert shown.count(":⟦ ") == 2
    assert str(tmp_path) not in shown  # a sweep's variants say the same, and it is told once
    assert (tmp_path / "out" / "sample.txt").read_text("utf-8").count("# sums/") == 4


def test_long_samples_keep_their_beginning_and_end() -> None:
    sample = "\n".join(["# id", *(f"line {n}" for n in range(20)), "x" * 500 + "⟦\x1b[2Jyes⟧"])
    lines = shortened(sample).split("\n")
    assert len(lines) == 8
    assert lines[:4] == ["# id", "line 0", "...", "line 16"]
    assert lines[-1] == "x" * 100 + " ... " + "x" * 92 + "⟦[2Jyes⟧"  # no control characters


def test_prompts_without_use_are_left_out(lm: LanguageModel) -> None:
    a, b, c, *_ = some_prompts(2)
    b = dataclasses.replace(b, reference=())
    c = dataclasses.replace(c, coincides_with="monolingual")
    examples = examples_from_prompts(lm, [a, b, c], TuneConfig())
    assert [example.example_id for example in examples] == [a.prompt_id]
    with pytest.raises(UserError, match="none of the 2 prompts has a reference answer"):
        examples_from_prompts(lm, [b, c], TuneConfig())
    with pytest.raises(UserError, match="no task"):
        examples_from_prompts(lm, [a], TuneConfig(tasks=False))


def test_masked_and_overlong_examples_are_refused_by_name(lm: LanguageModel) -> None:
    masked = TrainingExample("nobody", (1, 2, 3), (False, False, False), "g")
    first_only = TrainingExample("first", (1, 2, 3), (True, False, False), "g")
    with pytest.raises(UserError, match="no token to train on in nobody, first"):
        check_examples([masked, first_only], lm)
    long = TrainingExample("epic", (1,) * 257, (True,) * 257, "g")
    with pytest.raises(UserError, match=r"epic would be cut \(257 tokens, the model reads 256"):
        check_examples([long], lm)


def test_a_chat_model_answers_in_its_own_turn(chat: LanguageModel) -> None:
    prompt = some_prompts(1)[0]
    (example,) = examples_from_prompts(chat, [prompt], TuneConfig())
    assert _trained(example, chat) == "0 y 1. = 1</s>"
    assert chat.tokenizer.decode(example.token_ids).endswith("<s>assistant\n0 y 1. = 1</s>")
    (with_question,) = examples_from_prompts(chat, [prompt], TuneConfig(loss_on="QRA"))
    assert _trained(with_question, chat) == "Ana 0 + 1?0 y 1. = 1</s>"


def _write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def test_parts_from_jsonl(lm: LanguageModel, tmp_path: Path) -> None:
    rows = [
        {
            "id": 7,
            "language": "fr",
            "P": "Réponds.\n",
            "Q": "Combien ?",
            "R": " Un et un.",
            "A": " 2",
        },
        {"Q": "x", "A": " y", "group": "g"},
    ]
    prompts = read_jsonl(_write(tmp_path / "a.jsonl", rows), lm)
    first = prompts[0]
    assert isinstance(first, Prompt)
    assert first.parts == (Part("P", "Réponds.\n"), Part("Q", "Combien ?"))
    assert first.prompt_id == "jsonl/monolingual/fr/7"
    examples = examples_from_prompts(lm, prompts, TuneConfig(tasks=False))
    assert _trained(examples[0], lm) == " Un et un. 2\n"
    assert examples[1].group == "jsonl/g"


def test_conversations_from_jsonl(chat: LanguageModel, tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Hola, ana"},
        {"role": "assistant", "content": "Buenas"},
        {"role": "user", "content": "Buenas"},
        {"role": "assistant", "content": "Hola"},
    ]
    (example,) = read_jsonl(_write(tmp_path / "a.jsonl", [{"messages": messages}]), chat)
    assert isinstance(example, TrainingExample)
    assert _trained(example, chat) == "Buenas</s>Hola</s>"


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"Q": "x"}, "line 1: has the keys Q; a line has the parts Q and A"),
        ({"Q": "x", "A": [3]}, "line 1: 'A' is no text: a list"),
        ({"Q": "x", "A": ""}, "line 1: the answer is empty"),
        (
            {"Q": "x", "A": "y", "language": ["fr"]},
            r"line 1: language must be one code such as fr, found \['fr'\]",
        ),
        ({"Q": "x", "A": "y", "language": "Klingon"}, "line 1: languages: 'Klingon' is unknown"),
        (
            {"messages": [{"role": "user", "content": "x"}]},
            "no message has the role assistant, only user",
        ),
        (
            {"messages": [{"role": "judge", "content": "x"}]},
            "message 1 has the role judge; known are system",
        ),
        ({"messages": [{"role": "assistant", "content": None}]}, "message 1 has no content"),
        ({"messages": ["x"]}, "message 1 is no table of role and content: x"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]},
            "message 1 has a part of type image_url",
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]},
            "the assistant only calls tools",
        ),
        (
            {"conversations": [{"from": "human", "value": "a\ud800"}]},
            "the content of message 1 is no text",
        ),
        ({"messages": []}, "must be a list of messages, each a role and a content"),
    ],
)
def test_bad_lines_are_refused(row: Any, match: str, chat: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=match):
        read_jsonl(_write(tmp_path / "a.jsonl", [row]), chat)


def test_conversations_need_a_template(lm: LanguageModel, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [{"messages": _says("Hola", "si", "k", "si")}])
    with pytest.raises(
        UserError, match=r"a conversation of several turns, and .* has no chat template"
    ):
        read_jsonl(path, lm)
    (tmp_path / "b.jsonl").write_text("{", "utf-8")
    with pytest.raises(UserError, match="line 1 is not JSON"):
        read_jsonl(tmp_path / "b.jsonl", lm)
    with pytest.raises(UserError, match="does not exist"):
        read_jsonl(tmp_path / "none.jsonl", lm)


THINKING = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}{% for m in messages %}<s>{{ m['role'] }}\n"
    "{% set words = m['content'] %}{% set thought = '' %}{% if '</think>' in words %}"
    "{% set thought = words.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set words = words.split('</think>')[-1].lstrip() %}{% endif %}"
    "{% if m['role'] == 'assistant' and loop.index0 > ns.last %}"
    "<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ words }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
"""As Qwen3's: thinking stands in the last turn only, where it stands even if it is empty."""


def _says(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


@pytest.mark.parametrize(
    ("template", "contents", "trained"),
    [
        (CHAT, ("Hola", "si"), "si</s>"),  # "si" is in "assistant", too
        (CHAT, ("Hola", "a"), "a</s>"),
        (CHAT, ("a", "a", "assistant", "assistant"), "a</s>assistant</s>"),
        (CHAT, ("Hola", "  si \n"), "si</s>"),
        (THINKING, ("Hola", "si"), "si</s>"),
        (THINKING, ("Hola", "si", "k", "think"), "si</s>think</s>"),
        (
            THINKING,
            ("Hola", "<think>x</think>si", "k", "<think>y</think>a"),
            "si</s><think>\ny\n</think>\n\na</s>",
        ),
    ],
)
def test_exactly_the_assistants_turns_are_trained(
    template: str,
    contents: tuple[str, ...],
    trained: str,
    lm: LanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Words were searched for from the header on, and found in it: "as[[sis]]tant"."""
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    row = {"messages": _says(*contents)}
    chat = dataclasses.replace(lm, is_chat=True)
    (example,) = read_jsonl(_write(tmp_path / "a.jsonl", [row]), chat)
    assert isinstance(example, TrainingExample)
    assert _trained(example, lm) == trained
    stretches = decoded_sample(example, lm.tokenizer).count("⟦")
    assert stretches == len(contents) // 2
    at = example.loss_mask.index(True)
    assert lm.tokenizer.decode(example.token_ids[:at]).endswith(("assistant\n", "</think>\n\n"))


def test_a_turn_that_the_template_leaves_out_is_refused(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.tokenizer, "chat_template", THINKING)
    row = {"messages": _says("Hola", "<think>x</think>", "k", "si")}
    with pytest.raises(UserError, match="line 1: the answer in message 2 is not found"):
        read_jsonl(_write(tmp_path / "a.jsonl", [row]), dataclasses.replace(lm, is_chat=True))
    refusing = "{{ raise_exception('roles must alternate') }}"
    monkeypatch.setattr(lm.tokenizer, "chat_template", refusing)
    with pytest.raises(
        UserError, match=r"the chat template refuses the conversation \(roles must alternate"
    ):
        read_jsonl(_write(tmp_path / "a.jsonl", [row]), dataclasses.replace(lm, is_chat=True))


NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
)
SILENT = CHAT.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
"""Leaves a system message out without a word."""

FORMS: list[dict[str, Any]] = [
    {"P": "Responde.\n", "I": "Resuelve.\n", "Q": "¿Cuánto es 2 + 3?\n", "R": "2 + 3 = 5.", "A": " Son 5."},
    {"messages": [
        {"role": "System", "content": "Responde. Resuelve."},
        {"role": "User", "content": [{"type": "text", "text": "¿Cuánto es "}, {"type": "text", "text": "2 + 3?"}]},
        {"role": "model", "content": "2 + 3 = 5. Son 5."},
    ]},
    {"conversations": [
        {"from": "system", "value": "Responde. Resuelve."},
        {"from": "human", "value": "¿Cuánto es 2 + 3?"},
        {"from": "gpt", "value": "2 + 3 = 5. Son 5."},
    ]},
    {"system": "Responde.", "instruction": "Resuelve.", "input": "¿Cuánto es 2 + 3?", "output": "2 + 3 = 5. Son 5."},
    {"prompt": "Responde. Resuelve. ¿Cuánto es 2 + 3?\n", "completion": "2 + 3 = 5. Son 5."},
    {"prompt": [{"role": "user", "content": "Responde. Resuelve. ¿Cuánto es 2 + 3?"}],
     "completion": [{"role": "assistant", "content": "2 + 3 = 5. Son 5."}]},
]  # fmt: skip


@pytest.mark.parametrize("template", [None, CHAT, NO_SYSTEM, SILENT])
@pytest.mark.parametrize("row", FORMS)
def test_every_part_of_every_form_is_in_the_decoded_sample(
    row: dict[str, Any],
    template: str | None,
    lm: LanguageModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The question was left out of every P, I, Q, R, A text on chat models."""
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    model = dataclasses.replace(lm, is_chat=template is not None)
    row = {**row, "language": "es-MX"}
    found = read_jsonl(_write(tmp_path / "a.jsonl", [row]), model)
    (example,) = examples_from_prompts(model, found, TuneConfig())
    assert example.language == "es"
    asked, _, trained = decoded_sample(example, lm.tokenizer).partition("⟦")
    for part in ("Responde.", "Resuelve.", "¿Cuánto es 2 + 3?"):
        assert part in asked
    end = "\n" if template is None else "</s>"
    assert trained.startswith(f"2 + 3 = 5. Son 5.{end}⟧")


def test_calls_of_tools_are_read_and_not_trained(chat: LanguageModel, tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "2 + 3?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]},
        {"role": "tool", "tool_call_id": "c", "content": 5},
        {"role": "assistant", "content": "Son 5."},
    ]
    (example,) = read_jsonl(_write(tmp_path / "a.jsonl", [{"messages": messages}]), chat)
    assert isinstance(example, TrainingExample)
    assert _trained(example, chat) == "Son 5.</s>"
