"""Rows from the hub: the same row functions, on local data sets and a stand-in for the library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from linguamap.benchmarks import hub, load_benchmark
from linguamap.records import Benchmark, UserError

SUM = {"question": "Deux et deux ?", "answer": None, "answer_number": 4, "equation_solution": None}
EXEMPLAR = {
    "question": "Question : Deux et trois ?",
    "answer": "Réponse étape par étape : 2 + 3 = 5. La réponse est 5.",
    "answer_number": 5,
    "equation_solution": "2 + 3 = 5.",
}
MANAGEMENT = {
    "question": "Who leads?",
    "subject": "management",
    "choices": ["You", "I", "They", "None"],
    "answer": 1,
}


def passage(context: str, question: str, text: str) -> dict[str, Any]:
    answers = {"text": [text], "answer_start": [context.index(text)]}
    return {"id": "q1", "context": context, "question": question, "answers": answers}


def lite(question: str, options: str, answer: str = "B") -> dict[str, Any]:
    named = {f"option_{letter}": text for letter, text in zip("abcd", options)}
    return {"sample_id": "management/test/0", "subject": "management", "question": question,
            "answer": answer, **named}  # fmt: skip


def mmmlu(question: str, options: list[str | None]) -> dict[str, Any]:
    columns: dict[str, Any] = dict(zip("ABCD", options))
    subject = "management_test-sw-KE.csv"
    return {"Unnamed: 0": 0, "Question": question, "Answer": "B", "Subject": subject, **columns}


TABLES: dict[tuple[str, str, str], list[dict[str, Any]]] = {
    ("juletxara/mgsm", "en", "test"): [{**SUM, "question": "Two and two?"}],
    ("juletxara/mgsm", "fr", "test"): [SUM],
    ("juletxara/mgsm", "en", "train"): [
        {**EXEMPLAR, "question": "Question: Two and three?",
         "answer": "Step-by-Step Answer: 2 + 3 = 5. The answer is 5."}
    ],
    ("juletxara/mgsm", "fr", "train"): [EXEMPLAR],
    ("google/xquad", "xquad.en", "validation"): [passage("Ducks eat.", "Who eats?", "Ducks")],
    ("google/xquad", "xquad.es", "validation"): [passage("Comen patos.", "¿Quién?", "patos")],
    ("cais/mmlu", "all", "test"): [MANAGEMENT],
    ("CohereLabs/Global-MMLU-Lite", "en", "test"): [lite("Who leads?", "abcd")],
    ("CohereLabs/Global-MMLU-Lite", "de", "test"): [lite("Wer führt?", "efgh")],
    ("openai/MMMLU", "SW_KE", "test"): [mmmlu("Nani?", ["Wewe", "Mimi", "Wao", "Hakuna"])],
    ("openai/MMMLU", "AR_XY", "test"): [mmmlu("من؟", ["أنت", "أنا", "هم", None])],
}  # fmt: skip


class FakeDatasets(SimpleNamespace):
    """The two functions of ``datasets`` that are used, over :data:`TABLES`."""

    def __init__(self, scripts: tuple[str, ...] = ()) -> None:
        super().__init__(calls=[], scripts=scripts)

    def get_dataset_config_names(self, path: str, revision: str | None = None) -> list[str]:
        self._check(path, revision)
        names = [name for repository, name, _ in TABLES if repository == path]
        return list(dict.fromkeys(["default", *names]))

    def load_dataset(
        self,
        path: str,
        name: str | None = None,
        *,
        data_dir: str | None = None,
        split: str,
        revision: str | None = None,
    ) -> list[dict[str, Any]]:
        self.calls.append((path, name or data_dir, split, revision))
        self._check(path, revision)
        return TABLES[path, name or data_dir or "", split]

    def _check(self, path: str, revision: str | None) -> None:
        if path in self.scripts and revision != hub.CONVERTED:
            raise RuntimeError("Dataset scripts are no longer supported, but found mgsm.py")
        if revision == "absent":
            raise FileNotFoundError("Revision 'absent' doesn't exist\nmore")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDatasets:
    library = FakeDatasets()
    monkeypatch.setitem(sys.modules, "datasets", library)
    return library


def test_mgsm_from_the_hub(fake: FakeDatasets) -> None:
    found = load_benchmark("mgsm", ["fr", "ar"], "test", revision="main")
    assert (found.items["fr"][0].question, found.items["fr"][0].gold) == ("Deux et deux ?", ("4",))
    assert found.items["fr"][0].item_id == "mgsm-test-001"
    assert found.missing_languages == {"ar": "not on the hub"}
    assert found.source == "juletxara/mgsm at main"
    assert ("juletxara/mgsm", "fr", "test", "main") in fake.calls
    train = load_benchmark("mgsm", ["fr"], "train")
    assert train.items["fr"][0].question == "Deux et trois ?"
    assert train.items["fr"][0].explanation == "2 + 3 = 5."


def test_a_script_is_read_from_its_converted_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeDatasets(scripts=("juletxara/mgsm",))
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert load_benchmark("mgsm", ["fr"], "test").items["fr"][0].gold == ("4",)
    assert library.calls[-1] == ("juletxara/mgsm", "fr", "test", "refs/convert/parquet")


def test_xquad_from_the_hub(fake: FakeDatasets) -> None:
    found = load_benchmark("xquad", ["es"], "test")
    assert found.items["es"][0].gold == ("patos",)
    assert found.english[0].passage == "Ducks eat."
    assert fake.calls[0][2] == "validation"


def test_mmlu_takes_the_first_family_that_has_all_languages(fake: FakeDatasets) -> None:
    found = load_benchmark("mmlu", ["de", "en"], "test")
    assert found.source == "global_mmlu_lite: de en from CohereLabs/Global-MMLU-Lite"
    assert found.items["de"][0].options == ("e", "f", "g", "h")
    swahili = load_benchmark("mmlu", ["sw"], "test")
    assert swahili.source == "mmmlu: sw from openai/MMMLU"
    assert swahili.items["sw"][0].item_id == "management/test/0"
    assert swahili.english[0].options[3] == "None"
    original = load_benchmark("mmlu:mmlu", ["en"], "test")
    assert (original.items["en"][0].gold, original.items["en"][0].subject) == (("B",), "management")


def test_families_are_joined_where_their_english_rows_agree(fake: FakeDatasets) -> None:
    found: Benchmark = load_benchmark("mmlu", ["de", "sw"], "test")
    assert found.languages == ("de", "sw")
    assert "global_mmlu_lite: de" in found.source
    assert "mmmlu: sw" in found.source


def test_an_option_that_the_library_lost_is_dropped(fake: FakeDatasets) -> None:
    with pytest.raises(UserError, match=r"no row is left.*1 \(ar: option D is empty\)"):
        load_benchmark("mmlu", ["ar"], "test")


def test_what_cannot_be_read_is_one_line(
    fake: FakeDatasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"read from the hub \(Revision 'absent' doesn't exist\)"):
        load_benchmark("xquad", ["es"], "test", revision="absent")
    with pytest.raises(UserError, match=r"none of th is in google/xquad, which has .*en, es"):
        load_benchmark("xquad", ["th"], "test")
    with pytest.raises(UserError, match="lcb is not read from the hub"):
        load_benchmark("lcb", ["en"], "test")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'linguamap\[hub\]'"):
        load_benchmark("xquad", ["es"], "test")


CONFIGURATIONS = """---
configs:
- config_name: en
  data_files: [{split: test, path: en.jsonl}]
