"""``linguamap identifiers``: accuracy on gold texts, by hand; optional identifiers; gold folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from linguamap.benchmarks import starter_benchmarks
from linguamap.cli.app import app
from linguamap.records import UserError
from linguamap.scoring.labelled_texts import labelled_from_folder, labelled_from_starter

SENTENCES = {
    "fr": [
        "Les enfants sont rentrés à la maison sous la neige.",
        "Elle a acheté du pain et du fromage au marché.",
        "The children walked home through the deep snow.",  # wrong on purpose
    ],
    "ru": ["Дети шли домой по глубокому снегу."],
}
WORDS = {"fr": ["fenêtre", "aujourd'hui", "neuf"], "ru": ["снег", "дом"]}


def gold_folder(folder: Path) -> Path:
    for part, texts in (("sentences", SENTENCES), ("single-words", WORDS)):
        for code, lines in texts.items():
            path = folder / "lingua_testdata" / part / f"{code}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["identifiers", *map(str, arguments)])


def measured(*arguments: str | Path) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_accuracy_by_hand_with_wilson_intervals(tmp_path: Path) -> None:
    """Two of the three lines under fr are French; the Russian ones cannot be missed by script."""
    found = measured("--data", gold_folder(tmp_path))
    rows = {(r["identifier"], r["unit"], r["language"]): r for r in found["rows"]}
    french = rows["lingua", "sentences", "fr"]
    assert (french["accuracy"], french["n"]) == (pytest.approx(2 / 3), 3)
    limits = binomtest(2, 3).proportion_ci(method="wilson")
    assert (french["low"], french["high"]) == pytest.approx((limits.low, limits.high))
    assert rows["lingua", "words", "ru"]["accuracy"] == 1.0
    both = rows["lingua", "sentences", "all"]
    assert (both["accuracy"], both["n"]) == (0.75, 4)
    assert found["candidates"]["lingua"] == ["fr", "ru", "en"]
    assert found["gold"] == str(tmp_path / "lingua_testdata")


def test_the_folder_itself_and_a_choice_of_languages(tmp_path: Path) -> None:
    gold = labelled_from_folder(gold_folder(tmp_path) / "lingua_testdata", ["ru"])
    assert (gold.sentences, gold.words) == ({"ru": SENTENCES["ru"]}, {"ru": WORDS["ru"]})


def test_the_table_says_n_and_interval() -> None:
    result = invoke("--languages", "en,ja", "--items", "4")
    assert result.exit_code == 0, result.exception
    lines = [line.split() for line in result.stdout.splitlines()]
    japanese = [line for line in lines if line[0] == "Japanese"]
    assert len(japanese) == 2  # sentences and words
    # Four of four: Wilson's lower limit is 4 / (4 + 1.96^2) = 0.510.
    assert japanese[0][1:4] == ["4", "100.0", "(51.0–100.0)"]
    assert "gold: starter items" in result.stdout


def test_what_is_not_installed_is_said_and_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    monkeypatch.setitem(sys.modules, "fasttext", None)
    found = measured("--languages", "fr", "--items", "3")
    assert {row["identifier"] for row in found["rows"]} == {"lingua"}
    assert set(found["missing"]) == {"langdetect", "fasttext"}
    assert "linguamap[identifiers]" in found["missing"]["fasttext"]
    assert "Not tried: langdetect" in invoke("--languages", "fr", "--items", "3").stdout


def test_a_language_that_one_identifier_does_not_know_is_null_for_it_alone(tmp_path: Path) -> None:
    pytest.importorskip("langdetect")
    for part in ("sentences", "single-words"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "yo.txt").write_text("Ọmọ náà ń lọ sí ilé ìwé lónìí\n", encoding="utf-8")
        (tmp_path / part / "ru.txt").write_text("снег идёт сегодня\n", encoding="utf-8")
    rows = {
        (r["identifier"], r["unit"], r["language"]): r for r in measured("--data", tmp_path)["rows"]
    }
    yoruba = rows["langdetect", "sentences", "yo"]
    assert (yoruba["accuracy"], yoruba["n"]) == (None, 0)
    assert yoruba["reason"] == "langdetect does not know yo"
    assert rows["langdetect", "sentences", "ru"]["accuracy"] == 1.0
    assert rows["langdetect", "sentences", "all"]["n"] == 1
    assert rows["lingua", "sentences", "yo"]["n"] == 1


def test_english_alone_works_for_all() -> None:
    """langdetect once refused it, since the whole table then is candidate and it lacks Yoruba."""
    pytest.importorskip("langdetect")
    found = measured("--languages", "en", "--items", "2")
    assert "langdetect" not in found["missing"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--languages", "fre"], "did you mean 'fr'"),
        (["--languages", "de"], "the starter items have no texts in de"),
        (["--data", "{folder}", "--languages", "de"], "no gold texts for de; it has fr, ru"),
        (["--data", "no-such-folder"], "no-such-folder has no gold texts"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], words: str) -> None:
    folder = gold_folder(tmp_path)
    result = invoke(*[one.format(folder=folder) for one in arguments])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)


def test_starter_gold_is_large_enough_and_each_text_once() -> None:
    gold = labelled_from_starter(starter_benchmarks(), None)
    assert set(gold.languages) == {"en", "fr", "es", "ar", "hi", "ja"}
    for code in gold.languages:
        for texts in (gold.sentences[code], gold.words[code]):
            assert len(texts) > 200
            assert len(set(texts)) == len(texts)


def test_a_draw_is_part_of_a_larger_one() -> None:
    gold = labelled_from_starter(starter_benchmarks(), ["fr"])
    small, large = gold.drawn(5, 5), gold.drawn(50, 50)
    assert set(small.words["fr"]) < set(large.words["fr"])
    assert small == gold.drawn(5, 5)


def test_real_gold_texts(benchmarks_dir: Path) -> None:
    gold = labelled_from_folder(benchmarks_dir, None)
    assert len(gold.languages) >= 23
    assert len(gold.sentences["fr"]) == 1000
    assert "nl" not in gold.languages  # not in the table of languages
