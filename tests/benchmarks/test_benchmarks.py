"""Readers and alignment on small hand-made files: what is used, what is dropped, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from linguamap.benchmarks import describe_use, load_benchmark, select_subjects
from linguamap.benchmarks.rows import clean, plain_number
from linguamap.records import Dropped, UserError

SUMS = {
    "en": ["Two and two?\t4", 'A "quoted" sum\t2,125', "Ten less one?\t9"],
    "fr": ["Deux et deux ?\t4", 'Une somme "citée"\t2,125', "Dix moins un ?\t9"],
}


def write_mgsm(folder: Path, tables: dict[str, list[str]]) -> Path:
    (folder / "mgsm").mkdir(exist_ok=True)
    for code, lines in tables.items():
        text = "".join(line + "\n" for line in lines)
        (folder / "mgsm" / f"mgsm_{code}.tsv").write_text(text, encoding="utf-8")
    return folder


def squad(
    context: str, question: str, text: str, start: int, item_id: str = "q1"
) -> dict[str, Any]:
    answers = [{"text": text, "answer_start": start}]
    qas = [{"id": item_id, "question": question, "answers": answers}]
    paragraphs = [{"context": context, "qas": qas}]
    return {"data": [{"title": "Ducks", "paragraphs": paragraphs}], "version": "1.1"}


def write_xquad(folder: Path, tables: dict[str, dict[str, Any]]) -> Path:
    (folder / "xquad").mkdir(exist_ok=True)
    for code, table in tables.items():
        path = folder / "xquad" / f"xquad.{code}.json"
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    return folder


def write_mmlu(folder: Path, tables: dict[str, str], subject: str = "management") -> Path:
    for code, text in tables.items():
        path = folder / "mmlu" / code / "test" / f"{subject}_test.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return str(path)


def reasons(dropped: tuple[Dropped, ...]) -> dict[str, str]:
    return {one.item_id: one.reason for one in dropped}


# MGSM ------------------------------------------------------------------------------------------


def test_mgsm_splits_on_the_tab_only_and_takes_out_thousands_commas(tmp_path: Path) -> None:
    found = load_benchmark("mgsm", ["fr"], "test", folder=write_mgsm(tmp_path, SUMS))
    assert [item.item_id for item in found.items["fr"]] == [
        "mgsm-test-001",
        "mgsm-test-002",
        "mgsm-test-003",
    ]
    assert found.items["fr"][1].question == 'Une somme "citée"'
    assert [item.gold for item in found.items["fr"]] == [("4",), ("2125",), ("9",)]
    assert found.languages == ("fr",)
    assert found.english[1].question == 'A "quoted" sum'
    assert found.kind == "sums"


def test_the_folder_may_be_the_benchmark_itself(tmp_path: Path) -> None:
    folder = write_mgsm(tmp_path, SUMS) / "mgsm"
    assert len(load_benchmark("mgsm", ["en"], "test", folder=folder).items["en"]) == 3


def test_a_language_without_file_is_named_and_left_out(tmp_path: Path) -> None:
    found = load_benchmark("mgsm", ["ar", "fr"], "test", folder=write_mgsm(tmp_path, SUMS))
    assert found.languages == ("fr",)
    assert found.missing_languages == {"ar": "no file"}
    assert "languages left out: ar (no file)" in describe_use(found)


def test_a_missing_tab_is_refused_with_file_and_line(tmp_path: Path) -> None:
    folder = write_mgsm(tmp_path, {**SUMS, "fr": ["Deux ?\t4", "sans tabulation", "Dix ?\t9"]})
    with pytest.raises(UserError, match=r"mgsm_fr\.tsv line 2: found 0 tabs"):
        load_benchmark("mgsm", ["fr"], "test", folder=folder)


def test_a_result_that_is_no_number_is_refused(tmp_path: Path) -> None:
    folder = write_mgsm(tmp_path, {**SUMS, "fr": ["Deux ?\tquatre", "Cinq ?\t5", "Dix ?\t9"]})
    with pytest.raises(UserError, match=r"mgsm_fr\.tsv line 1: the result 'quatre' is no number"):
        load_benchmark("mgsm", ["fr"], "test", folder=folder)


def test_files_of_different_length_are_refused(tmp_path: Path) -> None:
    folder = write_mgsm(tmp_path, {**SUMS, "fr": SUMS["fr"][:2]})
    with pytest.raises(UserError, match=r"mgsm_fr\.tsv line 2 is the last of 2 lines.* have 3"):
        load_benchmark("mgsm", ["fr", "en"], "test", folder=folder)


def test_one_different_result_drops_the_item_in_every_language(tmp_path: Path) -> None:
    folder = write_mgsm(tmp_path, {**SUMS, "fr": ["Deux ?\t5", *SUMS["fr"][1:]]})
    found = load_benchmark("mgsm", ["fr", "en"], "test", folder=folder)
    assert [item.item_id for item in found.items["en"]] == ["mgsm-test-002", "mgsm-test-003"]
    reason = "the answer differs: 5, but 4 in the other languages"
    assert found.dropped == (Dropped("fr", "mgsm-test-001", reason),)


def test_a_shifted_file_is_refused(tmp_path: Path) -> None:
    english = [f"Question {n}\t{n}" for n in range(1, 11)]
    folder = write_mgsm(tmp_path, {"en": english, "fr": [*english[1:], english[0]]})
    with pytest.raises(UserError, match=r"mgsm_fr\.tsv line 1: .*10 of 10 rows in fr differ"):
        load_benchmark("mgsm", ["fr"], "test", folder=folder)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", "18"),
        ("2,125", "2125"),
        (" 1,000,000 ", "1000000"),
        ("0.50", "0.5"),
        ("7.0", "7"),
        ("-3", "-3"),
        ("१२", "12"),
        ("٣٤", "34"),
        ("200", "200"),
        ("21,25", None),
        ("4 eggs", None),
        ("", None),
    ],
)
def test_plain_number(text: str, number: str | None) -> None:
    assert plain_number(text) == number


def test_clean_takes_out_what_breaks_lines() -> None:
    assert clean("\ufeff one\u2028two\x85 ") == "one\ntwo…"
    assert clean(None) == ""


# XQuAD -----------------------------------------------------------------------------------------


def test_xquad_reads_spans_groups_and_titles(tmp_path: Path) -> None:
    folder = write_xquad(
        tmp_path,
        {
            "en": squad("Ducks eat bread.", "What do they eat?", "bread", 10),
            "es": squad("\ufeffLos patos comen pan.", "¿Qué comen?", "pan", 17),
        },
    )
    found = load_benchmark("xquad", ["es"], "test", folder=folder)
    item = found.items["es"][0]
    assert (item.gold, item.passage, item.subject) == (("pan",), "Los patos comen pan.", "Ducks")
    assert item.group == found.english[0].group == "article-00-paragraph-00"


def test_a_span_that_is_not_where_it_should_be_is_dropped_everywhere(tmp_path: Path) -> None:
    tables = {
        "en": squad("Ducks eat bread.", "What?", "bread", 10),
        "es": squad("Los patos comen pan.", "¿Qué?", "pan", 3),
    }
    for table in tables.values():
        extra = dict(table["data"][0]["paragraphs"][0]["qas"][0], id="q2")
        extra["answers"] = [
            {"text": table["data"][0]["paragraphs"][0]["context"], "answer_start": 0}
        ]
        table["data"][0]["paragraphs"][0]["qas"].append(extra)
    found = load_benchmark("xquad", ["es", "en"], "test", folder=write_xquad(tmp_path, tables))
    assert [item.item_id for item in found.items["en"]] == ["q2"]
    assert reasons(found.dropped) == {"q1": "the answer is not in the passage: 'pan' at 3"}
    assert "1 (es: the answer is not in the passage)" in describe_use(found)


def test_bad_json_and_missing_keys_are_refused_by_place(tmp_path: Path) -> None:
    folder = write_xquad(tmp_path, {"en": squad("Ducks.", "What?", "Ducks", 0)})
    path = folder / "xquad" / "xquad.es.json"
    path.write_text('{"data": [', encoding="utf-8")
    with pytest.raises(UserError, match=r"xquad\.es\.json is not JSON: .*line 1"):
        load_benchmark("xquad", ["es"], "test", folder=folder)
    path.write_text('{"data": [{"paragraphs": [{"qas": []}]}]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.0\.paragraphs\.0\.context: Field required"):
        load_benchmark("xquad", ["es"], "test", folder=folder)


def test_a_duplicate_id_is_dropped(tmp_path: Path) -> None:
    table = squad("Ducks eat bread.", "What?", "bread", 10)
    qas = table["data"][0]["paragraphs"][0]["qas"]
    qas.append(dict(qas[0], question="Another?"))
    found = load_benchmark("xquad", ["en"], "test", folder=write_xquad(tmp_path, {"en": table}))
    assert [item.question for item in found.items["en"]] == ["What?"]
    assert found.rows_read == {"en": 2}
    assert found.dropped[0].reason.startswith("duplicate id: at ")


# MMLU ------------------------------------------------------------------------------------------

ENGLISH = (
    'What is 2+2?,None,4,5,6,B\r\n"A ""long""\nquestion\u2028here",1,2,3,4,A\r\n'
    "Third?,w,x,y,z,D\nFourth?,k,l,m,n,C"
)


def test_hendrycks_rows_keep_none_quotes_and_odd_line_ends(tmp_path: Path) -> None:
    folder = write_mmlu(tmp_path, {"en": ENGLISH})
    found = load_benchmark("mmlu", ["en"], "test", folder=folder)
    items = found.items["en"]
    assert [item.item_id for item in items] == [f"management/test/{row}" for row in range(4)]
    assert items[0].options == ("None", "4", "5", "6")
    assert items[1].question == 'A "long"\nquestion\nhere'
    assert [item.gold for item in items] == [("B",), ("A",), ("D",), ("C",)]


def test_faulty_mmlu_rows_are_dropped_with_their_reasons(tmp_path: Path) -> None:
    french = (
        "Combien font 2+2 ?,Rien,4,5,6,B\nUne question,1,2, ,4,A\nTroisième ?,w,x,y,z,A\n"
        "Quatrième ?,k,l,m,n,E\n"
    )
    folder = write_mmlu(tmp_path, {"en": ENGLISH, "fr": french})
    (folder / "mmlu" / "fr" / "suspect_rows.tsv").write_text(
        "split\tsubject\trow\treason\ntest\tmanagement\t0\tshortened\n", encoding="utf-8"
    )
    english = load_benchmark("mmlu", ["en"], "test", folder=folder)
    assert len(english.items["en"]) == 4
    with pytest.raises(UserError, match="no row is left to use") as refused:
        load_benchmark("mmlu", ["fr"], "test", folder=folder)
    for reason in (
        "1 (fr: option C is empty)",
        "1 (fr: the answer is no option)",
        "1 (fr: listed in suspect_rows.tsv)",
        "1 (fr: the answer differs)",
    ):
        assert reason in str(refused.value)


def test_a_subject_with_fewer_rows_than_english_is_refused(tmp_path: Path) -> None:
    folder = write_mmlu(tmp_path, {"en": ENGLISH, "fr": "Un ?,a,b,c,d,B\n"})
    with pytest.raises(UserError, match="management has 1 rows, but 4 in English"):
        load_benchmark("mmlu", ["fr"], "test", folder=folder)


def test_a_row_with_too_few_columns_is_refused(tmp_path: Path) -> None:
    folder = write_mmlu(tmp_path, {"en": "What?,a,b,c,A\n"})
    with pytest.raises(UserError, match=r"management_test\.csv line 1: found 5 columns"):
        load_benchmark("mmlu", ["en"], "test", folder=folder)


def test_leaked_translation_prompts_are_found_without_a_list(tmp_path: Path) -> None:
    leak = "كيف يتم اكتشاف تزييف عنوان IP؟"
    english = (
        "What is a market?,a,b,c,d,A\nWho wrote Hamlet in 1601?,e,f,g,h,B\nWhy so?,i,j,k,l,C\n"
    )
    arabic = f"{leak},تثبيت IDS,ب,ج,د,A\n{leak},أ,ب,ج,د,B\nلماذا؟,أ,ب,ج,د,C\n"
    found = load_benchmark(
        "mmlu", ["ar"], "test", folder=write_mmlu(tmp_path, {"en": english, "ar": arabic})
    )
    assert [item.item_id for item in found.items["ar"]] == ["management/test/2"]
    repeated = "the question is repeated where the English ones differ"
    assert reasons(found.dropped) == {"management/test/0": repeated, "management/test/1": repeated}


def test_subjects_and_categories() -> None:
    business = {"business_ethics", "management", "marketing", "professional_accounting"}
    assert select_subjects(["Business"]) == business
    assert len(select_subjects(None)) == 57
    assert len(select_subjects(["-business"])) == 53
    assert select_subjects(["business", "-marketing"]) == business - {"marketing"}
    with pytest.raises(UserError, match=r"'busines' is unknown; did you mean 'business'\?"):
        select_subjects(["busines"])
    with pytest.raises(UserError, match="leaves no subject"):
        select_subjects(["marketing", "-business"])


# Users' own files ------------------------------------------------------------------------------


def test_own_items(tmp_path: Path) -> None:
    rows = [
        {"item_id": "1", "kind": "choice", "language": code, "question": text, "gold": "B",
         "options": ["x", "y", "z"], "explanation": "…", "split": split}
        for code, text in (("en", "Which?"), ("de", "Welches?"))
        for split in ("train", "test")
    ]  # fmt: skip
    name = write_jsonl(tmp_path / "mine.jsonl", rows)
    found = load_benchmark(name, ["de", "fr"], "train")
    assert (found.name, found.kind, found.split) == ("mine", "choice", "train")
    assert found.items["de"][0].options == ("x", "y", "z")
    assert found.english[0].question == "Which?"
    assert found.missing_languages == {"fr": "no items in the file"}


def test_own_numbers_may_be_numbers(tmp_path: Path) -> None:
    row = {"item_id": "1", "kind": "sums", "language": "en", "question": "Six by seven?",
           "gold": 42, "wrong": [41, "1,000"]}  # fmt: skip
    item = load_benchmark(write_jsonl(tmp_path / "a.jsonl", [row]), ["en"], "test").items["en"][0]
    assert (item.gold, item.wrong) == (("42",), ("41", "1000"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"golds": "4"}, r"a\.jsonl line 1: golds: Extra inputs are not permitted"),
        ({"gold": []}, r"line 1: .*a sums item needs gold"),
        ({"gold": "four"}, r"line 1: .*'four' is no number"),
        ({"kind": "choice", "gold": "A"}, r"line 1: .*2 to 26 options, found 0"),
        ({"kind": "passage"}, r"line 1: .*needs passage"),
        ({"kind": "quiz"}, r"line 1: kind: Input should be 'sums'"),
        ({"language": "klingon"}, r"line 1: languages: 'klingon' is unknown"),
        ({"split": "train"}, r"has no test items"),
        ({"language": "fr"}, r"none of en is there; it has fr"),
    ],
)
def test_faults_of_own_files(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {"item_id": "1", "kind": "sums", "language": "en", "question": "2+2?", "gold": "4"}
    name = write_jsonl(tmp_path / "a.jsonl", [{**row, **change}])
    with pytest.raises(UserError, match=message):
        load_benchmark(name, ["en"], "test")


def test_own_files_have_one_kind_and_are_json(tmp_path: Path) -> None:
    row = {"item_id": "1", "kind": "open", "language": "en", "question": "Write."}
    name = write_jsonl(tmp_path / "a.jsonl", [row, {**row, "kind": "sums", "gold": 1}])
    with pytest.raises(UserError, match=r"line 2: kinds open and sums; a file has one kind"):
        load_benchmark(name, ["en"], "test")
    (tmp_path / "b.jsonl").write_text('{"item_id": \n', encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.jsonl line 1 is not JSON"):
        load_benchmark(str(tmp_path / "b.jsonl"), ["en"], "test")


# Names and folders -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mgms", r"'mgms' is unknown; did you mean 'mgsm'\? Known: sums, choice, passage, mgsm"),
        ("mmlu:lite", r"'mmlu:lite' is unknown.*mmlu:global_mmlu_lite"),
        ("absent.jsonl", r"the file absent\.jsonl does not exist"),
    ],
)
def test_unknown_benchmarks_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_benchmark(name, ["en"], "test")


def test_unknown_folders_and_languages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the folder .*nowhere does not exist"):
        load_benchmark("mgsm", ["en"], "test", folder=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no xquad files: neither xquad/xquad\.\*\.json"):
        load_benchmark("xquad", ["en"], "test", folder=tmp_path)
    with pytest.raises(UserError, match="has no MMLU test files"):
        load_benchmark("mmlu", ["en"], "test", folder=tmp_path)
    with pytest.raises(UserError, match="'fre' is unknown; did you mean 'fr'"):
        load_benchmark("sums", ["fre"], "test")
    with pytest.raises(UserError, match="none of de is there; it has ar, en, es, fr, hi, ja"):
        load_benchmark("sums", ["de"], "test")
    with pytest.raises(UserError, match="xquad has no training items"):
        load_benchmark("xquad", ["en"], "train", folder=tmp_path)


def test_families_are_matched_by_their_english_rows(tmp_path: Path) -> None:
    write_mmlu(
        tmp_path,
        {"en": "One?,a,b,c,d,A\nTwo?,e,f,g,h,B\n", "it": "Uno?,a,b,c,d,A\nDue?,e,f,g,h,B\n"},
    )
    folder = tmp_path / "mmmlu" / "test"
    folder.mkdir(parents=True)
    head = ",Question,A,B,C,D,Answer,Subject\n"
    english = "0, One ?,a,b,c,d,A,management\n1,Other?,e,f,g,h,B,management\n"
    swahili = "0,Moja?,a,b,c,d,A,management_test.csv_sw-KE.csv\n1,Mbili?,e,f,g,h,B,management\n"
    (folder / "mmlu_EN-US.csv").write_text(head + english, encoding="utf-8")
    (folder / "mmlu_SW-KE.csv").write_text(head + swahili, encoding="utf-8")
    found = load_benchmark("mmlu", ["it", "sw"], "test", folder=tmp_path)
    assert [item.question for item in found.items["sw"]] == ["Moja?"]
    assert [item.question for item in found.items["it"]] == ["Uno?"]
    reason = reasons(found.dropped)["management/test/1"]
    assert reason.startswith("another English original: ")