- config_name: fr
  data_files: [{split: test, path: fr.jsonl}]
---
"""


def test_the_real_library_is_called_as_it_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="the extra 'hub' is not installed")
    repository = tmp_path / "mgsm"
    repository.mkdir()
    (repository / "README.md").write_text(CONFIGURATIONS, encoding="utf-8")
    for code in ("en", "fr"):
        line = '{"question": "2+2?", "answer": null, "answer_number": 4}\n'
        (repository / f"{code}.jsonl").write_text(line * 3, encoding="utf-8")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setitem(hub.REPOSITORIES, "mgsm", str(repository))
    found = load_benchmark("mgsm", ["fr"], "test")
    assert [item.gold for item in found.items["fr"]] == [("4",)] * 3
    with pytest.raises(UserError, match=r"none of ar is in .*which has en, fr"):
        load_benchmark("mgsm", ["ar"], "test")


def test_each_data_set_may_have_its_own_revision(fake: FakeDatasets) -> None:
    revisions = {"mgsm": "one", "xquad": "two"}
    assert load_benchmark("mgsm", ["fr"], "test", revision=revisions).source.endswith(" at one")
    assert load_benchmark("xquad", ["es"], "test", revision=revisions).source.endswith(" at two")
    load_benchmark("mmlu", ["de"], "test", revision=revisions)
    assert {(path, revision) for path, _, _, revision in fake.calls} == {
        ("juletxara/mgsm", "one"),
        ("google/xquad", "two"),
        ("CohereLabs/Global-MMLU-Lite", None),
    }
    with pytest.raises(UserError, match="no data set is called mgms; there are mgsm, xquad"):
        load_benchmark("mgsm", ["fr"], "test", revision={"mgms": "one"})


@pytest.mark.parametrize(
    ("benchmark", "key", "column"),
    [
        ("mgsm", ("juletxara/mgsm", "fr", "test"), "answer_number"),
        ("xquad", ("google/xquad", "xquad.fr", "validation"), "context"),
        ("mmlu:mmlu", ("cais/mmlu", "all", "test"), "choices"),
        ("mmlu:mmmlu", ("openai/MMMLU", "FR_FR", "test"), "Subject"),
        ("mmlu:global_mmlu_lite", ("CohereLabs/Global-MMLU-Lite", "fr", "test"), "sample_id"),
    ],
)
def test_a_row_without_a_column_is_one_line_by_place(
    fake: FakeDatasets,
    monkeypatch: pytest.MonkeyPatch,
    benchmark: str,
    key: tuple[str, str, str],
    column: str,
) -> None:
    monkeypatch.setitem(TABLES, key, [{"other": 1}])
    repository, configuration, split = key
    with pytest.raises(
        UserError, match=f"{repository} {configuration} {split} row 1: .*{column}.* missing"
    ):
        load_benchmark(benchmark, ["en" if benchmark == "mmlu:mmlu" else "fr"], "test")


def test_answers_that_are_no_lists_are_one_line(
    fake: FakeDatasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {**passage("Comen patos.", "¿Quién?", "patos"), "answers": "patos"}
    monkeypatch.setitem(TABLES, ("google/xquad", "xquad.es", "validation"), [row])
    with pytest.raises(
        UserError, match=r"xquad\.es validation row 1: answers are not lists .*: patos"
    ):
        load_benchmark("xquad", ["es"], "test")
