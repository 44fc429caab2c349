"""``linguamap compare``: runs against the first one; p values against SciPy and statsmodels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from answers import plain_answer
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from linguamap.cli.app import app
from linguamap.records import UserError
from linguamap.run.contents import as_json
from linguamap.run.files import write_answers, write_json
from linguamap.run.folder import open_run
from linguamap.run.settings import load_config
from linguamap.scoring.summary import summarise

ITEMS = 10


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page lands in the current folder."""
    monkeypatch.chdir(tmp_path)


def run_folder(
    folder: Path, right: dict[str, int], phase: str = "before", prompt: str = "p", first: int = 0
) -> Path:
    """A run whose first ``right[language]`` answers of ten are right, and all in the language."""
    answers = [
        plain_answer(
            item_id=str(number),
            language=code,
            prompt=f"{prompt} {number}",
            task_correct=number - first < count,
        )
        for code, count in right.items()
        for number in range(first, first + ITEMS)
    ]
    run = open_run(folder, load_config(None, ["model.name=m"]))
    write_answers(run.path(phase, "answers.jsonl"), answers)
    write_json(run.path(phase, "summary.json"), as_json(summarise(answers, "m")))
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def compared(*arguments: str | Path) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def fail(*arguments: str | Path) -> str:
    result = invoke(*arguments)
    assert isinstance(result.exception, UserError), result.exception
    return str(result.exception)


def test_two_runs_by_hand(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "a", {"fr": 1, "hi": 5})
    two = run_folder(tmp_path / "b", {"fr": 9, "hi": 6})
    found = compared(one, two)
    assert (found["reference"], found["phase"]) == (str(one), "before")
    (comparison,) = found["comparisons"]
    assert (comparison["run"], comparison["n_prompts"]) == (str(two), 20)
    assert comparison["n_other_text"] == 0
    task = comparison["overall"]["task_accuracy"]
    assert (task["before"], task["after"]) == (0.3, 0.75)
    assert (task["gained"], task["lost"], task["n"]) == (9, 0, 20)
    assert task["p_value"] == pytest.approx(2 * 0.5**8)  # 8 items changed, one in both languages
    assert task["test"] == "sign_flip_by_item"
    french, hindi = comparison["cells"]
    assert french["task_accuracy"]["holm_p"] == pytest.approx(2 * 2 * 0.5**8)
    assert hindi["task_accuracy"]["holm_p"] == 1.0


def test_holm_counts_the_cells_of_all_runs(tmp_path: Path) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    one = run_folder(tmp_path / "a", {"fr": 0, "hi": 0})
    two = run_folder(tmp_path / "b", {"fr": 9, "hi": 7})
    three = run_folder(tmp_path / "c", {"fr": 6, "hi": 0})
    found = compared(one, two, three)
    cells = [cell["task_accuracy"] for part in found["comparisons"] for cell in part["cells"]]
    p_values = [binomtest(0, n, 0.5).pvalue if n else 1.0 for n in (9, 7, 6, 0)]
    assert [cell["p_value"] for cell in cells] == pytest.approx(p_values)
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert [cell["holm_p"] for cell in cells] == pytest.approx(list(expected))


def test_table_names_the_cells_that_differ(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "a", {"fr": 1, "hi": 5})
    two = run_folder(tmp_path / "b", {"fr": 9, "hi": 6})
    result = invoke(one, two)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    overall = next(line for line in lines if line.startswith("all answers"))
    assert "30.0 to 75.0" in overall
    assert "p: sign-flip test over items for pooled rows, exact McNemar test for cells." in lines
    assert "Cells that differ in 'right task' (Holm p < 0.05): 1 of 2" in lines
    assert "Cells that differ in 'in the language' (Holm p < 0.05): 0 of 2" in lines
    listed = [line for line in lines if line.startswith("Sums French Monolingual 10.0 to 90.0")]
    assert len(listed) == 1
    assert listed[0].endswith("0.016")  # 2 cells * 2 * 0.5**8
    assert not any(line.startswith("Sums Hindi") for line in lines)


def test_a_few_common_prompts_and_other_words_are_said(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "a", {"fr": 4})
    two = run_folder(tmp_path / "b", {"fr": 4}, prompt="q", first=7)
    result = invoke(one, two)
    assert "3 prompts" in result.stdout
    assert (
        "7 only in the first run; 7 only in the second run; 3 common ones ask in other words"
        in (" ".join(result.stdout.split()))
    )


def test_after_tuning(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "a", {"fr": 2}, "after")
    two = run_folder(tmp_path / "b", {"fr": 2}, "after")
    found = compared(one, two, "--phase", "after")
    assert found["comparisons"][0]["overall"]["task_accuracy"]["difference"] == 0.0


def test_the_latest_answers_that_all_runs_have_are_compared(tmp_path: Path) -> None:
    """Two ways of tuning are told apart by their answers after it, and the table says which it took."""
    tuned = [run_folder(tmp_path / name, {"fr": 2}, "after") for name in "ab"]
    assert compared(*tuned)["phase"] == "after"
    assert "answers after tuning" in invoke(*tuned).stdout
    for folder in tuned:
        run_folder(folder, {"fr": 2})
    untuned = run_folder(tmp_path / "c", {"fr": 2})
    assert compared(*tuned, untuned)["phase"] == "before"
    assert "answers before tuning" in invoke(*tuned, untuned).stdout


def test_mistakes(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "a", {"fr": 1})
    other = run_folder(tmp_path / "b", {"hi": 1})
    assert "share no prompt; compare runs on the same benchmarks" in fail(one, other)
    assert "give two run folders or more" in fail(one)
    assert "holds no run" in fail(one, tmp_path / "none")
    assert "has no finished answers after tuning" in fail(one, one, "--phase", "after")
    assert "--phase now is unknown" in fail(one, one, "--phase", "now")
    (one / "before" / "summary.json").unlink()
    assert "has no finished answers before tuning" in fail(one, other)
