"""The table of languages: what a row needs, scripts, words and digits."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from linguamap.languages import (
    LANGUAGES,
    get_language,
    language_code,
    language_name,
    load_languages,
    normalise_digits,
    script_counts,
    words,
)
from linguamap.records import UserError

BENCHMARK_LANGUAGES = [
    "ar",
    "bn",
    "de",
    "el",
    "en",
    "es",
    "fr",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "pl",
    "pt",
    "ro",
    "ru",
    "sw",
    "te",
    "th",
    "tr",
    "vi",
    "yo",
    "zh",
]

ROW = """
[xx]
english_name = "Exish"
native_name = "Éxi"
preamble = "Bo kan."
answer_in = "Ri éxi."
sums = "Lu."
choice = "Fa."
passage = "Do."
candidates = "Mi."
open = "Re."
label_question = "Q:"
label_passage = "P:"
label_options = "O:"
label_candidates = "C:"
label_answer = "A:"
answer_phrase = "Ri ka {answer}."
result_sentence = "Sol ka {number}."
answer_cues = ["ri ka", "ka"]
option_cues = ["fa"]
option_nouns = ["fa", "ka-"]
ordinals = ["un|1.", "du-", "tri", "kat", "fin-"]
option_letters = ["ä b c d"]
answer_endings = []
articles = []
decimal_mark = ","
thousands_marks = ["."]
"""


def test_table_has_every_benchmark_language() -> None:
    assert sorted(LANGUAGES) == BENCHMARK_LANGUAGES


@pytest.mark.parametrize(
    ("code", "scripts"),
    [
        ("en", ("Latn",)), ("vi", ("Latn",)), ("ar", ("Arab",)), ("hi", ("Deva",)),
        ("bn", ("Beng",)), ("te", ("Telu",)), ("th", ("Thai",)), ("el", ("Grek",)),
        ("ru", ("Cyrl",)), ("ko", ("Hang",)), ("zh", ("Hani",)),
    ],
)  # fmt: skip
def test_scripts_come_from_the_texts(code: str, scripts: tuple[str, ...]) -> None:
    assert LANGUAGES[code].scripts == scripts


def test_japanese_has_three_scripts_and_only_three_languages_are_unsegmented() -> None:
    assert set(LANGUAGES["ja"].scripts) == {"Hira", "Kana", "Hani"}
    assert [code for code, lang in LANGUAGES.items() if not lang.segmented] == ["ja", "th", "zh"]


def test_a_new_language_is_one_row() -> None:
    table = load_languages(ROW)
    assert table["xx"].texts.answer_phrase == "Ri ka {answer}."
    assert table["xx"].scripts == ("Latn",)
    assert table["xx"].segmented
    assert table["xx"].ordinals[0] == ("un", "1.")
    assert table["xx"].option_letters == (("ä", "b", "c", "d"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('native_name = "Éxi"\n', "", r"section \[xx\]: 'native_name' is missing"),
        ('articles = []', 'articles = "le"', "'articles' must be a list of texts"),
        ('sums = "Lu."', "sums = 3", "'sums' must be a text"),
        ("{answer}", "answer", "'answer_phrase' must hold {answer} exactly once"),
        ("{number}", "{number}{number}", "'result_sentence' must hold {number} exactly once"),
        ('answer_in = "Ri éxi."', 'answer_in = "Ri {language}."', "'answer_in' must hold no placeholder"),
        ('option_letters = ["ä b c d"]\n', "", "'option_letters' is missing"),
        (', "fin-"]', "]", "'ordinals' must hold five texts: first, second, third, fourth, last"),
        ('open = "Re."', 'open = "Re."\nopen_ = "Re."', "'open_' is unknown"),
        ('open = "Re."', "open = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_faulty_row_is_refused_by_name(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_languages(ROW.replace(old, new))


def test_only_english_names_the_wanted_language() -> None:
    named = [code for code, lang in LANGUAGES.items() if "{language}" in lang.texts.answer_in]
    assert named == ["en"]


def test_unknown_language_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'fre' is unknown; did you mean 'fr'.*Known: ar, bn"):
        get_language("fre")
    with pytest.raises(UserError, match="did you mean 'sw'"):
        get_language("Swahili")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("en-US", "en"), ("fr-FR", "fr"), ("French", "fr"), ("EN", "en"), ("fra_Latn", "fr"), ("Germn", "de")],
)  # fmt: skip
def test_a_name_or_tag_is_refused_with_the_code_that_was_meant(written: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"'{written}' is unknown; did you mean '{meant}'\\?"):
        get_language(written)


def test_a_language_without_prompt_texts_is_named_and_none_is_guessed() -> None:
    with pytest.raises(UserError, match="'uk' is unknown; that is Ukrainian, for which"):
        get_language("uk")
    with pytest.raises(UserError, match="'qq' is unknown; Known: "):
        get_language("qq")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("de", "de"), ("DE", "de"), ("deu", "de"), ("ger", "de"), ("German", "de"), ("deutsch", "de"),
        ("de-DE", "de"), ("de_AT", "de"), ("deu_Latn", "de"), (" german ", "de"), ("日本語", "ja"),
        ("jpn_Jpan", "ja"), ("zh-CN", "zh"), ("zh-Hans", "zh"), ("zho_Hant", "zh"), ("zh_Hant_TW", "zh"),
        ("Chinese (Simplified)", "zh"), ("cmn", "zh"), ("yue", "yue"), ("Cantonese", "yue"),
        ("arb_Arab", "ar"), ("arz", "arz"), ("pt-BR", "pt"), ("Brazilian Portuguese", "pt"),
        ("es-419", "es"), ("swh_Latn", "sw"), ("kor_Hang", "ko"), ("igbo", "ig"), ("ibo_Latn", "ig"),
        ("nb", "no"), ("fil", "tl"), ("pes_Arab", "fa"), ("als_Latn", "sq"), ("Farsi", "fa"),
        ("hin_Latn", None), ("ru-Latn", None), ("Klingon", None), ("", None), ("xx", None),
        ("English please", None), ("und", None),
    ],
)  # fmt: skip
def test_languages_are_understood_by_any_usual_name(name: str, code: str | None) -> None:
    """Codes by ISO 639; a language in a foreign script is not that language's table entry."""
    assert language_code(name) == code


