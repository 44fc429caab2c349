"""Which option of a multiple-choice question an answer picks: by letter, by text, by position.

Letters are those shown (A, B ...), their full-width, circled and lower-case forms, and the letters
with which a language numbers options (أ ب ج د, क ख ग घ, ...; ``option_letters`` in the table); a
Cyrillic or Greek letter that looks like a shown one (В) counts as that one. A letter that is also a
word ("A cat", Korean 가) counts only where punctuation, a cue or a copula shows that it is a letter.
Positions ("the second option") are in :mod:`~linguamap.scoring.extraction.spans`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import regex

from linguamap.languages import LANGUAGES, normalise_digits, script_counts
from linguamap.records import Extraction, Option, Prompt
from linguamap.scoring.extraction.answer_markers import Cue, find_cues, last_strong
from linguamap.scoring.extraction.answer_words import any_of, any_word_in, fold
from linguamap.scoring.extraction.claims import Claim, Verdict, decide, find_claims, mark, says_more
from linguamap.scoring.extraction.spans import (
    by_position,
    contained_options,
    ending,
    fillers,
    normalise,
    noun,
    searchable,
)

_CIRCLED = ("①②③④⑤⑥", "ⒶⒷⒸⒹⒺⒻ", "ⓐⓑⓒⓓⓔⓕ")
_LOOKALIKES = {"А": "A", "В": "B", "С": "C", "Е": "E", "Α": "A", "Β": "B", "Ε": "E"}
_WORDLIKE = frozenset("AEIOUАВСЕавсеΑΕαε가나다라마甲乙丙丁ఆఈएএ")
"""Letters that are words, too; and letters that begin words in scripts without blanks."""

_GAP = r"[\s:\-–—=\"'“”„«»「『‘’(\[{<.]*"
_LATIN_END = r"(?![\p{Latin}\p{M}\d'’])"
_NATIVE_END = (
    r"(?:(?![\p{L}\p{M}\d])|(?<=\p{Katakana})(?![\p{Katakana}ー\d])|(?<=[\p{So}\p{No}])(?!\d))"
)
_NATIVE_START = (
    r"(?<!\d)(?:(?<![\p{L}\p{M}])|(?=\p{Katakana})(?<![\p{Katakana}ー])|(?=[\p{So}\p{No}]))"
)
_TITLE = r"(?<=\p{Arabic})\.\s*\p{L}"
"""An Arabic letter with a full stop before a name is a title: "د. أحمد"."""
_CLOSED = r"(?=\s*(?:[).,;:!?\]}\"'»”」』。।،؛؟]|$|\n))"
_CLAIM_RULES: dict[Verdict, str] = {
    "chosen": "cue_letter",
    "right": "right_letter",
    "pointed": "pointed_letter",
}
_GUESSES = frozenset({"letter", "lone_letter"})
"""Rules that take a letter for the answer because it stands alone: not where another is denied."""
_UNSAFE = "unsafe_letter"
_OWN_SCRIPT = {
    code: language.scripts[0]
    for code, language in LANGUAGES.items()
    if language.scripts[0] not in ("Latn", "Hani")
}
"""Languages that one script shows: kana Japanese, Cyrillic Russian; Chinese is Han without kana."""
MIN_TEXT_LETTERS = 3
"""Shorter option texts are not looked for in sentences."""
_OTHER_SCRIPT = regex.compile(r"\s*(?!\p{Latin})\p{L}")
_INFLECTING = frozenset({"de", "el", "pl", "ro", "ru", "te"})
"""Languages whose nouns change their endings, so that an option's text is also found by its stems."""


def extract_choice(text: str, prompt: Prompt) -> Extraction:
    """The option letter that a cleaned answer picks.

    The first rule that finds anything decides: ``cue_letter`` (a letter after "the answer is", the
    last such), ``letter`` that opens the text ("B, because A ..."), ``cue_letter`` (after an option cue, the
    surest), ``cue_position`` ("the answer is the second one"),
    ``cue_text`` (one option's text in the line of the answer cue), ``letter`` ("B)", "(B)", "B." at a
    line's start, "B, because ...", or nothing else), ``position`` where nothing else is said ("3번"),
    ``option_text`` (exactly one option's text), ``lone_letter`` (one letter standing alone),
    ``position`` anywhere, beside a noun ("I take the second option"). Two
    different letters by the same rule are ``ambiguous``; but one lone letter or position decides
    between several texts.
    """
    if not any(option.letter for option in prompt.options):
        return Extraction(None, "no_option")
    text = normalise_digits(text)
    said = decide(_claims(text, prompt))
    if said.letter is not None and said.verdict is not None:
        return _chosen(said.letter, _CLAIM_RULES[said.verdict], prompt)
    if said.undecided:
        return Extraction(None, "ambiguous")
    reason = "ambiguous" if said.unsure else "no_option"
    for rule, found in _other_rules(text, prompt):
        if said.unsure and rule in _GUESSES:
            continue
        letters = sorted(set(found) - said.denied)
        if rule == _UNSAFE:
            reason = "ambiguous" if letters else reason
        elif len(letters) == 1:
            return _chosen(letters[0], rule, prompt)
        elif len(letters) > 1 and not rule.startswith("cue"):
            reason = "ambiguous"
            if rule != "option_text":
                break
    return Extraction(None, reason)


