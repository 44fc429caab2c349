"""What the page says: sentences, tables and readings against figures worked out by hand."""

from __future__ import annotations

import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import put, write_fake_run
from rich.console import Console

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
from linguamap.probes.curves import commitment, overtakings
from linguamap.report import write_report
from linguamap.report.findings import find, headline
from linguamap.report.measure_rows import measure_rows
from linguamap.report.rates import own_rows, tally
from linguamap.report.run_charts import handover_frame
from linguamap.report.run_values import RunData
from linguamap.report.sentences import Number
from linguamap.report.tables import cell_rows, change_rows, map_cells, stage_rows
from linguamap.report.terminal import show_layers, terminal_summary

SIX = ["en", "fr", "es", "ar", "hi", "ja"]


def row(item: int, task: bool | None, spoken: str | None, **more: Any) -> dict[str, Any]:
    """An answer to a code-mixed Hindi question."""
    language = None if spoken is None else spoken == "hi"
    outcome = "unscored"
    if task is not None and language is not None:
        names = ("neither", "transfer_bottleneck", "consistency_bottleneck", "both")
        outcome = names[2 * task + language]
    return {
        "item_id": str(item), "benchmark": "sums", "language": "hi", "scenario": "code_mixed",
        "task_correct": task, "answer_language": spoken, "language_correct": language,
        "outcome": outcome, **more,
    }  # fmt: skip


def ten_answers() -> list[dict[str, Any]]:
    """8 of 10 right; of 9 identifiable 3 in Hindi; of the 6 strayed 5 in English."""
    spoken = ["hi"] * 3 + ["en"] * 5 + ["fr", None]
    return [row(i, i < 8, language) for i, language in enumerate(spoken)]


def in_words(sentences: list[list[Any]]) -> str:
    def one(piece: Any) -> str:
        if not isinstance(piece, Number):
            return str(piece)
        return f"{piece.text} ({piece.detail})" if piece.detail else piece.text

    return " ".join("".join(map(one, sentence)) for sentence in sentences)


def measure(before: float, after: float, low: float, high: float, p: float) -> dict[str, Any]:
    return {"before": before, "after": after, "low": low, "high": high, "p_value": p, "n": 10,
            "difference": after - before}  # fmt: skip


def test_the_tally_counts_each_question_once_and_leaves_out_what_cannot_be_told() -> None:
    rows = [*ten_answers(), row(0, True, "hi", coincides_with="monolingual")]
    counted = tally(own_rows(rows))
    assert counted.n == 10
    assert (counted.task.value, counted.task.n) == (0.8, 10)
    assert (counted.language.value, counted.language.n) == (pytest.approx(3 / 9), 9)
    assert (counted.wrong_in_english.value, counted.wrong_in_english.n) == (pytest.approx(5 / 6), 6)
    assert counted.outcomes == {"both": 3, "consistency_bottleneck": 5, "neither": 1,
                                "transfer_bottleneck": 0, "unscored": 1}  # fmt: skip


def test_the_finding_names_the_worst_case_with_intervals_and_n() -> None:
    # Wilson, 95%: 8/10 gives 49-94%, 3/9 gives 12-65%, 5/6 gives 44-97%.
    finding = find(RunData(Path(), {"languages": ["hi"]}, before=ten_answers()))
    (title, sentences), *_ = finding.paragraphs
    text = in_words(sentences)
    assert title == "What it does"
    assert "It did worst when asked in Hindi under an English instruction: " in text
    assert "80% (49–94%, n = 10) of the answers were right" in text
    assert "33% (12–65%, n = 9) were in Hindi" in text
    assert "83% (44–97%, n = 6) were in English" in text
    assert "as few as 10 answers" in in_words(finding.cautions)
    assert (
        "For 10% of the answers before tuning the task, the language or both could not be judged"
        in in_words(finding.cautions)
    )
    assert finding.missing[:2] == ["the evaluation before tuning to its end", "the probes"]


def tuned(language: dict[str, Any], task: dict[str, Any]) -> RunData:
    return RunData(
        Path(),
        {"model": {"name": "org/some-model"}},
        layers={"n_layers": 18, "phases": {"late_start": 16}, "late_start_interval": [15, 17]},
        tuning={"method": "selective", "layers": [17, 18], "trainable_share": 0.0416,
                "seconds_per_epoch": [60.0, 30.0, 30.0], "delta_bytes": 22_300_000},
        comparison={"overall": {"language_consistency": language, "task_accuracy": task}},
    )  # fmt: skip


