"""Options read by likelihood: the same as Transformers gives text by text, and read as the choice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny import STATE_SPACE, save_tiny

from linguamap.benchmarks import load_benchmark
from linguamap.config import EvaluateConfig, ModelConfig, ScoreConfig
from linguamap.generation.cache_check import cache_fault
from linguamap.generation.kv_cache import SharedPrefixStates
from linguamap.generation.local import OptionReader, generate, without_options
from linguamap.languages import get_language
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.prompts.scenarios import render
from linguamap.records import Completion, Option, Part, Prompt
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.score import Scorer, score_answer

QUESTIONS = {
    "en": ("Who says moo? The dog sat on the mat. Answer:", ["a cow", "the small red cat", "A", "fish"]),
    "es": ("¿Quién come doce libros?\nRespuesta:", ["Ana", "el gato pequeño", "cuatro"]),
    "ja": ("猫は家で眠り、夕方に赤いりんごを三つ食べます。\n答え:", ["猫", "赤いりんご", "家", "夕方"]),
}  # fmt: skip


def question(language: str, right: int = 1, languages: str | None = None) -> Prompt:
    text, options = QUESTIONS[language]
    offered = tuple(
        Option(letter, option, languages if languages and place else language, place == right)
        for place, (letter, option) in enumerate(zip("ABCD", options))
    )
    return Prompt(
        f"q-{language}", "choice", "choice", language, "monolingual",
        (Part("Q", text),), ("ABCD"[right],), offered,
    )  # fmt: skip


def load(folder: Path, kind: str) -> LanguageModel:
    return load_model(ModelConfig(name=str(save_tiny(folder / kind, kind)), dtype="float32"))


def by_transformers(lm: LanguageModel, prompt: Prompt) -> list[float]:
    """One text at a time, token by token, without a cache."""
    scores = []
    for option in prompt.options:
        ids = lm.tokenizer(prompt.text)["input_ids"]
        total = 0.0
        for token in lm.tokenizer(f" {option.text}", add_special_tokens=False)["input_ids"]:
            with torch.no_grad():
                logits = lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            total += float(torch.log_softmax(logits, -1)[token])
            ids = [*ids, token]
        scores.append(total)
    return scores


@pytest.mark.parametrize(
    "kind", ["llama", "gemma3_text", "bloom", "gpt2", "mistral", STATE_SPACE[0]]
)
def test_scores_equal_those_of_transformers_one_text_at_a_time(tmp_path: Path, kind: str) -> None:
    lm = load(tmp_path, kind)
    use_cache = cache_fault(lm) is None
    asked = [question(language) for language in QUESTIONS]
    reader = OptionReader(lm, asked, None, SharedPrefixStates(lm, use_cache), use_cache)
    done = [Completion(prompt.prompt_id, "", None, "stop", 1) for prompt in asked]
    for prompt, read in zip(asked, reader.with_scores(done), strict=True):
        assert read.option_scores == pytest.approx(by_transformers(lm, prompt), abs=1e-4)


def test_the_options_are_not_shown_where_they_are_read() -> None:
    benchmark = load_benchmark("choice", ["fr"], "test")
    item = benchmark.items["fr"][0]
    asked = render(benchmark, "monolingual", "fr", item)
    read = without_options(asked)
    label = get_language("fr").texts.label_options
    shown = "".join(f"{option.letter}) {option.text}\n" for option in asked.options)
    assert asked.text.count(f"{label}\n{shown}") == 1
    assert read.text == asked.text.replace(f"{label}\n{shown}", "")
    assert read.options == asked.options


def test_choices_in_one_language_are_read_and_answers_stay_as_they_are(tmp_path: Path) -> None:
    """Between languages no length is fair, so that mixed options are left to the words."""
    lm = load(tmp_path, "llama")
    sums = dataclasses.replace(question("es"), kind="sums", item_id="sums")
    mixed = dataclasses.replace(question("es", languages="en"), item_id="mixed")
    asked = [question("en"), question("ja"), sums, mixed]
    found: dict[str, dict[str, Completion]] = {}
    for options in ("auto", "generated"):
        done: list[Completion] = []
        config = EvaluateConfig(max_new_tokens=4, options=options)
        generate(lm, asked, config, save=done.extend)
        found[options] = {one.prompt_id: one for one in done}
    read = {name for name, one in found["auto"].items() if one.option_scores is not None}
    assert read == {asked[0].prompt_id, asked[1].prompt_id}
    assert all(one.option_scores is None for one in found["generated"].values())
    for name, one in found["generated"].items():
        assert dataclasses.replace(found["auto"][name], option_scores=None) == one


def test_the_likeliest_option_is_the_choice_and_the_words_give_the_language() -> None:
    prompt = question("es", right=1)
    said = "La respuesta es la primera opción: A."
    by_words = Completion(prompt.prompt_id, said, None, "stop", 9)
    by_scores = dataclasses.replace(by_words, option_scores=(-2.0, -0.5, -1.0))
    identifier = make_identifier("lingua", ["en", "es"])
    rules = ScoreConfig()
    assert score_answer(by_words, prompt, identifier, rules, ()).extracted == "A"
    answer = score_answer(by_scores, prompt, identifier, rules, ())
    assert (answer.extracted, answer.rule, answer.option_language) == ("B", "likelihood", "es")
    assert (answer.task_correct, answer.language_correct, answer.outcome) == (True, True, "both")
    assert Scorer(identifier, rules, None).again(answer, prompt).extracted == "B"
    wrong = dataclasses.replace(by_scores, option_scores=(-0.4, -0.5, -1.0))
    assert score_answer(wrong, prompt, identifier, rules, ()).outcome == "transfer_bottleneck"


def test_an_empty_answer_speaks_no_language_though_its_options_were_read() -> None:
    prompt = question("es", right=1)
    silent = Completion(prompt.prompt_id, "", None, "stop", 1, option_scores=(-2.0, -0.5, -1.0))
    answer = score_answer(
        silent, prompt, make_identifier("lingua", ["en", "es"]), ScoreConfig(), ()
    )
    assert (answer.task_correct, answer.language_correct) == (True, False)
    assert (answer.outcome, answer.reason) == ("consistency_bottleneck", "empty")


def test_how_long_answers_may_be_and_how_options_are_read_depend_on_the_model() -> None:
    config = EvaluateConfig()
    assert (config.answer_tokens(False), config.answer_tokens(True)) == (72, 256)
    assert (config.reads_options(False), config.reads_options(True)) == (True, False)
    fixed = EvaluateConfig(max_new_tokens=9, options="likelihood")
    assert (fixed.answer_tokens(False), fixed.answer_tokens(True)) == (9, 9)
    assert fixed.reads_options(True)
