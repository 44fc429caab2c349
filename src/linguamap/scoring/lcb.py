"""The Language Confusion Benchmark's figures: line pass rate, word pass rate, their harmonic mean.

The rule, as its published script has it:

1. Of a response, what comes before a line that begins with ``Q:`` counts; ASCII punctuation and the
   Arabic comma are taken out, an em dash becomes a blank, outer blanks go.
2. It is split into lines, and each line into words: by jieba for Chinese, by MeCab with UniDic
   for Japanese, else at blanks. Lines of fewer than five words are skipped; a response without any
   longer line is left out.
3. A response passes the line test if the identifier puts every remaining line into the language asked
   for (fastText, top label, above 0.3; else unknown).
4. A response that passed fails the word test if one of its words is in a list of English words
   (those in lower case and longer than three letters). Only for languages not in Latin script.
5. LPR is the share of responses that pass the line test, WPR that of those that pass the word
   test among them, LCPR the harmonic mean of the two.

Source: Marchisio et al. 2024 (arXiv:2406.20052) and the project for-ai/language-confusion.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from icu4py.breakers import WordBreaker

from linguamap.languages import LANGUAGES, language_code, language_name
from linguamap.outside import csv_table, read_text, text_fault
from linguamap.records import UserError
from linguamap.scoring.language_id import Identifier
from linguamap.scoring.stats import harmonic_mean

MIN_WORDS = 5
"""Shorter lines are not identified."""
MIN_ENGLISH_LETTERS = 4
"""Shorter words of the English list are not looked for."""
COLUMNS = ("id", "model", "completion", "task", "source", "language")
"""Columns of a file of completions, as the benchmark publishes them."""

OWN_WORDS = "wamerican (all but 0.1 % of the benchmark's list)"
"""Name of the package's word list; its licence is ``data/english_words.LICENSE``."""

FASTTEXT_LACKS = frozenset({"lg", "mi", "sn", "st", "tn", "ts", "xh", "zu"})
"""Languages of lingua that have no label in fastText's lid.176."""

_REMOVED = str.maketrans({**dict.fromkeys(string.punctuation + "،"), "—": " "})


def counts_words(language: str) -> bool:
    """Whether the word test applies: the language is not written in Latin script.

    The benchmark has it for ar, hi, ja, ko, ru and zh, its languages of that sort; here it extends to
    the others of the table (bn, el, te, th).
    """
    return language in LANGUAGES and "Latn" not in LANGUAGES[language].scripts


def check_response(
    completion: str, language: str, identifier: Identifier, english_words: Collection[str] | None
) -> dict[str, bool | None]:
    """The line test and the word test of one response.

    Returns:
        ``line_pass`` (None: no line of five words) and ``word_pass`` (None: the line test was
        not passed, the language has Latin script or there is no word list).
    """
    split = ((line, split_words(line, language)) for line in _lines(completion))
    kept = [(line, words) for line, words in split if len(words) >= MIN_WORDS]
    if not kept:
        return {"line_pass": None, "word_pass": None}
    if not all(identifier.identify(line).language == language for line, _ in kept):
        return {"line_pass": False, "word_pass": None}
    if english_words is None or not counts_words(language):
        return {"line_pass": True, "word_pass": None}
    foreign = any(word.strip() in english_words for _, words in kept for word in words)
    return {"line_pass": True, "word_pass": not foreign}


def score_lcb(
    rows: Sequence[Mapping[str, str]],
    identifier: Identifier,
    english_words: Collection[str] | None,
) -> list[dict[str, Any]]:
    """The benchmark's table: one row per model, task, source and language, in alphabetical order.

    Like the published script it gives 1 where nothing was tested (no response had a line of five
    words; none passed the line test); ``reason`` then says so.

    Args:
        rows: with the fields of :data:`COLUMNS`.
        identifier: fastText without candidates is the benchmark's own.
        english_words: as :func:`read_english_words` gives them; None leaves WPR and LCPR out.
    Returns:
        ``model``, ``task``, ``source``, ``language``, ``n`` (responses), ``n_tested``, ``n_passed`` (line
        test), ``lpr``, ``wpr``, ``lcpr`` (None for Latin script), ``words_by``, ``reason``.
    """
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row["model"], row["task"], row["source"], row["language"])
        groups.setdefault(key, []).append(row["completion"])
    return [
        dict(zip(("model", "task", "source", "language"), key))
        | _group(groups[key], key[3], identifier, english_words)
        for key in sorted(groups)
    ]


