"""The real benchmark files: counts and faults as their README states them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from linguamap.benchmarks import describe_use, load_benchmark
from linguamap.languages import LANGUAGES
from linguamap.records import Benchmark, UserError

pytestmark = pytest.mark.slow

ALL = list(LANGUAGES)
MGSM = ["bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"]
XQUAD = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
LITE = ["bn", "de", "en", "fr", "ja", "sw", "zh"]


def reason_of(found: Benchmark, item_id: str) -> tuple[str, str]:
    one = next(one for one in found.dropped if one.item_id == item_id)
    return one.language, one.reason


def check_aligned(found: Benchmark) -> None:
    ids = [item.item_id for item in next(iter(found.items.values()))]
    assert len(set(ids)) == len(ids)
    for items in found.items.values():
        assert [item.item_id for item in items] == ids


def test_mgsm_has_250_items_and_four_answers_with_a_comma(benchmarks_dir: Path) -> None:
    found = load_benchmark("mgsm", ALL, "test", folder=benchmarks_dir)
    assert found.languages == tuple(MGSM)
    assert set(found.missing_languages) == set(ALL) - set(MGSM)
    assert found.dropped == ()
    assert {len(items) for items in found.items.values()} == {250}
    check_aligned(found)
    for items in found.items.values():
        golds = {number: items[number - 1].gold for number in (147, 202, 231, 250)}
        assert golds == {147: ("2125",), 202: ("114200",), 231: ("276000",), 250: ("5600",)}


def test_mgsm_trains_on_eight_exemplars_without_their_labels(benchmarks_dir: Path) -> None:
    found = load_benchmark("mgsm", ALL, "train", folder=benchmarks_dir)
    assert found.languages == tuple(MGSM)
    golds = [("11",), ("29",), ("39",), ("9",), ("33",), ("8",), ("8",), ("5",)]
    for items in found.items.values():
        assert [item.gold for item in items] == golds
        assert all(item.explanation for item in items)
    third = found.items["fr"][2]
    assert third.question.startswith("Léa avait 32 chocolats")
    assert third.explanation is not None
    assert third.explanation.startswith("Léa avait 32 chocolats et sa sœur")
    assert third.explanation.endswith("74 - 35 = 39 chocolats.")


def referring(found: Benchmark) -> set[str]:
    """Ids left out since an option speaks of others ("all of the above")."""
    return {one.item_id for one in found.dropped if one.reason.startswith("an option speaks")}


def n_whole(found: Benchmark, language: str) -> int:
    """Items, with those that are left out for such an option."""
    return len(found.items[language]) + len(referring(found))


def test_xquad_has_1190_items_in_240_paragraphs(benchmarks_dir: Path) -> None:
    found = load_benchmark("xquad", ALL, "test", folder=benchmarks_dir)
    assert found.languages == tuple(XQUAD)
    assert found.dropped == ()
    for items in found.items.values():
        assert len(items) == 1190
        assert len({item.group for item in items}) == 240
        assert len({item.subject for item in items}) == 48
        assert all(item.gold[0] in (item.passage or "") for item in items)
        assert not any("\ufeff" in (item.passage or "") for item in items)
    check_aligned(found)


def test_halves_are_disjoint_whole_paragraphs_and_alike_in_every_run(benchmarks_dir: Path) -> None:
    train = load_benchmark("xquad", ["es", "ar"], "train", folder=benchmarks_dir, halves=True)
    test = load_benchmark("xquad", ["hi"], "test", folder=benchmarks_dir, halves=True)
    groups = [{item.group for item in items} for items in (train.items["es"], test.items["hi"])]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 240
    assert 90 <= len(groups[0]) <= 150
    assert {item.split for item in train.items["ar"]} == {"train"}
    mgsm = load_benchmark("mgsm", ["fr"], "train", folder=benchmarks_dir, halves=True)
    held = load_benchmark("mgsm", ["fr"], "test", folder=benchmarks_dir, halves=True)
    assert len(mgsm.items["fr"]) + len(held.items["fr"]) == 258


def test_global_mmlu_lite_loses_ten_misaligned_rows_with_chinese(benchmarks_dir: Path) -> None:
    found = load_benchmark("mmlu:global_mmlu_lite", ALL, "test", folder=benchmarks_dir)
    assert found.languages == tuple(LITE)
    assert {n_whole(found, code) for code in LITE} == {390}
    assert len(referring(found)) == 20
    others = [one for one in found.dropped if one.item_id not in referring(found)]
    assert {(one.language, one.item_id.split("/")[0]) for one in others} == {
        ("zh", "high_school_world_history")
    }
    assert len(others) == 10
    check_aligned(found)
    rest = [code for code in LITE if code != "zh"]
    whole = load_benchmark("mmlu:global_mmlu_lite", rest, "test", folder=benchmarks_dir)
    assert {n_whole(whole, code) for code in rest} == {400}


def test_a_category_is_its_subjects(benchmarks_dir: Path) -> None:
    found = load_benchmark(
        "mmlu:global_mmlu_lite", ["de", "zh"], "test", folder=benchmarks_dir, subjects=["Business"]
    )
    counts = Counter(item.subject for item in found.items["zh"])
    counts += Counter(one.split("/")[0] for one in referring(found))
    assert counts == {
        "business_ethics": 16,
        "management": 16,
        "professional_accounting": 16,
        "marketing": 10,
    }


def test_json_lines_and_parquet_are_the_same_rows(benchmarks_dir: Path, tmp_path: Path) -> None:
    for code in ("en", "sw"):
        folder = tmp_path / "Global-MMLU-Lite" / code
        folder.mkdir(parents=True)
        shutil.copy(benchmarks_dir / "global_mmlu_lite" / code / "test.jsonl", folder)
    lines = load_benchmark("mmlu", ["sw"], "test", folder=tmp_path)
    parquet = load_benchmark("mmlu:global_mmlu_lite", ["sw"], "test", folder=benchmarks_dir)
    strip = [(item.item_id, item.question, item.options, item.gold) for item in lines.items["sw"]]
    assert strip == [
        (item.item_id, item.question, item.options, item.gold) for item in parquet.items["sw"]
    ]


def test_global_mmlu_drops_what_its_readme_names(benchmarks_dir: Path) -> None:
    codes = ["en", "es", "fr", "ja", "pl", "ru"]
    found = load_benchmark("mmlu:global_mmlu", codes, "test", folder=benchmarks_dir)
    assert found.rows_read == dict.fromkeys(codes, 4215)
    assert reason_of(found, "professional_law/test/1225") == (
        "ja",
        "the answer differs: A, but B in the other languages",
    )
    for row in (21, 60):
        found_reason = reason_of(found, f"college_mathematics/test/{row}")
        assert found_reason == ("en", "option A is empty")
    assert 4205 <= n_whole(found, "ru") <= 4212
    check_aligned(found)
    business = load_benchmark(
        "mmlu:global_mmlu", codes, "test", folder=benchmarks_dir, subjects=["business"]
    )
    assert n_whole(business, "ja") == 281


def test_mmmlu_mends_subject_names_and_finds_dates_made_of_fractions(benchmarks_dir: Path) -> None:
    found = load_benchmark("mmlu:mmmlu", ["bn", "ja", "sw"], "test", folder=benchmarks_dir)
    assert found.rows_read == dict.fromkeys(["en", "bn", "ja", "sw"], 2809)
    subjects = {code: {item.subject for item in items} for code, items in found.items.items()}
    assert len(subjects["sw"]) == 57
    assert subjects["sw"] == subjects["ja"]
    # A spreadsheet had turned the options 1/4, 1/3, 1/2 and 2/3 into 4-Jan, 3-Jan ...
    assert reason_of(found, "college_physics/test/43")[0] == "bn"
    assert n_whole(found, "sw") == 2806


def test_the_original_mmlu_is_complete(benchmarks_dir: Path) -> None:
    found = load_benchmark("mmlu:mmlu", ["en"], "test", folder=benchmarks_dir)
    counts = Counter(item.subject for item in found.items["en"])
    counts += Counter(one.split("/")[0] for one in referring(found))
    assert n_whole(found, "en") == 14042
    # "all of the above" in its wordings alone stands in more than 200 English questions.
    assert 400 < len(referring(found)) < 700
    assert len(counts) == 57
    assert (counts["business_ethics"], counts["management"], counts["marketing"]) == (100, 103, 234)
    none = next(one for one in found.items["en"] if one.item_id == "college_mathematics/test/21")
    assert none.options[0] == "None"
    train = load_benchmark("mmlu", ["en"], "train", folder=benchmarks_dir)
    assert n_whole(train, "en") == 285


def test_listed_rows_of_the_arabic_mmlu_are_left_out(benchmarks_dir: Path) -> None:
    parts = [
        load_benchmark("mmlu", ["ar"], one, folder=benchmarks_dir) for one in ("test", "train")
    ]
    listed = [
        one for part in parts for one in part.dropped if one.reason.startswith("listed in suspect")
    ]
    assert sum(part.rows_read["ar"] for part in parts) == 4822
    rows = (benchmarks_dir / "mmlu" / "ar" / "suspect_rows.tsv").read_text(encoding="utf-8")
    names = {"/".join((subject, split, row)) for split, subject, row, _ in
             (line.split("\t") for line in rows.split("\n")[1:-1])}  # fmt: skip
    for_options = names & set().union(*map(referring, parts))  # these are looked at first
    assert len(names) == 171
    assert {one.item_id for one in listed} | for_options == names


def test_most_leaked_prompts_are_found_without_the_list(
    benchmarks_dir: Path, tmp_path: Path
) -> None:
    listed = set()
    rows = (benchmarks_dir / "mmlu" / "ar" / "suspect_rows.tsv").read_text(encoding="utf-8")
    for line in rows.split("\n")[1:-1]:
        split, subject, row, reason = line.split("\t")
        if (split, reason) == ("test", "prompt example"):
            listed.add(f"{subject}/test/{row}")
    for code in ("ar", "en"):
        source = benchmarks_dir / "mmlu" / code / "test"
        shutil.copytree(source, tmp_path / "mmlu" / code / "test", copy_function=shutil.copyfile)
    found = load_benchmark("mmlu", ["ar"], "test", folder=tmp_path)
    dropped = {one.item_id for one in found.dropped if one.rows == 1} - (referring(found) - listed)
    assert len(dropped & listed) >= 0.9 * len(listed)
    assert len(dropped) <= 160


def test_mmlu_covers_as_many_languages_as_there_are(benchmarks_dir: Path) -> None:
    six = ["en", "fr", "es", "ar", "hi", "ja"]
    found = load_benchmark("mmlu", six, "test", folder=benchmarks_dir)
    assert found.languages == ("en", "fr", "es", "ar", "ja")
    assert found.missing_languages == {"hi": "not in these translations"}
    assert found.source.startswith("global_mmlu: fr es ja from ")
    assert "mmlu: en ar from " in found.source
    assert 1600 <= len(found.items["ar"]) <= 1766
    check_aligned(found)
    every = load_benchmark("mmlu", ALL, "test", folder=benchmarks_dir)
    assert every.languages == (
        "ar",
        "bn",
        "de",
        "en",
        "es",
        "fr",
        "it",
        "ja",
        "pl",
        "ru",
        "sw",
        "zh",
    )
    assert 40 <= len(every.items["it"]) <= 46


def test_one_family_is_preferred_and_the_larger_one_wins(benchmarks_dir: Path) -> None:
    found = load_benchmark("mmlu", ["bn", "sw"], "test", folder=benchmarks_dir)
    assert found.source.startswith("mmmlu: bn sw from ")
    both = load_benchmark("mmlu", ["de", "zh"], "test", folder=benchmarks_dir)
    assert both.source.startswith("global_mmlu_lite: de zh from ")
    assert n_whole(both, "de") == 390


def test_nothing_left_says_why(benchmarks_dir: Path) -> None:
    with pytest.raises(UserError, match=r"no row is left to use.*10 \(zh: known fault\)"):
        load_benchmark(
            "mmlu:global_mmlu_lite",
            ["zh"],
            "test",
            folder=benchmarks_dir,
            subjects=["high_school_world_history"],
        )


def test_language_confusion_prompts(benchmarks_dir: Path) -> None:
    found = load_benchmark("lcb", ALL, "test", folder=benchmarks_dir)
    assert found.bare
    # 24 monolingual files of 100; 14 languages of 100 + 100 + 99 crosslingual prompts.
    assert sum(len(items) for items in found.items.values()) == 2400 + 14 * 299
    assert found.kind == "open"
    assert not found.aligned
    assert {item.item_id for item in found.items["en"]} == {
        f"monolingual/{source}/en/{row:03d}" for source in ("aya", "okapi") for row in range(100)
    }
    crossed = load_benchmark("lcb:crosslingual", ["fr", "ja"], "test", folder=benchmarks_dir)
    check_aligned(crossed)
    assert crossed.items["fr"][0].language == "fr"
    assert "French" in crossed.items["fr"][0].question
    assert describe_use(crossed).endswith("rows used: fr 299 of 299, ja 299 of 299")