def test_a_change_is_claimed_only_where_its_interval_excludes_zero() -> None:
    better = measure(0.6, 0.96, 0.31, 0.41, 1e-9)
    same = measure(0.30, 0.32, -0.04, 0.08, 0.4)
    data = tuned(better, same)
    text = in_words(dict(find(data).paragraphs)["What tuning changed"])
    assert "Blocks 17–18 were tuned, 4.2% of the weights, for three epochs in 2\u202fmin" in text
    assert (
        "language consistency went from 60% to 96%, +36 points (+31 to +41; p < 0.001; n = 10)"
        in text
    )
    assert (
        "30% to 32%, +2 points (−4 to +8; p = 0.40; n = 10), which cannot be told from no change."
        in text
    )
    assert headline(data).startswith("Tuning two of 18 blocks brings some-model back")
    assert headline(tuned(same, same)).startswith("Tuning two of 18 blocks did not measurably help")


def test_no_late_phase_is_said_with_its_reason() -> None:
    layers = {"n_layers": 4, "phases": {"late_start": None}, "evidence": {"reason": "flat curves"}}
    finding = find(RunData(Path(), layers=layers))
    assert in_words(dict(finding.paragraphs)["Where"]) == "No blocks are proposed: flat curves."


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


def test_commitment_is_half_way_between_the_curves_own_ends() -> None:
    """ar: .45 of 0 to .9. es: .2 of 0 to .4, which an absolute half would never reach. fr: .7 to .8."""

    def curve(language: str, shares: dict[int, float], n: int = 8) -> list[dict[str, Any]]:
        return [
            {"language": language, "intervention": "to_english", "layer": k, "english": v, "n": n}
            for k, v in shares.items()
        ]

    rows = curve("ar", {-1: 0.0, 0: 0.6, 1: 0.2, 2: 0.5, 3: 0.9})
    rows += curve("fr", {-1: 0.7, 0: 0.7, 1: 0.8, 2: 0.8, 3: 0.8})
    rows += curve("es", {-1: 0.0, 0: 0.0, 1: 0.1, 2: 0.2, 3: 0.4})
    rows += curve("ja", {-1: 0.0, 0: 0.0, 1: 0.0, 2: 1.0, 3: 1.0}, n=4)
    assert commitment(rows) == {"ar": 2, "fr": None, "es": 2}


def test_handover_reads_the_language_that_the_swap_would_bring() -> None:
    base = {"layer": 0, "language": "ar", "n": 4, "english": 0.25, "target": 0.75,
            "english_low": 0.1, "english_high": 0.4, "target_low": 0.6, "target_high": 0.9}  # fmt: skip
    rows = [
        {**base, "intervention": name, "layer": layer}
        for name in ("to_english", "from_english", "skip")
        for layer in (-1, 0)
    ]
    read = {(row["intervention"], row["layer"]): row for row in handover_frame(rows)}
    shares = [read[name, 0]["share"] for name in ("to_english", "from_english", "skip")]
    assert shares == [0.25, 0.75, 0.75]
    ends = read["from_english", 0]
    assert (ends["low"], ends["high"], ends["n"], ends["phase"]) == (0.6, 0.9, 4, "before")


def test_the_change_table_marks_only_clear_differences() -> None:
    data = tuned(measure(0.6, 0.5, -0.19, -0.01, 0.04), measure(0.3, 0.3, -0.1, 0.1, 1.0))
    (only,) = change_rows(data)
    assert only.cells[0] == ["60%", "50%", "−10", "−19 to −1", "0.04", "10"]
    assert only.clear == [-1, 0]


def test_the_map_counts_answers_where_no_summary_was_written() -> None:
    (cell,) = map_cells(RunData(Path(), before=ten_answers()))
    assert cell["before"]["outcomes"] == [3, 0, 5, 1, 1]
    assert cell["before"]["language"][0] == pytest.approx(0.3333)
    assert cell["after"] is None


def test_stage_times_are_added_up() -> None:
    data = RunData(Path(), stages={"before": {"seconds": 90}, "probe": {"seconds": 30.0}})
    assert stage_rows(data)[-1][:2] == ["Together", "2\u202fmin"]


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
    for words in ("Code-mixed", "Passage", "Late phase from layer 15", "17–18, 4.2% of the weights",
                  "Tuning", "Together"):  # fmt: skip
        assert words in text
    assert "Hindi" in printed(show_layers(folder))


