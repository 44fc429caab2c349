"""Charts without a run folder: every function takes plain data, and text in it stays text."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from answers import plain_answer

from linguamap import charts
from linguamap.charts import Chart, LayerMarks
from linguamap.charts.naming import shown_outcome
from linguamap.records import OUTCOMES, UserError

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=alert(1)> $x^$ {{7}} \u202egnorw\u202c\x00"


class Attributes(HTMLParser):
    """The names of all attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


SVG = "{http://www.w3.org/2000/svg}"
MARKS = LayerMarks(4, 3.0, (2.5, 3.5), [4], were_tuned=True)


def curve(**fixed: Any) -> list[dict[str, Any]]:
    """Five layers with a band."""
    shares = (0.1, 0.2, 0.5, 0.75, 1.0)
    return [
        {
            "layer": layer,
            "share": share,
            "low": share - 0.05,
            "high": min(1.0, share + 0.05),
            "n": 9,
        }
        | fixed
        for layer, share in enumerate(shares)
    ]


def lens_rows(language: str = "hi") -> list[dict[str, Any]]:
    return [
        row
        for word in (language, "en")
        for row in curve(target_language=language, word_language=word)
    ]


def cells(text: str = "sums") -> list[dict[str, Any]]:
    counts = dict(zip(OUTCOMES, (3, 1, 2, 1, 1), strict=True))
    rates = {
        f"{name}_{key}": value
        for name in ("language", "task")
        for key, value in (("rate", 0.5), ("low", 0.2), ("high", 0.8), ("n", 8))
    }
    return [
        {"benchmark": text, "language": "hi", "scenario": "code_mixed", "phase": phase} | counts | rates
        for phase in ("before", "after")
    ]  # fmt: skip


def grid_rows(word: str = "hola") -> list[dict[str, Any]]:
    return [
        {"layer": layer, "position": position, "text_there": word, "word": word, "token": word,
         "language": "es", "probability": 0.5}
        for layer in range(3) for position in (1, 2)
    ]  # fmt: skip


def rates(scenario: str = "code_mixed") -> list[dict[str, Any]]:
    return [
        {"scenario": scenario, "language": "hi", "measure": measure, "value": 0.25, "low": 0.1,
         "high": 0.5, "n": 12, "phase": phase}
        for measure in ("language", "task") for phase in ("before", "after")
    ]  # fmt: skip


def settings(label: str = "last:2") -> list[dict[str, Any]]:
    return [
        {"number": 1, "label": label, "family": "last blocks", "trained_share": 4.2, "seconds": 80.0,
         "language_consistency": 0.9, "language_consistency_low": 0.8,
         "language_consistency_high": 0.95, "task_accuracy": 0.3, "task_accuracy_low": 0.2,
         "task_accuracy_high": 0.4},
        {"number": 2, "label": "few", "family": "few_shot", "trained_share": 0.0, "seconds": 0.0,
         "language_consistency": 0.7, "task_accuracy": None},
    ]  # fmt: skip


def similar(kind: str = "all") -> list[dict[str, Any]]:
    return [
        {**row, "value": row["share"]}
        for measure in ("cosine", "cosine_unrelated", "retrieval")
        for row in curve(language_a="en", language_b="hi", kind=kind, measure=measure)
    ]


