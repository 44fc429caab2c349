"""Which option of a multiple-choice question an answer picks: by letter, by text, by position.

Letters are those shown (A, B ...), their full-width, circled and lower-case forms, and the letters
with which a language numbers options (أ ب ج د, क ख ग घ, ...); a Cyrillic letter that looks like a
shown one (В) counts as that one. A letter that is also a word ("A cat", French and Spanish "A") counts
only where punctuation, a cue or a copula shows that it is a letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import regex

from linguamap.answers.cues import Cue, find_cues, last_strong
from linguamap.answers.spans import contained_options, searchable
from linguamap.languages import normalise_digits
from linguamap.records import Extraction, Option, Prompt

_NATIVE = (
    "أبجدهو", "ابجدهو", "कखगघङ", "अबसद", "কখগঘঙ", "กขคงจ", "ΑΒΓΔΕ", "АБВГД", "가나다라마",
    "ㄱㄴㄷㄹㅁ", "アイウエオ", "甲乙丙丁戊", "①②③④⑤⑥", "ⒶⒷⒸⒹⒺⒻ", "ⓐⓑⓒⓓⓔⓕ",
)  # fmt: skip
"""Letters that number options in some language, in order."""
_LOOKALIKES = {"А": "A", "В": "B", "С": "C", "Е": "E", "Α": "A", "Β": "B", "Ε": "E"}

_GAP = r"[\s:\-–—=\"'“”„«»「『‘’(\[{<.]*"
_FILLER = (
    r"(?:(?:la|le|el|il|lo|l['’]|η|το|την|die|der|das|option|letter)\s*(?=[(\[\"'«“]?\p{Lu}))?"
)
_END = r"(?![\p{L}\p{M}\d'’])"
_LATIN_END = r"(?![\p{Latin}\p{M}\d'’])"
_COPULA_JA_KO = r"(?!(?!です|である|だ|입니다|이다|예요)[\p{L}\p{M}]|\d)"
_CLOSED = r"(?=\s*(?:[).,;:!?\]}\"'»”」』。।]|$|\n))"
_WORDLIKE = frozenset("AEIOU")
_ORDINALS = (
    (r"first|1st|premi[eè]re?|primera?|الأولى?|पहल[ाेी]|प्रथम|最初の|[1一]番目の?|第一(?:个|個)?",
     0),
    (r"second|2nd|deuxi[eè]me|seconde?|segund[ao]|الثانية?|الثاني|दूसर[ाेी]|द्वितीय|[2二]番目の?|第二(?:个|個)?",
     1),
    (r"third|3rd|troisi[eè]me|tercer[ao]?|الثالثة?|तीसर[ाेी]|तृतीय|[3三]番目の?|第三(?:个|個)?", 2),
    (r"fourth|4th|quatri[eè]me|cuart[ao]|الرابعة?|चौथ[ाेी]|चतुर्थ|[4四]番目の?|第四(?:个|個)?", 3),
    (r"last|derni[eè]re?|[uú]ltim[ao]|الأخيرة?|अंतिम|आखिरी|最後の", -1),
)  # fmt: skip
_OPTION_NOUN = (
    r"option|choice|answer|r[ée]ponse|proposition|choix|opci[óo]n|respuesta|alternativa|الخيار|"
    r"الإجابة|الاختيار|विकल्प|उत्तर|選択肢|答え|选项|答案"
)


def extract_choice(text: str, prompt: Prompt) -> Extraction:
    """The option letter that a cleaned answer picks.

    The first rule that finds anything decides: ``cue_letter`` (a letter after "the answer is", the
    last such; else after an option cue, the surest), ``cue_text`` (one option's text in the sentence
    of the answer cue), ``letter`` ("B)", "(B)", "B." at a line's start, or nothing else),
    ``option_text`` (exactly one option's text), ``lone_letter`` (one capital standing alone),
    ``position`` ("the second option"). Two different letters by the same rule are ``ambiguous``.
    """
    if not any(option.letter for option in prompt.options):
        return Extraction(None, "no_option")
    text = normalise_digits(text)
    answer_cues = find_cues(text, prompt.language, "answer")
    option_cues = find_cues(text, prompt.language, "option")
    letter = _by_cue(text, prompt, answer_cues, option_cues)
    if letter:
        return _chosen(letter, "cue_letter", prompt)
    strong = last_strong(answer_cues)
    if strong is not None:
        line = text[strong.end :].strip().splitlines() or [""]
        letters = _by_text(line[0], prompt)
        if len(letters) == 1:
            return _chosen(letters[0], "cue_text", prompt)
    for rule, found in _without_cue(text, prompt):
        letters = sorted(set(found))
        if len(letters) == 1:
            return _chosen(letters[0], rule, prompt)
        if len(letters) > 1:
            return Extraction(None, "ambiguous")
    return Extraction(None, "no_option")


def _without_cue(text: str, prompt: Prompt) -> Iterator[tuple[str, list[str]]]:
    yield "letter", _formal_letters(text, prompt)
    yield "option_text", _by_text(text, prompt)
    yield "lone_letter", _lone_letters(text, prompt)
    yield "position", _by_position(text, prompt)


def _chosen(letter: str, rule: str, prompt: Prompt) -> Extraction:
    """The extraction for a letter; offered text that is the same in two languages has no language."""
    options = {option.letter: option for option in prompt.options}
    language: str | None = options[letter].language
    if rule in ("cue_text", "option_text"):
        texts = searchable(options[letter].text)
        if any(searchable(o.text) == texts and o.letter != letter for o in prompt.options):
            language = None
    return Extraction(letter, rule=rule, option_language=language)


def _by_cue(
    text: str, prompt: Prompt, answer_cues: list[Cue], option_cues: list[Cue]
) -> str | None:
    after_answer = [_letter_after(text, cue, prompt) for cue in answer_cues]
    letters = [letter for letter in after_answer if letter]
    if letters:
        return letters[-1]
    numbered = not any(option.text.strip().isdigit() for option in prompt.options)
    ranked: dict[int, set[str]] = {}
    for cue in option_cues:
        letter = _letter_after(text, cue, prompt) or (
            _number_after(text, cue, prompt) if numbered else None
        )
        if letter:
            ranked.setdefault(cue.rank, set()).add(letter)
    surest = ranked[min(ranked)] if ranked else set()
    return surest.pop() if len(surest) == 1 else None


def _letter_after(text: str, cue: Cue, prompt: Prompt) -> str | None:
    forms = _forms(prompt.options)
    shown, native = _classes(forms)
    pattern = _cue_pattern(shown, native)
    match = pattern.match(text, cue.end)
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
    match = regex.compile(_GAP + r"(?P<number>[1-9])(?![\d\p{Latin}]|[.,]\d)").match(text, cue.end)
    if match is None or int(match["number"]) > len(prompt.options):
        return None
    return prompt.options[int(match["number"]) - 1].letter


def _formal_letters(text: str, prompt: Prompt) -> list[str]:
    forms = _forms(prompt.options)
    bare = text.strip(" \t\n.:;,!?()[]{}<>\"'«»“”「」。।$\\-")
    if bare in forms:
        return [forms[bare]]
    letters = [forms[match["letter"]] for match in _formal_pattern(_any(forms)).finditer(text)]
    opening = regex.match(rf"(?P<letter>[{_classes(forms)[0]}])[ \t]+(?P<rest>\S.*)", text)
    if opening and not letters:
        own = next(o for o in prompt.options if o.letter == opening["letter"])
        is_letter = opening["letter"] not in _WORDLIKE
        if is_letter or searchable(opening["rest"]).startswith(searchable(own.text)):
            letters.append(opening["letter"])
    return letters


def _by_text(text: str, prompt: Prompt) -> list[str]:
    """Letters of the options whose text is there; the same text in two languages counts once."""
    held: dict[str, list[Option]] = {}
    for option in contained_options(text, prompt.options):
        held.setdefault(searchable(option.text), []).append(option)
    best = [
        next((o for o in options if o.language == prompt.language), options[0])
        for options in held.values()
    ]
    return [option.letter for option in best]


def _lone_letters(text: str, prompt: Prompt) -> list[str]:
    letters = []
    for match in _lone_pattern(_classes(_forms(prompt.options))[0]).finditer(text):
        word = regex.match(r"\s+\p{Latin}", text, pos=match.end())
        copula = regex.match(r"\s+(?:is|ist|est|es|è|é|este|adalah|là|ni)\b", text, pos=match.end())
        if match["letter"] in _WORDLIKE and word and not copula:
            continue
        letters.append(match["letter"])
    return letters


def _by_position(text: str, prompt: Prompt) -> list[str]:
    lower = text.lower()
    letters = []
    for pattern, place in _ORDINALS:
        near = rf"(?:{pattern})\s*(?:{_OPTION_NOUN})|(?:{_OPTION_NOUN})\s+(?:{pattern})(?!\p{{L}})"
        if regex.search(near, lower) and -1 <= place < len(prompt.options):
            letters.append(prompt.options[place].letter)
    return letters


def _forms(options: tuple[Option, ...]) -> dict[str, str]:
    """Every sign that stands for an option -> the option's letter."""
    letters = [option.letter for option in options if option.letter]
    forms = {letter.lower(): letter for letter in letters} | {letter: letter for letter in letters}
    for row in _NATIVE:
        for sign, letter in zip(row, letters):
            forms.setdefault(sign, letter)
            forms.setdefault(sign.lower(), letter)
    for sign, letter in _LOOKALIKES.items():
        if letter in letters:
            forms[sign] = letter
            forms[sign.lower()] = letter
    return forms


def _classes(forms: dict[str, str]) -> tuple[str, str]:
    """Character classes: the shown capital letters, and the native signs."""
    shown = "".join(sorted(set(forms.values())))
    native = "".join(sign for sign in forms if not sign.isascii())
    return shown, native


def _any(forms: dict[str, str]) -> str:
    return "".join(forms)


@lru_cache(maxsize=64)
def _cue_pattern(shown: str, native: str) -> regex.Pattern[str]:
    return regex.compile(
        rf"(?P<gap>{_GAP}){_FILLER}{_GAP}(?:(?P<shown>[{shown}]){_LATIN_END}"
        rf"|(?P<lower>[{shown.lower()}]){_LATIN_END}{_CLOSED}"
        rf"|(?P<native>[{native}]){_COPULA_JA_KO})"
    )


@lru_cache(maxsize=64)
def _formal_pattern(signs: str) -> regex.Pattern[str]:
    letter = rf"(?P<letter>[{signs}])"
    return regex.compile(
        rf"[(\[]\s*{letter}\s*[)\]]"
        rf"|(?<![\p{{L}}\p{{M}}\d(]){letter}\)"
        rf"|(?m:^)\s*{letter}(?:[.:](?=\s|$)|\s+[-–—](?=\s)|\s*(?m:$))"
    )


@lru_cache(maxsize=64)
def _lone_pattern(shown: str) -> regex.Pattern[str]:
    return regex.compile(
        rf"(?<![\p{{Latin}}\p{{M}}\d'’.\-])(?P<letter>[{shown}])(?!['’\-]|\.\s*\p{{Lu}}){_LATIN_END}"
    )
