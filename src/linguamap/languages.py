"""The table of languages: names, scripts, number marks, word splitting and prompt texts.

All texts come from ``data/prompts.toml``, one section a language, whose head says what each key
means; other names and codes, of these and many more languages, from ``data/language_names.toml``. What can be read off the texts (the scripts, whether words are written apart) is not written
down a second time, so that a new language is one new section and nothing else.
"""

from __future__ import annotations

import difflib
import string
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import regex
from icu4py.breakers import WordBreaker

from linguamap.records import UserError

SCRIPT_CODES: dict[str, str] = {
    "Latin": "Latn", "Cyrillic": "Cyrl", "Greek": "Grek", "Arabic": "Arab", "Hebrew": "Hebr",
    "Devanagari": "Deva", "Bengali": "Beng", "Telugu": "Telu", "Tamil": "Taml", "Kannada": "Knda",
    "Malayalam": "Mlym", "Gujarati": "Gujr", "Gurmukhi": "Guru", "Oriya": "Orya",
    "Sinhala": "Sinh", "Thai": "Thai", "Lao": "Laoo", "Khmer": "Khmr", "Myanmar": "Mymr",
    "Tibetan": "Tibt", "Han": "Hani", "Hiragana": "Hira", "Katakana": "Kana",
    "Bopomofo": "Bopo", "Hangul": "Hang", "Armenian": "Armn", "Georgian": "Geor",
    "Ethiopic": "Ethi", "Mongolian": "Mong",
}  # fmt: skip
"""Unicode script names and their ISO 15924 codes."""

UNSEGMENTED_SCRIPTS = frozenset({"Hani", "Hira", "Kana", "Bopo", "Thai", "Laoo", "Khmr", "Mymr"})
"""Scripts that put no blanks between words."""

SYLLABIC_SCRIPTS = UNSEGMENTED_SCRIPTS | frozenset(
    {"Hang", "Deva", "Beng", "Telu", "Taml", "Knda", "Mlym", "Gujr", "Guru", "Orya", "Sinh"}
    | {"Tibt", "Ethi"}
)
"""Scripts whose letters stand for a syllable or a word, and so say more than one of an alphabet."""

_MIN_SCRIPT_SHARE = 0.02
"""A script counts as the language's own from this share of the letters of its prompt texts on."""

_SCRIPT_PATTERN = regex.compile(
    "|".join(rf"(?P<{code}>\p{{Script={name}}})" for name, code in SCRIPT_CODES.items())
)
_LETTER = regex.compile(r"\p{L}")
_PLACEHOLDER = regex.compile(r"\{\w+\}")
_TAG = regex.compile(r"(?<language>[a-z]{2,3})(?:-(?<script>[a-z]{4}))?(?:-(?:[a-z]{2}|[0-9]{3}))?")
_IN_BRACKETS = regex.compile(r"\([^()]*\)")
_JOINT_SCRIPTS = {"Hans": ("Hani",), "Hant": ("Hani",), "Jpan": ("Hani", "Hira"), "Kore": ("Hang",)}
"""Codes of tags that stand for a form or for several of the scripts named here."""


@dataclass(frozen=True)
class PromptTexts:
    """The sentences and labels of a prompt in one language; each name is a key of the table.

    ``answer_in`` holds ``{language}`` in English only, ``answer_phrase`` holds ``{answer}`` and
    ``result_sentence`` holds ``{number}``.
    """

    preamble: str
    answer_in: str
    sums: str
    choice: str
    passage: str
    candidates: str
    open: str
    label_question: str
    label_passage: str
    label_options: str
    label_candidates: str
    label_answer: str
    answer_phrase: str
    result_sentence: str


@dataclass(frozen=True)
class Language:
    """What the program knows of one language.

    Attributes:
        code: ISO 639-1.
        scripts: ISO 15924 codes, the most frequent first.
        segmented: words are written apart (False for zh, ja, th).
        articles: separate words (or elided ones, with their apostrophe) that do not count when
            two answers are compared.
        decimal_mark: the mark before the decimals.
        thousands_marks: the marks that may stand between groups of digits.
        answer_cues: phrases right before a final answer, the surest first, "therefore" last.
        option_cues: phrases right before an option letter, the surest first.
        option_nouns: nouns beside an option letter or an ordinal; "stem-" is any word that begins so.
        ordinals: five groups (first to fourth, last) of words, stems as in ``option_nouns``.
        option_letters: rows of letters that number options, besides A B C D.
        answer_endings: what follows an answer in its sentence and is no part of it ("です").
    """

    code: str
    english_name: str
    native_name: str
    texts: PromptTexts
    scripts: tuple[str, ...]
    segmented: bool
    articles: tuple[str, ...]
    decimal_mark: str
    thousands_marks: tuple[str, ...]
    answer_cues: tuple[str, ...]
    option_cues: tuple[str, ...]
    option_nouns: tuple[str, ...]
    ordinals: tuple[tuple[str, ...], ...]
    option_letters: tuple[tuple[str, ...], ...]
    answer_endings: tuple[str, ...]


