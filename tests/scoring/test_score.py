"""From answers to outcomes and rates: by hand, against published definitions, end to end in 23 languages."""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from answers import plain_answer
from run_contents import code_mixed

from linguamap.config import ScoreConfig
from linguamap.languages import LANGUAGES
from linguamap.records import (
    Answer,
    BenchmarkUse,
    Completion,
    IdentifierAccuracy,
    Kind,
    Option,
    Part,
    Prompt,
    Scenario,
)
from linguamap.run.contents import as_json, as_type
from linguamap.scoring.extraction.prose import drift
from linguamap.scoring.extraction.segments import text_to_learn
from linguamap.scoring.extraction.spans import exact_match, span_f1, tokens
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.score import score_answer
from linguamap.scoring.stats import NO_DATA, clustered_rate, wilson
from linguamap.scoring.summary import summarise

SIX = ("en", "fr", "es", "ar", "hi", "ja")
FRENCH = "Chaque boîte contient neuf œufs, il y a donc deux boîtes. "
ENGLISH = "Every box holds nine eggs, so there are two boxes. "


def make_prompt(
    kind: Kind = "sums",
    language: str = "fr",
    scenario: Scenario = "monolingual",
    gold: tuple[str, ...] = ("18",),
    options: tuple[Option, ...] = (),
    passage: str | None = None,
    item_id: str = "1",
) -> Prompt:
    return Prompt(
        item_id, "own", kind, language, scenario, (Part("Q", "?"),), gold, options, passage
    )


def row_of(answer: str, prompt: Prompt, **fields: Any) -> Answer:
    completion = replace(Completion(prompt.prompt_id, answer, None, "stop", 5), **fields)
    return score_answer(
        completion, prompt, make_identifier("lingua", SIX), ScoreConfig(), frozenset()
    )


@pytest.mark.parametrize(
    ("answer", "task", "language", "outcome", "reason"),
    [
        (FRENCH + "La réponse est : 18.", True, True, "both", None),
        (FRENCH + "La réponse est : 17.", False, True, "transfer_bottleneck", None),
        (ENGLISH + "The answer is 18.", True, False, "consistency_bottleneck", None),
        (ENGLISH + "The answer is 17.", False, False, "neither", None),
        (FRENCH, None, True, "unscored", "no_number"),
        ("18", True, None, "unscored", "too_short"),
        ("?", False, False, "neither", "empty"),
        ("", False, False, "neither", "empty"),
        ("Ответ: восемнадцать, то есть 18.", True, False, "consistency_bottleneck", None),
        ("Oui.", None, None, "unscored", "no_number"),
    ],
)
def test_outcomes(
    answer: str, task: bool | None, language: bool | None, outcome: str, reason: str | None
) -> None:
    row = row_of(answer, make_prompt())
    assert (row.task_correct, row.language_correct) == (task, language)
    assert (row.outcome, row.reason) == (outcome, reason)


def test_a_row_has_the_promised_fields() -> None:
    prompt = make_prompt()
    row = row_of(
        FRENCH + "La réponse est : 18.", prompt, thinking="Nine and nine are eighteen eggs."
    )
    line = as_json(row)
    promised = (
        "item_id benchmark language scenario prompt answer thinking extracted gold task_correct "
        "answer_language language_correct outcome reason prompt_id kind option_language "
        "coincides_with finish n_tokens rule"
    )
    assert set(promised.split()) <= set(line)
    assert row.prompt == "?"
    assert row.gold == ("18",)
    assert as_type(Answer, json.loads(json.dumps(line)), "answers.jsonl") == row
    assert (row.thinking_language, row.thinking_language_correct) == ("en", False)
    assert row.outcome == "both"  # thinking changes no outcome


def test_a_failed_completion_is_unscored_not_wrong() -> None:
    row = row_of("", make_prompt(), finish="error", error="HTTP 500")
    assert (row.outcome, row.reason, row.error) == ("unscored", "error", "HTTP 500")
    assert row.task_correct is None


