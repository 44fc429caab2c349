"""The page in a real browser: no request, no error, and everything one clicks does what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_run import HOSTILE, write_fake_run
from linguamap.report import write_report

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium; skipped where it, its driver or Selenium is missing."""
    pytest.importorskip("selenium", reason="Selenium is not installed (extra 'dev')")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in SWITCHES:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.implicitly_wait(0)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_fake_run(tmp_path_factory.mktemp("runs") / "fake"))


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The page, freshly loaded, with the logs of earlier tests cleared."""
    visit(browser, page)
    return browser


def visit(browser: Any, page: Path, hash_part: str = "") -> None:
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.resolve().as_uri() + hash_part)
    wait_for(browser, "document.documentElement.dataset.ready === 'true'")


def wait_for(browser: Any, condition: str, seconds: float = 20) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, seconds, 0.05).until(
        lambda opened: opened.execute_script(f"return Boolean({condition})"), condition
    )


def find(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def shown(browser: Any) -> int:
    """How many questions the browser says it found."""
    return int(find(browser, ".result [role=status]")[0].text.split()[0].replace(",", ""))


def test_it_opens_without_an_error_or_a_request(opened: Any, page: Path) -> None:
    assert opened.get_log("browser") == []
    events = [json.loads(one["message"])["message"] for one in opened.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert set(asked) <= {page.resolve().as_uri(), "about:blank"}


def test_every_figure_is_drawn_and_named_for_screen_readers(opened: Any) -> None:
    for figure in find(opened, "figure[data-figure]"):
        name = figure.get_attribute("data-figure")
        drawn = figure.find_elements("css selector", "svg, .outcome-map")
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
        for one in find(opened, ".cell-button")
        if (one.get_attribute("aria-label") or "").startswith("Choice, Bilingual answer, Arabic")
    )
    opened.execute_script("arguments[0].click()", cell)
    assert shown(opened) == 8
    assert {one.text for one in find(opened, "#browser .card .who")} == {"Arabic"}
    assert opened.execute_script("return document.activeElement.textContent") == "Every answer"
    opened.back()
    wait_for(opened, "location.hash === ''")
    assert shown(opened) == 576


def test_arrow_keys_move_in_the_map_and_read_the_layers(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    first = find(opened, ".cell-button[tabindex='0']")[0]
    first.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    label = opened.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Sums, Code-mixed, French")
    drawing = find(opened, "[data-figure=lens] svg")[1]
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
