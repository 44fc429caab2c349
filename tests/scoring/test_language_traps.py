"""Short answers that identifiers are easily wrong about: neighbours, mixtures, other letters, names."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from linguamap.languages import LANGUAGES
from linguamap.records import Part, Prompt
from linguamap.scoring.extraction.prose import AnswerLanguages, answer_languages
from linguamap.scoring.language_id import Identifier, make_identifier
from linguamap.scoring.score import is_in

TRAPS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "language_traps.toml").read_text(encoding="utf-8")
)


@cache
def identifier() -> Identifier:
    """Over the languages of a usual run; whole texts are set against all languages anyway."""
    return make_identifier("lingua", ("en", "fr", "es", "ar", "hi", "ja"))


def languages_of(answer: str, asked: str) -> AnswerLanguages:
    prompt = Prompt("item", "own", "open", asked, "monolingual", (Part("Q", "?"),), ())
    return answer_languages(answer, prompt, identifier(), 8)


def judged(answer: str, asked: str) -> bool | None:
    return is_in(asked, languages_of(answer, asked).whole)


def test_the_set_is_large_and_holds_every_language() -> None:
    wrong = [
        text for kinds in TRAPS["wrong"].values() for texts in kinds.values() for text in texts
    ]
    right = [text for texts in TRAPS["right"].values() for text in texts]
    assert len(wrong) + len(right) >= 300
    assert set(TRAPS["wrong"]) == set(TRAPS["right"]) == set(LANGUAGES)


@pytest.mark.parametrize("asked", LANGUAGES)
def test_no_answer_in_another_language_is_consistent(asked: str) -> None:
    passed = {
        text: language
        for language, texts in TRAPS["wrong"][asked].items()
        for text in texts
        if judged(text, asked)
    }
    assert not passed


def test_right_answers_are_kept() -> None:
    found = {(code, t): judged(t, code) for code, texts in TRAPS["right"].items() for t in texts}
    lost = [key for key, right in found.items() if right is False]
    assert len(lost) <= 0.02 * len(found), lost