def test_an_answer_whose_reasoning_was_cut_is_unscored_and_says_why() -> None:
    """It once counted as an answer in the wrong language."""
    row = row_of("", make_prompt(), finish="length", thinking="Nine and nine are")
    assert (row.outcome, row.reason) == ("unscored", "thinking_cut")
    assert (row.task_correct, row.language_correct) == (None, None)
    assert (row.task_reason, row.language_reason) == ("thinking_cut", "thinking_cut")
    ended = row_of("", make_prompt(), finish="stop", thinking="Nine and nine are eighteen.")
    assert (ended.outcome, ended.reason) == ("neither", "empty")
    answered = row_of(FRENCH + "La réponse est : 18.", make_prompt(), finish="length", thinking="")
    assert answered.outcome == "both"
    found = summarise([row, ended, answered], "m")
    assert (found.cells[0].n_cut, found.overall[-1].n_cut) == (2, 2)
    assert found.cells[0].n_scored == 2
    assert (found.cells[0].n_empty, found.cells[0].n_with_reasoning) == (1, 1)
    assert found.cells[0].n_replaced == 0
    assert found.cells[0].reasons == {"thinking_cut": 1}


def test_halves_of_a_character_are_counted() -> None:
    """A token limit cuts within one; the answer is judged like any other."""
    rows = [
        row_of(FRENCH + "La réponse est : 18. \ufffd", make_prompt()),
        row_of("", make_prompt()),
    ]
    cell = summarise(rows, "m").cells[0]
    assert rows[0].outcome == "both"
    assert (cell.n_replaced, cell.n_empty, cell.n_with_reasoning) == (1, 1, 0)


def test_bounds_take_what_was_not_judged_as_wrong_and_as_right() -> None:
    rows = [
        code_mixed(1, True, "hi"),  # right in both
        code_mixed(2, True, None),  # may be right in both
        code_mixed(3, None, "hi"),  # may be right in both
        code_mixed(4, False, None),  # cannot be
        code_mixed(5, True, "en"),  # is not
    ]
    row = summarise(rows, "m").overall[-1]
    assert row.bounds == {
        "task_accuracy": (3 / 5, 4 / 5),
        "language_consistency": (2 / 5, 4 / 5),
        "right_in_both": (1 / 5, 3 / 5),
    }
    assert row.right_in_both.value == 1 / 5
    assert summarise([], "m").overall[-1].bounds == {}


def test_open_prompts_score_the_language_only() -> None:
    row = row_of(FRENCH, make_prompt("open", gold=()))
    pooled = summarise([row], "m").overall[-1]
    assert set(pooled.bounds) == {"language_consistency"}
    assert (pooled.right_in_both.n, pooled.right_in_both.value) == (0, None)
    assert (row.task_correct, row.language_correct) == (None, True)
    assert (row.outcome, row.reason) == ("unscored", "no_task")


@pytest.mark.parametrize(
    ("answer", "finish", "learnt"),
    [
        (FRENCH, "stop", FRENCH.strip()),
        (ENGLISH, "stop", None),
        (FRENCH + ENGLISH, "stop", None),
        (FRENCH + "Deux boîtes de neuf", "length", FRENCH.strip()),
        (FRENCH, "length", FRENCH.strip()),
        ("Chaque boîte contient neuf œufs et", "length", None),
        (FRENCH * 4, "stop", None),
    ],
)
def test_answers_to_learn_from_are_whole_and_in_the_language(
    answer: str, finish: Any, learnt: str | None
) -> None:
    row = row_of(answer, make_prompt("open", gold=()), finish=finish)
    turn = drift(row.answer, "fr", make_identifier("lingua", SIX), 8)
    assert text_to_learn(row, turn is not None) == learnt


@pytest.mark.parametrize("gold", ["2,125", "2125", "2125.0"])
def test_numbers_are_compared_by_value(gold: str) -> None:
    row = row_of("La réponse est : 2 125,00.", make_prompt(gold=(gold,)))
    assert (row.extracted, row.task_correct) == ("2125", True)


def bilingual_options(letters: str = "ABCD") -> tuple[Option, ...]:
    texts = [("Himalaya", "fr", True), ("The Himalayas", "en", True),
             ("Les Alpes", "fr", False), ("The Andes", "en", False)]  # fmt: skip
    return tuple(Option(letter, *text) for letter, text in zip(letters, texts))


def test_bilingual_choice_takes_either_right_letter() -> None:
    prompt = make_prompt("choice", "fr", "bilingual_answer", ("A",), bilingual_options())
    explained = "Le mont Everest se trouve en Asie centrale. La réponse est : "
    for letter, right, language in (("A", True, "fr"), ("B", True, "en"), ("C", False, "fr")):
        row = row_of(explained + letter, prompt)
        assert (row.task_correct, row.option_language) == (right, language)
        assert row.language_correct is True
    assert row.gold == ("A", "B")


