"""What the first screen owes its reader: counts, differences that add up, what was read, what to doubt."""

from __future__ import annotations

from typing import Any

import pytest
from answers import plain_answer
from run_contents import change, changes, code_mixed, comparison, phase_of, run_of, said, tuning

from linguamap.charts.naming import change_figures
from linguamap.config import RunConfig
from linguamap.probes.texts import LensText, count_sources
from linguamap.records import (
    BenchmarkUse,
    Dropped,
    IdentifierAccuracy,
    Part,
    Prompt,
    Rate,
)
from linguamap.report.tables import items_of_rows, rows_left_out
from linguamap.report.words import Words, largest_move
from linguamap.run.contents import ProbeFacts, TextsRead
from linguamap.run.read_run import PhaseContents


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (0.6, 0.96, ("60%", "96%", "+36")),
        (0.6778, 0.9848, ("67.8%", "98.5%", "+30.7")),  # 68% and 98% would make 30
        (0.2111, 0.2090, ("21.1%", "20.9%", "−0.2")),
        (0.995, 1.0, ("99.5%", "100%", "+0.5")),
        (0.5, 0.5, ("50%", "50%", "0")),
        (0.344, 0.226, ("34.4%", "22.6%", "−11.8")),  # 34% and 23% would make 11, not 12
    ],
)
def test_a_difference_is_that_of_the_two_figures_beside_it(
    before: float, after: float, shown: tuple[str, str, str]
) -> None:
    assert change_figures(before, after) == shown


