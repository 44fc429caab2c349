"""The page in a real browser: no request, no error, and everything one clicks does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chromium import asked_for, click, find, visit, wait_for
from fake_run import HOSTILE, write_fake_run, write_rows

from linguamap.report.run_page import write_report
from linguamap.run.files import read_rows


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_fake_run(tmp_path_factory.mktemp("runs") / "fake"))


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page, freshly loaded, with the logs of earlier tests cleared."""
    visit(browser, page)
    return browser


def shown(browser: Any) -> int:
    """How many questions the browser says it found."""
    return int(find(browser, ".result [role=status]")[0].text.split()[0].replace(",", ""))


def test_it_opens_without_an_error_or_a_request(opened: Any, page: Path) -> None:
    assert opened.get_log("browser") == []
    assert asked_for(opened) <= {page.resolve().as_uri(), "about:blank"}


def test_every_figure_is_drawn_and_named_for_screen_readers(opened: Any) -> None:
    for figure in find(opened, "figure[data-figure]"):
        name = figure.get_attribute("data-figure")
        drawn = figure.find_elements("css selector", "svg")
        assert drawn, name
        for drawing in figure.find_elements("css selector", "svg[role=img]"):
            assert len(drawing.get_attribute("aria-label") or "") > 10, name
    for control in find(opened, "button:not([hidden]), select, input"):
        named = control.get_attribute("aria-label") or control.accessible_name
        assert named, control.get_attribute("outerHTML")


def test_hostile_answers_are_shown_and_do_nothing(opened: Any) -> None:
    for text in HOSTILE[:3]:
        search(opened, text[:30])
        assert shown(opened) == 1
        assert text in find(opened, "#browser .card .model-text")[1].text
    assert opened.execute_script("return window.pwned") is None
    assert "pwned" not in opened.title
    assert find(opened, "img, iframe, object") == []
    assert len(find(opened, "script")) == 2
    assert opened.get_log("browser") == []


def test_control_characters_are_named_instead_of_obeyed(opened: Any) -> None:
    search(opened, "siht")
    assert [one.text for one in find(opened, "#browser .card .control")][:3] == [
        "RLO",
        "PDF",
        "LRI",
    ]
    search(opened, "bell")
    assert [one.text for one in find(opened, "#browser .card .control")] == ["NUL", "BEL", "ESC"]
    search(opened, "surrogates")
    assert [one.text for one in find(opened, "#browser .card .control")] == ["U+D800", "U+DFFF"]
    search(opened, "supercalifragilistic")
    assert shown(opened) == 1
    width = opened.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    assert (
        "96,000 more characters in before/answers.jsonl" in find(opened, "#browser .card")[-1].text
    )


def search(browser: Any, words: str) -> None:
    browser.execute_script(
        "const box = document.querySelector('#browser input[type=search]');"
        "box.value = arguments[0]; box.dispatchEvent(new Event('input'));",
        words,
    )
    wait_for(
        browser,
        "decodeURIComponent(location.hash.replace(/\\+/g, ' ')).includes("
        f"{json.dumps(words.strip().lower())})",
    )


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const list = document.querySelector(`#browser select[aria-label=${arguments[0]}]`);"
        "list.value = arguments[1]; list.dispatchEvent(new Event('change'));",
        name,
        value,
    )


def test_filters_narrow_the_answers_and_live_in_the_address(opened: Any, page: Path) -> None:
    assert shown(opened) == 576
    choose(opened, "language", "hi")
    assert shown(opened) == 96
    choose(opened, "scenario", "code_mixed")
    assert shown(opened) == 24
    choose(opened, "benchmark", "sums")
    assert shown(opened) == 8
    assert {one.text for one in find(opened, "#browser .card .who")} == {"Hindi"}
    chip = "#browser .chip[data-when=before][data-outcome=transfer_bottleneck]"
    expected = int(find(opened, chip + " small")[0].text)
    click(opened, chip)
    assert 0 < shown(opened) == expected < 8
    address = opened.execute_script("return location.hash")
    visit(opened, page, address)
    assert shown(opened) == expected
    click(opened, "#browser .result button")
    assert shown(opened) == 576


def test_a_search_marks_what_it_found(opened: Any) -> None:
    search(opened, "कंचे")
    assert 0 < shown(opened) < 576
    marks = find(opened, "#browser mark")
    assert marks
    assert {one.text for one in marks} == {"कंचे"}
    search(opened, "no such words anywhere")
    assert shown(opened) == 0
    assert "No answer fits all of these" in find(opened, "#browser .cards")[0].text


