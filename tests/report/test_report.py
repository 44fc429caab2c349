"""The page: complete, self-contained, inert whatever a model wrote, whole on a run cut short."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from answers import plain_answer
from fake_run import HOSTILE, put, write_fake_run, write_rows

from linguamap.records import UserError
from linguamap.report import run_charts
from linguamap.report.answer_table import CUTS, answer_table, embed_json
from linguamap.report.run_charts import MAX_CELL, grid_texts, grids_chart
from linguamap.report.run_page import write_report
from linguamap.report.tables import commands
from linguamap.report.terminal import terminal_summary
from linguamap.run.contents import as_json
from linguamap.run.files import read_rows
from linguamap.run.read_run import read_run

MEGABYTE = 1_000_000
FILES = (
    "manifest.json", "stages.json", "identifier.json", "layers.json", "comparison.json", "change.json",
    "before/answers.jsonl", "before/summary.json", "after/answers.jsonl", "after/summary.json",
    "probe/lens.parquet", "probe/similarity.parquet", "probe/handover.parquet",
    "probe/probe.json", "probe_after/lens.parquet", "probe_after/similarity.parquet",
    "probe_after/handover.parquet", "tuned/tuning.json", "probe/token_set_probability.parquet",
    "probe_after/token_set_probability.parquet", "probe/lens_outcomes.parquet", "probe/grid.json", "probe_after/grid.json",
)  # fmt: skip


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else None
        if self.inside:
            self.raw.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[-1] = (self.inside, self.raw[-1][1] + data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def payload(self) -> Any:
        return json.loads(self.raw[1][1])


def load(path: Path) -> Page:
    return Page(path.read_bytes().decode("utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete made-up run; tests copy it before they change it."""
    return write_fake_run(tmp_path_factory.mktemp("runs") / "fake")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return load(write_report(run))


def copy(run: Path, to: Path) -> Path:
    shutil.copytree(run, to / "copy")
    return to / "copy"


