"""The items that come with the package: aligned, complete, right, and in one split only."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from linguamap.benchmarks import STARTER, load_benchmark
from linguamap.languages import normalise_digits
from linguamap.prompts.scenarios import render_all, training_examples
from linguamap.records import PAPER_SCENARIOS, Benchmark, Item, Split

LANGUAGES = ["en", "fr", "es", "ar", "hi", "ja"]
SPLITS: tuple[Split, ...] = ("train", "test")
PILOT = Path(__file__).parents[2] / "studies" / "pilot"
LEAST = {"train": 60, "test": 24}

every = pytest.mark.parametrize(
    "found",
    [pytest.param((name, split), id=f"{name}-{split}") for name in STARTER for split in SPLITS],
    indirect=True,
)


@pytest.fixture
def found(request: pytest.FixtureRequest) -> Benchmark:
    name, split = request.param
    return load_benchmark(name, LANGUAGES, split)


def numbers(text: str) -> list[str]:
    """Numbers in ASCII digits, thousands marks taken out."""
    plain = re.sub(r"(?<=\d)[,.\u00a0\u202f ](?=\d{3}(?!\d))", "", normalise_digits(text))
    return re.findall(r"\d+", plain)


@every
def test_every_language_has_the_same_items(found: Benchmark) -> None:
    assert found.languages == tuple(LANGUAGES)
    assert found.dropped == ()
    assert found.missing_languages == {}
    ids = [item.item_id for item in found.items["en"]]
    assert len(ids) == len(set(ids)) >= LEAST[found.split]
    for items in found.items.values():
        assert [item.item_id for item in items] == ids
        assert [item.group for item in items] == [item.group for item in found.items["en"]]


@every
def test_answers_are_the_same_in_every_language(found: Benchmark) -> None:
    for items in found.items.values():
        for item, english in zip(items, found.items["en"]):
            if found.kind == "passage":
                assert item.gold[0] in (item.passage or "")
                assert len(item.wrong) == len(english.wrong) >= 3
                assert not set(item.wrong) & set(item.gold)
            else:
                assert item.gold == english.gold
            assert len(item.options) == len(english.options)


@every
def test_every_item_is_explained_and_no_question_occurs_twice(found: Benchmark) -> None:
    for items in found.items.values():
        assert all(item.explanation for item in items)
        asked = Counter((item.passage, item.question, item.options) for item in items)
        assert max(asked.values()) == 1


@pytest.mark.parametrize("name", STARTER)
def test_no_item_is_in_two_of_training_test_and_pilot(name: str) -> None:
    """Levels and settings were chosen on the pilot items; no run asks them."""
    pilot = load_benchmark(str(PILOT / f"{name}.jsonl"), LANGUAGES, "test")
    train, test = (load_benchmark(name, LANGUAGES, split) for split in SPLITS)
    for code in LANGUAGES:
        seen: set[str] = set()
        for side in (pilot, train, test):
            own = {key for item in side.items[code] for key in keys(item)}
            assert not seen & own
            seen |= own


def keys(item: Item) -> list[str]:
    return [item.item_id, item.passage or item.question]


def test_options_differ_and_every_letter_is_right_as_often() -> None:
    for code, items in load_benchmark("choice", LANGUAGES, "test").items.items():
        assert Counter(item.gold[0] for item in items) == dict.fromkeys("ABCD", 6), code
        assert all(len({text.casefold() for text in item.options}) == 4 for item in items), code


def test_asked_sums_are_one_step_to_ten() -> None:
    """The two numbers of the question, added or subtracted as the reasoning says, give the result."""
    for items in load_benchmark("sums", LANGUAGES, "test").items.values():
        for item in items:
            a, b = map(int, numbers(item.question))
            plus = f"{a} + {b} = {item.gold[0]}" in (item.explanation or "")
            assert plus or f"{a} - {b} = {item.gold[0]}" in (item.explanation or ""), item.item_id
            assert int(item.gold[0]) == (a + b if plus else a - b) <= 10
            assert item.gold[0] not in numbers(item.question), "a copied number would be right"


def test_an_asked_passage_has_one_question_whose_answer_stands_there_once() -> None:
    for items in load_benchmark("passage", LANGUAGES, "test").items.values():
        assert len({item.group for item in items}) == len(items)
        for item in items:
            passage = item.passage or ""
            assert passage.count(item.gold[0]) == 1, item.item_id
            assert item.explanation in passage, "the sentence that answers is the reasoning"
            assert not any(wrong in passage for wrong in item.wrong), item.item_id


@pytest.mark.parametrize("split", SPLITS)
def test_the_reasoning_of_a_sum_ends_in_its_result(split: Split) -> None:
    found = load_benchmark("sums", LANGUAGES, split)
    for items in found.items.values():
        for item in items:
            assert numbers(item.explanation or "")[-1] == item.gold[0], item.item_id


@pytest.mark.parametrize("split", SPLITS)
def test_a_sum_has_the_same_larger_numbers_in_every_language(split: Split) -> None:
    """Numbers below ten may be words in one language and digits in another."""
    found = load_benchmark("sums", LANGUAGES, split)
    for items in found.items.values():
        for item, english in zip(items, found.items["en"]):
            place = f"{item.language} {item.item_id}"
            own, original = (
                {number for number in numbers(one.question) if len(number) > 1}
                for one in (item, english)
            )
            assert own == original, place


@pytest.mark.parametrize("split", SPLITS)
def test_the_calculations_of_a_sum_compute(split: Split) -> None:
    signs = {"×": "*", "÷": "/", "−": "-", "–": "-"}
    pattern = re.compile(r"(\d+(?:\s*[-+*/]\s*\d+)+)\s*=\s*(\d+)")
    for items in load_benchmark("sums", LANGUAGES, split).items.values():
        for item in items:
            text = normalise_digits(item.explanation or "")
            for sign, plain in signs.items():
                text = text.replace(sign, plain)
            found = pattern.findall(re.sub(r"(?<=\d),(?=\d{3})", "", text))
            assert found, f"{item.language} {item.item_id} shows no calculation"
            for left, right in found:
                assert eval(left) == int(right), f"{item.language} {item.item_id}: {left} = {right}"


def test_training_sums_come_from_at_least_twelve_templates() -> None:
    groups = Counter(item.group for item in load_benchmark("sums", ["en"], "train").items["en"])
    assert len(groups) >= 12
    assert max(groups.values()) == 4


@pytest.mark.parametrize("split", SPLITS)
def test_right_letters_are_spread(split: Split) -> None:
    letters = Counter(item.gold[0] for item in load_benchmark("choice", ["en"], split).items["en"])
    total = sum(letters.values())
    assert set(letters) == set("ABCD")
    assert all(0.15 <= count / total <= 0.35 for count in letters.values())


def test_every_cell_of_the_main_job_is_rendered() -> None:
    benchmarks = [load_benchmark(name, LANGUAGES, "test") for name in STARTER]
    prompts = render_all(benchmarks, LANGUAGES, PAPER_SCENARIOS, 8)
    cells = Counter((prompt.benchmark, prompt.language, prompt.scenario) for prompt in prompts)
    assert len(cells) == 3 * 6 * 4
    assert set(cells.values()) == {8}


def test_training_examples_are_even_over_cells_and_items() -> None:
    benchmarks = [load_benchmark(name, LANGUAGES, "train") for name in STARTER]
    examples = training_examples(benchmarks, LANGUAGES, PAPER_SCENARIOS, 720)
    assert len({prompt.prompt_id for prompt in examples}) == 720
    assert all(prompt.reference and prompt.coincides_with is None for prompt in examples)
    cells = Counter((prompt.kind, prompt.scenario, prompt.language) for prompt in examples)
    # 3 kinds x 5 languages x 4 scenarios, and English: 2 for sums, 1 for choice, 2 for passage.
    assert len(cells) == 65
    assert set(cells.values()) == {11, 12}
    items = Counter((prompt.benchmark, prompt.item_id) for prompt in examples)
    for name in STARTER:
        uses = [count for (benchmark, _), count in items.items() if benchmark == name]
        assert max(uses) - min(uses) <= 1