def _claims(text: str, prompt: Prompt) -> list[Claim]:
    """Claims about letters, else about option texts of which one is denied ("not Mars, but Venus").

    They are made with the words of the target language, English and what the script shows.
    Where those say nothing, other languages of the text's scripts tell what it denies or joins: to
    choose by their words as well would be to guess.
    """
    letters = tuple(option.letter for option in prompt.options)
    own = _languages_of(text, prompt.language)
    mentions = _mentions(text, prompt)
    if not mentions:
        claims = find_claims(mark(_text_mentions(text, prompt), text), letters, own)
        return claims if any(claim.verdict == "denied" for claim in claims) else []
    marked = mark(mentions, text)
    claims = find_claims(marked, letters, own)
    if claims or not says_more(marked):
        return claims
    scripts = set(script_counts(text))
    for code in LANGUAGES:
        if code not in own and scripts.intersection(LANGUAGES[code].scripts):
            found = find_claims(marked, letters, (code,))
            claims += [c for c in found if c.verdict == "denied" or len(c.letters) != 1]
    return claims


def _languages_of(text: str, target: str) -> tuple[str, ...]:
    """The target language, English, and those that a text's script leaves no doubt of."""
    scripts = set(script_counts(text))
    shown = [code for code, script in _OWN_SCRIPT.items() if script in scripts]
    if "Hani" in scripts and not scripts & {"Hira", "Kana", "Hang"}:
        shown.append("zh")
    return tuple(dict.fromkeys((target, "en", *shown)))


def _text_mentions(text: str, prompt: Prompt) -> list[tuple[int, int, int]]:
    """Where the options' texts stand, those inside a longer one left out; no numbers and short texts."""
    found: list[tuple[int, int, int]] = []
    texts = [(option.text.strip(), place) for place, option in enumerate(prompt.options)]
    for wanted, place in sorted(texts, key=lambda pair: -len(pair[0])):
        if sum(map(str.isalpha, wanted)) < MIN_TEXT_LETTERS:
            continue
        pattern = regex.compile(rf"(?<!\p{{Latin}}){regex.escape(wanted)}(?!\p{{Latin}})", regex.I)
        for match in pattern.finditer(text):
            if not any(match.start() < end and start < match.end() for start, end, _ in found):
                found.append((*match.span(), place))
    return sorted(found)


def _other_rules(text: str, prompt: Prompt) -> Iterator[tuple[str, list[str]]]:
    answer_cues = find_cues(text, prompt.language, "answer")
    letter = _by_answer_cue(text, prompt, answer_cues)
    yield "cue_letter", [letter] if letter else []
    yield "letter", _opening_letter(text, prompt)
    letter = _by_option_cue(text, prompt, find_cues(text, prompt.language, "option"))
    yield "cue_letter", [letter] if letter else []
    strong = last_strong(answer_cues)
    if strong is not None:
        line = (text[strong.end :].strip().splitlines() or [""])[0]
        yield "cue_position", by_position(line, prompt, "start")
        yield "cue_text", _by_text(line, prompt)
    yield from _without_cue(text, prompt, answer_cues)