def test_no_name_stands_for_two_languages() -> None:
    text = (resources.files("linguamap") / "data" / "language_names.toml").read_text("utf-8")
    table = {code: [code, *names.split(", ")] for code, names in tomllib.loads(text).items()}
    owners: dict[str, set[str]] = {}
    for code, names in table.items():
        for name in names:
            owners.setdefault(name.lower(), set()).add(code)
    twice = {name: codes for name, codes in owners.items() if len(codes) > 1}
    assert not twice
    assert {code: language_name(code) for code in LANGUAGES} == {
        code: language.english_name for code, language in LANGUAGES.items()
    }


def test_cues_are_lower_case_and_surest_first() -> None:
    """The last answer cue is "therefore"; it must not be the lead-in of the closing sentence."""
    for language in LANGUAGES.values():
        lead_in = language.texts.answer_phrase.split("{answer}")[0].strip(" :：").lower()
        assert not lead_in.startswith(language.answer_cues[-1]), language.code
        assert all(cue == cue.lower() for cue in language.answer_cues), language.code


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The cat sat, 3 times.", "en", ["The", "cat", "sat", "times"]),
        ("12 + 3 = 15", "en", []),
        ("今天天气很好。", "zh", ["今天", "天气", "很好"]),
        ("我是中国人", "zh", ["我是", "中国人"]),
        ("ภาษาไทย", "th", ["ภาษา", "ไทย"]),
        ("मेरा घर १२ है।", "hi", ["मेरा", "घर", "है"]),
    ],
)
def test_words(text: str, language: str, expected: list[str]) -> None:
    assert "".join(words(text, language)) == "".join(expected)
    if language not in ("zh",):  # ICU's dictionary may join two short Chinese words
        assert words(text, language) == expected


def test_japanese_words_are_split() -> None:
    found = words("東京に住んでいます。", "ja")
    assert found[:2] == ["東京", "に"]
    assert "".join(found) == "東京に住んでいます"


@pytest.mark.parametrize(
    ("text", "plain"),
    [("١٢٣٤٥٦٧٨٩٠", "1234567890"), ("۱۲", "12"), ("१२३", "123"), ("১২৩", "123"), ("౧౨౩", "123"),
     ("๑๒๓", "123"), ("１２３", "123"), ("x² 12", "x² 12")],
)  # fmt: skip
def test_digits_of_any_script(text: str, plain: str) -> None:
    assert normalise_digits(text) == plain


def test_script_counts_count_letters_only() -> None:
    assert script_counts("abc 12, где。東") == {"Latn": 3, "Cyrl": 3, "Hani": 1}


def test_packaged_table_keeps_its_head() -> None:
    """A translator reads the keys' meaning at the head of the table."""
    text = (resources.files("linguamap") / "data" / "prompts.toml").read_text(encoding="utf-8")
    head = text.split("\n[")[0]
    for key in tomllib.loads(text)["en"]:
        assert key in head, key
