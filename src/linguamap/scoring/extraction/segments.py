"""A text's languages by segment: sentences, clauses and runs of one script, and what each holds.

The unit is the word (ICU's segmentation), so that scripts weigh alike. A short run in another script, a
name and a quoted title are part of the sentence around them: who writes "Romeo and Cinderella" in a
Japanese sentence writes Japanese. A stretch of English inside a sentence is found by the word profiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import regex

from linguamap.languages import LANGUAGES, UNSEGMENTED_SCRIPTS, script_of, words
from linguamap.records import Answer, Identification
from linguamap.scoring.word_profiles import profile_scores

if TYPE_CHECKING:
    from linguamap.scoring.language_id import Identifier

CLEAR_MAJORITY = 0.75
"""Share of the words from which on a language is a text's main one; below, the text is mixed."""

LEAST_CLAUSE = 3
"""Words; shorter clauses beside longer ones are not read, shorter runs in another script are insertions."""

LEAST_OTHER = 6
"""Words; a shorter clause that is not English is in the language of the whole text of its script: few
words of neighbours look alike."""

LEAST_ENGLISH_RUN = 4
LEAST_ENGLISH_POINTS = 12
"""A stretch of English within a clause: words, and how much likelier (log base 2) English is there."""

LEAST_POINTS_A_WORD = 1.2
LEAST_LEAD_IN_LATIN = 3.0
"""A language is named for Latin letters where another script was asked for only from these points of
its word profile on: transliterations look like anything."""

CAPITAL_NOUNS = frozenset({"de"})
"""Languages in which a capital letter does not mark a name."""

_JOINT = {"Hira": "Hani", "Kana": "Hani", "Bopo": "Hani"}
_LETTER = regex.compile(r"\p{L}")
SENTENCE_MARKS = ".!?。！？।؟۔\n"
_SENTENCE_END = regex.compile(r"(?<=[.!?…:;](?=\s|$))|(?<=[。！？।؟۔：；])|\n")
_CLAUSE_END = regex.compile(r"[,،、，;()\[\]（）«»“”„\"「」『』—]|\s[–-]\s")
_QUOTED = regex.compile(
    r"«[^«»]*»|“[^“”]*”|„[^„“”]*[“”]|\"[^\"\n]*\"|「[^「」]*」|『[^『』]*』|《[^《》]*》"
)
_RUN = regex.compile(r"\S+")


@dataclass(frozen=True)
class _Piece:
    text: str
    script: str
    n_words: int


def language_shares(
    text: str, identifier: Identifier, asked: str | None
) -> tuple[dict[str, float], float | None]:
    """How much of a text's words is in which language.

    Returns:
        Language -> share of the words that could be placed, the largest first (``und-Latn``: in a
        script, but in no language that is known), and the identifier's confidence where all of the text is
        in one script.
    """
    pieces = _joined([piece for sentence in sentences(text) for piece in _pieces(sentence)])
    if len(pieces) > 1 and asked not in CAPITAL_NOUNS:
        pieces = [piece for piece in pieces if not _is_name(piece.text)] or pieces
    wholes = {
        script: " ".join(p.text for p in pieces if p.script == script)
        for script in _scripts(pieces)
    }
    named = {code: identify_piece(t, code, identifier, asked) for code, t in wholes.items()}
    found = [identify_piece(piece.text, piece.script, identifier, asked) for piece in pieces]
    own = sum(p.n_words for p, one in zip(pieces, found, strict=True) if one.language == asked)
    mainly = own * 2 >= sum(piece.n_words for piece in pieces)
    counts: Counter[str] = Counter()
    for piece, one in zip(pieces, found, strict=True):
        code, whole = one.language, named[piece.script].language
        kept = mainly and whole == asked if code != asked else whole is not None
        if len(pieces) == 1 or (piece.n_words < LEAST_OTHER and kept and "en" not in (code, whole)):
            code = whole
        english = _english_words(piece, asked) if code != "en" else 0
        counts["en"] += english
        if code is not None:
            counts[code] += piece.n_words - english
    total = sum(counts.values())
    shares = {code: n / total for code, n in counts.most_common() if n}
    return shares, named[pieces[0].script].confidence if len(named) == 1 else None