def _mentions(text: str, prompt: Prompt) -> list[tuple[int, int, int]]:
    """Where letters stand for options: (start, end, index of the option).

    A letter that is a word, too ("A", Cyrillic "В"), counts in brackets, where nothing or no word
    follows, or where the next word speaks of it ("A is", "A und C").
    """
    forms, places = _forms(prompt), []
    index = {option.letter: place for place, option in enumerate(prompt.options)}
    pattern = _mention_pattern(tuple(forms), _shown(forms))
    says = [_says_letter(prompt.language, article) for article in (False, True)]
    speaks = [_speaks_of(prompt.language, article) for article in (False, True)]
    articles = LANGUAGES[prompt.language].articles
    for match in pattern.finditer(text):
        sign = match["letter"]
        if match["bare"] and sign in _WORDLIKE:
            before, after = text[max(0, match.start() - 24) : match.start()], text[match.end() :]
            article = sign.lower() in articles
            named = sign.isupper() and says[article and text.isupper()].search(fold(before))
            if not (sign.isupper() or regex.match(_CLOSED, after)):
                continue
            foreign = sign.isascii() and _OTHER_SCRIPT.match(after)
            if not (named or foreign or speaks[article].match(fold(after[:24]))):
                continue
        option = prompt.options[index[forms[sign]]]
        end = match.end()
        own = regex.compile(
            rf"[\s.):,\-–(]*{regex.escape(option.text.strip())}\)?", regex.IGNORECASE
        )
        if option.text.strip() and (repeated := own.match(text, end)):
            end = repeated.end()
        places.append((match.start(), end, index[forms[sign]]))
    return places


def _without_cue(text: str, prompt: Prompt, cues: list[Cue]) -> Iterator[tuple[str, list[str]]]:
    yield "letter", _formal_letters(text, prompt)
    yield "position", by_position(text, prompt, "whole")
    yield "option_text", _by_text(text, prompt)
    yield "lone_letter", _lone_letters(text, prompt, safe=True)
    yield _UNSAFE, _lone_letters(text, prompt, safe=False)
    for cue in cues:  # "the last answer" may announce one
        if cue.rank >= len(LANGUAGES[cue.language].answer_cues):
            continue
        text = text[: cue.start] + "|" * (cue.end - cue.start) + text[cue.end :]
    yield "position", by_position(text, prompt, "anywhere")


def _chosen(letter: str, rule: str, prompt: Prompt) -> Extraction:
    """The extraction for a letter; offered text that is the same in two languages has no language."""
    options = {option.letter: option for option in prompt.options}
    language: str | None = options[letter].language
    if rule in ("cue_text", "option_text"):
        texts = searchable(options[letter].text)
        if any(searchable(o.text) == texts and o.letter != letter for o in prompt.options):
            language = None
    return Extraction(letter, rule=rule, option_language=language)


def _by_answer_cue(text: str, prompt: Prompt, cues: list[Cue]) -> str | None:
    letters = [letter for cue in cues if (letter := _letter_after(text, cue, prompt))]
    return letters[-1] if letters else None


def _by_option_cue(text: str, prompt: Prompt, cues: list[Cue]) -> str | None:
    numbered = not any(option.text.strip()[:1].isdigit() for option in prompt.options)
    ranked: dict[int, set[str]] = {}
    for cue in cues:
        letter = _letter_after(text, cue, prompt) or (
            _number_after(text, cue, prompt) if numbered else None
        )
        if letter:
            ranked.setdefault(cue.rank, set()).add(letter)
    surest = ranked[min(ranked)] if ranked else set()
    return surest.pop() if len(surest) == 1 else None


def _opening_letter(text: str, prompt: Prompt) -> list[str]:
    """A letter that the text opens with, whatever its reasons mention: "B) Mars. Option A is ...", "B, because A ...".

    Not where the options are gone through, each on a line of its own.
    """
    forms = _forms(prompt)
    opening = _opening_pattern(_shown(forms)).match(text)
    if opening is None:
        return []
    pattern = _formal_pattern(tuple(forms))
    begun = [match for match in pattern.finditer(text) if text[: match.start()].endswith("\n")]
    return [] if begun else [forms[opening["letter"]]]


def _letter_after(text: str, cue: Cue, prompt: Prompt) -> str | None:
    forms = _forms(prompt)
    match = _cue_pattern(tuple(forms), _shown(forms), cue.language).match(text, cue.end)
    if match is None:
        return None
    sign = match["shown"] or match["lower"] or match["native"]
    sentence_start = ":" in match["gap"] or "\n" in match["gap"] or text[cue.end - 1] == ":"
    if match["shown"] in _WORDLIKE and sentence_start:
        follows = regex.match(r"\s+\p{L}", text, pos=match.end())
        if follows is not None and match["gap"].strip(" :\n") == "":
            return None
    return forms[sign]


def _number_after(text: str, cue: Cue, prompt: Prompt) -> str | None:
    if cue.rank >= len(LANGUAGES[cue.language].option_cues):
        return None  # a bare noun: "answer 2" may be a number
    match = regex.compile(_GAP + r"(?P<number>[1-9])(?![\d\p{Latin}]|[.,]\d)").match(text, cue.end)
    if match is None or int(match["number"]) > len(prompt.options):
        return None
    return prompt.options[int(match["number"]) - 1].letter