def test_bilingual_spans_count_in_both_languages() -> None:
    options = tuple(replace(option, letter="") for option in bilingual_options())
    passage = "Le mont Everest se trouve dans l'Himalaya, et non dans Les Alpes."
    prompt = make_prompt("passage", "fr", "bilingual_answer", ("Himalaya",), options, passage)
    told = "Le texte le dit clairement à la fin. La réponse est : "
    english = row_of(told + "The Himalayas.", prompt)
    assert (english.task_correct, english.option_language) == (True, "en")
    french = row_of(told + "l'Himalaya.", prompt)
    assert (french.f1, french.exact_match, french.option_language) == (1.0, True, "fr")
    assert row_of(told + "Les Alpes.", prompt).task_correct is False


@pytest.mark.parametrize(
    ("language", "prediction", "gold", "f1"),
    [
        ("en", "The Denver Broncos", "Denver Broncos!", 1.0),
        ("en", "Denver", "Denver Broncos", 2 / 3),
        ("en", "a cat", "the dog", 0.0),
        ("es", "La casa roja", "una casa roja", 1.0),
        ("de", "der Kaiser Karl", "Kaiser Karl der Große", 4 / 5),
        ("fr", "l'eau de la mer", "eau de mer", 1.0),
        ("ar", "الكتاب الجديد", "كتاب جديد", 1.0),
        ("vi", "cái nhà của Nam", "nhà Nam", 1.0),
        ("hi", "मीरा दास ने", "मीरा दास", 4 / 5),
        ("zh", "北京大学", "北京", 2 / 3),
        ("zh", "NBA 冠军", "NBA冠军", 1.0),
        ("ja", "「東京都」", "東京", 4 / 5),
        ("th", "กข", "กขคง", 2 / 3),
    ],
)  # fmt: skip
def test_span_f1_by_hand(language: str, prediction: str, gold: str, f1: float) -> None:
    assert span_f1(prediction, gold, language) == pytest.approx(f1)
    assert exact_match(prediction, gold, language) == (f1 == 1.0)


def test_spans_without_tokens() -> None:
    assert span_f1("the", "a", "en") == 1.0
    assert span_f1("the", "cat", "en") == 0.0