def _scripts(pieces: list[_Piece]) -> list[str]:
    return list(dict.fromkeys(piece.script for piece in pieces))


def main_language(shares: Mapping[str, float], confidence: float | None) -> Identification:
    """The language of a clear majority of the words, or None with ``mixed`` or ``ambiguous``."""
    if not shares:
        return Identification(None, "ambiguous")
    code, share = next(iter(shares.items()))
    if share < CLEAR_MAJORITY:
        return Identification(None, "mixed", shares=shares)
    return Identification(code, confidence=confidence, shares=shares)


def identify_piece(
    text: str, script: str, identifier: Identifier, asked: str | None
) -> Identification:
    """A stretch in one script: the identifier's word, or ``und-`` and the script where it has none."""
    own = set(LANGUAGES[asked].scripts) if asked in LANGUAGES else None
    in_own_script = (
        own is None or script in own or (script == "Hani" and bool(own & {"Hira", "Hani"}))
    )
    found = identifier.identify(text if asked in CAPITAL_NOUNS else _without_names(text), asked)
    if in_own_script:
        return found
    if found.language is None or (script == "Latn" and not _plainly(text, found.language)):
        return Identification(f"und-{script}")
    return found


def _without_names(text: str) -> str:
    """A clause without its capitalised words but the first, if enough is left."""
    first, *rest = text.split()
    small = [token for token in rest if not token[:1].isupper()]
    return " ".join([first, *small]) if len(small) >= LEAST_CLAUSE else text


def _plainly(text: str, language: str) -> bool:
    """Whether the commonest words of a language are in a text, and of no other as many."""
    scores = profile_scores(text)
    own = scores.get(language, 0)
    most = max((n for code, n in scores.items() if code != language and "-" not in code), default=0)
    return own >= LEAST_POINTS_A_WORD * len(words(text)) and own - most >= LEAST_LEAD_IN_LATIN


def sentences(text: str) -> list[str]:
    """A text cut at the ends of its sentences and lines; what has no letter is left out."""
    return [one for one in _SENTENCE_END.split(text) if one and _LETTER.search(one)]


def text_to_learn(answer: Answer, turns: bool) -> str | None:
    """An answer in the language asked for from beginning to end, as a text to train on, or None.

    Of an answer that was cut at the token limit the whole sentences are taken; one that goes round in
    circles is none.

    Args:
        turns: whether it leaves the language, see :func:`linguamap.scoring.extraction.prose.drift`.
    """
    text = answer.answer.strip()
    if not answer.language_correct or turns or answer.repeats:
        return None
    if answer.finish == "length" and text[-1:] not in SENTENCE_MARKS:
        text = text[: text.rfind((sentences(text) or [text])[-1])].strip()
    return text or None


def _pieces(sentence: str) -> list[_Piece]:
    """Clauses of a sentence, each in its main script, without names and short runs in other scripts."""
    whole = _QUOTED.sub(" ", sentence)
    kept = whole if _n_letters(whole) * 2 > _n_letters(sentence) else sentence
    runs = [run for clause in _CLAUSE_END.split(kept) for run in _script_runs(clause)]
    if not runs:
        return []
    n_words = sum(run.n_words for run in runs)
    by_script: Counter[str] = Counter()
    for run in runs:  # a title in Latin letters does not outvote the sentence that names it
        by_script[run.script] += 0 if run.script == "Latn" and _is_name(run.text) else run.n_words
    main = max(by_script, key=lambda script: (by_script[script], script != "Latn"))
    inserted = [run for run in runs if run.script != main and not _is_name(run.text)]
    if sum(run.n_words for run in inserted) * 2 < n_words:
        inserted = [run for run in inserted if run.n_words >= LEAST_CLAUSE]
    order = {id(run): place for place, run in enumerate(runs)}
    own = [run for run in runs if run.script == main]
    own = [run for run in own if run.n_words >= LEAST_CLAUSE] or own
    return sorted([*own, *inserted], key=lambda run: order[id(run)])


