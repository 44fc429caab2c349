"""Items with an option that speaks of others are dropped by name, in every language of the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from linguamap.benchmarks import describe_use, load_benchmark
from linguamap.benchmarks.rows import refers_to_options
from linguamap.languages import LANGUAGES

REFER = {
    "en": ["All of the above", "None of the above.", "Both A and B", "A and C only", "A, B, and C", "Both (a) and (b)"],
    "es": ["Todas las anteriores", "Ninguna de las anteriores.", "Tanto A como B", "A y B"],
    "fr": ["Toutes les réponses ci-dessus", "Aucune de ces réponses", "Ni A ni B", "Tout ce qui précède"],
    "de": ["Alle oben genannten", "Sowohl A als auch B", "Keine der genannten"],
    "it": ["Tutte le precedenti", "Sia A che B"], "pt": ["Todas as alternativas acima", "A e B estão corretas"],
    "ro": ["Toate cele de mai sus", "Atât A, cât și B"], "pl": ["Żadne z powyższych", "Zarówno A, jak i B"],
    "ru": ["Все вышеперечисленное", "А и Б", "Ни A, ни B"], "tr": ["Hiçbiri", "Hem A hem B"],
    "vi": ["Tất cả các đáp án trên", "Cả A và B"], "id": ["Semua jawaban di atas", "A dan B benar"],
    "sw": ["Yote hapo juu", "A na B"], "yo": ["Gbogbo àwọn tó wà lókè", "A àti B"],
    "ar": ["كل ما سبق", "أ و ب", "لا شيء مما سبق"], "hi": ["उपरोक्त सभी", "A और B दोनों"],
    "bn": ["উপরের সবগুলো", "A এবং B উভয়"], "te": ["పైవన్నీ", "A మరియు B"], "th": ["ถูกทุกข้อ", "ทั้ง ก และ ข"],
    "el": ["Όλα τα παραπάνω", "Α και Β"], "zh": ["以上都是", "以上皆非", "A和B都正确"],
    "ja": ["上記のすべて", "AとBの両方"], "ko": ["위의 모든 것", "A와 B 모두"],
}  # fmt: skip

SPEAK_FOR_THEMSELVES = {
    "en": ["Vitamins A and B", "All of the students", "Hepatitis A and B", "True, False", "I and II only", "None", "A", "both"],
    "es": ["Sí", "Verdadero, Falso"], "zh": ["都是水果", "正确"], "ja": ["正しい"], "hi": ["सही", "नहीं"],
}  # fmt: skip


def test_every_language_has_its_wordings() -> None:
    assert set(REFER) == set(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "text"), [(c, t) for c, texts in REFER.items() for t in texts]
)
def test_options_that_speak_of_others(language: str, text: str) -> None:
    assert refers_to_options(text, language)


@pytest.mark.parametrize(
    ("language", "text"), [(c, t) for c, texts in SPEAK_FOR_THEMSELVES.items() for t in texts]
)
def test_options_that_speak_for_themselves(language: str, text: str) -> None:
    assert not refers_to_options(text, language)


def test_such_items_and_repeated_questions_are_left_out_by_name_and_count(tmp_path: Path) -> None:
    row = {"kind": "choice", "language": "en", "gold": "A"}
    rows = [
        {**row, "item_id": 1, "question": "Which?", "options": ["x", "y", "z"]},
        {**row, "item_id": 2, "question": "Who?", "options": ["x", "y", "All of the above"]},
        {**row, "item_id": 3, "question": " Which?", "options": ["x", "y", "z"]},
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    found = load_benchmark(str(path), ["en"], "test")
    assert [item.item_id for item in found.items["en"]] == ["1"]
    assert {one.item_id: one.reason for one in found.dropped} == {
        "2": "an option speaks of others: 'All of the above'",
        "3": "its question is that of another item: 1",
    }
    assert "1 (en: an option speaks of others)" in describe_use(found)
