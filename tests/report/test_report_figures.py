"""Figures for papers: every format, the numbers beside them, and clear errors."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_run import write_fake_run
from typer.testing import CliRunner

import linguamap.report
from linguamap.cli.main import app
from linguamap.records import UserError
from linguamap.report.figures import write_figures
from linguamap.report.run_values import read_run

pytestmark = pytest.mark.slow

NAMES = (
    "outcomes", "outcome_map", "change", "loss", "lens", "language_map", "mass", "token_grid",
    "similarity", "handover",
)  # fmt: skip
POINTS_AN_INCH = 72


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")
    folder = tmp_path_factory.mktemp("runs") / "fake"
    return write_fake_run(folder, items=2, languages=("en", "ar", "hi"), n_layers=6)


@pytest.fixture(scope="module")
def written(run: Path) -> list[Path]:
    return write_figures(run)


def rows(run: Path, name: str) -> list[dict[str, str]]:
    with open(run / "figures" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_figure_comes_in_every_format_with_its_numbers(run: Path, written: list[Path]) -> None:
    expected = {f"{name}.{kind}" for name in NAMES for kind in ("svg", "pdf", "png", "csv")}
    assert (
        {path.name for path in written} == expected == {p.name for p in (run / "figures").iterdir()}
    )
    assert (run / "figures/lens.svg").read_text().startswith("<?xml")
    assert (run / "figures/lens.pdf").read_bytes().startswith(b"%PDF")
    assert (run / "figures/lens.png").read_bytes().startswith(b"\x89PNG")


def test_a_paper_figure_is_as_wide_as_a_column(run: Path, written: list[Path]) -> None:
    head = (run / "figures/language_map.svg").read_text().split("<svg", 1)[1].split(">", 1)[0]
    width = float(head.split('width="', 1)[1].split("pt", 1)[0])
    assert width == pytest.approx(3.3 * POINTS_AN_INCH)


def test_the_numbers_are_those_of_the_run(run: Path, written: list[Path]) -> None:
    lens = [row for row in rows(run, "lens") if row["when"] == "before"]
    assert len(lens) == 3 * 4 * 7  # languages asked for x languages of words and unplaced x layers
    outcomes = rows(run, "outcomes")
    # 3 benchmarks x 2 items; English counts in two scenarios only, before and after.
    own = sum(int(row["answers"]) for row in outcomes)
    assert own == 2 * (3 * 2) * (2 * 4 + 2)


def test_the_outcome_map_has_every_cell_once(run: Path, written: list[Path]) -> None:
    cells = rows(run, "outcome_map")
    # 3 benchmarks x 4 scenarios x 3 languages x before and after x 5 outcomes, 2 answers a cell.
    assert len(cells) == 3 * 4 * 3 * 2 * 5
    assert sum(int(one["answers"]) for one in cells) == 3 * 4 * 3 * 2 * 2


def test_the_token_grid_keeps_words_that_the_picture_cannot_write(
    run: Path, written: list[Path]
) -> None:
    stored = json.loads((run / "probe/grid.json").read_text())["prompts"][1]
    found = [one for one in rows(run, "token_grid") if one["when"] == "before"]
    assert len(found) == 7 * len(stored["tokens"])
    words = {cell["w"] or cell["t"] for row in stored["cells"] for cell in row}
    assert {one["word"] for one in found} == words
    picture = (run / "figures/token_grid.svg").read_text()
    assert "Answer in Arabic" in picture


@pytest.mark.parametrize("text", ["كرة", "कंचे", "a\u202eb", "", " ", "<b>\x00"])
def test_what_matplotlib_cannot_write_is_not_written(run: Path, text: str) -> None:
    from linguamap.report.grid_drawings import _writable

    assert _writable(text) is None
    assert _writable(" été ") == "été"
    assert _writable("5 $x$") == "5 \\$x\\$"
    assert _writable("anticonstitutionnel") == "anticons…"
    assert _writable("слово") == "слово"


def test_a_fallback_font_writes_what_needs_no_shaping(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from linguamap.report import grid_drawings, plotting

    assert plotting.fonts()[0] == "DejaVu Sans"
    both = len(plotting.fonts()) > 1
    assert grid_drawings._writable("個") == ("個" if both else None)
    monkeypatch.setattr(grid_drawings, "glyphs", lambda: frozenset(map(ord, "個")))
    assert grid_drawings._writable("個") == "個"
    monkeypatch.setattr(grid_drawings, "glyphs", frozenset)
    assert grid_drawings._writable("個") is None


def test_words_that_cannot_be_written_are_replaced_by_the_code_of_their_language(run: Path) -> None:
    from linguamap.report.grid_drawings import token_grid
    from linguamap.report.plotting import STYLES

    drawing = token_grid(read_run(run), STYLES["paper"])
    assert drawing is not None
    written = {text.get_text() for axis in drawing.figure.axes for text in axis.texts}
    assert "[ar]" in written


def test_the_bars_say_which_is_before_and_which_after(run: Path, tmp_path: Path) -> None:
    from linguamap.report.answer_drawings import outcome_map, outcomes
    from linguamap.report.plotting import STYLES

    def legend(folder: Path, draw: Any) -> str:
        drawing = draw(read_run(folder), STYLES["paper"])
        return str(drawing.figure.legends[0].get_title().get_text())

    once = tmp_path / "once"
    shutil.copytree(run, once)
    shutil.rmtree(once / "after")
    for draw in (outcomes, outcome_map):
        assert legend(run, draw) == "Upper bar: before tuning; lower bar: after tuning"
        assert legend(once, draw) == ""


def test_the_command_draws_in_a_style(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned/tuning.json").write_text('{"train_loss": [2.0, 1.0]}')
    result = CliRunner().invoke(app, ["figures", str(tmp_path), "--style", "slides"])
    assert result.exit_code == 0, result.exception
    assert " ".join(result.stdout.split()).endswith("(svg, pdf, png, csv): loss")
    head = (tmp_path / "figures/loss.svg").read_text().split("<svg", 1)[1].split(">", 1)[0]
    assert float(head.split('width="', 1)[1].split("pt", 1)[0]) == pytest.approx(6 * POINTS_AN_INCH)
    refused = CliRunner().invoke(app, ["figures", str(tmp_path), "--style", "wide"])
    assert "style 'wide' is unknown" in str(refused.exception)


def test_the_same_run_gives_the_same_picture(run: Path, written: list[Path]) -> None:
    first = (run / "figures/loss.svg").read_bytes()
    write_figures(run)
    assert (run / "figures/loss.svg").read_bytes() == first


def test_what_was_not_measured_is_not_drawn(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned/tuning.json").write_text('{"train_loss": [2.0, 1.0]}')
    assert {path.stem for path in write_figures(tmp_path, "slides")} == {"loss"}


def test_a_run_without_results_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    with pytest.raises(UserError, match="holds no results to draw yet; run: linguamap run"):
        write_figures(tmp_path)


def test_an_unknown_style_is_refused_with_the_nearest_name(run: Path) -> None:
    with pytest.raises(UserError, match="'papr' is unknown; did you mean 'paper'"):
        write_figures(run, "papr")


def test_a_missing_library_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("linguamap.report.")]:
        if name.endswith(("drawings", "plotting")):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(linguamap.report, name.rsplit(".", 1)[1])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(UserError, match="Matplotlib is not installed; install it with"):
        write_figures(run)