def test_nothing_on_the_page_refers_to_the_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form"), tag
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    style = next(text for tag, text in page.raw if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_this_script_and_style_and_nothing_else(page: Page) -> None:
    policy = next(
        attributes["content"] or ""
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (_, style), (_, _), (_, script) = page.raw
    assert rules == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_hostile_answers_travel_as_data_and_end_no_element(page: Page) -> None:
    assert [tag for tag, _ in page.elements].count("script") == 2
    stored = {row[7][1] for row in page.payload["answers"]["rows"] if row[7]}
    for text in HOSTILE:
        assert text[: CUTS[0]] in stored


def test_scripts_never_parse_text_as_markup() -> None:
    assets = Path(__file__).parents[2] / "src/linguamap/report/assets"
    code = "".join(path.read_text() for path in assets.glob("*.js"))
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
    ):
        assert word not in code


@pytest.mark.parametrize("text", [*HOSTILE, "😀 \u2028 \x7f \ufeff", ""])
def test_embedded_json_is_harmless_and_comes_back_unchanged(text: str) -> None:
    embedded = embed_json({"answer": text})
    assert not set(embedded) & set("<>&\u2028\u2029\ufeff\x00")
    embedded.encode("utf-8")
    assert json.loads(embedded) == {"answer": text}


@pytest.mark.parametrize("name", FILES)
def test_any_file_may_be_missing(run: Path, tmp_path: Path, name: str) -> None:
    folder = copy(run, tmp_path)
    (folder / name).unlink()
    assert load(write_report(folder)).text


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_named_and_left_out(run: Path, tmp_path: Path, name: str) -> None:
    folder = copy(run, tmp_path)
    (folder / name).write_bytes(b'{"torn": [1, \xff')
    assert name in load(write_report(folder)).text


def test_a_run_that_has_only_begun_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {name: starter}\n")
    text = load(write_report(tmp_path)).text
    assert "Not run yet: the evaluation before tuning, the probes, locating the layers" in text
    assert "This run has no result yet" in text


def test_a_run_without_tuning_shows_one_side(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    for name in ("after", "tuned", "probe_after"):
        shutil.rmtree(folder / name)
    (folder / "comparison.json").unlink()
    page = load(write_report(folder))
    assert "Not run yet: tuning, the evaluation after tuning, the probes" in page.text
    labels = [a["aria-label"] for tag, a in page.elements if tag == "a" and "data-cell" in a]
    assert len(labels) == 3 * 4 * 6
    assert not any("After tuning" in str(one) for one in labels)


def strips(page: Page) -> list[list[str]]:
    """The marks of each scenario's strip, then those of the key."""
    found: list[list[str]] = []
    for tag, attributes in page.elements:
        if attributes.get("class") == "strip":
            found.append([])
        elif tag == "i" and found and attributes.get("class"):
            found[-1].append(str(attributes["class"]))
    return found


def test_a_prompt_in_another_language_than_the_one_asked_for_has_its_own_marks(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("languages: [fr, hi]\n")
    control = plain_answer(scenario="other_language", prompt="...", line_pass=None)
    write_rows(tmp_path / "before/answers.jsonl", [as_json(control)])
    asked = load(write_report(tmp_path))
    strip, *key = strips(asked)
    assert strip == ["x", "x", "x", "t"]
    assert ["x"] in key
    assert "A the answer that is asked for" in asked.text
    assert not any("x" in marks for marks in strips(page))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run \(it has no config\.yaml\)"):
        write_report(tmp_path)


def test_five_thousand_answers_fit(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", items=40)
    counted = [len(read_rows(folder / where / "answers.jsonl")) for where in ("before", "after")]
    assert sum(counted) == 2 * 2880
    for where in ("before", "after"):  # about as long as answers with reasoning are
        rows = read_rows(folder / where / "answers.jsonl")
        for place, row in enumerate(rows):
            row["answer"] += f" {place} " + " ".join(str(place * n % 9973) for n in range(90))
        write_rows(folder / where / "answers.jsonl", rows)
    path = write_report(folder)
    assert 3 * MEGABYTE < path.stat().st_size < 8 * MEGABYTE
    assert load(path).payload["answers"]["left_out"] == 0


def test_answers_too_long_for_the_page_are_cut_and_say_so(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = read_rows(folder / "before/answers.jsonl")
    for place, row in enumerate(rows):
        row["answer"] = f"{place} " + "word " * 4_000
    write_rows(folder / "before/answers.jsonl", rows)
    path = write_report(folder)
    assert path.stat().st_size < 8 * MEGABYTE
    table = load(path).payload["answers"]
    first = table["rows"][0][7]
    assert table["cut"] == CUTS[0]
    assert (len(first[1]), first[7]) == (CUTS[0], len(rows[0]["answer"]) - CUTS[0])


def test_what_does_not_fit_even_so_is_thinned_evenly(run: Path) -> None:
    found = read_run(run)
    table = answer_table(found.before.answers, found.after.answers, budget=60_000)
    assert len(embed_json(table)) <= 60_000
    assert table["left_out"] + len(table["rows"]) == table["total"] == 576
    assert {table["benchmarks"][row[0]] for row in table["rows"]} == {"sums", "choice", "passage"}


def test_prompt_lines_are_stored_once_and_come_back_whole(run: Path) -> None:
    found = read_run(run)
    table = answer_table(found.before.answers, found.after.answers)
    assert len(set(table["lines"])) == len(table["lines"])
    asked = [row["prompt"] for row in read_rows(run / "before/answers.jsonl")]
    assert ["\n".join(table["lines"][i] for i in row[4]) for row in table["rows"]] == asked


def test_prompt_parts_come_back_with_their_names_and_texts(run: Path) -> None:
    found = read_run(run)
    table = answer_table(found.before.answers, found.after.answers)
    stored = read_rows(run / "before/answers.jsonl")
    for row, source in zip(table["rows"], stored, strict=True):
        layout, *lengths = row[9]
        units = source["prompt"].encode("utf-16-le", "surrogatepass")
        start = own = 0
        names = [name for name, _ in source["prompt_parts"]]
        assert table["layouts"][layout] == names
        for length, (_, characters) in zip(lengths, source["prompt_parts"], strict=True):
            text = units[2 * start : 2 * (start + length)].decode("utf-16-le")
            assert text == source["prompt"][own : own + characters]
            start, own = start + length, own + characters
        assert 2 * start == len(units)


@pytest.mark.parametrize("parts", [(), (("preamble", 1),), (("preamble", -1), ("label", 4))])
def test_parts_that_do_not_fit_the_prompt_are_left_out(parts: Any) -> None:
    answer = plain_answer(prompt="abc", prompt_parts=parts)
    assert answer_table([answer], [])["rows"][0][9] is None


def test_the_grid_travels_whole_and_long_texts_are_cut(run: Path) -> None:
    texts = grid_texts(read_run(run))
    stored = json.loads((run / "probe/grid.json").read_text())
    assert [one.about.language for one in texts] == ["en", "fr", "es", "ar", "hi", "ja"]
    longest = 0
    for text, source in zip(texts, stored["prompts"], strict=True):
        rows = [row for row in text.rows if row["phase"] == "before"]
        cells = [cell for row in source["cells"] for cell in row]
        assert len(rows) == len(cells) == len(stored["layers"]) * len(source["tokens"])
        for row, cell in zip(rows, cells, strict=True):
            assert row["word"][:MAX_CELL] == (cell["w"] or cell["t"])[:MAX_CELL]
            assert row["token"][:MAX_CELL] == cell["t"][:MAX_CELL]
            assert (row["language"], row["probability"]) == (cell["l"], cell["p"])
            longest = max(longest, len(row["word"]))
    assert longest == MAX_CELL + 1


def test_grids_over_the_budget_are_left_out_and_counted(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grids_chart(read_run(run))[1] == 0
    monkeypatch.setattr(run_charts, "GRID_CELLS", 2000)
    chart, left_out = grids_chart(read_run(run))
    assert chart is not None
    shown = {panel.when["prompt"] for panel in chart.panels}
    assert 1 <= len(shown) < 6
    assert left_out == 6 - len(shown)


CELL = {"t": "a", "w": None, "l": None, "p": 0.5}
ABOUT = dict.fromkeys(
    ("prompt_id", "item_id", "kind", "scenario", "language", "prompt", "answer"), "x"
)


@pytest.mark.parametrize(
    "grid",
    [
        {},
        {"layers": [0], "prompts": [{**ABOUT, "tokens": ["a"], "cells": [[]]}]},
        {"layers": [0, 1], "prompts": [{**ABOUT, "tokens": ["a"], "cells": [[CELL]]}]},
        {"layers": [0], "prompts": [{**ABOUT, "tokens": ["a"], "cells": [[3]]}]},
        {"layers": "x", "prompts": {"a": 1}},
    ],
)
def test_a_grid_of_the_wrong_shape_is_named_and_left_out(tmp_path: Path, grid: Any) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    put(tmp_path / "probe/grid.json", grid)
    assert grids_chart(read_run(tmp_path)) == (None, 0)
    text = load(write_report(tmp_path)).text
    assert "The probes were not run" in text
    assert "probe/grid.json is broken" in text


def test_a_lost_grid_is_said(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    for where in ("probe", "probe_after"):
        (folder / where / "grid.json").unlink()
    assert "probing again adds it" in load(write_report(folder)).text


def test_the_page_says_how_to_repeat_what_was_run(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    assert commands(read_run(folder)) == ["linguamap run --config config.yaml --out again"]
    text = load(write_report(folder)).text
    assert "Save the config below as config.yaml" in text
    assert "copy" not in text.split("To repeat")[1].split("To cite")[0]
    shutil.rmtree(folder / "tuned")
    (folder / "layers.json").unlink()
    assert commands(read_run(folder)) == [
        "linguamap evaluate --config config.yaml --out again",
        "linguamap probe --out again",
    ]


def test_names_from_the_run_are_escaped_on_the_page(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("starter", '"<img src=x onerror=alert(1)>"'))
    page = load(write_report(folder))
    assert "img" not in [tag for tag, _ in page.elements]
    assert "<img src=x onerror=alert(1)>" in page.text


def test_a_value_of_the_wrong_kind_stops_neither_page_nor_terminal(tmp_path: Path) -> None:
    folder = write_fake_run(
        tmp_path / "run", items=1, languages=("en", "hi"), n_layers=4, benchmarks=("sums",)
    )
    for name in (one for one in FILES if one.endswith(".json")):
        whole = json.loads((folder / name).read_text())
        for key in whole:
            put(folder / name, {**whole, key: ["x"] if isinstance(whole[key], dict) else {}})
            assert write_report(folder)
            assert terminal_summary(folder)
        put(folder / name, whole)


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