def _script_runs(clause: str) -> list[_Piece]:
    """Stretches of words of one script; words of both go with the script of most of their letters."""
    runs: list[tuple[str, list[str]]] = []
    for part in _parts(clause):
        letters = Counter(_script(letter) for letter in _LETTER.findall(part))
        if not letters:
            continue
        script = letters.most_common(1)[0][0]
        if runs and runs[-1][0] == script:
            runs[-1][1].append(part)
        else:
            runs.append((script, [part]))
    return [
        _Piece(text, script, _n_words(text)) for script, parts in runs if (text := " ".join(parts))
    ]


def _parts(clause: str) -> list[str]:
    """Words between blanks, and within them the stretches of scripts that are written without blanks."""
    parts: list[str] = []
    for match in _RUN.finditer(clause):
        current, script = "", None
        for letter in match.group():
            its = _script(letter) if _LETTER.match(letter) else None
            changes = its is not None and script is not None and its != script
            if changes and "Hani" in (its, script):
                parts.append(current)
                current = ""
            current += letter
            script = its or script
        parts.append(current)
    return parts


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces of fewer words go with the piece of the same script before them, the first with the next."""
    joined: list[_Piece] = []
    for piece in pieces:
        before = joined[-1] if joined else None
        short = before is not None and min(piece.n_words, before.n_words) < LEAST_CLAUSE
        if before is not None and short and before.script == piece.script:
            joined[-1] = _Piece(
                f"{before.text}, {piece.text}", piece.script, before.n_words + piece.n_words
            )
        else:
            joined.append(piece)
    return joined


def _english_words(piece: _Piece, asked: str | None) -> int:
    """Words of the likeliest stretch of English within a clause in Latin letters; 0 for none.

    The stretch with the largest sum of (points of English - points of the language asked for) over its words.
    """
    if piece.script != "Latn" or asked in (None, "en") or piece.n_words < LEAST_ENGLISH_RUN:
        return 0
    tokens = piece.text.split()
    scores = [profile_scores(token) for token in tokens]
    gains = [score.get("en", 0) - max(score.get(str(asked), 0), 0) for score in scores]
    best, start, total, span = 0.0, 0, 0.0, (0, 0)
    for place, gain in enumerate(gains):
        if total <= 0:
            start, total = place, 0.0
        total += gain
        if total > best:
            best, span = total, (start, place + 1)
    run = tokens[span[0] : span[1]]
    plain = best >= LEAST_ENGLISH_POINTS and len(run) >= LEAST_ENGLISH_RUN
    return len(run) if plain and not _is_name(" ".join(run)) else 0


def _is_name(text: str) -> bool:
    """Half the words or more begin with a capital letter, or all is katakana: a name or a title."""
    tokens = [token for token in text.split() if _LETTER.search(token)]
    capital = sum(
        token[0].isupper() or (not token.isascii() and token.isupper()) for token in tokens
    )
    kana = _LETTER.findall(text)
    return capital * 2 >= len(tokens) or all(script_of(letter) == "Kana" for letter in kana)


def _script(letter: str) -> str:
    code = script_of(letter) or "Zyyy"
    return _JOINT.get(code, code)


def _n_letters(text: str) -> int:
    return len(_LETTER.findall(text))


def _n_words(text: str) -> int:
    unsegmented = any(script_of(letter) in UNSEGMENTED_SCRIPTS for letter in _LETTER.findall(text))
    return len(words(text)) if unsegmented else len([t for t in text.split() if _LETTER.search(t)])
