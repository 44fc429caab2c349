"""What each part of a prompt is called, for prompts as the scenarios make them."""

from __future__ import annotations

import dataclasses

import pytest

from linguamap.benchmarks import load_benchmark
from linguamap.prompts.scenarios import render, render_all
from linguamap.records import Kind, Prompt, Scenario

FRAME = ["preamble", "instruction"]
QUESTION = ["label", "question"]
OPTIONS = ["label", "options"]
PASSAGE = ["label", "passage"]


@pytest.mark.parametrize(
    ("kind", "scenario", "middle"),
    [
        ("sums", "monolingual", QUESTION),
        ("sums", "english_distractor", [*QUESTION, *OPTIONS]),
        ("choice", "code_mixed", [*QUESTION, *OPTIONS]),
        ("passage", "monolingual", [*PASSAGE, *QUESTION]),
        ("passage", "bilingual_answer", [*PASSAGE, *QUESTION, *OPTIONS]),
    ],
)
def test_parts_of_the_starter_prompts(kind: Kind, scenario: Scenario, middle: list[str]) -> None:
    benchmark = load_benchmark(kind, ["en", "ja"], "test")
    item = benchmark.items["ja"][0]
    prompt = render(benchmark, scenario, "ja", item)
    assert [name for name, _ in prompt.named_parts] == [*FRAME, *middle, "answer_label"]
    start, texts = 0, {}
    for name, length in prompt.named_parts:
        texts[name] = prompt.text[start : start + length]
        start += length
    assert start == len(prompt.text)
    assert texts["question"] == f"{item.question}\n"
    if item.passage is not None:
        assert texts["passage"] == f"{item.passage}\n"
    if "options" in texts:
        assert texts["options"].count("\n") == len(prompt.options)


def test_every_prompt_is_covered_by_its_parts() -> None:
    benchmark = load_benchmark("choice", ["en", "ar"], "test")
    prompts: list[Prompt] = render_all(benchmark, ["en", "ar"], ["monolingual", "code_mixed"])
    assert prompts
    for prompt in prompts:
        assert sum(length for _, length in prompt.named_parts) == len(prompt.text)


def test_worked_examples_in_front_are_one_part() -> None:
    benchmark = load_benchmark("sums", ["en", "fr"], "test")
    first, second = (render(benchmark, "monolingual", "fr", i) for i in benchmark.items["fr"][:2])
    prompt = dataclasses.replace(first, shots=(second,))
    (name, length), *rest = prompt.named_parts
    assert name == "examples"
    assert prompt.text[length:] == first.text
    assert rest == list(first.named_parts)