def test_a_cell_of_the_outcome_map_leads_to_its_answers(opened: Any) -> None:
    cell = next(
        one
        for one in find(opened, "a.cell")
        if (one.get_attribute("aria-label") or "").startswith("Choice, Bilingual answer, Arabic")
    )
    opened.execute_script("location.hash = arguments[0].getAttribute('href')", cell)
    wait_for(opened, "document.activeElement.textContent === 'Every answer'")
    assert shown(opened) == 8
    assert {one.text for one in find(opened, "#browser .card .who")} == {"Arabic"}
    opened.back()
    wait_for(opened, "location.hash === ''")
    assert shown(opened) == 576


def test_arrow_keys_move_in_the_map_and_read_the_layers(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    first = find(opened, "a.cell[tabindex='0']")[0]
    first.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    label = opened.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Sums, Code-mixed, French")
    drawing = find(opened, "[data-figure=lens] svg.curves")[1]
    opened.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", drawing)
    drawing.send_keys(Keys.END)
    wait_for(opened, "document.getElementById('live').textContent.includes('After block 18')")
    assert "French, before" in opened.execute_script(
        "return document.getElementById('tip').textContent"
    )


def test_more_answers_come_in_pages(opened: Any) -> None:
    assert len(find(opened, "#browser .card")) == 20
    click(opened, "#browser .more")
    assert len(find(opened, "#browser .card")) == 40


def test_the_theme_can_be_chosen(opened: Any) -> None:
    def background() -> str:
        return str(opened.execute_script("return getComputedStyle(document.body).backgroundColor"))

    seen = {background()}
    for _ in range(2):
        click(opened, "#theme")
        seen.add(background())
    assert seen == {"rgb(253, 252, 249)", "rgb(22, 24, 28)"}
    click(opened, "#theme")


def test_arabic_runs_from_right_to_left_and_carries_its_language(opened: Any) -> None:
    choose(opened, "language", "ar")
    line = find(opened, "#browser .card .prompt .line-of-text:not(:empty)")[-1]
    opened.execute_script("arguments[0].closest('details').open = true", line)
    assert opened.execute_script("return getComputedStyle(arguments[0]).direction", line) == "rtl"
    assert line.get_attribute("lang") == "ar"


def test_a_phone_needs_no_sideways_scrolling(browser: Any, page: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        visit(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_thousand_answers_can_be_filtered(browser: Any, tmp_path: Path) -> None:
    visit(browser, write_report(write_fake_run(tmp_path / "run", items=40)))
    choose(browser, "language", "ja")
    assert shown(browser) == 480
    assert browser.get_log("browser") == []


def test_a_run_that_has_only_begun_opens_without_an_error(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en, hi]\n")
    visit(browser, write_report(tmp_path))
    assert browser.get_log("browser") == []
    assert "Not run yet" in find(browser, "main")[0].text


def choose_option(browser: Any, figure: str, place: int) -> None:
    """Choose from a chart's list and wait until what it shows is drawn."""
    browser.execute_script(
        "const list = document.querySelector(`[data-figure=${arguments[0]}] select`);"
        "list.selectedIndex = arguments[1];"
        "list.dispatchEvent(new Event('change', {bubbles: true}));",
        figure, place,
    )  # fmt: skip
    wait_for(browser, f"document.querySelector('[data-figure={figure}] [data-drawn]')")


def in_grid(browser: Any, selector: str) -> list[Any]:
    return find(browser, f"[data-figure=grid] {selector}")


def grid_shown(browser: Any) -> list[Any]:
    return [one for one in in_grid(browser, "svg.token-grid") if one.is_displayed()]


def words(row: dict[str, Any]) -> str:
    """What a cell's reading begins with: its word, with blanks made visible."""
    return (row["w"] or row["t"]).replace("\n", "↵").strip() or "·"


def readings(grid: Any, row: int) -> list[str]:
    line = grid.find_elements("css selector", ".token-row")[row]
    return str(line.get_attribute("data-r")).split("\t")


def test_one_prompt_in_depth_has_each_layer_before_and_after(opened: Any, page: Path) -> None:
    stored = json.loads((page.parent / "probe/grid.json").read_text())["prompts"][1]
    before, _ = grid_shown(opened)
    rows = before.find_elements("css selector", ".token-row")
    names = [str(one.get_attribute("data-name")) for one in rows]
    assert names[:2] == ["After block 18, tuned", "After block 17, tuned"]
    assert names[2:] == [*(f"After block {n}" for n in range(16, 0, -1)), "Embedding (layer 0)"]
    boxed = before.find_elements("css selector", ".tuned-block")
    assert [one.get_attribute("textContent") for one in boxed] == ["18", "17"]
    own = stored["cells"][18]
    told = {"en": "English", "fr": "French", None: "no language identified"}
    for found, cell in zip(readings(before, 0), own, strict=True):
        assert found.startswith(words(cell))
        assert told.get(cell["l"], "") in found
    click(opened, "[data-figure=grid] input[value=after]")
    (only,) = grid_shown(opened)
    stored_after = json.loads((page.parent / "probe_after/grid.json").read_text())["prompts"][1]
    for found, cell in zip(readings(only, 9), stored_after["cells"][9], strict=True):
        assert found.startswith(words(cell))
    details = [one for one in in_grid(opened, "details") if one.is_displayed()][-1]
    opened.execute_script("arguments[0].open = true", details)
    assert "Layer 18: French at " in details.text
    assert opened.get_log("browser") == []


def test_the_grid_of_a_right_to_left_prompt_runs_from_the_right(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    choose_option(opened, "grid", 3)
    grid = grid_shown(opened)[0]
    first, second = grid.find_elements("css selector", "g > g:first-child > text")[:2]
    assert first.location["x"] > second.location["x"]
    grid.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    said = "document.getElementById('live').textContent.includes('After block 17, tuned, position 2: ')"
    wait_for(opened, said)


def test_hostile_words_in_the_grid_are_shown_and_do_nothing(opened: Any) -> None:
    choose_option(opened, "grid", 0)
    shown_words = "\n".join(readings(grid_shown(opened)[0], 0))
    for text in HOSTILE[:3]:
        assert text[:20] in shown_words, text
    for name in ("[NUL]", "[RLO]", "[U+D800]", "[U+DFFF]"):
        assert name in shown_words
    opened.execute_script("arguments[0].focus()", grid_shown(opened)[0])
    assert opened.execute_script("return window.pwned") is None
    assert find(opened, "img, iframe, object") == []
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert opened.execute_script(wide) <= 0
    assert opened.get_log("browser") == []


def test_another_language_to_compare_with_recolours_the_curves(opened: Any) -> None:
    def curves() -> dict[str, str]:
        shown = [
            one for one in find(opened, "[data-figure=similarity] .panel:not([hidden]) .curve")
            if str(one.get_attribute("data-long")).startswith("Raw cosine")
        ]  # fmt: skip
        return {
            str(one.get_attribute("data-name")): str(one.get_attribute("color")) for one in shown
        }

    assert {"French", "Hindi", "French, unrelated"} <= set(curves())
    names = [one.get_attribute("text") for one in find(opened, "[data-figure=similarity] option")]
    choose_option(
        opened, "similarity", next(i for i, n in enumerate(names) if n.startswith("French"))
    )
    after = curves()
    assert "French" not in after
    assert after["English"] == "var(--lang-0)"
    assert after["Hindi"] == "var(--lang-4)"
    assert len(after) == 10  # five pairs, each with its unrelated texts


def test_a_chip_brings_a_language_forward_and_the_numbers_open(opened: Any) -> None:
    click(opened, "[data-figure=handover] .chip[data-code=hi]")
    dimmed = {one.get_attribute("data-code") for one in find(opened, "[data-figure=handover] .dim")}
    assert "hi" not in dimmed
    assert {"fr", "ar"} <= dimmed
    click(opened, "[data-figure=lens] .behind summary")
    wait_for(opened, "document.querySelector('[data-figure=lens] .behind table')")
    heads = [one.text for one in find(opened, "[data-figure=lens] .behind thead th")]
    assert heads[:3] == ["Layer", "English asked, English, before", "English asked, English, after"]
    assert len(find(opened, "[data-figure=lens] .behind tbody tr")) == 19


def test_the_parts_of_a_prompt_are_named(opened: Any) -> None:
    choose(opened, "language", "ar")
    choose(opened, "scenario", "code_mixed")
    choose(opened, "benchmark", "passage")
    click(opened, "#browser .card summary")
    card = find(opened, "#browser .card")[0]
    names = [one.text for one in card.find_elements("css selector", ".part-name") if one.text]
    letters = [name.replace("\n", " ") for name in names]
    expected = ["P Preamble", "I Instruction", "Q Passage", "Q Question", "I Answer label"]
    assert [one.replace(" ", "") for one in letters] == [one.replace(" ", "") for one in expected]
    preamble = card.find_elements("css selector", ".piece.preamble")[0]
    question = card.find_elements("css selector", ".piece.question")[0]
    assert (preamble.get_attribute("lang"), question.get_attribute("lang")) == ("en", "ar")
    assert question.text == find(opened, "#browser .card .teaser")[0].get_attribute("textContent")


def test_a_run_without_parts_shows_its_prompts_whole(browser: Any, tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", items=1, languages=("en", "hi"), n_layers=4)
    for where in ("before", "after"):
        rows = read_rows(folder / where / "answers.jsonl")
        kept = [{k: v for k, v in row.items() if k != "prompt_parts"} for row in rows]
        write_rows(folder / where / "answers.jsonl", kept)
    visit(browser, write_report(folder))
    click(browser, "#browser .card summary")
    text = find(browser, "#browser .card details .model-text")[0].text
    assert text.split() == rows[0]["prompt"].split()
    assert find(browser, ".part-name") == []
    assert browser.get_log("browser") == []
