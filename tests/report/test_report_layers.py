"""What the page draws of rules and of answers' outcomes over the layers, against figures by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from run_contents import layers, phase_of, run_of, said

from linguamap.report.run_charts import FIGURES, grids_chart
from linguamap.report.tables import front_rows, rule_rows
from linguamap.run.contents import BlockScores, CandidateSet, Grid, GridCell, GridPrompt


def test_rules_are_laid_side_by_side_from_their_lowest_score_to_their_highest() -> None:
    rules: Any = {
        "lens": BlockScores((2.0, 3.0, 6.0), (1.0, 2.0, 5.0), (3.0, 4.0, 7.0), "95 %", 5, 90.0, (3,), 0.04),
        "gradient_sign": BlockScores((-0.5, 0.5, 0.0), seconds=2.0, blocks=(1, 2), share=0.1),
        "handover": BlockScores(reason="handover was not measured"),
    }  # fmt: skip
    found = layers(n_layers=3, rules=rules)
    assert rule_rows(found) == [
        ["lens", "3", "4.0%", "3: 6 (5, 7)", "1\u202fmin 30\u202fs", ""],
        ["gradient_sign", "1\u20132", "10.0%", "2: 0.5", "2.0\u202fs", ""],
        ["handover", "\u2013", "0%", "\u2013", "0.0\u202fs", "handover was not measured"],
    ]
    chart = FIGURES["rule_scores"](run_of(layers=found))
    assert chart is not None
    assert [panel.title for panel in chart.panels] == ["lens", "gradient sign"]
    picture = chart.html([])
    # (3 - 2) / 4 of the way up with its band cut at the ends; and the sign's 0 lies half-way.
    assert 'data-r="|0% (-25% to 25%)|25% (0% to 50%)|100% (75% to 125%)"' in picture
    assert 'data-r="|0%|100%|50%"' in picture


def test_a_rules_front_is_shown_with_the_set_that_is_taken() -> None:
    sets = (CandidateSet((6,), 0.25, 0.02, 90.0, 2_500_000_000), CandidateSet((2, 3), 0.5, 0.04, 150.0, 3_000_000_000))  # fmt: skip
    found = layers(n_layers=6, rules={"trial": BlockScores(blocks=(2, 3), front=sets)})
    assert front_rows(found) == [
        ["trial", "  6", "2.0%", "25%", "1\u202fmin 30\u202fs", "2.5\u202fGB"],
        ["", "* 2\u20133", "4.0%", "50%", "2\u202fmin 30\u202fs", "3.0\u202fGB"],
    ]
    chart = FIGURES["rule_front"](run_of(layers=found))
    assert chart is not None
    (panel,) = chart.panels
    assert panel.about["aria-label"] == (
        "Front of the rule trial: blocks 6: 25% in 1\u202fmin 30\u202fs; blocks 2\u20133: 50% in 2\u202fmin 30\u202fs."
    )
    assert chart.html([]).count('class="kept"') == 1
    assert FIGURES["rule_front"](run_of()) is None


def test_own_answers_are_drawn_by_what_became_of_them_with_their_number() -> None:
    rows = [
        {"layer": layer, "target_language": "hi", "word_language": word, "share": share,
         "low": share - 0.1, "high": share + 0.1, "n_items": 3, "outcome": outcome}
        for outcome, shares in (("consistent", (0.2, 0.9)), ("inconsistent", (0.2, 0.3)))
        for layer, own in enumerate(shares) for word, share in (("hi", own), ("en", 1 - own))
    ]  # fmt: skip
    chart = FIGURES["lens_outcomes"](run_of(phase_of([], lens_outcomes=rows)))
    assert chart is not None
    (panel,) = chart.panels
    assert (panel.title, panel.note) == ("Hindi", "n = 3 and 3")
    assert len(chart.rows) == 4  # English words are not drawn
    page = chart.html(["en", "hi"])
    assert 'data-r="20% (10% to 30%)|90% (80% to 100%)"' in page
    assert 'data-r="20% (10% to 30%)|30% (20% to 40%)"' in page
    assert FIGURES["lens_outcomes"](run_of()) is None


def test_a_text_in_depth_says_whether_it_is_the_models_own_answer_and_in_which_language() -> None:
    given = GridPrompt("a", "a", "sums", "code_mixed", "hi", "Q:", "x", ("x",), ((GridCell("x", "x", "hi", 1),),))  # fmt: skip
    own = replace(given, prompt_id="b", item_id="b", source="answer", answer_language="en")
    mixed = replace(own, prompt_id="c", item_id="c", answer_language=None)
    run = run_of(phase_of([], grid=Grid((0,), (given, own, mixed))))
    chart, _ = grids_chart(run)
    assert chart is not None
    assert [name for _, name in chart.controls[0].options] == [
        "Hindi, code-mixed, sums, a",
        "Hindi, code-mixed, sums, b, own answer in English",
        "Hindi, code-mixed, sums, c, own answer",
    ]
    heads = [panel.more[0][0] for panel in chart.panels]
    assert heads[0] == "The prompt, and the given text that is read after it"
    assert heads[1] == "The prompt, and the model\u2019s own answer that is read after it"
    assert said(run, "texts_in_depth").startswith(
        "one of 1 given right answers or questions, or one of 2 of the model\u2019s own answers"
    )
    alone = run_of(phase_of([], grid=Grid((0,), (given,))))
    assert (
        said(alone, "texts_in_depth")
        == "a given right answer or question, not the model\u2019s own"
    )