def test_the_terminal_takes_names_as_text_and_missing_stages_in_its_stride(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {name: '[red]boo[/nonsense]'}\n")
    put(tmp_path / "stages.json", {"[bold]x": {"seconds": 1}})
    text = printed(terminal_summary(tmp_path))
    assert "[bold]x" in text
    assert "Not run yet: the evaluation before tuning" in text
    assert "not located" in printed(show_layers(tmp_path))


def test_few_different_questions_are_named() -> None:
    two = [row(i, True, "hi", language="fr") for i in range(10)]
    rows = [*ten_answers(), *two]
    finding = find(RunData(Path(), {"languages": ["hi", "fr"]}, before=rows))
    assert "All of it rests on 10 different questions" in in_words(finding.cautions)


def test_many_cut_answers_are_said_in_the_first_lines(tmp_path: Path) -> None:
    def said(before: int, after: int) -> str:
        sides = [
            [row(i, True, "hi", finish="length" if i < n else "stop") for i in range(20)]
            for n in (before, after)
        ]
        data = RunData(Path(), {"languages": ["hi"]}, before=sides[0], after=sides[1])
        return in_words(find(data).warnings)

    expected = "The token limit cut 15% of the answers before tuning and 5% of those after it."
    assert expected in said(3, 1)
    assert "token limit" not in said(2, 2)  # a tenth

    folder = write_fake_run(tmp_path / "run", languages=("en", "hi"), items=2, n_layers=4)
    answers = folder / "before" / "answers.jsonl"
    rows = [{**json.loads(line), "finish": "length"} for line in answers.read_text().splitlines()]
    answers.write_text("".join(json.dumps(one) + "\n" for one in rows))
    first = " ".join(printed(terminal_summary(folder)).split()[:40])
    assert "The token limit cut 100% of the answers before tuning" in first
    page = write_report(folder).read_text()
    assert 0 < page.index("The token limit cut") - page.index("<h1>") < 400


def test_further_measures_carry_intervals_and_n() -> None:
    # Wilson, 95%: 3/4 gives 30-95%, 2/3 gives 21-94%; harmonic mean of 3/4 and 2/3 is 12/17.
    rows = [
        row(0, True, "hi", line_pass=True, word_pass=True, f1=1.0, exact_match=True),
        row(1, True, "hi", line_pass=True, word_pass=True, f1=1.0, exact_match=True),
        row(2, True, "hi", line_pass=True, word_pass=False, f1=1.0, exact_match=True),
        row(3, True, "hi", line_pass=False, word_pass=None, f1=1.0, exact_match=True),
    ]
    every, hindi = measure_rows(RunData(Path(), {"languages": ["hi"]}, before=rows))
    assert every[:2] == ["All languages", "before"]
    assert hindi[:2] == ["Hindi", "before"]
    assert hindi[2:5] == ["75% (30–95%, n = 4)", "67% (21–94%, n = 3)", "71%"]
    assert hindi[5] == "100% (100–100%, n = 4)"


def test_a_cell_that_can_prove_nothing_says_so_in_place_of_p() -> None:
    change = {"before": 0.0, "after": 1.0, "low": 0.4, "high": 1.0, "n": 8, "p_value": 0.0078}
    cell = {"benchmark": "sums", "scenario": "monolingual", "language": "hi"}
    for holm_p, reason, shown in (
        (None, "cannot reach .05 with 8 items", "cannot reach .05 with 8 items"),
        (0.031, None, "0.031"),
    ):
        entry = change | {"holm_p": holm_p, "reason": reason}
        comparison = {
            "cells": [cell | {"task_accuracy": entry}],
            "overall": {"task_accuracy": entry},
        }
        data = RunData(Path(), comparison=comparison)
        assert cell_rows(data)[0].cells[1][4] == shown
        assert change_rows(data)[0].cells[1][4] == "0.0078"


@pytest.mark.parametrize("chosen", [[17, 18], [16, 17, 18]])
def test_a_budget_that_chose_the_blocks_is_named(chosen: list[int]) -> None:
    layers = {
        "n_layers": 18, "phases": {"late_start": 16}, "tune_layers": chosen,
        "evidence": {"max_trainable_share": 0.05},
    }  # fmt: skip
    said = in_words(find(RunData(Path(), layers=layers)).paragraphs[0][1])
    budget = (
        "The rule names blocks 16\N{EN DASH}18; a budget of 5.0% of the parameters leaves "
        "17\N{EN DASH}18: the budget decided."
    )
    assert (budget in said) == (chosen == [17, 18])


def test_what_frozen_blocks_cannot_do_otherwise_is_no_finding() -> None:
    change = {"share_in_tuned": 1.0, "share_below": 0.0, "largest_below": 0}
    data = RunData(Path(), tuning={"method": "selective"}, change=change)
    said = in_words(find(data).paragraphs[0][1])
    assert "No curve moved below the tuned blocks, as it must be: those blocks are frozen." in said
