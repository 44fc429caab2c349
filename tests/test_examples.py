"""The example scripts end in a figure; what they compute agrees with SciPy."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_run import write_fake_run
from scipy.stats import binomtest
from tiny import save_tiny

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def is_figure(path: Path) -> bool:
    """An SVG with lines or points in it."""
    text = path.read_text(encoding="utf-8")
    return text.startswith("<?xml") and ("<path" in text or "<circle" in text)


def test_which_layer_draws_a_curve_for_each_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tiny(tmp_path / "m", "llama", max_position_embeddings=4096)
    out = tmp_path / "f.svg"
    found = run(
        "which_layer.py", "--model", str(model), "--languages", "es", "--items", "2",
        "--out", str(out), monkeypatch=monkeypatch,
    )  # fmt: skip
    assert is_figure(out)
    texts = found["texts_to_read"](["es"], 2)
    assert len({text.item_id for text in texts}) == 2
    assert {text.language for text in texts} == {"es"}
    assert all(text.answer_text.strip() and text.prompt_text for text in texts)


def test_before_after_pools_the_counts_of_a_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.svg"
    folder = write_fake_run(tmp_path / "run", items=3)
    found = run("before_after.py", "--run", str(folder), "--out", str(out), monkeypatch=monkeypatch)
    assert is_figure(out)
    cells = [
        {"language": "fr", "language_consistency": {"value": 0.75, "n": 4}},
        {"language": "fr", "language_consistency": {"value": 0.5, "n": 2}},
        {"language": "fr", "language_consistency": {"value": None, "n": 0}},
        {"language": "es", "language_consistency": {"value": 1.0, "n": 9}},
    ]
    value, low, high, n = found["consistency"](cells, "fr")
    expected = binomtest(4, 6).proportion_ci(method="wilson")
    assert (value, n) == (pytest.approx(4 / 6), 6)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert found["consistency"](cells, "hi") is None


@pytest.mark.parametrize(
    ("name", "option"), [("before_after.py", "--run"), ("which_layer.py", "--model")]
)
def test_what_is_not_there_is_one_line(
    name: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        run(name, option, str(tmp_path / "none"), monkeypatch=monkeypatch)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