def squad_f1(prediction: str, gold: str) -> float:
    """SQuAD 1.1's definition, word by word from its paper's appendix, as a second opinion."""

    def normal(text: str) -> list[str]:
        bare = "".join(sign for sign in text.lower() if sign not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", bare).split()

    first, second = Counter(normal(prediction)), Counter(normal(gold))
    common = sum(min(first[word], second[word]) for word in first)
    if not common:
        return 0.0
    precision, recall = common / sum(first.values()), common / sum(second.values())
    return 2 * precision * recall / (precision + recall)


def test_english_f1_is_squads() -> None:
    words = ["The", "a", "cat", "cat.", "(sat)", "on", "mat", "U.S.", "1,000", "don't", "-", "An"]
    source = random.Random(0)
    for _ in range(500):
        pair = [" ".join(source.choices(words, k=source.randint(1, 6))) for _ in range(2)]
        if tokens(pair[0], "en") and tokens(pair[1], "en"):
            assert span_f1(pair[0], pair[1], "en") == pytest.approx(squad_f1(*pair)), pair


EXPLANATIONS = {
    "ar": "هذا واضح من النص الذي قرأناه معًا في الصف.",
    "bn": "আমরা একসঙ্গে যা পড়েছি তা থেকে এটি স্পষ্ট।",
    "de": "Das geht aus dem hervor, was wir zusammen gelesen haben.",
    "el": "Αυτό φαίνεται καθαρά από όσα διαβάσαμε μαζί.",
    "en": "This is clear from what we have read together.",
    "es": "Esto queda claro con lo que hemos leído juntos.",
    "fr": "C'est clair d'après ce que nous avons lu ensemble.",
    "hi": "यह उस बात से स्पष्ट है जो हमने साथ में पढ़ी।",
    "id": "Hal ini jelas dari apa yang telah kita baca bersama.",
    "it": "Questo è chiaro da quello che abbiamo letto insieme.",
    "ja": "これは一緒に読んだことから明らかです。",
    "ko": "이것은 우리가 함께 읽은 것에서 분명합니다.",
    "pl": "Wynika to jasno z tego, co razem przeczytaliśmy.",
    "pt": "Isso fica claro pelo que lemos juntos na aula.",
    "ro": "Acest lucru reiese clar din ceea ce am citit împreună.",
    "ru": "Это ясно из того, что мы вместе прочитали.",
    "sw": "Hili liko wazi kutokana na yale tuliyosoma pamoja.",
    "te": "మనం కలిసి చదివిన దాని నుండి ఇది స్పష్టంగా తెలుస్తుంది.",
    "th": "เรื่องนี้ชัดเจนจากสิ่งที่เราอ่านด้วยกัน",
    "tr": "Bu, birlikte okuduklarımızdan açıkça anlaşılıyor.",
    "vi": "Điều này rõ ràng từ những gì chúng ta đã đọc cùng nhau.",
    "yo": "Èyí hàn kedere láti inú ohun tí a jọ kà.",
    "zh": "从我们一起读到的内容可以清楚地看出这一点。",
}


def rows_of_every_language(shift: int) -> list[Answer]:
    """Each language's gold answers in its own phrase, given to the item ``shift`` places on."""
    identifier = make_identifier("lingua", tuple(LANGUAGES))
    rows = []
    for language, entry in LANGUAGES.items():
        texts = [f"{entry.native_name} {sign}" for sign in ("1x", "2y", "3z", "4w")]
        for kind, golds in (("sums", ["1205", "38", "4", "17.5"]), ("choice", list("ABCD")),
                            ("passage", texts)):  # fmt: skip
            for place, gold in enumerate(golds):
                options = tuple(
                    Option(letter, text, language, letter == gold)
                    for letter, text in zip("ABCD", texts)
                )
                prompt = replace(
                    make_prompt(
                        kind,  # type: ignore[arg-type]
                        language,
                        gold=(gold,),
                        options=options if kind == "choice" else (),
                        passage=" / ".join(texts) if kind == "passage" else None,
                        item_id=f"{kind}-{place}",
                    ),
                    benchmark=kind,
                )
                said = golds[(place + shift) % 4].replace(
                    ".", entry.decimal_mark if kind == "sums" else "."
                )
                phrase = entry.texts.answer_phrase.format(answer=said)
                completion = Completion(
                    prompt.prompt_id, f"{EXPLANATIONS[language]} {phrase}", None, "stop", 9
                )
                rows.append(
                    score_answer(completion, prompt, identifier, ScoreConfig(), frozenset())
                )
    return rows


def test_gold_answers_in_23_languages_are_right_and_shuffled_ones_at_chance() -> None:
    gold = summarise(rows_of_every_language(0), "gold")
    assert len(gold.cells) == 23 * 3
    for cell in gold.cells:
        assert cell.task_accuracy.value == 1.0, (cell.benchmark, cell.language)
        assert cell.outcomes["unscored"] == 0
    assert gold.overall[-1].language_consistency.value == 1.0
    every = [row for shift in range(4) for row in rows_of_every_language(shift)]
    for row in summarise(every, "shuffled").cells:
        if row.benchmark != "passage":  # there the language's name is shared by all spans
            assert row.task_accuracy.value == 0.25, (row.benchmark, row.language)


def test_summary_counts_by_hand() -> None:
    rows = [
        plain_answer(item_id="1"),
        plain_answer(item_id="2", language_correct=False, outcome="consistency_bottleneck",
                  answer_language="en", line_pass=False),
        plain_answer(item_id="3", task_correct=None, outcome="unscored", reason="no_number"),
        plain_answer(item_id="4", task_correct=False, language_correct=None, outcome="unscored",
                  reason="too_short", answer_language=None, line_pass=None),
    ]  # fmt: skip
    cell = summarise(rows, "m").cells[0]
    assert (cell.n, cell.n_scored) == (4, 2)
    assert cell.task_accuracy.value == pytest.approx(2 / 3)
    assert cell.task_accuracy.n == 3
    assert cell.task_accuracy.low == pytest.approx(wilson(2, 3).low)
    assert cell.language_consistency.value == pytest.approx(2 / 3)
    assert cell.outcomes == {
        "both": 1, "transfer_bottleneck": 0, "consistency_bottleneck": 1, "neither": 0, "unscored": 2,
    }  # fmt: skip
    assert cell.reasons == {"no_number": 1, "too_short": 1}
    assert cell.answer_languages == {"fr": 2, "en": 1, "unidentified": 1}
    assert cell.line_pass_rate == pytest.approx(2 / 3)
    assert (cell.word_pass_rate, cell.lcpr) == (None, None)
    assert (cell.f1, cell.thinking_consistency) == (None, None)


def test_cells_have_a_fixed_order_whatever_the_rows_order() -> None:
    rows = [
        plain_answer(benchmark=benchmark, language=language, scenario=scenario)
        for benchmark in ("choice", "sums")
        for language in ("ar", "en", "fr")
        for scenario in ("bilingual_answer", "code_mixed", "monolingual")
    ]
    mixed = random.Random(0).sample(rows, len(rows))
    used = [
        BenchmarkUse(name, name, "test", "", {}, {}, {}, ())  # type: ignore[arg-type]
        for name in ("sums", "choice")
    ]
    orders: dict[str, Any] = {"benchmarks": used, "languages": ["fr", "ar"]}
    first, second = summarise(rows, "m", **orders), summarise(mixed, "m", **orders)
    assert first == second
    keys = [(cell.benchmark, cell.language, cell.scenario) for cell in first.cells]
    assert keys[:3] == [
        ("sums", "fr", "monolingual"), ("sums", "fr", "code_mixed"), ("sums", "fr", "bilingual_answer"),
    ]  # fmt: skip
    assert [key[1] for key in keys[::3]] == ["fr", "ar", "en"] * 2
    assert [row.scenario for row in first.overall] == [
        "monolingual", "code_mixed", "bilingual_answer", None,
    ]  # fmt: skip


def test_pooled_rows_are_clustered_and_count_a_coinciding_prompt_once() -> None:
    rows = [
        plain_answer(item_id=str(i), language=language, task_correct=i % 3 == 0)
        for i in range(12)
        for language in ("fr", "ar")
    ]
    repeated = plain_answer(
        item_id="0", language="en", scenario="code_mixed", coincides_with="monolingual"
    )
    summary = summarise([*rows, repeated], "m")
    over_all = summary.overall[-1]
    expected = clustered_rate(
        [i % 3 == 0 for i in range(12) for _ in "ab"], [i for i in range(12) for _ in "ab"]
    )
    assert over_all.n == 24
    assert over_all.task_accuracy.low == pytest.approx(expected.low)
    assert over_all.task_accuracy.low < wilson(8, 24).low
    marked = [cell for cell in summary.cells if cell.coincides_with]
    assert [(cell.language, cell.n) for cell in marked] == [("en", 1)]
    code_mixed = next(row for row in summary.overall if row.scenario == "code_mixed")
    assert code_mixed.n == 0
    assert code_mixed.task_accuracy == NO_DATA


def test_language_preference_counts_picked_options() -> None:
    rows = [
        plain_answer(item_id=str(i), scenario="bilingual_answer", option_language=language)
        for i, language in enumerate(["fr", "fr", "en", None])
    ]
    preference = summarise(rows, "m").cells[0].language_preference
    assert preference.n == 3
    assert preference.target_share == pytest.approx(2 / 3)
    assert preference.shares == {"fr": pytest.approx(2 / 3), "en": pytest.approx(1 / 3)}
    other = summarise([plain_answer(option_language="fr")], "m").cells[0]
    assert other.language_preference is None


def test_a_model_that_always_answers_a_earns_what_the_letter_earns() -> None:
    """Ten of A, right in three: .3 expected and found. Then A and B half and half by hand."""
    always = [
        plain_answer(
            kind="choice", item_id=str(i), extracted="A", gold=("A" if i < 3 else "B",), n_options=4,
            task_correct=i < 3,
        )
        for i in range(10)
    ]  # fmt: skip
    cell = summarise(always, "m").cells[0]
    assert cell.letters is not None
    assert (cell.letters.n, cell.letters.counts, cell.letters.entropy) == (10, {"A": 10}, 0.0)
    assert cell.letters.expected == pytest.approx(0.3)
    assert cell.task_accuracy.value == pytest.approx(0.3)
    assert cell.letters.guess == 0.25
    mixed = [
        plain_answer(kind="choice", item_id="1", extracted="A", gold=("A", "C"), n_options=4),
        plain_answer(kind="choice", item_id="2", extracted="B", gold=("B",), n_options=2),
        plain_answer(kind="choice", item_id="3", extracted=None, gold=("B",), n_options=4),
    ]
    letters = summarise(mixed, "m").cells[0].letters
    assert letters is not None
    assert (letters.n, letters.entropy, letters.expected) == (2, 1.0, 0.5)
    assert letters.guess == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert summarise([plain_answer()], "m").cells[0].letters is None


def test_an_english_option_named_in_the_right_language_is_not_plainly_consistent() -> None:
    """ "La respuesta es: B", where B is English: consistent in its words, not in what it picks."""
    rows = [
        plain_answer(item_id=str(i), scenario="english_distractor", option_language=language)
        for i, language in enumerate(["en", "en", "fr", None])
    ]
    cell = summarise(rows, "m").cells[0]
    assert cell.language_consistency.value == 1.0
    assert cell.consistent_with_option.value == 0.5
    assert (cell.picked_in_target.value, cell.picked_in_target.n) == (pytest.approx(1 / 3), 3)
    plain = summarise([plain_answer(option_language="fr")], "m").cells[0]
    assert plain.picked_in_target.n == 0


def test_loops_mixtures_and_the_reasoning_alone_are_counted() -> None:
    rows = [
        plain_answer(item_id="1", repeats=True, reasoning_language_correct=True),
        plain_answer(
            item_id="2", language_correct=False, language_reason="mixed", answer_language=None,
            reasoning_language_correct=False,
        ),
        plain_answer(item_id="3", reasoning_language_correct=None),
    ]  # fmt: skip
    cell = summarise(rows, "m").cells[0]
    assert (cell.n_repeating, cell.n_mixed) == (1, 1)
    assert cell.language_consistency.value == pytest.approx(2 / 3)
    assert (cell.reasoning_consistency.value, cell.reasoning_consistency.n) == (0.5, 2)


def test_word_pass_rate_is_among_lines_that_passed() -> None:
    rows = [
        plain_answer(language="ar", line_pass=line, word_pass=word)
        for line, word in ((True, True), (True, False), (True, True), (False, None))
    ]
    cell = summarise(rows, "m").cells[0]
    assert cell.line_pass_rate == 0.75
    assert cell.word_pass_rate == pytest.approx(2 / 3)
    assert cell.lcpr == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))


