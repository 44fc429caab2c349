"""Before against after: pairs, clusters, what is left out; p values against statsmodels' formula."""

from __future__ import annotations

from typing import Any

import pytest
from answers import plain_answer
from scipy.stats import binomtest

from linguamap.records import Answer, UserError
from linguamap.scoring.compare import compare_answers


def row(item: str, task: bool | None, spoke: bool | None, **other: Any) -> Answer:
    fields: dict[str, Any] = {
        "prompt_id": f"{item}/{other.get('scenario', 'monolingual')}",
        "item_id": item,
        "task_correct": task,
        "language_correct": spoke,
        "outcome": "both" if task and spoke else "neither",
    }
    return plain_answer(**{**fields, **other})


def test_counts_differences_and_exact_p_by_hand() -> None:
    first = [row(str(i), task=i < 2, spoke=False) for i in range(10)]
    second = [row(str(i), task=1 <= i < 8, spoke=True) for i in range(10)]
    overall = compare_answers(first, second).overall
    task = overall.task_accuracy
    assert (task.before, task.after, task.n) == (0.2, 0.7, 10)
    assert (task.gained, task.lost) == (6, 1)
    assert task.p_value == pytest.approx(binomtest(1, 7, 0.5).pvalue)
    assert task.difference == pytest.approx(0.5)
    assert task.low < 0.5 < task.high
    assert (task.test, task.interval) == ("mcnemar", "newcombe")
    kept = overall.language_consistency
    assert (kept.before, kept.after, kept.gained) == (0.0, 1.0, 10)
    assert kept.p_value == pytest.approx(2 * 0.5**10)


def test_pairs_that_cannot_be_judged_are_left_out_and_counted() -> None:
    first = [row("1", None, True), row("2", True, None), row("3", True, True)]
    second = [row("1", True, True), row("2", True, True), row("3", False, True)]
    overall = compare_answers(first, second).overall
    assert (overall.task_accuracy.n, overall.task_accuracy.left_out) == (2, 1)
    assert (overall.language_consistency.n, overall.language_consistency.left_out) == (
        2,
        1,
    )


def test_nothing_to_judge_is_null() -> None:
    overall = compare_answers([row("1", None, None)], [row("1", None, None)]).overall
    assert overall.task_accuracy.before is None
    assert overall.task_accuracy.difference is None
    assert overall.task_accuracy.p_value is None


def test_coinciding_rows_count_once_when_pooled_but_keep_their_cell() -> None:
    twin = row("1", True, True, scenario="code_mixed", coincides_with="monolingual")
    comparison = compare_answers([row("1", True, True), twin], [row("1", True, True), twin])
    assert comparison.overall.task_accuracy.n == 1
    assert [cell.scenario for cell in comparison.cells] == ["monolingual", "code_mixed"]
    assert list(comparison.scenarios) == ["monolingual"]


def test_cells_are_corrected_for_their_number() -> None:
    cells = [("fr", 9), ("es", 6), ("hi", 0)]
    first, second = [], []
    for code, gained in cells:
        for i in range(9):
            first.append(row(f"{code}{i}", False, True, language=code))
            second.append(row(f"{code}{i}", i < gained, True, language=code))
    found = compare_answers(first, second).cells
    p_values = [cell.task_accuracy.p_value for cell in found]
    assert p_values == pytest.approx([2 * 0.5**9, 2 * 0.5**6, 1.0])
    holm = [cell.task_accuracy.holm_p for cell in found]
    assert holm == pytest.approx([3 * 2 * 0.5**9, 2 * 2 * 0.5**6, 1.0])


