"""A headless Chromium for tests of pages, and small steps in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium; skipped where it, its driver or Selenium is missing."""
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """A browser with a profile of its own; the test is skipped where something is missing."""
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
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.implicitly_wait(0)
    try:
        yield opened
    finally:
        opened.quit()


def visit(browser: Any, page: Path, hash_part: str = "") -> None:
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.resolve().as_uri() + hash_part)
    wait_for(browser, "document.documentElement.dataset.ready === 'true'")


def wait_for(browser: Any, condition: str, seconds: float = 40) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, seconds, 0.05).until(
        lambda opened: opened.execute_script(f"return Boolean({condition})"), condition
    )


def find(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def asked_for(browser: Any) -> set[str]:
    """Every address that was requested since the last visit."""
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    return {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