def _group(
    completions: Sequence[str],
    language: str,
    identifier: Identifier,
    english_words: Collection[str] | None,
) -> dict[str, Any]:
    checks = [check_response(text, language, identifier, english_words) for text in completions]
    tested = [check for check in checks if check["line_pass"] is not None]
    passed = [check for check in tested if check["line_pass"]]
    lpr = len(passed) / len(tested) if tested else 1.0
    wpr: float | None = None
    if counts_words(language) and english_words is not None:
        wpr = sum(bool(check["word_pass"]) for check in passed) / len(passed) if passed else 1.0
    reason = None
    if not tested:
        reason = f"no response has a line of {MIN_WORDS} words: LPR and WPR are 1 by definition"
    elif not passed and wpr is not None:
        reason = "no response passed the line test: WPR is 1 by definition"
    elif wpr is None:
        reason = "no English word list"
        if english_words is not None:
            known = language in LANGUAGES
            reason = f"{'Latin script' if known else f'script of {language} not known'}: no WPR"
    return {
        "n": len(completions),
        "n_tested": len(tested),
        "n_passed": len(passed),
        "lpr": lpr,
        "wpr": wpr,
        "lcpr": harmonic_mean(lpr, wpr),
        "words_by": word_splitter(language),
        "reason": reason,
    }