@lru_cache(maxsize=1 << 16)
def script_of(letter: str) -> str | None:
    """ISO 15924 code of a character's script; None for what belongs to no listed script."""
    found = _SCRIPT_PATTERN.match(letter)
    return found.lastgroup if found else None


def script_counts(text: str) -> Counter[str]:
    """Letters per script (ISO 15924); letters of unlisted scripts count under ``Zyyy``."""
    return Counter(script_of(letter) or "Zyyy" for letter in _LETTER.findall(text))


def get_language(code: str) -> Language:
    """The language with this code.

    Raises:
        UserError: the table has no such language; the message names the code that was meant.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    meant = language_code(code) or language_code(code.split("-")[0].split("_")[0])
    if meant in LANGUAGES:
        hint = f"did you mean '{meant}'? "
    elif meant:
        hint = f"that is {language_name(meant)}, for which there are no prompt texts. "
    else:
        near = difflib.get_close_matches(_plain_name(code), _codes_by_name(), n=1, cutoff=0.7)
        found = _codes_by_name()[near[0]] if near else None
        hint = f"did you mean '{found}'? " if found in LANGUAGES else ""
    raise UserError(f"languages: '{code}' is unknown; {hint}Known: {', '.join(LANGUAGES)}")


def language_code(name: str) -> str | None:
    """The code of a language that a file names in any usual way.

    Understood are English and native names (French, 日本語), ISO 639-1, -2 and -3 codes (fr, fre, fra)
    and tags with a script or a region (fr-FR, fra_Latn, zh-Hans-CN, "Portuguese (Brazil)").

    Returns:
        ISO 639-1 where there is one, else ISO 639-3, also of languages without prompt texts; None
        for an unknown name, and for a tag that puts a language of the table into a foreign script
        (hi-Latn is not what ``hi`` asks for).
    """
    known = _codes_by_name()
    plain = _plain_name(name)
    if plain in known:
        return known[plain]
    tag = _TAG.fullmatch(plain)
    if tag is None:
        return known.get(_IN_BRACKETS.sub("", plain).strip())
    code = known.get(tag["language"])
    script = (tag["script"] or "").title()
    scripts = LANGUAGES[code].scripts if script and code in LANGUAGES else None
    if scripts is not None and not set(_JOINT_SCRIPTS.get(script, (script,))) & set(scripts):
        return None
    return code


def language_name(code: str) -> str:
    """The English name of a language; the code itself where the table has none."""
    return _names().get(code, (code,))[0]


def native_name(code: str) -> str:
    """A language's name in the language itself; the code where the table has none."""
    return LANGUAGES[code].native_name if code in LANGUAGES else code


def _plain_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold().replace("_", "-")


@cache
def _names() -> dict[str, tuple[str, ...]]:
    table = resources.files("linguamap") / "data" / "language_names.toml"
    rows = tomllib.loads(table.read_text(encoding="utf-8"))
    return {code: tuple(map(str.strip, names.split(","))) for code, names in rows.items()}


@cache
def _codes_by_name() -> dict[str, str]:
    """Every name and code in lower case, and the code it stands for."""
    codes = {_plain_name(name): code for code, names in _names().items() for name in names}
    codes |= {_plain_name(row.native_name): code for code, row in LANGUAGES.items()}
    return codes | {code: code for code in _names()}


def words(text: str, language: str | None = None) -> list[str]:
    """Words of a text by Unicode segmentation (ICU), those without a letter left out.

    Chinese, Japanese and Thai are split by ICU's dictionaries; ``language`` gives the locale's
    rules, None the general ones.
    """
    locale = language or "und"
    return [word for word in WordBreaker(text, locale) if _LETTER.search(word)]