def _formal_letters(text: str, prompt: Prompt) -> list[str]:
    forms = _forms(prompt)
    bare = text.strip(" \t\n.:;,!?()[]{}<>\"'«»“”「」。।$\\-")
    if bare in forms:
        return [forms[bare]]
    letters = [forms[match["letter"]] for match in _formal_pattern(tuple(forms)).finditer(text)]
    opening = regex.match(rf"(?P<letter>[{_shown(forms)}]),?[ \t]+(?P<rest>\S.*)", text)
    if opening and not letters:
        own = next(o for o in prompt.options if o.letter == opening["letter"])
        is_letter = opening["letter"] not in _WORDLIKE
        if is_letter or searchable(opening["rest"]).startswith(searchable(own.text)):
            letters.append(opening["letter"])
    return letters


def _by_text(text: str, prompt: Prompt) -> list[str]:
    """Letters of the options whose text is there; the same text in two languages counts once."""
    held: dict[str, list[Option]] = {}
    inflected = [option for option in prompt.options if _has_stems(text, option)]
    for option in contained_options(text, prompt.options) or inflected:
        held.setdefault(searchable(option.text), []).append(option)
    best = [
        next((o for o in options if o.language == prompt.language), options[0])
        for options in held.values()
    ]
    return [option.letter for option in best]


def _lone_letters(text: str, prompt: Prompt, safe: bool) -> list[str]:
    """Letters that stand alone: safe ones at the edge of a clause or behind an article or noun only.

    A letter in the middle of other words is as likely a vitamin or a plan ("vitamin C").
    """
    letters = []
    forms = _forms(prompt)
    own = {sign for row in LANGUAGES[prompt.language].option_letters for sign in row}
    native = tuple(sign for sign in forms if sign in own.union(*_CIRCLED) and sign not in _WORDLIKE)
    edge_before, edge_after = _clause_edges(prompt.language)
    for match in _lone_pattern(_shown(forms), native).finditer(text):
        if match["letter"] in _WORDLIKE and regex.match(r"\s+\p{Latin}", text, pos=match.end()):
            continue
        at_edge = edge_before.search(text[: match.start()]) and edge_after.match(text, match.end())
        if at_edge or not safe:
            letters.append(forms[match["letter"]])
    return letters


@lru_cache(maxsize=64)
def _clause_edges(language: str) -> tuple[regex.Pattern[str], regex.Pattern[str]]:
    codes = tuple(dict.fromkeys((language, "en")))
    beside = "|".join(
        any_of(LANGUAGES[code].articles + LANGUAGES[code].option_nouns, code) for code in codes
    )
    before = regex.compile(rf"(?i)(?:^|[^\p{{L}}\p{{M}}\d\s]|\n)\s*(?:(?:{beside})\s*)*$")
    endings = "|".join(ending(code) for code in codes)
    return before, regex.compile(rf"\s*(?:$|[^\p{{L}}\p{{M}}\d\s]|\n|{endings}|が)")


def _has_stems(text: str, option: Option) -> bool:
    """Whether an option's words stand in a text with other endings ("Alpen": "Alps" in a case)."""
    if option.language not in _INFLECTING:
        return False
    words = fold(normalise(option.text, option.language)).split()
    stems = [regex.escape(word[: max(3, len(word) - 2)]) + r"[\p{L}\p{M}]{0,4}" for word in words]
    pattern = r"(?<![\p{L}\p{M}])" + r"\s+".join(stems) + r"(?![\p{L}\p{M}])"
    return bool(words) and regex.search(pattern, fold(searchable(text))) is not None


def _forms(prompt: Prompt) -> dict[str, str]:
    """Every sign that stands for an option -> the option's letter; the target language's first."""
    letters = [option.letter for option in prompt.options if option.letter]
    forms = {letter.lower(): letter for letter in letters} | {letter: letter for letter in letters}
    known = [LANGUAGES[prompt.language], *LANGUAGES.values()]
    rows = [row for language in known for row in language.option_letters]
    for row in (*rows, *map(tuple, _CIRCLED)):
        for sign, letter in zip(row, letters):
            forms.setdefault(sign, letter)
            forms.setdefault(sign.lower(), letter)
    for sign, letter in _LOOKALIKES.items():
        if letter in letters:
            forms[sign] = letter
            forms[sign.lower()] = letter
    return forms


def _shown(forms: dict[str, str]) -> str:
    """The shown letters as the inside of a character class."""
    return "".join(sorted(set(forms.values())))


def _any(signs: tuple[str, ...]) -> str:
    return "|".join(sorted(map(regex.escape, signs), key=len, reverse=True))


