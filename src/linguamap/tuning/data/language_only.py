"""Training items without their tasks: texts to be continued, so that only the language is trained.

A text is a passage, or else a question that has several sentences. Its first sentence becomes an open
request (the instruction for open requests stands before it), and the rest the answer to learn. There
is no problem to solve, no option and no closing answer phrase. What accuracy a model gains from such
examples it does not owe to worked answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from icu4py.breakers import SentenceBreaker

from linguamap.languages import get_language
from linguamap.records import Benchmark, Item, UserError


def without_tasks(benchmark: Benchmark) -> Benchmark:
    """The benchmark's texts as open items, each once; open items stay as they are.

    Raises:
        UserError: no item has a text of two sentences.
    """
    if benchmark.kind == "open":
        return benchmark
    items = {code: _texts(originals, code) for code, originals in benchmark.items.items()}
    common = set.intersection(*({text.item_id for text in texts} for texts in items.values()))
    if not common:
        raise UserError(
            f"tune: {benchmark.name} has no text of two sentences or more in every language, so "
            "nothing is left without tasks; add the benchmark passage, or open items with an "
            "explanation"
        )
    return dataclasses.replace(
        benchmark,
        name=f"{benchmark.name}-texts",
        kind="open",
        items={
            code: tuple(text for text in texts if text.item_id in common)
            for code, texts in items.items()
        },
        english=(),
    )


def _texts(items: Iterable[Item], language: str) -> list[Item]:
    texts: dict[str, Item] = {}
    for item in items:
        text = item.passage or item.question
        if text in texts:
            continue
        first, rest = _split(text, language)
        if rest:
            texts[text] = Item(
                item_id=item.item_id,
                benchmark=f"{item.benchmark}-texts",
                kind="open",
                language=item.language,
                split=item.split,
                question=first,
                gold=(),
                explanation=rest,
                group=item.group,
            )
    return list(texts.values())


def _split(text: str, language: str) -> tuple[str, str]:
    """First sentence, and the rest on one line."""
    pieces = [" ".join(piece.split()) for piece in SentenceBreaker(text, language)]
    first, *rest = [piece for piece in pieces if piece] or [""]
    blank = " " if get_language(language).segmented else ""
    return first, blank.join(rest)
