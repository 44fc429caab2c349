"""``compare.html``: figures of several runs as their files have them, inert whatever a model wrote."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from chromium import asked_for, click, find, visit, wait_for
from fake_run import put, write_fake_run
from run_contents import change, changes, comparison, run_of
from test_report import Page, load
from test_report_print import PAGE_PIXELS, paper
from typer.testing import CliRunner

from linguamap.charts.naming import change_figures, percent
from linguamap.cli.app import app
from linguamap.records import UserError
from linguamap.report.compare_page import differences, write_compare
from linguamap.report.run_charts import RunView
from linguamap.report.run_page import write_report
from linguamap.report.words import Words
from linguamap.scoring.compare import RunComparison, compare_runs

LANGUAGES = ("en", "fr", "ar")
BAD = '"><img src=x onerror="window.pwned = 1"><script>window.pwned = 2</script>'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tuned run with a page, a deeper tuned one, and one that was only evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    made = [
        write_fake_run(folder / "one", languages=LANGUAGES, items=4, n_layers=6),
        write_fake_run(folder / "two", languages=LANGUAGES, items=4, n_layers=9, seed=1),
        write_fake_run(folder / "three", languages=LANGUAGES, items=4, n_layers=6, seed=2),
    ]
    write_report(made[0])
    for name in ("after", "tuned", "probe", "probe_after"):
        shutil.rmtree(made[2] / name)
    for name in ("layers.json", "comparison.json", "change.json"):
        (made[2] / name).unlink()
    return made


@pytest.fixture(scope="module")
def path(runs: list[Path]) -> Path:
    return write_compare(runs, compare_runs(runs), runs[0].parent / "compare.html")


@pytest.fixture(scope="module")
def page(path: Path) -> Page:
    return load(path)


def test_the_page_refers_only_to_the_runs_own_pages(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert "src" not in attributes
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        link = attributes.get("href") or "#"
        assert link.startswith(("#", "one/report.html")), link


def test_headline_figures_are_those_of_the_runs(page: Page, runs: list[Path]) -> None:
    for run, letter in zip(runs, "ABC", strict=True):
        overall = json.loads((run / "before/summary.json").read_text())["overall"][-1]
        rate = overall["language_consistency"]
        figures = f"{percent(rate['value'])} ({percent(rate['low']).rstrip('%')}"
        assert figures in page.text, letter
    assert "not tuned" in page.text
    assert "5–6" in page.text  # blocks of the first run, 8–9 of the second
    assert "8–9" in page.text


def test_pairs_are_compared_with_the_first_run(page: Page, runs: list[Path]) -> None:
    found = compare_runs(runs).comparisons
    for letter, one in zip("BC", found, strict=True):
        task = one.overall.task_accuracy
        sentence = page.text.split(f"{letter} against A: ")[1].split("prompts are common")[0]
        before, after, moved = change_figures(task.before, task.after)
        assert f"task accuracy from {before} to {after} , {moved} points" in sentence
        assert f"p = {task.p_value:.2f}" in sentence or task.p_value < 0.1
        assert sentence.endswith("144 ")  # 3 benchmarks x 4 scenarios x 3 languages x 4 items


def test_the_title_is_the_largest_clear_difference_with_its_interval() -> None:
    def against(language: tuple[float, ...], task: tuple[float, ...]) -> RunComparison:
        overall = changes(*(change(*values, p=0.5) for values in (language, task)))
        return RunComparison(run="x", n_other_text=0, **vars(comparison(overall)))

    def heading(*others: RunComparison) -> str:
        letters = "ABC"[: len(others) + 1]
        views = [RunView(letter, "m", letter, None, run_of()) for letter in letters]
        pairs = list(zip(views[1:], others, strict=True))
        words = Words(html=False, views=views, pairs=pairs)
        return words.one("compared_title", differences(pairs)[1])

    unclear = against((0.2, 0.9, -0.1, 0.9), (0.3, 0.31, -0.1, 0.1))
    assert heading(unclear) == "B and A are not distinguishable over all answers"
    clear = against((0.6, 0.7, 0.05, 0.16), (0.5, 0.3, -0.3, -0.1))
    assert heading(unclear, clear).startswith(
        "C gets the task right less often than A: −20 points (−30 to −10"
    )


def test_curves_after_tuning_are_named_only_where_there_are_any(
    page: Page, runs: list[Path], tmp_path: Path
) -> None:
    assert "solid before tuning, dashed after it" in page.text
    bare = shutil.copytree(runs[0], tmp_path / "bare")
    shutil.rmtree(bare / "probe_after")
    text = load(write_compare([bare, bare], compare_runs([bare, bare]), tmp_path / "b.html")).text
    assert "dashed after it" not in text
    assert "with 95% bands, before tuning" in text


def test_a_letter_stands_where_its_rate_is(path: Path, runs: list[Path]) -> None:
    # The axis goes from x = 78 at 0% to x = 466 at 100%.
    rows = [json.loads(line) for line in (runs[2] / "before/answers.jsonl").open()]
    own = [r for r in rows if r["language"] == "ar" and r["scenario"] == "code_mixed"]
    known = [r["language_correct"] for r in own if r["language_correct"] is not None]
    x = 78 + 388 * sum(known) / len(known)
    drawing = re.search(r'<svg [^>]*class="rates".*?</svg>', path.read_text(), re.S)
    assert drawing
    block = drawing[0].split("Code-mixed")[1].split(">Arabic<")[1].split("English distractors")[0]
    (mark,) = re.findall(r'<circle cx="([\d.]+)"[^>]*/><text [^>]*>C<', block)
    assert float(mark) == pytest.approx(x, abs=0.06)


def test_models_of_other_depth_share_an_axis_in_percent(
    page: Page, runs: list[Path], tmp_path: Path
) -> None:
    assert "The models differ in depth" in page.text
    same = [runs[0], runs[0]]
    alike = load(write_compare(same, compare_runs(same), tmp_path / "same.html"))
    assert "The axis is the layer" in alike.text
    assert "The runs’ settings are the same" in alike.text


def test_settings_that_differ_are_listed_with_defaults_filled_in(page: Page) -> None:
    text = page.text.split("Settings that differ")[1].split("To repeat")[0]
    assert text.split() == ["Setting", "A", "B", "C", "seed", "0", "1", "2"]


def test_after_tuning_and_the_command(runs: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "tuned.html"
    arguments = ["compare", str(runs[0]), str(runs[1]), "--phase", "after", "--to", str(to)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    assert "all answers" in result.stdout
    assert str(to) in result.stdout.replace("\n", "")
    page = load(to)
    assert "answers after tuning are compared" in page.text
    again = (
        "linguamap run --config A.yaml --out again-A linguamap run --config B.yaml --out again-B"
    )
    assert f"{again} linguamap compare again-A again-B --phase after" in page.text
    assert "Save the configs below as A.yaml , B.yaml" in page.text
    assert "the luck of a seed" in page.text


def test_with_json_a_page_is_drawn_only_where_asked(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(runs[0]), str(runs[1])]
    assert json.loads(CliRunner().invoke(app, ["compare", *names, "--json"]).stdout)
    assert not (tmp_path / "compare.html").exists()
    CliRunner().invoke(app, ["compare", *names])
    assert (tmp_path / "compare.html").exists()
    result = CliRunner().invoke(app, ["compare", *names, "--to", str(tmp_path / "no/page.html")])
    assert "lies in a folder that does not exist" in str(result.exception)
    with pytest.raises(UserError, match="is a folder; name an HTML file for --to"):
        write_compare(runs, compare_runs(runs), tmp_path)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs whose model, benchmark, method and settings are markup."""
    folder = tmp_path_factory.mktemp("hostile")
    made = []
    for seed in (0, 1):
        run = write_fake_run(folder / f"run{seed}", languages=("en", "hi"), items=2, n_layers=4,
                             seed=seed, benchmarks=(BAD,))  # fmt: skip
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"]["name"] = f"{BAD}{seed}"
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        tuning = json.loads((run / "tuned/tuning.json").read_text())
        put(run / "tuned/tuning.json", {**tuning, "method": f"\u202e{BAD}\x00"})
        write_report(run)
        made.append(run)
    return write_compare(made, compare_runs(made), folder / "compare.html")


