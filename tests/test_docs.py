"""The documentation: built with every warning an error, complete, and without a request to the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from linguamap.cli.app import COMMANDS, load_command
from linguamap.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]


class Loaded(HTMLParser):
    """Addresses that a page loads by itself: scripts, styles, images, frames; not its links."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module, reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")}
    docs = ROOT / "docs"
    assert {page.relative_to(docs).with_suffix("") for page in docs.rglob("*.md")} <= pages
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        away = [one for one in loaded.addresses if re.match(r"(\w+:)?//", one)]
        assert not away, f"{page.name} loads {away}"
    styles = "".join(one.read_text(encoding="utf-8") for one in site.rglob("*.css"))
    assert not re.findall(r"url\(['\"]?https?:", styles)


def test_every_command_option_and_setting_is_described(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        command = load_command(name)
        start = text.index(f'id="linguamap-{name}"')
        section = text[start : text.index("<h2", start)]
        for parameter in command.params:
            if parameter.name != "help" and parameter.param_type_name == "option":
                assert all(one in section for one in parameter.opts), (name, parameter.opts)
    for name, field in RunConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for key in [f"{name}.{one}" for one in inner] if inner else [name]:
            assert f"<code>{key}</code>" in text, key


def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert text.count('class="arithmatex"') == text.count("<math"), page.name
    assert "<msqrt>" in (site / "methods" / "statistics.html").read_text(encoding="utf-8")


def test_docstrings_come_with_their_sections(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    start = text.index('id="linguamap.probes.lens.language_lens"')
    entry = text[start : text.index("<h4", start)]
    assert all(f"{section}:" in entry for section in ("Parameters", "Returns", "Raises"))
    returned = entry[entry.index("Returns:") : entry.index("Raises:")]
    assert "<code>Table</code>" in re.sub(r"<(?!/?code)[^>]*>", "", returned)
    assert not re.findall(r":(?:func|class|data|mod|meth):", text)
