"""The page on paper, on a phone with a real run, and small things that only a browser shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import asked_for, find, visit
from fake_run import put, write_fake_run
from tiny import save_tiny

from linguamap.report.run_page import write_report

PAGE_PIXELS = 718
"""Width of A4 inside the browser's margins."""

SMALL = (
    "evaluate.items=1", "evaluate.max_new_tokens=6", "probe.items=2", "probe.similarity_items=8",
    "probe.handover_items=1", "probe.bootstrap=20", "locate.bootstrap=20", "tune.examples=16",
    "tune.epochs=1", "tune.batch_size=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fake"
    return write_fake_run(folder, items=4, languages=("en", "hi"), n_layers=6, hostile=False)


@contextmanager
def phone(browser: Any) -> Iterator[None]:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextmanager
def paper(browser: Any) -> Iterator[None]:
    """As when the page is printed, for as long as one looks."""
    size = {"width": PAGE_PIXELS, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    try:
        yield
    finally:
        browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def longer_grid(run: Path, to: Path, n: int) -> Path:
    """A copy of a run whose texts in depth have ``n`` tokens and a long item id."""
    folder = shutil.copytree(run, to / "long")
    for where in ("probe", "probe_after"):
        grid = json.loads((folder / where / "grid.json").read_text())
        for prompt in grid["prompts"]:
            prompt["item_id"] = "professional_general_knowledge/train/" + "0" * 3
            prompt["tokens"] = [f"token{place}" for place in range(n)]
            prompt["cells"] = [
                [row[place % len(row)] for place in range(n)] for row in prompt["cells"]
            ]
        put(folder / where / "grid.json", grid)
    return write_report(folder)


@pytest.mark.slow
def test_a_real_run_fits_a_phone_without_an_error_or_a_request(
    browser: Any, tmp_path: Path
) -> None:
    """A pipeline's own names are longer than made-up ones: the list of prompts made it scroll."""
    model = save_tiny(tmp_path / "model", "llama", max_position_embeddings=4096)
    settings = [part for one in SMALL for part in ("--set", one)]
    command = ["run", "--model", str(model), "--languages", "en,es", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "linguamap", *command, *settings],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = tmp_path / "run/report.html"
    with phone(browser):
        visit(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.get_log("browser") == []
    assert asked_for(browser) <= {page.resolve().as_uri(), "about:blank"}


def test_a_long_name_in_the_list_of_prompts_fits_a_phone(
    browser: Any, run: Path, tmp_path: Path
) -> None:
    with phone(browser):
        visit(browser, longer_grid(run, tmp_path, 5))
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_paper_shows_a_long_text_in_strips_and_names_its_prompt(
    browser: Any, run: Path, tmp_path: Path
) -> None:
    def drawn(selector: str) -> list[Any]:
        return [
            one for one in find(browser, f"[data-figure=grid] {selector}") if one.is_displayed()
        ]

    visit(browser, longer_grid(run, tmp_path, 29))
    with paper(browser):
        strips = drawn(".paper-strip")
        assert len(strips) == 4  # 15 and 14 tokens, before and after
        assert max(one.rect["x"] + one.rect["width"] for one in strips) <= PAGE_PIXELS
        parts = strips[1].find_elements("css selector", "svg")
        assert parts[1].get_dom_attribute("viewBox").split()[0] == str(26 + 15 * 62)
        assert drawn("svg.token-grid") == []
        (prompt,) = find(browser, "[data-figure=grid] select")
        assert prompt.is_displayed()
        assert prompt.value_of_css_property("border-top-width") == "0px"
    assert len(drawn("svg.token-grid")) == 2
    assert find(browser, ".paper-strip") == []


def test_paper_has_a_key_of_languages_and_the_choices_made(browser: Any, run: Path) -> None:
    visit(browser, write_report(run))
    with paper(browser):
        for name in ("similarity", "handover", "change", "grid"):
            chips = find(browser, f"[data-figure={name}] .chip")
            assert "Hindi" in [chip.text for chip in chips if chip.is_displayed()], name
        shown = [one for one in find(browser, "[data-figure=similarity] .choice label")
                 if one.is_displayed()]  # fmt: skip
        assert [one.text for one in shown] == ["Before tuning"]


def test_the_first_printed_page_holds_the_finding(browser: Any, run: Path, tmp_path: Path) -> None:
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("no pdftotext here; on Debian: apt-get install poppler-utils")
    visit(browser, write_report(run))
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(printed))
    call = [reader, "-l", "1", str(tmp_path / "page.pdf"), "-"]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "What it does." in text
    assert "What tuning changed." in text


def test_few_judged_answers_are_a_fraction_with_n_in_the_tooltip(browser: Any, run: Path) -> None:
    visit(browser, write_report(run))
    cells = find(browser, "a.cell:not(.same)")
    rates = [cell.find_element("css selector", ".rate").text for cell in cells]
    assert rates
    assert all("/" in one or "–" in one for one in rates)  # four answers per cell
    browser.execute_script(
        "arguments[0].dispatchEvent(new PointerEvent('pointermove',"
        " {clientX: 9, clientY: 9, bubbles: true}))",
        cells[0],
    )
    assert ", n = " in browser.execute_script("return document.getElementById('tip').textContent")


def test_the_loss_marks_the_kept_epoch(browser: Any, run: Path) -> None:
    visit(browser, write_report(run))
    rings = find(browser, "[data-figure=loss] .kept")
    points = find(browser, "[data-figure=loss] .point")
    assert [one.get_attribute("cx") for one in rings] == [
        points[place].get_attribute("cx") for place in (1, 4)
    ]
    assert "The ringed epoch, 2," in find(browser, "[data-figure=loss] figcaption")[0].text


def test_the_first_screen_draws_two_maps_only_where_they_differ(
    browser: Any, run: Path, tmp_path: Path
) -> None:
    visit(browser, write_report(run))
    assert len(find(browser, "[data-figure=hero] svg.map")) == 2
    folder = shutil.copytree(run, tmp_path / "same")
    shutil.copy(folder / "probe/lens.parquet", folder / "probe_after/lens.parquet")
    visit(browser, write_report(folder))
    assert len(find(browser, "[data-figure=hero] svg.map")) == 1
    text = find(browser, "[data-figure=hero] figcaption")[0].text
    assert "moved no share of the language asked for by more than 0 points" in text
    assert "not on the model’s own answers" in text
