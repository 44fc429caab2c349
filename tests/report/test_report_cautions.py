"""What the first screen owes its reader: counts, differences that add up, what was read, what to doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from answers import plain_answer
from test_report_words import in_words, measure, row

from linguamap.charts.naming import change_figures
from linguamap.config import ProbeConfig
from linguamap.probes.texts import LensText, count_sources
from linguamap.records import Part, Prompt
from linguamap.report.benchmark_rows import benchmark_rows
from linguamap.report.change_sentences import change
from linguamap.report.findings import find
from linguamap.report.lens_words import largest_move, texts_read
from linguamap.report.run_values import RunData
from linguamap.run.contents import as_json
from linguamap.scoring.summary import summarise

SETTINGS = {"languages": ["en", "hi"], "probe": ProbeConfig().model_dump()}


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
    # 120 prompts of 60 questions; the language of 110 could be told, 55 are in Hindi.
    rows = [row(i % 60, i % 4 == 0, "hi" if i < 55 else "en" if i < 110 else None,
                scenario=("monolingual", "code_mixed")[i // 60]) for i in range(120)]  # fmt: skip
    text = in_words(dict(find(RunData(Path(), SETTINGS, before=rows)).paragraphs)["What it does"])
    assert "Asked 120 prompts (60 questions in one language and two scenarios)" in text
    assert "50% (" in text
    assert ", n = 110) of the answers whose language could be told" in text
    # Of the first 55 every fourth is right: 14 of 120 are right in both.
    assert "Right in both, of all prompts: 12% (" in text


def test_empty_answers_are_called_empty_and_no_wrong_language() -> None:
    empty = {"answer": "", "reason": "empty", "language_correct": False, "thinking": "Let me see."}
    rows = [row(i, False, None) | empty for i in range(10)]
    found = find(RunData(Path(), SETTINGS, before=rows))
    assert "10 of 10 answers" in found.headline
    assert "are empty" in found.headline
    said = " ".join(in_words([sentence]) for sentence in found.cautions)
    assert "10 of 10 answers before tuning are empty" in said
    assert "With 10 of them came reasoning" in said
    assert "empty" not in find(RunData(Path(), SETTINGS, before=[row(0, True, "hi")])).headline


def tuned(before: list[dict[str, Any]], after: list[dict[str, Any]], **more: Any) -> str:
    data = RunData(Path(), SETTINGS, before=before, after=after, tuning={"method": "full"}, **more)
    return in_words(change(data, []))


def test_the_plainest_result_counts_all_prompts() -> None:
    before = [row(i, True, "hi" if i < 2 else None) for i in range(10)]
    after = [row(i, True, "hi" if i < 6 else "en") for i in range(10)]
    text = tuned(before, after)
    assert "Right in both task and language were 2 answers before and 6 after" in text
    assert "of all 10 prompts: +40 points (" in text


def test_a_language_whose_accuracy_clearly_fell_is_named_with_how_many_were_looked_at() -> None:
    fell, same = measure(0.31, 0.13, -0.34, -0.02, 0.065), measure(0.2, 0.2, -0.1, 0.1, 1.0)
    comparison = {
        "languages": {"en": {"task_accuracy": fell | {"n": 39}}, "hi": {"task_accuracy": same}}
    }
    text = tuned([], [], comparison=comparison)
    expected = (
        "Of two languages looked at one by one, one has an interval of task accuracy without 0: "
        "English from 31% to 13%, −18 points (−34 to −2; p = 0.065; n = 39)"
    )
    assert expected in text
    assert "Hindi" not in text
    comparison["languages"].pop("en")
    assert "one by one" not in tuned([], [], comparison=comparison)


def cautions(**more: Any) -> str:
    return in_words(find(RunData(Path(), SETTINGS, **more)).cautions)


def test_an_identifier_that_errs_is_named_with_the_languages() -> None:
    good = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}
    poor = {"value": 0.85, "low": 0.8, "high": 0.89, "n": 300}
    languages = {"en": {"sentences": good, "words": poor}, "hi": {"sentences": good, "words": good},
                 "fr": {"sentences": poor, "words": poor}}  # fmt: skip
    text = cautions(identifier={"name": "lingua", "languages": languages})
    assert "Of words known to be in a language, lingua places right 85% (80–89%, n = 300) in English:" in text  # fmt: skip
    assert "sentences known" not in text  # French is no language of this run
    assert "known to be" not in cautions()


BENCHMARKS = {
    "benchmarks": [
        {
            "name": "mgsm", "source": "files", "items": {"en": 250, "hi": 0},
            "rows_read": {"en": 252, "hi": 0},
            "dropped": [
                {"language": "en", "item_id": "1", "reason": "the answer differs: 3, but 4", "rows": 1},
                {"language": "en", "item_id": "2", "reason": "the answer differs: 5, but 6", "rows": 1},
            ],
        },
        {"name": "xquad", "source": "hub", "items": {"en": 10, "hi": 10}, "dropped": []},
    ]
}  # fmt: skip


def test_what_each_benchmark_used_is_a_row_and_a_missing_language_a_caution() -> None:
    asked = [row(i, True, "hi", benchmark="mgsm") for i in range(3)]
    data = RunData(Path(), SETTINGS, before=asked, summary_before=BENCHMARKS)
    first, second = benchmark_rows(data)
    assert (first.name, first.source, first.asked) == ("MGSM", "files", "3")
    assert first.used == ["250 of 252", "–"]
    assert first.left_out == ["2 English: the answer differs"]
    assert (second.used, second.left_out, second.asked) == (["10", "10"], [], "0")
    text = cautions(summary_before=BENCHMARKS)
    assert "MGSM has no items in Hindi" in text
    assert "XQuAD" not in text
    assert benchmark_rows(RunData(Path())) == []


def read(**facts: Any) -> str:
    return texts_read(RunData(Path(), SETTINGS, probe={"lens": facts}))


def test_the_caption_names_what_the_lens_was_read_on() -> None:
    assert read(n_reference=6, n_stand_in=0, n_generated=0) == (
        "6 given right answers to training prompts, not on the model’s own"
    )
    assert read(n_reference=6, n_stand_in=3, n_generated=0) == (
        "6 given right answers to training prompts and 3 given questions or passages of training "
        "items without one, not on the model’s own answers"
    )
    assert read(n_reference=0, n_stand_in=3).startswith("3 given questions or passages")
    assert read(n_generated=4) == "the model’s own answers to 4 training prompts"
    assert read(texts="generated") == "the model’s own answers to training prompts"
    assert "given questions or passages" in texts_read(RunData(Path(), SETTINGS))


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

    data = RunData(Path(), lens=lens(0.5, 0.1), lens_after=lens(0.44, 0.9))
    assert largest_move(data) == pytest.approx(0.06)
    assert largest_move(RunData(Path(), lens=lens(0.5, 0.1))) is None


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
    summary = as_json(summarise(answers, "m"))
    found = find(RunData(Path(), SETTINGS, before=[], summary_before=summary))
    said = " ".join(in_words([sentence]) for sentence in found.cautions)
    assert "say the same thing three times over: 1 of 8 before tuning" in said
    # A is right in 2 of 8 items and B in 6: 6/8 * 2/8 + 2/8 * 6/8 = 37.5 %.
    assert "75% of the letters are A" in said
    assert "would be right in 38%" in said
    assert "asked for in 50% (" in said
    assert "consistency would be 75% (" in said
