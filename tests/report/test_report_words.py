"""What the page says: sentences, tables and readings against figures worked out by hand."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import put, write_fake_run
from rich.console import Console
from run_contents import (
    change,
    changes,
    code_mixed,
    comparison,
    layers,
    phase_of,
    run_of,
    said,
    tuning,
)

from linguamap.charts.naming import (
    count,
    duration,
    p_value,
    percent,
    percent_range,
    points,
    size,
    spans,
)
from linguamap.charts.svg import PAGE_DARK, PAGE_LIGHT, language_inks
from linguamap.config import ModelConfig, RunConfig
from linguamap.probes.curves import commitment, overtakings
from linguamap.records import Answer, NonInferiority
from linguamap.report.run_page import write_report
from linguamap.report.tables import language_rows, measure_rows, stage_rows
from linguamap.report.terminal import show_layers, terminal_summary
from linguamap.report.words import Words, environment, missing_stages
from linguamap.run.contents import CurveChanges, Evidence, StageEntry
from linguamap.run.read_run import PhaseContents, RunContents

SIX = ["en", "fr", "es", "ar", "hi", "ja"]


def ten_answers() -> list[Answer]:
    """8 of 10 right; of 9 identifiable 3 in Hindi; of the 6 strayed 5 in English."""
    spoken = ["hi"] * 3 + ["en"] * 5 + ["fr", None]
    return [code_mixed(i, i < 8, language) for i, language in enumerate(spoken)]


def test_the_finding_names_the_worst_case_with_intervals_and_n() -> None:
    run = run_of(ten_answers())
    text = said(run, "behaviour")
    (case,) = run.before.summary.by_language_and_scenario  # type: ignore[union-attr]
    task, language, english = case.task_accuracy, case.language_consistency, case.wrong_in_english
    assert (task.value, language.value, english.value) == (0.8, 3 / 9, 5 / 6)
    assert "It did worst when asked in Hindi under an English instruction: " in text
    assert "% (" in text.split("of the answers were right, and ")[1].split(" were in Hindi")[0]
    shown = percent_range(task.low or 0, task.high or 0)
    assert f"80% ({shown}, n = 10) of the answers were right" in text
    assert "33% (" in text
    assert ", n = 9) were in Hindi" in text
    assert ", n = 6) were in English" in text
    cautions = said(run, "cautions")
    assert "as few as 10 answers" in cautions
    assert "could not be scored in 1 of 10 answers before tuning. Each rate" in cautions
    assert missing_stages(run)[:2] == ["the probes", "locating the layers"]
    unfinished = RunContents(Path(), before=PhaseContents(ten_answers()))
    assert missing_stages(unfinished)[0] == "the evaluation before tuning to its end"


def tuned(language: Any, task: Any) -> RunContents:
    return run_of(
        config=RunConfig(model=ModelConfig(name="org/some-model")),
        layers=layers(),
        tuning=tuning(seconds_per_epoch=(60.0, 30.0, 30.0), delta_bytes=22_300_000),
        comparison=comparison(changes(language, task)),
    )


def test_a_change_is_claimed_only_where_its_interval_excludes_zero() -> None:
    better = change(0.6, 0.96, 0.31, 0.41, 1e-9)
    same = change(0.30, 0.32, -0.04, 0.08, 0.4)
    text = said(tuned(better, same), "change")
    assert "Blocks 17–18 were tuned, 4.2% of the weights, for three epochs in 2\u202fmin" in text
    assert (
        "language consistency went from 60% to 96%, +36 points (+31 to +41; p < 0.001; n = 10)"
        in text
    )
    assert (
        "30% to 32%, +2 points (−4 to +8; p = 0.40; n = 10), not distinguishable from no change."
        in text
    )
    headline = said(tuned(better, same), "headline")
    assert headline == (
        "Tuning two of 18 blocks brings some-model back to the language it is asked for"
    )
    headline = said(tuned(same, same), "headline")
    assert headline.startswith("Tuning two of 18 blocks did not measurably help")


def test_answers_that_now_go_in_circles_stand_in_the_headline() -> None:
    def headline(*repeating: int) -> str:
        sides = [
            phase_of([code_mixed(i, True, "hi", repeats=i < n) for i in range(10)])
            for n in repeating
        ]
        run = tuned(change(0.6, 0.96, 0.31, 0.41, 1e-9), change(0.3, 0.3, -0.1, 0.1, 1.0))
        return said(replace(run, before=sides[0], after=sides[1]), "headline")

    assert headline(1, 3).endswith(
        "to the language it is asked for, but 3 of its 10 answers now go round in circles"
    )
    assert headline(0, 1).endswith("the language it is asked for")  # a tenth
    assert headline(2, 4).endswith("the language it is asked for")  # they did before


@pytest.mark.parametrize(
    ("verdict", "said_of_it"),
    [("held", ", within the"), ("lost", ", beyond the"), ("open", ": it is open whether that is within the")],
)  # fmt: skip
def test_right_in_both_comes_first_and_then_the_margin_with_the_interval(
    verdict: Any, said_of_it: str
) -> None:
    task, both = change(0.40, 0.38, -0.04, 0.01, 0.4), change(0.2, 0.35, 0.1, 0.2, 1e-9)
    overall = replace(changes(task=task), right_in_both=both)
    margin = NonInferiority(0.05, verdict, "")
    run = run_of(tuning=tuning(), comparison=comparison(overall, non_inferiority=margin))
    first, second = Words(html=False, run=run)("result")
    assert first.startswith(
        "Right in both task and language, of all 10 prompts, went from 20% to 35%"
    )
    moved = "Task accuracy moved by −2 points (−4 to +1; p = 0.40; n = 10)"
    assert second == f"{moved}{said_of_it} margin of −5 points stated in advance."


def test_a_gain_that_may_be_answers_that_can_now_be_judged_is_called_so() -> None:
    """Before tuning six of ten right answers have no language that can be told; after it all have one."""
    before = [code_mixed(i, True, "hi" if i < 4 else None) for i in range(10)]
    after = [code_mixed(i, i < 9, "hi") for i in range(10)]
    both = change(0.4, 0.9, 0.3, 0.7, 1e-3)
    run = run_of(before, after, comparison=comparison(replace(changes(), right_in_both=both)))
    assert Words(html=False, run=run)("result")[1] == (
        "Answers that could not be judged count as not right there; were they all right, it would go from "
        "100% to 90%. How much of a gain is answers that can be judged only now is left open."
    )
    same = change(0.9, 0.9, -0.1, 0.1, 1.0)
    whole = run_of(after, after, comparison=comparison(replace(changes(), right_in_both=same)))
    assert "could not be judged" not in said(whole, "result")
    row = run.before.summary.over_all  # type: ignore[union-attr]
    row.bounds.clear()  # a summary without any
    assert "could not be judged" not in said(run, "result")


def test_no_late_phase_is_said_with_its_reason() -> None:
    run = run_of(layers=layers(None, tune_layers=(), evidence=Evidence("flat curves")))
    assert said(run, "where") == "No blocks are proposed: flat curves."


def lens(target: str, own: list[float], english: list[float]) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "target_language": target, "word_language": code, "share": share}
        for code, shares in ((target, own), ("en", english))
        for layer, share in enumerate(shares)
    ]


def test_overtaking_is_the_first_layer_from_which_the_target_stays_ahead() -> None:
    rows = lens("hi", [0.0, 0.5, 0.1, 0.6, 0.9], [0.3, 0.3, 0.4, 0.2, 0.0])
    rows += lens("ja", [0.0, 0.1, 0.1, 0.1, 0.1], [0.3, 0.3, 0.4, 0.2, 0.2])
    rows += [r for r in lens("en", [1.0] * 5, [1.0] * 5) if r["word_language"] == "en"]
    assert overtakings(rows) == {"hi": 3, "ja": None}


def test_commitment_is_where_half_of_the_whole_exchange_is_done_for_good() -> None:
    def curve(language: str, shifts: list[float | None], n: int = 8) -> list[dict[str, Any]]:
        return [
            {"language": language, "intervention": "to_english", "layer": k, "shift": v, "n": n}
            for k, v in enumerate(shifts, -1)
        ]

    rows = curve("ar", [0.0, 0.6, 0.2, 0.5, 1.0]) + curve("fr", [None] * 5)
    rows += curve("ja", [0.0, 0.0, 0.0, 1.0, 1.0], n=4)
    assert commitment(rows) == {"ar": 2, "fr": None}


def cells_of(found: Any, kind: str = "change_rows") -> list[str]:
    """The texts of the cells of a table of changes."""
    page = str(getattr(environment(html=True).get_template("macros.html").module, kind)(found))
    return [part.split("</td>")[0].split(">", 1)[1] for part in page.split("<td")[1:]]


def test_the_change_table_marks_only_clear_differences() -> None:
    found = comparison(
        changes(change(0.6, 0.5, -0.19, -0.01, 0.04), change(0.3, 0.3, -0.1, 0.1, 1.0))
    )
    assert cells_of(found)[:6] == ["60%", "50%", "−10", "−19 to −1", "0.04", "10"]
    page = str(environment(html=True).get_template("macros.html").module.change_rows(found))  # type: ignore[attr-defined]
    assert page.index('class="down"') < page.index('class="same"')
    assert 'class="up"' not in page


def test_stage_times_are_added_up() -> None:
    run = run_of(stages={"before": StageEntry("", {}, 90, 1, ""), "probe": StageEntry("", {}, 30.0, 1, "")})  # fmt: skip
    assert stage_rows(run)[-1][:2] == ["Together", "2\u202fmin"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.614), "61%"), (percent(0.996), "99.6%"), (percent(0.9999), ">99.9%"),
        (percent(1.0), "100%"), (percent(0.0), "0%"), (percent(0.004), "0.4%"),
        (percent_range(0.57, 0.651), "57–65%"), (points(0.36), "+36"), (points(-0.12), "−12"),
        (points(0.0), "0"), (points(0.004), "+0.4"), (p_value(0.0004), "p < 0.001"),
        (p_value(0.034), "p = 0.034"), (p_value(0.4), "p = 0.40"), (count(11147776), "11,147,776"),
        (duration(3.14), "3.1\u202fs"), (duration(250), "4\u202fmin 10\u202fs"),
        (duration(7260), "2\u202fh 1\u202fmin"), (size(22_300_000), "22\u202fMB"),
        (size(3_100_000_000), "3.1\u202fGB"), (spans([18, 17, 3]), "3, 17–18"), (spans([]), ""),
    ],
)  # fmt: skip
def test_numbers_are_written_as_a_reader_writes_them(shown: str, expected: str) -> None:
    assert shown == expected


# Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour: str) -> Any:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Any) -> Any:
    """CIE L*a*b* (D65) of linear RGB."""
    matrix = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    xyz = matrix @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(colour: str, page: str) -> float:
    """WCAG 2 contrast ratio."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    high, low = sorted((float(linear(c) @ weights) for c in (colour, page)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_language_colours_stay_apart_for_every_kind_of_colour_vision(
    vision: str, theme: str
) -> None:
    colours = [getattr(ink, theme) for ink in language_inks(SIX).values()]
    seen = [lab(VISION[vision] @ linear(colour)) for colour in colours]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 15


