"""Figures for papers: every format, the numbers beside them, and clear errors."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from fake_run import put, write_fake_run
from typer.testing import CliRunner

from linguamap.cli.app import app
from linguamap.records import OUTCOMES, UserError
from linguamap.report.run_charts import FIGURES, write_figures
from linguamap.run.read_run import read_run

pytestmark = pytest.mark.slow

NAMES = (
    "outcomes", "outcome_map", "change", "loss", "lens", "language_map", "token_set_probability",
    "token_grid", "similarity", "handover", "layer_change",
    "rule_scores", "rule_front", "lens_outcomes", "fitted_lens",
)  # fmt: skip
POINTS_AN_INCH = 72
LOSSES = {"method": "full", "layers": [], "trainable_parameters": 1, "total_parameters": 1,
          "trainable_share": 1.0, "train_loss": [2.0, 1.0]}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("vl_convert", reason="the extra 'figures' is not installed")
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
    lens = [row for row in rows(run, "lens") if row["phase"] == "before"]
    assert len(lens) == 3 * 4 * 7  # languages asked for x languages of words and unplaced x layers
    outcomes = rows(run, "outcomes")
    # 3 benchmarks x 2 items; English counts in two scenarios only, before and after.
    own = sum(int(row[name]) for row in outcomes for name in OUTCOMES)
    assert own == 2 * (3 * 2) * (2 * 4 + 2)


def test_the_outcome_map_has_every_cell_once(run: Path, written: list[Path]) -> None:
    cells = rows(run, "outcome_map")
    # 3 benchmarks x 4 scenarios x 3 languages x before and after, 2 answers per cell.
    assert len(cells) == 3 * 4 * 3 * 2
    assert {sum(int(one[name]) for name in OUTCOMES) for one in cells} == {2}


def test_the_token_grid_has_every_word_and_writes_every_script(
    run: Path, written: list[Path]
) -> None:
    stored = json.loads((run / "probe/grid.json").read_text())["prompts"][1]
    found = [one for one in rows(run, "token_grid") if one["phase"] == "before"]
    assert len(found) == 7 * len(stored["tokens"])
    words = {cell["w"] or cell["t"] for row in stored["cells"] for cell in row}
    assert {one["word"] for one in found} == words
    picture = (run / "figures/token_grid.svg").read_text()
    assert "Text in Arabic" in picture
    assert "\u0643\u0631\u0629" in picture  # a word of the target language, in its own letters


def test_the_bars_say_which_is_before_and_which_after(run: Path, tmp_path: Path) -> None:
    once = tmp_path / "once"
    shutil.copytree(run, once)
    shutil.rmtree(once / "after")
    note = "Upper bar: before tuning; lower bar: after tuning"
    for name in ("outcomes", "outcome_map"):
        both, one = (FIGURES[name](read_run(folder)) for folder in (run, once))
        assert both is not None
        assert one is not None
        assert note in both.svg()
        assert note not in one.svg()


def test_the_command_draws_in_a_style(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    (tmp_path / "tuned").mkdir()
    put(tmp_path / "tuned/tuning.json", LOSSES)
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
    put(tmp_path / "tuned/tuning.json", LOSSES)
    assert {path.stem for path in write_figures(tmp_path, "slides")} == {"loss"}


def test_a_run_without_results_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("languages: [en]\n")
    with pytest.raises(UserError, match="holds no results to draw yet; run: linguamap run"):
        write_figures(tmp_path)


def test_an_unknown_style_is_refused_with_the_nearest_name(run: Path) -> None:
    with pytest.raises(UserError, match="'papr' is unknown; did you mean 'paper'"):
        write_figures(run, "papr")


def test_a_missing_library_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match="a PDF needs vl-convert; install it with: pip install"):
        write_figures(run)