@lru_cache(maxsize=64)
def _mention_pattern(signs: tuple[str, ...], shown: str) -> regex.Pattern[str]:
    native = _any(tuple(sign for sign in signs if not sign.isascii() and not sign.islower()))
    latin = (
        rf"(?<![\p{{Latin}}\p{{M}}\d'’.\-–])(?P<letter>[{shown}])(?![\p{{Latin}}\p{{M}}\d]"
        r"|['’](?!y|d[ıiuü]r|t[ıiuü]r|n[ıiuü]n|[aeıiuü]\b)\p{L}|-\p{Latin})"
    )
    return regex.compile(
        rf"[(\[]\s*(?P<letter>{_any(signs)})\s*[)\]]|(?P<bare>{latin}"
        + (rf"|(?<![\p{{L}}\p{{M}}\d])(?P<letter>{native})(?![\p{{L}}\p{{M}}\d])" if native else "")
        + ")"
    )


@lru_cache(maxsize=64)
def _speaks_of(language: str, is_article: bool) -> regex.Pattern[str]:
    """What may follow a letter that could be a word: no word at all, or "is", "and", "is wrong".

    Behind an article an adjective proves nothing: "A wrong guess", Portuguese "A correta é a C".
    """
    kinds = ["is", "and", "or", "denied", "not", "also", "choose", "but", "both"]
    kinds += [] if is_article else ["right", "wrong"]
    words = any_word_in(tuple(dict.fromkeys((language, "en"))), *kinds)
    return regex.compile(rf"\s*(?:$|[^\p{{L}}\p{{M}}\d\s]|\n|{words})")


@lru_cache(maxsize=64)
def _says_letter(language: str, is_article: bool) -> regex.Pattern[str]:
    """ "option", "is", "choose" right before a capital letter, in folded text; before an article "option" alone."""
    codes = tuple(dict.fromkeys((language, "en")))
    nouns = rf"(?i:{'|'.join(noun(code) for code in codes)})\s*"
    before = any_word_in(codes, "is", "choose", "points", "not", "or")
    return regex.compile(rf"(?:{nouns})$" if is_article else rf"(?:{nouns}|(?:{before})\s+)$")


@lru_cache(maxsize=256)
def _cue_pattern(signs: tuple[str, ...], shown: str, language: str) -> regex.Pattern[str]:
    native = [sign for sign in signs if not sign.isascii()]
    words = _any(tuple(sign for sign in native if sign in _WORDLIKE))
    others = _any(tuple(sign for sign in native if sign not in _WORDLIKE))
    goes_on = rf"(?={ending(language)}|\s?(?i:{noun(language)}))"
    return regex.compile(
        rf"(?P<gap>{_GAP}){fillers(language)}{_GAP}"
        rf"(?:(?P<shown>[{shown}])(?:{_LATIN_END}|(?={ending(language)}))"
        rf"|(?P<lower>[{shown.lower()}]){_LATIN_END}(?:{_CLOSED}|(?={ending(language)}))"
        rf"|(?P<native>(?:{words})(?:{_CLOSED}|{goes_on})|(?:{others})(?:{_NATIVE_END}|{goes_on})))"
    )


@lru_cache(maxsize=64)
def _opening_pattern(shown: str) -> regex.Pattern[str]:
    return regex.compile(
        rf"[(\[]?(?P<letter>[{shown}])(?:[)\]]|[.:](?=\s)|,(?=\s+\p{{L}}{{2}})|\s+[-–—](?=\s))"
    )


@lru_cache(maxsize=64)
def _formal_pattern(signs: tuple[str, ...]) -> regex.Pattern[str]:
    letter = rf"(?P<letter>{_any(signs)})"
    return regex.compile(
        rf"[(\[]\s*{letter}\s*[)\]]"
        rf"|(?<![\p{{L}}\p{{M}}\d(]){letter}\)"
        rf"|(?m:^)\s*{letter}(?!{_TITLE})(?:[.:](?=\s|$)|\s+[-–—](?=\s)|\s*(?m:$))"
    )


@lru_cache(maxsize=64)
def _lone_pattern(shown: str, safe: tuple[str, ...]) -> regex.Pattern[str]:
    native = rf"|{_NATIVE_START}(?P<letter>{_any(safe)})(?!{_TITLE}){_NATIVE_END}" if safe else ""
    return regex.compile(
        rf"(?<![\p{{Latin}}\p{{M}}\d'’.\-])(?P<letter>[{shown}])(?!['’\-]|\.\s*\p{{Lu}}){_LATIN_END}"
        + native
    )
