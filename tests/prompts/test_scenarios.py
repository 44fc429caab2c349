"""Prompts of the four scenarios against texts written out by hand."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from linguamap.benchmarks import load_benchmark
from linguamap.generation.encoding import render_chat
from linguamap.generation.thinking import answer_ends
from linguamap.prompts.answer_options import near_misses
from linguamap.prompts.sampling import pick_items
from linguamap.prompts.scenarios import (
    render,
    render_all,
    split_items,
    training_examples,
)
from linguamap.records import (
    PAPER_SCENARIOS,
    Benchmark,
    Item,
    Kind,
    Option,
    Part,
    Prompt,
    Scenario,
    UserError,
)


def item(kind: Kind, language: str, number: int = 1, **values: object) -> Item:
    fields: dict[str, object] = {
        "item_id": f"{kind}-{number}", "benchmark": kind, "kind": kind, "language": language,
        "split": "train", **values,
    }  # fmt: skip
    return Item(**fields)  # type: ignore[arg-type]


def benchmark(*items: Item, english: bool = True) -> Benchmark:
    tables: dict[str, tuple[Item, ...]] = {}
    for one in items:
        tables[one.language] = (*tables.get(one.language, ()), one)
    own = tables.get("en", ()) if english else ()
    if not english:
        tables.pop("en", None)
    return Benchmark(items[0].benchmark, items[0].kind, "train", tables, english=own)


SUMS = benchmark(
    item("sums", "en", question="What is two plus two?", gold=("4",), wrong=("3", "5", "8"),
         explanation="Two and two make 4."),
    item("sums", "fr", question="Combien font deux plus deux ?", gold=("4",),
         wrong=("3", "5", "8"), explanation="Deux et deux font 4."),
    item("sums", "ja", question="2たす2は？", gold=("4",), wrong=("3", "5", "8"),
         explanation="2と2で4です。"),
)  # fmt: skip
CHOICE = benchmark(
    item("choice", "en", question="Which animal barks?", gold=("B",),
         options=("The cat", "The dog", "The hen", "The fish"), explanation="Dogs bark."),
    item("choice", "fr", question="Quel animal aboie ?", gold=("B",),
         options=("Le chat", "Le chien", "La poule", "Le poisson"),
         explanation="Les chiens aboient."),
)  # fmt: skip
PASSAGE = benchmark(
    item("passage", "en", question="Who eats?", gold=("the duck",), passage="There the duck eats.",
         wrong=("the cow", "the cat", "the dog"), explanation="It is eating."),
    item("passage", "fr", question="Qui mange ?", gold=("le canard",),
         passage="Là, le canard mange.", wrong=("la vache", "le chat", "le chien"),
         explanation="Il est en train de manger."),
)  # fmt: skip

ENGLISH_SUM = """You are a careful assistant. Answer in {language}.
Solve the problem. Explain the calculation in one or two short sentences, then give the final number.

Question: {question}
Answer:"""

FRENCH_SUM = """Tu es un assistant rigoureux. Réponds en français.
Résous le problème. Explique le calcul en une ou deux phrases courtes, puis donne le nombre final.

Question : Combien font deux plus deux ?
Réponse :"""

FRENCH_CHOICE = """Tu es un assistant rigoureux. Réponds en français.
Choisis la bonne option. Explique pourquoi en une phrase, puis donne la lettre de cette option.

Question : Quel animal aboie ?
Options :
A) {}
B) {}
C) {}
D) {}
Réponse :"""

ENGLISH_CHOICE = """You are a careful assistant. Answer in {}.
Choose the right option. Explain why in one sentence, then give its letter.

Question: {}
Options:
A) {}
B) {}
C) {}
D) {}
Answer:"""

FRENCH_PASSAGE = """Tu es un assistant rigoureux. Réponds en français.
Lis le texte et réponds à la question. Justifie ta réponse en une phrase, puis donne-la avec des mots copiés du texte.

Texte : Là, le canard mange.
Question : Qui mange ?
Réponse :"""

ENGLISH_PASSAGE = """You are a careful assistant. Answer in {}.
Read the passage and answer the question. Explain in one sentence, then give the answer as words copied from the passage.