def test_every_colour_can_be_seen_on_its_page() -> None:
    for ink in language_inks([*SIX, *"abcdefghijkl"]).values():
        assert contrast(ink.light, PAGE_LIGHT) >= 2.9
        assert contrast(ink.dark, PAGE_DARK) >= 3


def test_a_language_keeps_its_colour_whatever_the_order() -> None:
    assert language_inks(["sw", "hi", "en"])["hi"] == language_inks(SIX)["hi"]
    twenty = language_inks([f"x{i}" for i in range(20)])
    assert len({(ink.light, ink.dash) for ink in twenty.values()}) == 20


def printed(parts: list[Any]) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def test_the_terminal_shows_rates_layers_and_time(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", items=2)
    text = printed(terminal_summary(folder))
    for words in ("Code-mixed", "Passage", "Late phase from layer 15", "Blocks 17–18 were tuned, 4.2%",
                  "Tuning", "Together"):  # fmt: skip
        assert words in text
    assert "Hindi" in printed(show_layers(folder))


def test_the_terminal_takes_names_as_text_and_missing_stages_in_its_stride(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {name: '[red]boo[/nonsense]'}\n")
    entry = {"inputs": "", "outputs": {}, "seconds": 1, "peak_memory_bytes": 1, "finished": ""}
    put(tmp_path / "stages.json", {"[bold]x": entry})
    text = printed(terminal_summary(tmp_path))
    assert "[bold]x" in text
    assert "Not run yet: the evaluation before tuning" in text
    assert "not located" in printed(show_layers(tmp_path))


def test_few_different_questions_are_named() -> None:
    two = [code_mixed(i, True, "hi", language="fr") for i in range(10)]
    assert "All of it rests on 10 different questions" in said(
        run_of([*ten_answers(), *two]), "cautions"
    )


def test_many_cut_answers_are_said_in_the_first_lines(tmp_path: Path) -> None:
    def warnings(before: int, after: int) -> str:
        sides = [
            [code_mixed(i, True, "hi", finish="length" if i < n else "stop") for i in range(20)]
            for n in (before, after)
        ]
        return said(run_of(*sides), "warnings")

    expected = "The token limit cut 3 of 20 answers before tuning and 1 of 20 after it."
    assert expected in warnings(3, 1)
    assert "token limit" not in warnings(2, 2)  # a tenth

    folder = write_fake_run(tmp_path / "run", languages=("en", "hi"), items=2, n_layers=4)
    summary = json.loads((folder / "before/summary.json").read_text())
    for one in summary["overall"]:
        one["n_cut"] = one["n"]
    put(folder / "before/summary.json", summary)
    first = " ".join(printed(terminal_summary(folder)).split()[:40])
    n = summary["overall"][-1]["n"]
    assert f"The token limit cut {n} of {n} answers before tuning" in first
    page = write_report(folder).read_text()
    assert 0 < page.index("The token limit cut") - page.index("<h1>") < 400


def test_further_measures_carry_intervals_and_n() -> None:
    # 3 of 4 lines pass and 2 of 3 words; the harmonic mean of 3/4 and 2/3 is 12/17.
    rows = [
        code_mixed(i, True, "hi", line_pass=line, word_pass=word, f1=1.0, exact_match=True)
        for i, (line, word) in enumerate(
            [(True, True), (True, True), (True, False), (False, None)]
        )
    ]  # fmt: skip
    every, hindi = measure_rows(run_of(rows))
    assert every[:2] == ["All languages", "before"]
    assert hindi[:2] == ["Hindi", "before"]
    assert [text.split(" (")[0] for text in hindi[2:]] == ["75%", "67%", "71%", "100%", "100%"]
    assert [text.rpartition("n = ")[2] for text in hindi[2:4]] == ["4)", "3)"]


def test_the_closing_phrase_mixed_answers_and_picked_options_stand_beside_the_rate() -> None:
    """Four answers in Hindi, of which the reasoning of one is; one more mixes languages."""
    answers = [
        code_mixed(i, True, "hi", reasoning_language_correct=i == 0, scenario="bilingual_answer",
                   option_language="hi" if i < 3 else "en")
        for i in range(4)
    ] + [code_mixed(4, True, None, language_correct=False, language_reason="mixed")]  # fmt: skip
    run = run_of(answers)
    every, hindi = language_rows(run)
    assert (every[0], hindi[0]) == ("All languages", "Hindi")
    assert [text.split(" (")[0] for text in hindi[2:6]] == ["80%", "25%", "1 of 5", "75%"]
    assert hindi[6] == "Hindi 4, unidentified 1"
    text = said(run, "reservations")
    assert "answers are in the language asked for in 25% (" in text
    assert "before tuning, whole ones in 80% (" in text
    assert "none of which has a clear majority: 1 of 5 before tuning." in text


def test_a_cell_that_can_prove_nothing_says_so_in_place_of_p() -> None:
    plain = change(0.0, 1.0, 0.4, 1.0, 0.0078, n=8)
    for holm_p, reason, shown in (
        (None, "cannot reach .05 with 8 items", "cannot reach .05 with 8 items"),
        (0.031, None, "0.031"),
    ):
        one = replace(plain, holm_p=holm_p, reason=reason)
        cell = changes(task=one, benchmark="sums", scenario="monolingual", language="hi")
        found = comparison(changes(task=one), cells=(cell,))
        assert cells_of(found, "cell_rows")[10] == shown
        assert cells_of(found)[10] == "0.0078"


@pytest.mark.parametrize("chosen", [(17, 18), (16, 17, 18)])
def test_a_budget_that_chose_the_blocks_is_named(chosen: tuple[int, ...]) -> None:
    evidence = Evidence(None, max_trainable_share=0.05)
    text = said(run_of(layers=layers(tune_layers=chosen, evidence=evidence)), "where")
    budget = (
        "The rule names blocks 16\N{EN DASH}18; a budget of 5.0% of the parameters leaves "
        "17\N{EN DASH}18: the budget decided."
    )
    assert (budget in text) == (chosen == (17, 18))


def test_what_frozen_blocks_cannot_do_otherwise_is_no_finding() -> None:
    run = run_of(tuning=tuning(), change=CurveChanges(None, None, 0.0, (17, 18)))
    text = said(run, "change")
    assert "No curve moved below the tuned blocks, as it must be: those blocks are frozen." in text


def test_a_shown_name_is_escaped_on_a_page_and_plain_in_a_terminal() -> None:
    run = run_of(ten_answers(), config=RunConfig(model=ModelConfig(name="<b>{{ 7 * 7 }}")))
    assert "<b>{{ 7 * 7 }}" in said(run, "behaviour")
    page = environment(html=True).get_template("words.j2").make_module({"run": run})
    assert "&lt;b&gt;{{ 7 * 7 }}" in page.behaviour()  # type: ignore[attr-defined]


def test_phases_are_counted_apart() -> None:
    run = run_of(ten_answers(), ten_answers()[:5])
    assert [phase.summary.over_all.n for phase in (run.before, run.after) if phase.summary] == [
        10, 5,
    ]  # fmt: skip
    assert phase_of([]).summary is None