ALL: dict[str, Callable[[str], Chart]] = {
    "lens": lambda text: charts.lens(lens_rows(text), marks=MARKS, ceilings={text: 0.9}, noise=0.2,
                                     overtakes={text: 3}),
    "language_map": lambda text: charts.language_map(lens_rows(text), marks=MARKS),
    "token_set_probability": lambda text: charts.token_set_probability(
        [{**r, "probability": r["share"], "set_language": r["word_language"]} for r in lens_rows(text)],
        coverage={text: 0.5}),
    "similarity": lambda text: charts.similarity(similar(text), marks=MARKS),
    "handover": lambda text: charts.handover(
        [{**row, "layer": row["layer"] - 1} for row in curve(language=text, intervention="to_english")]),
    "next_token_handover": lambda text: charts.next_token_handover(
        [{**r, "probability": r["share"]} for c in (text, "en") for r in curve(language=c)], own=text),
    "outcome_map": lambda text: charts.outcome_map(cells(text), links={"": "page.html"}),
    "outcomes": lambda text: charts.outcomes(cells(text)),
    "change": lambda text: charts.change(rates(text)),
    "loss": lambda text: charts.loss(
        {"epoch": [1, 2], "curve": [text, text], "loss": [2.0, 1.5]}, kept_epoch=2),
    "layer_change": lambda text: charts.layer_change({"layer": [0, 1], "change": [0.0, 0.2]}),
    "rule_scores": lambda text: charts.rule_scores(
        {"rule": [text, text], "block": [1, 2], "score": [0.1, 0.4]}, blocks={text: [2]}),
    "rule_front": lambda text: charts.rule_front(
        {"rule": [text], "blocks": ["1"], "gain": [0.4], "seconds": [9.0], "chosen": [True]}),
    "fitted_lens": lambda text: charts.fitted_lens(
        [{**row, "lens": name} for name in ("fitted", "plain") for row in lens_rows(text)], marks=MARKS),
    "lens_outcomes": lambda text: charts.lens_outcomes(
        [{**row, "outcome": name} for name in ("consistent", "inconsistent") for row in lens_rows(text)],
        marks=MARKS),
    "token_grid": lambda text: charts.token_grid(grid_rows(text), language="es", hints=True),
    "sweep": lambda text: charts.sweep(settings(text), untuned={"language_consistency": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_chart_is_drawn_from_data_alone_and_leaves_text_inert(name: str) -> None:
    chart = ALL[name](HOSTILE)
    tree = ElementTree.fromstring(chart.svg().split("\n", 1)[1])  # well-formed whatever the text
    assert {one.tag for one in tree.iter()} <= {
        SVG + tag
        for tag in ("svg", "title", "g", "rect", "line", "path", "circle", "text", "tspan")
    }
    for written in (chart.svg(), str(chart.html()), chart._repr_html_()):
        assert "<script" not in written
        assert "<img" not in written
        assert not any(name.startswith("on") for name in Attributes(written).names)
        assert "\u202e" not in written.split("<table>")[0]
        assert "\x00" not in written.split("<table>")[0]
    if name not in ("layer_change", "outcomes"):
        assert "$x^$" in chart.svg() + str(chart.html())


def test_the_list_of_charts_is_whole() -> None:
    assert set(ALL) == {one for one in charts.__all__ if one[0].islower()}


def frames() -> list[Any]:
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    rows = lens_rows()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return [rows, columns, pandas.DataFrame(rows), arrow.Table.from_pylist(rows)]


def test_rows_columns_pandas_and_arrow_give_the_same_chart() -> None:
    first, *others = [charts.lens(frame).svg() for frame in frames()]
    assert others == [first] * 3


def test_a_curve_lies_where_its_numbers_say() -> None:
    """The axis goes from x = 32 to 316 over four layers, and from y = 18 (100 %) to 154 (0 %)."""
    chart = charts.lens(curve(target_language="hi", word_language="hi"))
    (line,) = re.findall(r'fill="none" [^>]*', str(chart.html()))
    assert line
    (path,) = re.findall(r'<path d="([^"]+)" fill="none"', str(chart.html()))
    steps = [tuple(map(float, part.split())) for part in path[1:].split("l")]
    at, heights = steps[0][1], []
    for _, step in [(0.0, 0.0), *steps[1:]]:
        at += step
        heights.append(at)
    assert steps[0][0] == 32
    assert [one[0] for one in steps[1:]] == [71.0] * 4
    expected = [154 - 136 * share for share in (0.1, 0.2, 0.5, 0.75, 1.0)]
    assert heights == pytest.approx(expected, abs=0.06)
    assert 'data-r="10% (5% to 15%)|20% (15% to 25%)|50% (45% to 55%)' in str(chart.html())


def test_a_missing_value_breaks_the_line_and_has_no_reading() -> None:
    rows = curve(target_language="hi", word_language="hi")
    rows[2]["share"] = float("nan")
    written = str(charts.lens(rows).html())
    (path,) = re.findall(r'<path d="([^"]+)" fill="none"', written)
    assert path.count("M") == 2
    assert "||" in written


def test_colours_are_values_in_a_file_and_variables_on_a_page() -> None:
    chart = charts.lens(lens_rows(), languages=["en", "hi"])
    assert "#a06cb6" in chart.svg()
    assert "var(" not in chart.svg()
    page = str(chart.html(["fr", "en", "hi"]))
    assert "var(--lang-2)" in page
    assert "#a06cb6" not in page


def test_a_file_is_as_wide_as_its_style(tmp_path: Path) -> None:
    chart = charts.loss({"epoch": [1], "curve": ["training"], "loss": [2.0]})
    for style, inches in (("paper", 3.3), ("slides", 6.0)):
        head = chart.svg(style).split("<svg", 1)[1].split(">", 1)[0]
        assert f'width="{inches * 72:.1f}pt"' in head


@pytest.mark.parametrize(
    ("kind", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")]
)
def test_it_writes_itself(kind: str, start: bytes, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="the extra 'figures' is not installed")
    path = charts.lens(lens_rows()).save(tmp_path / f"lens.{kind}")
    assert path.read_bytes().startswith(start)


def test_the_csv_has_the_rows_that_were_drawn(tmp_path: Path) -> None:
    path = charts.lens(lens_rows()).save(tmp_path / "lens.csv")
    read = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["share"] for row in read[:3]] == ["0.1", "0.2", "0.5"]
    assert read[0]["target_language"] == "hi"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: charts.lens({"layer": [0]}),
         "charts.lens: the frame has no column 'target_language'; it has: layer; needed: layer, "),
        (lambda: charts.lens(3), "charts.lens: int is no frame; give a pandas data frame"),
        (lambda: charts.lens(lens_rows()).save("x.jpg"), "'jpg' is no format; known: svg, pdf, png, csv"),
        (lambda: charts.lens(lens_rows()).encoded("svg", "papr"), "did you mean 'paper'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_notebook_shows_the_drawing_and_its_numbers() -> None:
    shown = charts.change(rates())._repr_html_()
    assert shown.startswith("<figure")
    assert "<svg " in shown
    assert "<th>measure</th>" in shown
    assert "var(" not in shown


def test_a_word_is_written_in_a_font_of_its_script() -> None:
    written = charts.token_grid(grid_rows("पानी"), language="hi").svg()
    assert 'font-family="Noto Sans Devanagari">पानी' in written
    assert "[" not in re.findall(r">(पानी)<", written)[0]


def test_tokens_of_a_right_to_left_text_run_from_the_right() -> None:
    rows = [{**row, "text_there": f"t{row['position']}"} for row in grid_rows("ماء")]
    (left, right) = [
        [float(at) for at in re.findall(r'<text x="([\d.]+)" y="14">t\d<', str(chart.html()))]
        for chart in (charts.token_grid(rows, language="es"), charts.token_grid(rows, language="ar"))
    ]  # fmt: skip
    assert left[0] < left[1]
    assert right[0] > right[1]


def test_an_outcome_bar_is_as_long_as_its_counts() -> None:
    chart = charts.outcome_map(cells()[:1])
    widths = {
        name: float(width) + 0.6
        for width, name in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="7" '
                                      r'fill="var\(--outcome-\w+\)" class="(\w+)"', str(chart.html()))
    }  # fmt: skip
    total = widths["both"] * 8 / 3
    for name, count in zip(OUTCOMES, (3, 1, 2, 1, 1), strict=True):
        if name != "unscored":
            assert widths[name] == pytest.approx(total * count / 8, abs=0.2)


def test_a_sweep_has_settings_without_cost_at_the_left_end() -> None:
    from linguamap.charts.dots import spread

    places, ticks = spread([0.0, 1.0, 10.0, 10.0])
    assert places[0] < places[1] < places[2] < places[3]  # those of one cost lie side by side
    assert (places[2] + places[3]) / 2 == pytest.approx(1.0)
    assert ticks[0][1] == "0"
    assert [text for _, text in ticks[1:]] == ["1", "3", "10"]


def test_the_cell_at_which_a_text_turns_is_framed_and_said() -> None:
    rows = [
        {"layer": layer, "position": position, "text_there": "kal", "word": "add", "language": "en",
         "probability": 0.5, "turn": (layer, position) == (2, 2)}
        for layer in range(3) for position in (1, 2)
    ]  # fmt: skip
    chart = charts.token_grid(rows, language="hi", languages=["en", "hi"])
    page = str(chart.html())
    assert page.count('class="turn"') == 1
    assert "turns to English at token 2, “kal”, after block 2" in page
    plain = charts.token_grid([{**row, "turn": False} for row in rows], language="hi")
    assert "turn" not in str(plain.html()).replace("return", "")


def test_panels_to_be_chosen_travel_compressed_and_whole() -> None:
    rows = [
        {"layer": layer, "language_a": "en", "language_b": "hi", "kind": "all", "measure": "cka",
         "value": 0.5, "phase": phase}
        for layer in range(3) for phase in ("before", "after")
    ]  # fmt: skip
    page = str(charts.similarity(rows, languages=["en", "hi"]).html())
    later = page.partition('data-later="')[2].partition('"')[0]
    drawn = gzip.decompress(base64.b64decode(later)).decode()
    assert page.count('class="panel"') == 1
    assert drawn.count('class="panel"') == 3  # en after, hi before and after
    assert drawn.count('data-phase="after"') == 2
    assert charts.similarity(rows).svg().count("Debiased CKA") == 1


@pytest.mark.parametrize(
    ("right", "shown"),
    [
        (True, ("transfer_bottleneck", "In the language asked for")),
        (False, ("neither", "In another language")),
        (None, ("unscored", "Language not identified")),
    ],
)
def test_an_answer_without_a_task_is_shown_by_its_language(
    right: bool | None, shown: tuple[str, str]
) -> None:
    answer = plain_answer(kind="open", outcome="unscored", language_correct=right)
    assert shown_outcome(answer) == shown
    solved = plain_answer(outcome="consistency_bottleneck", language_correct=False)
    assert shown_outcome(solved) == ("consistency_bottleneck", "Right task, wrong language")