def average_lcb(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The benchmark's averages of a table from :func:`score_lcb`, per model and task.

    Per source the plain mean over its languages (``language`` is ``all``), per language over its
    sources, and over all the mean of the languages' means. Missing WPRs are left out of theirs; LCPR is
    the harmonic mean of the averaged rates.
    """
    averages = []
    for model, task in sorted({(row["model"], row["task"]) for row in table}):
        own = [row for row in table if (row["model"], row["task"]) == (model, task)]
        head = {"model": model, "task": task}
        for source in sorted({row["source"] for row in own}):
            part = [row for row in own if row["source"] == source]
            averages.append(head | {"source": source, "language": "all"} | _average(part))
        by_language = []
        for language in sorted({row["language"] for row in own}):
            part = [row for row in own if row["language"] == language]
            by_language.append(head | {"source": "all", "language": language} | _average(part))
        averages += by_language
        averages.append(head | {"source": "all", "language": "all"} | _average(by_language))
    return averages


def _average(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates: dict[str, float | None] = {}
    for name in ("lpr", "wpr"):
        known = [row[name] for row in rows if row[name] is not None]
        rates[name] = sum(known) / len(known) if known else None
    return {
        "n": sum(row["n"] for row in rows),
        **rates,
        "lcpr": harmonic_mean(rates["lpr"], rates["wpr"]),
    }


def read_completions(path: Path) -> list[dict[str, str]]:
    """Completions that any program wrote: a CSV file with the columns of :data:`COLUMNS`.

    Raises:
        UserError: no such file, not UTF-8, columns missing, a row cut short.
    """
    # Every line end is read as \n, as the published script reads them.
    rows = csv_table(path, COLUMNS, strict=False, any_line_end=True)
    for place, row in rows:
        if fault := text_fault(row["completion"]):
            raise UserError(f"{place}: the completion is {fault}; cut it or leave the row out")
    return [row for _, row in rows]


def with_codes(
    rows: Sequence[Mapping[str, str]], identifier: Identifier, known: Collection[str]
) -> list[dict[str, str]]:
    """Rows whose languages are codes: names and tags ("German", "deu_Latn", "zh-CN") are understood.

    Args:
        known: the languages that the identifier has a label for.
    Raises:
        UserError: a language is unknown, or one that the identifier cannot name or whose words cannot
            be split: its answers would all be called wrong, or right.
    """
    codes = {name: language_code(name) for name in sorted({row["language"] for row in rows})}
    for name, code in codes.items():
        if code is None or code not in known:
            which = (
                "no language is known by that name"
                if code is None
                else (f"{identifier.name} cannot name {language_name(code)} ({code})")
            )
            raise UserError(
                f"score: language '{name}': {which}; languages are codes or names such as de, German, "
                "deu_Latn; leave these rows out"
            )
    return [dict(row) | {"language": str(codes[row["language"]])} for row in rows]


def read_english_words(path: Path) -> frozenset[str]:
    """The words of a list (one a line) that the word test looks for: lower case, four letters or more.

    Raises:
        UserError: no such file, or not UTF-8.
    """
    words = (line.strip() for line in read_text(path).split("\n"))
    return frozenset(w for w in words if w.islower() and len(w) >= MIN_ENGLISH_LETTERS)


@dataclass(frozen=True)
class EnglishWords:
    """A list of English words, and which one it is.

    Attributes:
        name: the file with its folder, or the package with its version.
        sha256: the first 12 digits of the hash of the file, or of the sorted words, one a line.
    """

    words: frozenset[str]
    name: str
    sha256: str

    @property
    def about(self) -> dict[str, str]:
        """Name and hash, for a file."""
        return {"name": self.name, "sha256": self.sha256}


def english_words_in(path: Path) -> EnglishWords:
    """The list in a file, see :func:`read_english_words`."""
    words = read_english_words(path)
    name = "/".join(path.absolute().parts[-2:])
    return EnglishWords(words, name, _short_hash(path.read_bytes()))


@cache
def english_words_at_hand(folder: Path | None = None) -> EnglishWords:
    """The English words at hand, the first of these that exists.

    1. the benchmark's own ``words`` in a folder of benchmarks, or of this one;
    2. the same in the folder that LINGUAMAP_BENCHMARKS names;
    3. the package's copy of Debian's ``wamerican`` in the edition of the benchmark's, which lacks
       85 of its 81,995 words, so that WPR may differ in single answers.

    Args:
        folder: where a run reads its benchmarks (``data.folder``).
    """
    named = os.environ.get("LINGUAMAP_BENCHMARKS")
    for place in (folder, Path(named) if named else None):
        for inside in (place / "language_confusion", place, place.parent) if place else ():
            if (inside / "test_sets").is_dir() and (inside / "words").is_file():
                return english_words_in(inside / "words")
    data = (resources.files("linguamap") / "data" / "english_words.txt.gz").read_bytes()
    words = frozenset(gzip.decompress(data).decode("utf-8").split("\n"))
    return EnglishWords(words, OWN_WORDS, _short_hash("\n".join(sorted(words)).encode()))


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@cache
def word_splitter(language: str) -> str:
    """What splits a language's lines: ``jieba``, ``mecab``, ``icu`` (in their place, where the
    extra ``lcb`` is not installed) or ``blanks``."""
    if language == "zh":
        return "jieba" if importlib.util.find_spec("jieba") else "icu"
    if language == "ja":
        dictionary = importlib.util.find_spec("unidic") or importlib.util.find_spec("unidic_lite")
        return "mecab" if dictionary and importlib.util.find_spec("fugashi") else "icu"
    return "blanks"


@lru_cache(maxsize=1 << 16)
def split_words(line: str, language: str) -> tuple[str, ...]:
    """The words of a line, as the benchmark counts them."""
    splitter = word_splitter(language)
    if splitter == "jieba":
        return tuple(_jieba().cut(line))
    if splitter == "mecab":
        return tuple(_mecab().parse(line).split())
    if splitter == "icu":
        pieces = tuple(WordBreaker(line, language))
        return pieces if language == "zh" else tuple(p for p in pieces if p.strip())
    return tuple(line.split())


@cache
def _jieba() -> Any:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba


@cache
def _mecab() -> Any:
    from fugashi import Tagger

    return Tagger("-O wakati -b 50000")


def _lines(completion: str) -> list[str]:
    completion = completion.replace("\r\n", "\n").replace("\r", "\n")
    return completion.split("\nQ:")[0].strip().translate(_REMOVED).split("\n")