def test_summary_of_nothing() -> None:
    measured = IdentifierAccuracy("lingua", ("en",), "items", {})
    summary = summarise([], "m", identifier=measured)
    assert summary.cells == ()
    assert [row.n for row in summary.overall] == [0]
    assert summary.identifier == measured


def test_xquad_gold_answers_are_right(benchmarks_dir: Path) -> None:
    """The benchmark's own spans, in its twelve languages, put into each language's closing sentence."""
    for path in sorted((benchmarks_dir / "xquad").glob("xquad.*.json")):
        language = path.suffixes[0][1:]
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
        wrong = n = 0
        for paragraph in [p for article in data for p in article["paragraphs"]][::12]:
            for question in paragraph["qas"]:
                gold = question["answers"][0]["text"]
                prompt = make_prompt(
                    "passage", language, gold=(gold,), passage=paragraph["context"]
                )
                answer = LANGUAGES[language].texts.answer_phrase.format(answer=gold)
                row = score_answer(
                    Completion("1", answer, None, "stop", 1), prompt,
                    make_identifier("lingua", SIX), ScoreConfig(), frozenset(),
                )  # fmt: skip
                n += 1
                wrong += not row.exact_match
        assert n > 50
        assert wrong / n <= 0.02, (language, wrong, n)


def test_questions_on_one_passage_are_one_cluster_in_cells_and_pools() -> None:
    values = {"a1": True, "a2": True, "b1": False, "b2": False, "c1": True, "c2": False}
    rows = [plain_answer(item_id=k, group=k[0], task_correct=v) for k, v in values.items()]
    summary = summarise(rows, "m")
    expected = clustered_rate(list(values.values()), [name[0] for name in values])
    assert summary.cells[0].task_accuracy == expected
    assert summary.over_all.task_accuracy == expected
    assert summary.cells[0].n_items["all"] == 6
