"""One way to cite, wherever it stands."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import linguamap
from linguamap.report.words import template_text

ROOT = Path(__file__).parent.parent
PAPER = template_text("paper.bib")


def field(name: str) -> str:
    found = re.search(rf"{name} *= \{{(.*)\}}", PAPER)
    assert found is not None
    return found[1]


def test_card_and_report_cite_the_same() -> None:
    assert PAPER.startswith("@inproceedings{tamo2026linguamap,")
    for name in ("cite.html", "card.md.j2"):
        assert "{% include 'paper.bib' %}" in template_text(name)


def test_the_citation_file_agrees_with_the_package_and_the_paper() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (facts["title"], facts["version"]) == ("linguamap", linguamap.__version__)
    assert facts["license"] == "Apache-2.0"
    assert facts["authors"] == [{"name": "The linguamap developers"}]
    (paper,) = facts["references"]
    assert paper["title"] == field("title")
    authors = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    assert " and ".join(authors) == field("author")
    assert str(paper["year"]) == field("year")
    assert paper["url"].rpartition("/")[2] in field("note")