def test_rows_that_pool_prompts_of_an_item_are_tested_by_item() -> None:
    """Three items in three languages each, all gained: 2 of 8 signs, not 2 of 2**9."""
    rows = [(f"i{i}", code) for i in range(3) for code in ("fr", "es", "hi")]
    first, second = (
        [row(i, task, True, language=code, prompt_id=f"{i}/{code}") for i, code in rows]
        for task in (False, True)
    )
    found = compare_answers(first, second)
    pooled, cell = found.overall.task_accuracy, found.cells[0].task_accuracy
    assert (pooled.p_value, pooled.test) == (pytest.approx(2 / 8), "sign_flip_by_item")
    assert (cell.p_value, cell.test) == (pytest.approx(2 / 8), "mcnemar")
    assert (pooled.gained, pooled.lost, pooled.n, cell.n) == (9, 0, 9, 3)
    assert (pooled.interval, cell.interval) == ("newcombe_by_item", "newcombe")
    assert (pooled.low, pooled.high) == (cell.low, cell.high)
    spoke = found.overall.language_consistency  # nothing changed
    assert (spoke.difference, spoke.p_value) == (0.0, 1.0)
    assert spoke.low < -0.1 < 0.1 < spoke.high


def test_runs_without_a_common_prompt_are_refused() -> None:
    with pytest.raises(UserError, match="share no prompt"):
        compare_answers([row("1", True, True)], [row("2", True, True)])


def test_questions_on_one_passage_are_one_observation() -> None:
    """Three passages with two questions each, all gained: 2 of 8 signs, not 2 of 2**6."""
    names = [(f"{passage}{number}", passage) for passage in "abc" for number in (1, 2)]
    first, second = (
        [row(item, task, True, group=passage) for item, passage in names] for task in (False, True)
    )
    found = compare_answers(first, second).cells[0].task_accuracy
    assert (found.n, found.n_clusters) == (6, 3)
    assert (found.p_value, found.test) == (pytest.approx(2 / 8), "sign_flip_by_item")


def test_a_corrected_p_that_cannot_come_under_the_limit_is_not_given() -> None:
    """Least p of 9 items .0039, twice that over two cells; of 4 items .125."""
    first, second = [], []
    for code, n in (("fr", 9), ("es", 4)):
        first += [row(f"{code}{i}", False, True, language=code) for i in range(n)]
        second += [row(f"{code}{i}", True, True, language=code) for i in range(n)]
    large, small = (cell.task_accuracy for cell in compare_answers(first, second).cells)
    assert (large.holm_p, large.reason) == (pytest.approx(2 * 2**-8), None)
    assert (small.holm_p, small.reason) == (None, "cannot reach .05 with 4 items")
    assert small.p_value == pytest.approx(2**-3)


def test_seventy_two_cells_of_eight_items_cannot_say_anything_one_by_one() -> None:
    """Least p 1/128, times 72: .5625; times 6: .047, which can."""
    for n_cells, reason in ((72, "cannot reach .05 with 8 items"), (6, None)):
        names = [(f"l{cell}", f"i{item}") for cell in range(n_cells) for item in range(8)]
        first, second = (
            [row(i, task, True, language=code, prompt_id=f"{code}/{i}") for code, i in names]
            for task in (False, True)
        )
        cells = compare_answers(first, second).cells
        assert {cell.task_accuracy.reason for cell in cells} == {reason}


@pytest.mark.parametrize(
    ("lost", "verdict"),
    [(0, "held"), (3, "open"), (40, "lost")],
)
def test_accuracy_is_held_against_the_margin_stated_in_advance(lost: int, verdict: str) -> None:
    """Newcombe's interval of no change in 100 is about 3.7 points wide each way, inside 5."""
    first = [row(str(i), task=True, spoke=True) for i in range(100)]
    second = [row(str(i), task=i >= lost, spoke=True) for i in range(100)]
    found = compare_answers(first, second, margin=0.05).non_inferiority
    assert found is not None
    assert (found.margin, found.verdict) == (0.05, verdict)
    assert compare_answers(first, second).non_inferiority is None


def test_without_pairs_the_margin_is_open() -> None:
    found = compare_answers([row("1", None, None)], [row("1", None, None)], margin=0.1)
    assert found.non_inferiority is not None
    assert found.non_inferiority.verdict == "open"
    assert "no interval" in found.non_inferiority.reason
