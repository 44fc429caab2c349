"""Loops are told from text that only comes back to its words."""

from __future__ import annotations

import pytest

from linguamap.scoring.score import repeats


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is in the box in the box in the box in the box",
        "La respuesta es: la casa.\nLa respuesta es: la casa.\nLa respuesta es: la casa.",
        "हिन्दी में उत्तर दें। हिन्दी में उत्तर दें। हिन्दी में उत्तर दें।",
        "答えは東京です。答えは東京です。答えは東京です。",
        "Il y a 3 pommes. Oui. Il y a 3 pommes. Non. Il y a 3 pommes.",
        "24 boîtes de craies, 24 Boîtes  de craies, 24 boîtes de craies, ",
        "x" * 5000 + " and so on and so on and so on and so on",
    ],
)
def test_it_says_the_same_three_times(answer: str) -> None:
    assert repeats(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "12 + 12 + 12 + 12 = 48",
        "It is very, very, very good.",
        "ja, ja, ja!",
        "Each box holds 12 eggs, and each box costs 3 euros, so each box is worth it.",
        "A) the dog\nB) the cat\nC) the hen",
        "100000000000000000000000",
        "Das Haus ist rot. Das Haus ist groß. Das Haus ist alt.",
        "はい、はい、はい。",
        "The first 5 boxes hold 60 eggs. The next 5 boxes hold 60 eggs.",
    ],
)
def test_it_only_comes_back_to_its_words(answer: str) -> None:
    assert not repeats(answer)