def test_the_first_sentence_says_of_how_many_answers_its_shares_are() -> None:
    # 120 prompts of 60 questions; the language of 110 is identified, 55 are in Hindi.
    answers = [
        code_mixed(i % 60, i % 4 == 0, "hi" if i < 55 else "en" if i < 110 else None,
                   scenario=("monolingual", "code_mixed")[i // 60])
        for i in range(120)
    ]  # fmt: skip
    run = run_of(answers)
    text = said(run, "behaviour")
    assert "Asked 120 prompts (60 questions in one language and two scenarios)" in text
    assert "50% (" in text
    assert ", n = 110) of the answers whose language could be identified" in text
    # Of the first 55 every fourth is right: 14 of 120 are right in both.
    assert said(run, "result").startswith("Right in both task and language, of all prompts: 12% (")


def test_empty_answers_are_called_empty_and_no_wrong_language() -> None:
    empty = {"answer": "", "reason": "empty", "language_correct": False, "thinking": "Let me see."}
    run = run_of([code_mixed(i, False, None, **empty) for i in range(10)])
    assert "10 of 10 answers" in said(run, "headline")
    assert "are empty" in said(run, "headline")
    cautions = said(run, "cautions")
    assert "10 of 10 answers before tuning are empty" in cautions
    assert "With 10 of them came reasoning" in cautions
    assert "empty" not in said(run_of([code_mixed(0, True, "hi")]), "headline")


def test_a_language_whose_accuracy_clearly_fell_is_named_with_how_many_were_looked_at() -> None:
    fell, same = change(0.31, 0.13, -0.34, -0.02, 0.065, n=39), change(0.2, 0.2, -0.1, 0.1, 1.0)
    pools = {"en": changes(task=fell), "hi": changes(task=same)}
    run = run_of(tuning=tuning(), comparison=comparison(changes(), languages=pools))
    text = said(run, "change")
    expected = (
        "Of two languages looked at one by one, one has an interval of task accuracy without 0: "
        "English from 31% to 13%, −18 points (−34 to −2; p = 0.065; n = 39)."
    )
    assert expected in text
    assert "Hindi" not in text
    pools.pop("en")
    assert "one by one" not in said(run, "change")


def test_an_identifier_that_errs_is_named_with_the_languages() -> None:
    good, poor = Rate(0.9, 0.8, 0.95, 100), Rate(0.85, 0.8, 0.89, 300)
    languages = {"en": {"sentences": good, "words": poor}, "hi": {"sentences": good, "words": good},
                 "fr": {"sentences": poor, "words": poor}}  # fmt: skip
    text = said(run_of(identifier=IdentifierAccuracy("lingua", (), "", languages)), "cautions")
    assert "Of words known to be in a language, lingua places right 85% (80–89%, n = 300) in English:" in text  # fmt: skip
    assert "sentences known" not in text  # French is no language of this run
    assert "known to be" not in said(run_of(), "cautions")


def test_what_each_benchmark_used_is_a_row_and_a_missing_language_a_caution() -> None:
    dropped = [Dropped("en", str(i), f"the answer differs: {i}, but 6") for i in (1, 2)]
    first = BenchmarkUse("mgsm", "sums", "test", "files", {"en": 250, "hi": 0}, {"hi": "no file"},
                         {"en": 252, "hi": 0}, tuple(dropped))  # fmt: skip
    second = BenchmarkUse("xquad", "passage", "test", "hub", {"en": 10, "hi": 10}, {}, {}, ())
    assert [items_of_rows(first, code) for code in ("en", "hi")] == ["250 of 252", "–"]
    assert rows_left_out(first) == ["2 English: the answer differs"]
    assert (items_of_rows(second, "hi"), rows_left_out(second)) == ("10", [])
    answers = [code_mixed(i, True, "hi", benchmark="mgsm") for i in range(3)]
    run = run_of(
        before=phase_of(answers, [first, second]), config=RunConfig(languages=["en", "hi"])
    )
    text = said(run, "cautions")
    assert "MGSM has no items in Hindi" in text
    assert "XQuAD" not in text
    assert said(run, "items_used").startswith(
        "MGSM: 8 of 0 to 250 items per cell, from 0 to 252 rows per language; 2 rows left out "
        "(summary.json says why); no items in Hindi"
    )


def read(texts: str = "auto", **facts: int) -> str:
    config = RunConfig.model_validate({"languages": ["en", "hi"], "probe": {"texts": texts}})
    run = run_of(config=config, before=PhaseContents(probe=ProbeFacts(lens=TextsRead(**facts))))
    return Words(html=False).one("texts_read", run)


def test_the_caption_names_what_the_lens_was_read_on() -> None:
    assert (
        read(n_reference=6) == "6 given right answers to training prompts, not on the model’s own"
    )
    assert read(n_reference=6, n_stand_in=3) == (
        "6 given right answers to training prompts and 3 given questions or passages of training "
        "items without one, not on the model’s own answers"
    )
    assert read(n_stand_in=3).startswith("3 given questions or passages")
    assert read(n_generated=4) == "the model’s own answers to 4 training prompts"
    assert read(texts="generated") == "the model’s own answers to training prompts"
    assert "given questions or passages" in read()


def test_the_kinds_of_texts_are_counted() -> None:
    def prompt(reference: str) -> Prompt:
        parts = (Part("Q", "2 + 3?"),)
        answer = (Part("A", reference),) if reference else ()
        return Prompt("i", "sums", "sums", "en", "monolingual", parts, ("5",), reference=answer)

    texts = [LensText("i", "i", "en", "monolingual", "sums", "2 + 3?", "5")] * 3
    prompts = [prompt("5"), prompt("5"), prompt("")]
    assert count_sources(prompts, texts, "auto") == {
        "n_reference": 2, "n_stand_in": 1, "n_generated": 0
    }  # fmt: skip
    assert count_sources(prompts, texts, "generated") == {
        "n_reference": 0, "n_stand_in": 0, "n_generated": 3
    }  # fmt: skip


def test_the_largest_move_is_of_the_language_asked_for() -> None:
    def lens(share: float, other: float) -> list[dict[str, Any]]:
        return [
            {"target_language": "hi", "word_language": code, "layer": 1, "share": value}
            for code, value in (("hi", share), ("en", other))
        ]

    before, after = PhaseContents(lens=lens(0.5, 0.1)), PhaseContents(lens=lens(0.44, 0.9))
    assert largest_move(run_of(before)) is None
    assert largest_move(run_of(before, after)) == pytest.approx(0.06)


def test_loops_blind_letters_and_foreign_options_are_held_against_the_rates() -> None:
    """Eight choices, letter A in six of them; two name an English option in the right language."""
    answers = [
        plain_answer(
            item_id=str(i), kind="choice", benchmark="choice", scenario="english_distractor",
            extracted="A" if i < 6 else "B", gold=("A" if i < 2 else "B",), n_options=4,
            option_language="en" if i < 2 else "fr" if i < 4 else None, repeats=i == 7,
        )
        for i in range(8)
    ]  # fmt: skip
    text = said(run_of(answers), "cautions")
    assert "three times over" not in text  # of more than a tenth, it stands above
    above = said(run_of(answers), "warnings")
    assert "say the same thing three times over: 1 of 8 answers before tuning." in above
    few = [plain_answer(item_id=str(i), repeats=i == 7) for i in range(10)]
    assert "three times over: 1 of 10 answers before tuning." in said(run_of(few), "cautions")
    assert "three times over" not in said(run_of(few), "warnings")
    # A is right in 2 of 8 items and B in 6: 6/8 * 2/8 + 2/8 * 6/8 = 37.5 %.
    assert "6 of 8 letters are A" in text
    assert "would be right in 38%, guessing in 25%" in text
    assert "asked for in 50% (" in text
    assert "consistency would be 75% (" in text