Passage: {}
Question: {}
Answer:"""


def one(found: Benchmark, scenario: str, language: str, **options: object) -> Prompt:
    chosen = found.items[language][0]
    return render(found, scenario, language, chosen, **options)  # type: ignore[arg-type]


def _shown(prompt: Prompt) -> list[str]:
    return [option.text for option in prompt.options]


def test_monolingual() -> None:
    assert one(SUMS, "monolingual", "fr").text == FRENCH_SUM
    english = ENGLISH_SUM.format(language="English", question="What is two plus two?")
    assert one(SUMS, "monolingual", "en").text == english
    prompt = one(CHOICE, "monolingual", "fr")
    assert prompt.text == FRENCH_CHOICE.format(*_shown(prompt))
    assert sorted(_shown(prompt)) == ["La poule", "Le chat", "Le chien", "Le poisson"]
    assert one(PASSAGE, "monolingual", "fr").text == FRENCH_PASSAGE
    assert one(PASSAGE, "monolingual", "en").text == ENGLISH_PASSAGE.format(
        "English", "There the duck eats.", "Who eats?"
    )


def test_code_mixed() -> None:
    question = "Combien font deux plus deux ?"
    expected = ENGLISH_SUM.format(language="French", question=question)
    assert one(SUMS, "code_mixed", "fr").text == expected
    prompt = one(CHOICE, "code_mixed", "fr")
    assert prompt.text == ENGLISH_CHOICE.format("French", "Quel animal aboie ?", *_shown(prompt))
    assert one(PASSAGE, "code_mixed", "fr").text == ENGLISH_PASSAGE.format(
        "French", "Là, le canard mange.", "Qui mange ?"
    )


def test_japanese() -> None:
    assert one(SUMS, "monolingual", "ja").text == (
        "あなたは注意深いアシスタントです。 日本語で答えてください。\n"
        "問題を解いてください。計算の過程を一つか二つの短い文で説明し、"
        "そのあと最終的な数値を書いてください。\n\n質問： 2たす2は？\n答え："
    )
    reference = (Part("R", " 2と2で4です。"), Part("A", "答えは4です。"))
    assert one(SUMS, "monolingual", "ja").reference == reference


def test_english_distractor_keeps_the_order_of_the_options() -> None:
    """Only the language differs from monolingual, and only the right option keeps it."""
    plain, prompt = one(CHOICE, "monolingual", "fr"), one(CHOICE, "english_distractor", "fr")
    english = {"Le chat": "The cat", "La poule": "The hen", "Le poisson": "The fish"}
    assert _shown(prompt) == [english.get(text, text) for text in _shown(plain)]
    assert prompt.text == FRENCH_CHOICE.format(*_shown(prompt))
    assert [option.language for option in prompt.options if option.correct] == ["fr"]
    assert prompt.gold == plain.gold == (chr(ord("A") + _shown(plain).index("Le chien")),)


def _many(kind: Benchmark, n: int) -> Benchmark:
    """The item ``n`` times over, each in a group of its own."""
    items = {
        code: tuple(dataclasses.replace(one, item_id=f"{one.item_id}-{k}") for k in range(n))
        for code, (one,) in kind.items.items()
    }
    english = tuple(
        dataclasses.replace(kind.english[0], item_id=f"{kind.english[0].item_id}-{k}")
        for k in range(n)
    )
    return dataclasses.replace(kind, items=items, english=english)


@pytest.mark.parametrize("scenario", PAPER_SCENARIOS)
@pytest.mark.parametrize("n_items", [8, 24])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_letter_is_right_equally_often(scenario: Scenario, n_items: int, seed: int) -> None:
    """A model that always says A is right in a quarter; in file order it was in 1 of 8 or 5 of 8."""
    prompts = render_all(_many(CHOICE, 24), ["fr"], [scenario], n_items=n_items, seed=seed)
    own = Counter(
        option.letter
        for prompt in prompts
        for option in prompt.options
        if option.correct and option.language == "fr"
    )
    assert own == dict.fromkeys("ABCD", n_items // 4)
    if scenario == "bilingual_answer" and n_items == 24:
        right = Counter(
            (prompt.gold[0], prompt.gold[1]) for prompt in prompts
        )  # twelve pairs of places of the two right ones, unordered six, equally often
        assert set(right.values()) == {4}


@pytest.mark.parametrize("found", [SUMS, PASSAGE], ids=["sums", "passage"])
def test_each_place_holds_the_right_candidate_equally_often(found: Benchmark) -> None:
    prompts = render_all(_many(found, 24), ["fr"], ["english_distractor"], n_items=8)
    places = Counter([option.correct for option in p.options].index(True) for p in prompts)
    assert places == dict.fromkeys(range(4), 2)


CANDIDATES = " Choisis parmi les réponses proposées ci-dessous."


@pytest.mark.parametrize(
    ("found", "plain", "offered"),
    [
        (SUMS, FRENCH_SUM,
         ["Le résultat est 4.", "The result is 3.", "The result is 5.", "The result is 8."]),
        (PASSAGE, FRENCH_PASSAGE, ["le canard", "the cow", "the cat", "the dog"]),
    ],
)  # fmt: skip
def test_candidates_of_the_english_distractor(
    found: Benchmark, plain: str, offered: list[str]
) -> None:
    text = one(found, "english_distractor", "fr").text
    head, question = plain.replace("\n\n", CANDIDATES + "\n\n", 1).rsplit("Réponse :", 1)
    assert question == ""
    assert text.startswith(head + "Réponses proposées :\n- ")
    assert text.endswith("\nRéponse :")
    lines = text.removeprefix(head + "Réponses proposées :\n").removesuffix("Réponse :")
    assert sorted(lines.split("\n")[:-1]) == sorted(f"- {option}" for option in offered)


def test_bilingual_answer_offers_the_right_one_twice() -> None:
    prompt = one(CHOICE, "bilingual_answer", "fr")
    right = {(option.text, option.language) for option in prompt.options if option.correct}
    assert right == {("Le chien", "fr"), ("The dog", "en")}
    wrong = [option for option in prompt.options if not option.correct]
    assert sorted(option.language for option in wrong) == ["en", "fr"]
    table = {"Le chat": "The cat", "La poule": "The hen", "Le poisson": "The fish"}
    french, english = sorted(wrong, key=lambda option: option.language == "en")
    assert french.text in table
    assert english.text in set(table.values()) - {table[french.text]}
    letters = [option.letter for option in prompt.options]
    assert letters == ["A", "B", "C", "D"]
    assert set(prompt.gold) == {option.letter for option in prompt.options if option.correct}
    own = next(option.letter for option in prompt.options if option.text == "Le chien")
    assert prompt.reference[1].text == f" La réponse est : {own}."
    assert one(PASSAGE, "bilingual_answer", "fr").gold == ("le canard", "the duck")


def test_a_right_answer_with_one_text_is_offered_once() -> None:
    french = dataclasses.replace(
        CHOICE.items["fr"][0], options=("Le chat", "the dog", "La poule", "Le poisson")
    )
    found = dataclasses.replace(CHOICE, items={"fr": (french,), "en": CHOICE.english})
    prompt = one(found, "bilingual_answer", "fr")
    assert [option.text for option in prompt.options if option.correct] == ["the dog"]
    assert len({option.text for option in prompt.options}) == 4


@pytest.mark.parametrize("found", [SUMS, CHOICE, PASSAGE], ids=["sums", "choice", "passage"])
def test_order_is_the_same_in_every_language(found: Benchmark) -> None:
    codes = [code for code in ("fr", "ja") if code in found.items]
    third = dataclasses.replace(
        found.items["fr"][0], language="es", options=tuple(f"o{n}" for n in range(4)),
        wrong=("w1", "w2", "w3") if found.kind == "passage" else found.items["fr"][0].wrong,
        gold=("le",) if found.kind == "passage" else found.items["fr"][0].gold,
    )  # fmt: skip
    wider = dataclasses.replace(found, items={**found.items, "es": (third,)})
    for scenario in PAPER_SCENARIOS:
        for seed in range(4):
            shapes = {
                tuple(
                    (option.letter, option.language == "en", option.correct)
                    for option in one(wider, scenario, code, seed=seed).options
                )
                for code in [*codes, "es"]
            }
            assert len(shapes) == 1
    orders = {
        tuple(option.correct for option in one(found, "bilingual_answer", "fr", seed=seed).options)
        for seed in range(12)
    }
    assert len(orders) > 1


def test_english_scenarios_that_coincide_are_marked() -> None:
    def marks(found: Benchmark) -> list[str | None]:
        return [prompt.coincides_with for prompt in render_all(found, ["en"], PAPER_SCENARIOS)]

    assert marks(CHOICE) == [None, "monolingual", "monolingual", "monolingual"]
    assert marks(SUMS) == [None, "monolingual", None, "english_distractor"]
    assert marks(PASSAGE) == [None, "monolingual", None, "english_distractor"]
    french = render_all([SUMS, CHOICE, PASSAGE], ["fr"], PAPER_SCENARIOS)
    assert {prompt.coincides_with for prompt in french} == {None}
    assert [prompt.coincides_with for prompt in render_all(SUMS, ["en"], ["code_mixed"])] == [None]


def test_reference_is_in_the_target_language() -> None:
    expected = (Part("R", " Deux et deux font 4."), Part("A", " La réponse est : 4."))
    assert one(SUMS, "code_mixed", "fr").reference == expected
    assert one(SUMS, "english_distractor", "fr").reference == expected
    choice = one(CHOICE, "code_mixed", "fr")
    assert choice.reference[1].text == f" La réponse est : {choice.gold[0]}."
    assert one(PASSAGE, "code_mixed", "fr").reference[1].text == " La réponse est : le canard."
    bare = dataclasses.replace(SUMS.items["fr"][0], explanation=None)
    assert render(SUMS, "monolingual", "fr", bare).reference == ()


def test_the_language_can_be_left_unnamed() -> None:
    prompt = one(SUMS, "code_mixed", "fr", name_language=False)
    assert prompt.parts[0] == Part("P", "You are a careful assistant.\n")
    assert one(SUMS, "monolingual", "fr", name_language=False).text == FRENCH_SUM.replace(
        " Réponds en français.", ""
    )


def test_parts_carry_their_roles() -> None:
    prompt = one(PASSAGE, "code_mixed", "fr")
    asked = "".join(part.text for part in prompt.parts if part.role == "Q")
    assert asked == "Là, le canard mange.\nQui mange ?\n"
    preamble = [part.text for part in prompt.parts if part.role == "P"]
    assert preamble == ["You are a careful assistant. Answer in French.\n"]


def test_chat_messages() -> None:
    assert render_chat(one(SUMS, "monolingual", "fr")) == [
        {"role": "system", "content": "Tu es un assistant rigoureux. Réponds en français."},
        {
            "role": "user",
            "content": "Résous le problème. Explique le calcul en une ou deux phrases courtes, "
            "puis donne le nombre final.\n\nQuestion : Combien font deux plus deux ?",
        },
    ]


def test_language_confusion_requests_are_sent_as_they_are() -> None:
    requests = [
        item("open", "fr", n, benchmark="lcb", question=text, gold=(), subject=f"{task}/okapi")
        for n, (task, text) in enumerate(
            [("monolingual", "Parle-moi des pommes."), ("crosslingual", "Tell me why, in French.")]
        )
    ]
    found = dataclasses.replace(benchmark(*requests), name="lcb", aligned=False, bare=True)
    prompts = render_all(found, ["fr"], PAPER_SCENARIOS)
    assert [prompt.scenario for prompt in prompts] == ["monolingual", "code_mixed"]
    assert render_chat(prompts[1]) == [{"role": "user", "content": "Tell me why, in French."}]
    # The layout of the benchmark's own turns_to_prompt for base models, without examples.
    assert prompts[0].text == "Q: Parle-moi des pommes.\nA:"
    assert prompts[1].text == "Q: Tell me why, in French.\nA:"
    assert render_chat(prompts[0]) == [{"role": "user", "content": "Parle-moi des pommes."}]
    assert prompts[0].named_parts == (("label", 3), ("question", 22), ("answer_label", 2))
    assert prompts[0].question == "Parle-moi des pommes."
    assert [part.role for part in prompts[0].parts] == ["I", "Q", "I"]
    # Its rule judges line by line up to the next question; elsewhere an answer is one line.
    assert answer_ends(("\n",), prompts[0].bare) == ("\nQ:",)
    assert answer_ends((), prompts[0].bare) == ()
    assert answer_ends(("\n",), one(SUMS, "monolingual", "fr").bare) == ("\n",)
    with pytest.raises(UserError, match="none of the scenarios bilingual_answer applies"):
        render_all(found, ["fr"], ["bilingual_answer"])
    with pytest.raises(UserError, match="english_distractor does not apply to item open-0"):
        render(found, "english_distractor", "fr", requests[0])


def test_english_answers_need_english_items() -> None:
    alone = benchmark(CHOICE.items["fr"][0], english=False)
    with pytest.raises(UserError, match="there are no English items"):
        one(alone, "english_distractor", "fr")
    sums = benchmark(SUMS.items["fr"][0], english=False)
    texts = {option.text for option in one(sums, "english_distractor", "fr").options}
    assert texts == {
        "Le résultat est 4.", "The result is 3.", "The result is 5.", "The result is 8."
    }  # fmt: skip


def test_near_misses_of_a_number() -> None:
    assert sorted(near_misses("18"), key=int) == ["8", "9", "16", "17", "19", "20", "28", "36"]
    assert sorted(near_misses("3"), key=int) == ["1", "2", "4", "5", "6", "13"]
    assert sorted(near_misses("1"), key=int) == ["2", "3", "11"]
    assert "0.25" in near_misses("0.5")
    assert "1.5" in near_misses("0.5")


def test_decimal_marks_follow_the_language() -> None:
    half = dataclasses.replace(SUMS.items["fr"][0], gold=("0.5",), wrong=("1.5", "2.5", "3.5"))
    found = benchmark(half, dataclasses.replace(half, language="en"))
    prompt = one(found, "bilingual_answer", "fr")
    texts = {option.text for option in prompt.options if option.correct}
    assert texts == {"Le résultat est 0,5.", "The result is 0.5."}
    assert prompt.gold == ("0.5",)
    assert prompt.reference[1].text == " La réponse est : 0,5."


def spans(language: str, answers: list[tuple[str, str]]) -> list[Item]:
    passage = " ".join(answer for answer, _ in answers)
    return [
        item("passage", language, n, question="?", gold=(answer,), passage=passage, group=group)
        for n, (answer, group) in enumerate(answers)
    ]


def test_wrong_spans_come_from_the_same_passage_and_never_overlap() -> None:
    french = [("Paris", "a"), ("à Paris", "a"), ("Lyon", "a"), ("1999", "a"), ("Nice", "b"),
              ("Lille", "b")]  # fmt: skip
    english = [("Paris", "a"), ("in Paris", "a"), ("Lyons", "a"), ("1999", "a"), ("Nice", "b"),
               ("Lille", "b")]  # fmt: skip
    found = benchmark(*spans("fr", french), *spans("en", english))
    options: tuple[Option, ...] = one(found, "english_distractor", "fr").options
    wrong = {option.text for option in options if not option.correct}
    assert {"Lyons", "1999"} <= wrong
    assert "in Paris" not in wrong
    assert len(wrong) == 3
    lonely = benchmark(*spans("fr", french[:1]), *spans("en", english[:1]))
    with pytest.raises(UserError, match="passage-0: there is no wrong answer to offer"):
        one(lonely, "english_distractor", "fr")


def test_picks_are_nested_spread_over_groups_and_alike() -> None:
    items = spans("fr", [(f"answer {n}", f"group {n // 5}") for n in range(40)])
    few, more = pick_items(items, 8, 0), pick_items(items, 16, 0)
    assert len({one.group for one in few}) == 8
    assert {one.item_id for one in few} < {one.item_id for one in more}
    english = [dataclasses.replace(one, language="en", question="!") for one in items]
    assert [one.item_id for one in pick_items(english, 8, 0)] == [one.item_id for one in few]
    assert pick_items(items, 8, 1) != few
    assert pick_items(items, 99, 0) == items


def test_examples_need_reasoning() -> None:
    plain = dataclasses.replace(SUMS.items["fr"][0], explanation=None)
    with pytest.raises(UserError, match="sums: no training item has worked reasoning"):
        training_examples(benchmark(plain), ["fr"], PAPER_SCENARIOS)


def test_fewer_examples_come_back_if_there_are_fewer() -> None:
    # fr and ja have four prompts each; of English, two coincide with others.
    assert len(training_examples(SUMS, ["en", "fr", "ja"], PAPER_SCENARIOS, 50)) == 10
    assert len(training_examples(SUMS, ["en", "fr", "ja"], PAPER_SCENARIOS, 7)) == 7


def test_validation_items_are_split_by_group_over_languages() -> None:
    items = [
        item("sums", code, n, question="?", gold=("1",), explanation="!", group=f"group {n // 4}")
        for code in ("en", "fr")
        for n in range(40)
    ]
    prompts = training_examples(benchmark(*items), ["en", "fr"], PAPER_SCENARIOS)
    train, validation = split_items(prompts, 0.2, 0)
    groups = [{prompt.group for prompt in side} for side in (train, validation)]
    assert not groups[0] & groups[1]
    assert (len(groups[0]), len(groups[1])) == (8, 2)
    assert len(train) + len(validation) == len(prompts)
    assert {prompt.language for prompt in validation} == {"en", "fr"}
    assert split_items(prompts, 0.0, 0).validation == []
    assert len({prompt.group for prompt in split_items(prompts, 0.01, 0).validation}) == 1


def test_real_passages_offer_three_wrong_spans(benchmarks_dir: Path) -> None:
    found = load_benchmark("xquad", ["es", "hi"], "test", folder=benchmarks_dir)
    prompts = render_all(found, ["es", "hi"], ["english_distractor", "bilingual_answer"], 60)
    assert len(prompts) == 2 * 2 * 60
    for prompt in prompts:
        assert len(prompt.options) == 4
        assert len({option.text.casefold() for option in prompt.options}) == 4
