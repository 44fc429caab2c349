"""Sentences and words of known language, on which an identifier is tried.

From files of gold texts, from the package's own starter items, or from the items of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from linguamap import seeding
from linguamap.languages import LANGUAGES, get_language, words
from linguamap.outside import read_text, text_fault
from linguamap.records import Benchmark, Item, UserError

Unit = Literal["sentences", "words"]
UNITS: tuple[Unit, ...] = ("sentences", "words")
PARTS: dict[Unit, str] = {"sentences": "sentences", "words": "single-words"}


@dataclass(frozen=True)
class LabelledTexts:
    """Texts whose language is known.

    Attributes:
        sentences: language -> sentences or short texts.
        words: language -> words, each once.
        source: where they come from.
    """

    sentences: Mapping[str, Sequence[str]]
    words: Mapping[str, Sequence[str]]
    source: str

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have sentences or words, in the order of the sentences."""
        return tuple(dict.fromkeys((*self.sentences, *self.words)))

    def of(self, unit: Unit) -> Mapping[str, Sequence[str]]:
        return self.sentences if unit == "sentences" else self.words

    def drawn(self, n_sentences: int | None, n_words: int | None) -> LabelledTexts:
        """At most so many texts of each language, in a random order that is always the same."""
        return LabelledTexts(
            {c: seeding.shuffled(t, "gold", c)[:n_sentences] for c, t in self.sentences.items()},
            {c: seeding.shuffled(t, "gold", c)[:n_words] for c, t in self.words.items()},
            self.source,
        )


def labelled_from_texts(texts: Mapping[str, Iterable[str]], source: str) -> LabelledTexts:
    """Each text once, and each of their words once, language by language."""
    sentences = {code: list(dict.fromkeys(found)) for code, found in texts.items()}
    return LabelledTexts(
        sentences,
        {
            code: list(dict.fromkeys(word for text in found for word in words(text, code)))
            for code, found in sentences.items()
        },
        source,
    )


def labelled_from_items(benchmarks: Iterable[Benchmark], source: str) -> LabelledTexts:
    """The worked answers of items, or the questions of those that have none.

    Crosslingual requests of the Language Confusion Benchmark are left out: they are in English,
    whatever language they ask for.
    """
    texts: dict[str, list[str]] = {}
    for benchmark in benchmarks:
        for code, items in benchmark.items.items():
            usable = (item for item in items if not _crosslingual(item))
            texts.setdefault(code, []).extend(one.explanation or one.question for one in usable)
    return labelled_from_texts({code: found for code, found in texts.items() if found}, source)


def labelled_from_starter(
    benchmarks: Iterable[Benchmark], languages: Sequence[str] | None
) -> LabelledTexts:
    """Questions, passages and worked answers of the package's own items.

    Args:
        benchmarks: :func:`linguamap.benchmarks.starter_benchmarks`.
        languages: None for all that the items are written in.
    Raises:
        UserError: the items are not written in one of them.
    """
    texts: dict[str, list[str]] = {}
    for benchmark in benchmarks:
        for code, items in benchmark.items.items():
            parts = (t for i in items for t in (i.passage, i.question, i.explanation) if t)
            texts.setdefault(code, []).extend(parts)
    for code in languages or ():
        get_language(code)
    if missing := [code for code in languages or () if code not in texts]:
        raise UserError(
            f"the starter items have no texts in {', '.join(missing)}, only in "
            f"{', '.join(sorted(texts))}; give a folder of gold texts with --data"
        )
    return labelled_from_texts({code: texts[code] for code in languages or texts}, "starter items")


def labelled_from_folder(folder: Path, languages: Sequence[str] | None) -> LabelledTexts:
    """lingua's test data: ``sentences`` and ``single-words``, one file ``CODE.txt`` a language.

    Args:
        folder: it holds ``lingua_testdata``, or is that folder.
        languages: None for all languages of the table that have a file.
    Raises:
        UserError: there are no such files, or a language has none.
    """
    for code in languages or ():
        get_language(code)
    for root in (folder / "lingua_testdata", folder):
        found = sorted(
            {path.stem for part in PARTS.values() for path in root.glob(f"{part}/*.txt")}
        )
        if found:
            break
    else:
        raise UserError(
            f"{folder} has no gold texts; give a folder with lingua_testdata/sentences/CODE.txt "
            "and lingua_testdata/single-words/CODE.txt, or leave --data out"
        )
    if missing := [code for code in languages or () if code not in found]:
        raise UserError(
            f"{root} has no gold texts for {', '.join(missing)}; it has {', '.join(found)}"
        )
    codes = list(languages or (code for code in found if code in LANGUAGES))
    read: dict[Unit, dict[str, list[str]]] = {}
    for unit, part in PARTS.items():
        paths = {code: root / part / f"{code}.txt" for code in codes}
        read[unit] = {code: _lines(path) for code, path in paths.items() if path.exists()}
    return LabelledTexts(read["sentences"], read["words"], str(root))


def _lines(path: Path) -> list[str]:
    rows = [line.strip() for line in read_text(path).split("\n")]
    if fault := next((found for line in rows if (found := text_fault(line))), None):
        raise UserError(f"{path}: a line is {fault}; take it out")
    return [line for line in rows if line]


def _crosslingual(item: Item) -> bool:
    return item.kind == "open" and (item.subject or "").startswith("crosslingual")