def test_hostile_names_end_no_element(hostile: Path) -> None:
    page = load(hostile)
    tags = [tag for tag, _ in page.elements]
    assert "img" not in tags
    assert tags.count("script") == 1
    assert BAD in page.text


def test_it_opens_in_a_browser_without_an_error_or_a_request(browser: Any, path: Path) -> None:
    visit(browser, path)
    assert browser.get_log("browser") == []
    assert asked_for(browser) <= {path.resolve().as_uri(), "about:blank"}
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    click(browser, "#theme")
    after = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert before != after
    assert len(find(browser, "#toc a")) == len(find(browser, "section")) == 6
    for drawing in find(browser, "svg[role=img]"):
        assert len(drawing.get_attribute("aria-label") or "") > 20


def test_unscored_answers_are_hatched_as_in_the_legend(browser: Any, path: Path) -> None:
    visit(browser, path)
    ground = browser.execute_script(
        "return getComputedStyle(document.querySelector('.legend .unscored')).backgroundImage"
    )
    assert "repeating-linear-gradient" in ground
    assert {one.tag_name for one in find(browser, ".bar .unscored")} == {"path"}
    assert {one.tag_name for one in find(browser, ".bar .both")} == {"rect"}


def test_paper_holds_the_whole_map(browser: Any, path: Path) -> None:
    visit(browser, path)
    with paper(browser):
        for table in find(browser, ".chart .panel, .headlines"):
            assert table.rect["x"] + table.rect["width"] <= PAGE_PIXELS


def test_few_answers_are_a_fraction(page: Page) -> None:
    cells = [a for _, a in page.elements if "Run A:" in str(a.get("aria-label"))]
    assert len(cells) == 3 * 4 * 3
    # Four answers a cell: never a percentage.
    assert re.search(r"\b[0-4]/[0-4] → [0-4]/[0-4]\b", page.text)
    assert not re.search(r"\b(25|50|75|100) → (25|50|75|100)\b", page.text)


def test_a_cell_leads_to_its_answers_on_the_runs_page(browser: Any, path: Path) -> None:
    visit(browser, path)
    (link, *_) = (
        one
        for one in find(browser, "a.cell")
        if "scenario=code_mixed&language=ar" in (one.get_dom_attribute("href") or "")
    )
    browser.get(f"{path.parent.as_uri()}/{link.get_dom_attribute('href')}")
    wait_for(
        browser, "document.documentElement.dataset.ready && document.querySelector('#browser')"
    )
    assert find(browser, ".result [role=status]")[0].text == "4 prompts of 144"
    assert {one.text for one in find(browser, "#browser .card .who")} == {"Arabic"}


def test_hostile_names_do_nothing_in_a_browser(browser: Any, hostile: Path) -> None:
    visit(browser, hostile)
    assert browser.execute_script("return window.pwned") is None
    assert find(browser, "img, iframe, object") == []
    assert BAD in find(browser, "main")[0].text
    width = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    assert browser.get_log("browser") == []


def test_a_phone_needs_no_sideways_scrolling(browser: Any, path: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        visit(browser, path)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