def normalise_digits(text: str) -> str:
    """Any Unicode decimal digit (Arabic-Indic, Devanagari, full-width ...) as ASCII; same length."""
    if text.isascii():
        return text
    return "".join(_ascii_digit(character) for character in text)


@lru_cache(maxsize=1 << 12)
def _ascii_digit(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def load_languages(text: str, source: str = "prompts.toml") -> dict[str, Language]:
    """Read a table of languages.

    Args:
        text: TOML, one section a language.
        source: what to call it in messages.
    Returns:
        code -> language, in alphabetical order of the codes.
    Raises:
        UserError: no TOML; a key is missing, unknown or of the wrong type, or a placeholder is
            missing or out of place; the message names section and key.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not valid TOML ({error})") from None
    return {code: _language(code, table[code], source) for code in sorted(table)}


_TEXT_KEYS = tuple(field.name for field in fields(PromptTexts))
_STRING_KEYS = ("english_name", "native_name", "decimal_mark", *_TEXT_KEYS)
_LIST_KEYS = (
    "answer_cues", "option_cues", "option_nouns", "ordinals", "option_letters", "answer_endings",
    "articles", "thousands_marks",
)  # fmt: skip
_N_ORDINALS = 5
_PLACEHOLDERS = {"answer_phrase": {"answer"}, "result_sentence": {"number"}}


def _language(code: str, row: Mapping[str, Any], source: str) -> Language:
    faults = _faults(code, row)
    if faults:
        raise UserError(f"{source}, section [{code}]: " + "; ".join(faults))
    texts = {key: unicodedata.normalize("NFC", row[key]) for key in _TEXT_KEYS}
    scripts = _scripts(" ".join(texts.values()))
    return Language(
        code=code,
        english_name=row["english_name"],
        native_name=row["native_name"],
        texts=PromptTexts(**texts),
        scripts=scripts,
        segmented=not UNSEGMENTED_SCRIPTS.intersection(scripts),
        articles=tuple(row["articles"]),
        decimal_mark=row["decimal_mark"],
        thousands_marks=tuple(row["thousands_marks"]),
        answer_cues=_composed(row["answer_cues"]),
        option_cues=_composed(row["option_cues"]),
        option_nouns=_composed(row["option_nouns"]),
        ordinals=tuple(tuple(forms.split("|")) for forms in _composed(row["ordinals"])),
        option_letters=tuple(tuple(signs.split()) for signs in _composed(row["option_letters"])),
        answer_endings=_composed(row["answer_endings"]),
    )


def _composed(texts: list[str]) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", text) for text in texts)


def _faults(code: str, row: Mapping[str, Any]) -> list[str]:
    faults = [f"'{key}' is missing" for key in (*_STRING_KEYS, *_LIST_KEYS) if key not in row]
    faults += [f"'{key}' is unknown" for key in row if key not in (*_STRING_KEYS, *_LIST_KEYS)]
    for key, value in row.items():
        if key in _STRING_KEYS and not (isinstance(value, str) and value.strip()):
            faults.append(f"'{key}' must be a text")
        elif key in _LIST_KEYS and not (
            isinstance(value, list) and all(isinstance(entry, str) and entry for entry in value)
        ):
            faults.append(f"'{key}' must be a list of texts")
        elif key == "ordinals" and len(value) != _N_ORDINALS:
            faults.append("'ordinals' must hold five texts: first, second, third, fourth, last")
        elif key in _TEXT_KEYS:
            wanted = _PLACEHOLDERS.get(key, set())
            if key == "answer_in" and code == "en":
                wanted = {"language"}
            if _placeholders(value) != sorted(wanted):
                names = " and ".join(f"{{{name}}}" for name in sorted(wanted)) or "no placeholder"
                faults.append(f"'{key}' must hold {names} exactly once and no other")
    return faults


def _placeholders(text: str) -> list[str]:
    try:
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)
    except ValueError:
        return ["unbalanced braces"]


def _scripts(text: str) -> tuple[str, ...]:
    counts = script_counts(_PLACEHOLDER.sub("", text))
    least = _MIN_SCRIPT_SHARE * sum(counts.values())
    return tuple(code for code, count in counts.most_common() if count >= least)


@cache
def _packaged() -> dict[str, Language]:
    table = resources.files("linguamap") / "data" / "prompts.toml"
    return load_languages(table.read_text(encoding="utf-8"))


LANGUAGES: dict[str, Language] = _packaged()
