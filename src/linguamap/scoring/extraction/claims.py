"""What an answer says of each option letter: chosen, right, denied, or only mentioned.

A small grammar over the words of ``data/answer_words.toml``. Letters are set apart in the text, the text is
cut into clauses, and each clause says one thing of the letter (or the joined letters) that it names:
the words around it decide, in any order ("the answer is D", "D is the answer", "Dが正解です"). A clause
with "because" or "if" only mentions. Two joined letters ("A and C", "A or C") are never chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import regex

from linguamap.languages import LANGUAGES
from linguamap.scoring.extraction.answer_words import any_of, any_word, any_word_in, fold
from linguamap.scoring.extraction.answer_words import words as word_list

_FIRST = 0xE000
_LETTER = "[\ue000-\ue01f]"
_JOINED = "\ue020"
_NOUN = "\ue021"
_GROUP = regex.compile(f"{_LETTER}(?:{_JOINED}{_LETTER})*")
_SENTENCE = regex.compile(r"(?:[!?。！？।؟\n]|\.(?=\s|$))+")
_COMMA = r"[,，、،;；·]"
_NEAR = 5
"""So many words before a letter, or behind it, belong to it."""
_NEAR_UNSEGMENTED = 16
"""The same in characters, where words are not written apart."""
_OPENS = regex.compile(rf":\s*\n\s*(?={_LETTER}|\s)")
_CLOSES = regex.compile(r"\s*(?:[.。!]?\s*$|[.。!]?\s*\n)")
_LINK = regex.compile(r"[:：=—–→\-]\s*\W*$")

Verdict = Literal["chosen", "right", "pointed", "denied"]


@dataclass(frozen=True)
class Claim:
    """What one clause says of one or several joined letters; of none where it only joins some."""

    letters: tuple[str, ...]
    verdict: Verdict


def mark(places: Iterable[tuple[int, int, int]], text: str) -> str:
    """A text with signs in place of its letters, folded.

    Args:
        places: (start, end, index of the option) of each mention, in order.
    """
    parts, end = [], 0
    for start, stop, index in places:
        parts += [fold(text[end:start]), f" {chr(_FIRST + index)} "]
        end = stop
    return "".join((*parts, fold(text[end:])))


def says_more(marked: str) -> bool:
    """Whether there is a word beside the letters."""
    return any(character.isalpha() for character in marked)


def find_claims(marked: str, letters: tuple[str, ...], codes: tuple[str, ...]) -> list[Claim]:
    """All claims of a marked text about these letters, in order, by the words of some languages."""
    words = _words(codes)
    text = words.nouns.sub(_NOUN, words.sure.sub(" ", marked))
    text = _OPENS.sub(": ", text)
    text = words.joint.sub(_join, text)
    text = words.refused.sub(lambda match: f"{match['letter']} {words.a_denial} . ", text)
    claims: list[Claim] = []
    for sentence in _SENTENCE.split(text):
        only = words.closed.fullmatch(_GROUP.sub("", sentence))
        denied_before = bool(only) and any(claim.verdict == "denied" for claim in claims)
        for clause in words.clause_ends.split(sentence):
            for claim in _of_clause(clause, letters, words, claims, denied_before):
                claims.append(claim)
                denied_before = denied_before or claim.verdict == "denied"
    return claims


def _join(match: regex.Match[str]) -> str:
    """Letters in a row as one group; two with only a comma between only if nothing follows."""
    signs = regex.findall(_LETTER, match.group())
    closes = _CLOSES.match(match.string, match.end())
    if len(signs) < 3 and not match.captures("conjunction") and not closes:
        return str(match.group())
    return _JOINED.join(signs)


@dataclass(frozen=True)
class _Words:
    """The word patterns of some languages, compiled."""

    answer: regex.Pattern[str]
    right: regex.Pattern[str]
    wrong: regex.Pattern[str]
    negation: regex.Pattern[str]
    denied: regex.Pattern[str]
    choose: regex.Pattern[str]
    points: regex.Pattern[str]
    also: regex.Pattern[str]
    subordinate: regex.Pattern[str]
    link: regex.Pattern[str]
    closed: regex.Pattern[str]
    nouns: regex.Pattern[str]
    sure: regex.Pattern[str]
    joint: regex.Pattern[str]
    clause_ends: regex.Pattern[str]
    refused: regex.Pattern[str]
    """ "A? No -"."""
    a_denial: str
    segmented: bool


@lru_cache(maxsize=64)
def _words(codes: tuple[str, ...]) -> _Words:
    def of(*kinds: str) -> str:
        return any_word_in(codes, *kinds)

    def compiled(*kinds: str) -> regex.Pattern[str]:
        return regex.compile(of(*kinds))

    nouns = [any_of(_option_nouns(code), code) for code in codes]
    endings = [any_of(LANGUAGES[code].answer_endings, code) for code in codes]
    articles = [any_of(LANGUAGES[code].articles, code) for code in codes]
    filler = rf"(?:(?:{_NOUN}|{'|'.join(articles)}|{of('answer')})\s*)"
    conjunction = rf"(?P<conjunction>[、/&+]|(?:{of('and', 'or', 'both')}))"
    between = rf"(?:[,،，]\s*(?:{conjunction}\s*){{0,2}}|(?:{conjunction}\s*){{1,2}})"
    joint = rf"{_LETTER}(?:\s*{between}{filler}{{0,2}}{_LETTER})+"
    copulas = {fold(word) for code in codes for word in word_list(code, "is")}
    parting = "|".join(
        any_of(tuple(w for w in word_list(code, "and") if fold(w) not in copulas), code)
        for code in codes
    )
    ends = rf"{_COMMA}|(?={of('because', 'but')})|(?:{parting})|(?<={of('ends')})"
    known = f"{of('is', 'points', 'right', 'final')}|{'|'.join(endings)}|{_NOUN}"
    return _Words(
        answer=compiled("answer"), right=compiled("right"), wrong=compiled("wrong"),
        negation=compiled("not"), denied=compiled("denied", "not"), choose=compiled("choose"),
        points=compiled("points", "but"), also=compiled("also"),
        subordinate=regex.compile(rf"\W*(?:{of('because')})"), link=compiled("is"),
        closed=regex.compile(rf"(?:[^\p{{L}}\p{{M}}\d]|{known})*"),
        nouns=regex.compile("|".join(nouns)), sure=compiled("sure"), joint=regex.compile(joint),
        clause_ends=regex.compile(ends),
        refused=regex.compile(rf"(?P<letter>{_LETTER})\s*[?？؟]\s*(?:{of('not')})\s*[-–—,.:;!]"),
        a_denial=fold(word_list(codes[0], "wrong")[0]), segmented=LANGUAGES[codes[0]].segmented,
    )  # fmt: skip


def _option_nouns(code: str) -> tuple[str, ...]:
    """Nouns for an option that do not name the answer itself."""
    answer = regex.compile(any_word(code, "answer"))
    nouns = LANGUAGES[code].option_nouns
    return tuple(noun for noun in nouns if not answer.match(fold(noun.removesuffix("-"))))


def _of_clause(
    clause: str, letters: tuple[str, ...], words: _Words, before: list[Claim], after_denial: bool
) -> list[Claim]:
    groups = list(_GROUP.finditer(clause))
    if not groups or words.subordinate.match(clause):
        return []
    claims = []
    ends = [0, *(group.end() for group in groups)]
    starts = [*(group.start() for group in groups[1:]), len(clause)]
    taken = False  # what stands between two letters was said of the first
    for group, start, end in zip(groups, ends, starts):
        ahead = "" if taken else clause[start : group.start()]
        behind = clause[group.end() : end]
        verdict = _verdict(ahead, behind, words)
        if verdict in (None, "pointed") and before and words.also.search(ahead + behind):
            verdict = before[-1].verdict
        if verdict is None and after_denial and words.closed.fullmatch(ahead + behind):
            verdict = "pointed"
        taken = bool(behind.strip()) and verdict is not None
        if verdict is not None:
            named = (letters[ord(sign) - _FIRST] for sign in group.group() if sign != _JOINED)
            claims.append(Claim(tuple(dict.fromkeys(named)), verdict))
        elif _JOINED in group.group():
            claims.append(Claim((), "pointed"))
    return claims


def _verdict(ahead: str, behind: str, words: _Words) -> Verdict | None:
    near_ahead, near_behind = _last(ahead, words), _first(behind, words)
    if words.wrong.search(near_behind) or words.wrong.search(near_ahead):
        return "denied"
    if words.denied.search(near_behind) or words.negation.search(near_ahead):
        return "denied"
    closed = bool(words.closed.fullmatch(behind))
    answer = words.answer.search(ahead)
    if answer:
        between = ahead[answer.end() :]
        if closed or _LINK.search(between) or words.link.search(between):
            return "chosen"
    if (
        words.answer.search(behind)
        or words.choose.search(near_ahead)
        or words.choose.search(behind)
    ):
        return "chosen"
    if words.right.search(behind) or words.right.search(near_ahead):
        return "right"
    if closed and (words.points.search(near_ahead) or words.points.search(behind)):
        return "pointed"
    return None


def _last(text: str, words: _Words) -> str:
    return " ".join(text.split()[-_NEAR:]) if words.segmented else text[-_NEAR_UNSEGMENTED:]


def _first(text: str, words: _Words) -> str:
    return " ".join(text.split()[:_NEAR]) if words.segmented else text[:_NEAR_UNSEGMENTED]


@dataclass(frozen=True)
class Decision:
    """The letter that claims choose, if there is one; what they deny; whether they stay undecided.

    Attributes:
        verdict: of the choosing claim.
        undecided: several letters are chosen with equal right, or joined ones only.
        unsure: a letter that stands alone may well not be the answer.
    """

    letter: str | None
    verdict: Verdict | None
    denied: frozenset[str]
    undecided: bool
    unsure: bool


def decide(claims: list[Claim]) -> Decision:
    """Weigh claims: a choice counts more than "is right", that more than a hint; the last choice counts.

    A letter that is denied after it was chosen is out.
    """
    denied: set[str] = set()
    single: dict[Verdict, list[str]] = {"chosen": [], "right": [], "pointed": []}
    joined = unsure = False
    for claim in claims:
        if claim.verdict == "denied":
            denied.update(claim.letters)
            for said in single.values():
                said[:] = [letter for letter in said if letter not in claim.letters]
        elif len(claim.letters) != 1:
            unsure = True
            joined = joined or bool(claim.letters)
        elif claim.verdict == "chosen" or claim.letters[0] not in denied:
            single[claim.verdict].append(claim.letters[0])
    for verdict, said in single.items():
        if said:
            sure = verdict == "chosen" or len(set(said)) == 1
            letter = said[-1] if sure else None
            return Decision(letter, verdict, frozenset(denied - {letter}), not sure, unsure)
    return Decision(None, None, frozenset(denied), joined, unsure or bool(denied))
