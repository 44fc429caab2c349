"""The model's own scored answers as texts to probe: where the fault is, and the same item without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from linguamap import seeding
from linguamap.probes.texts import LensText, with_answer
from linguamap.records import Answer, Prompt

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

K = TypeVar("K")

PAIRS = 18
"""At most so many items, over all languages: reading them takes about a fifth of the lens's time."""
POSITIONS = 24
"""First tokens of an answer that are read: where it turned stands near its beginning."""


def usable(answers: Iterable[Answer]) -> list[Answer]:
    """Answers that can be read below their prompts: asked for themselves, not empty, without thoughts
    between prompt and answer, and identified."""
    return [
        one
        for one in answers
        if one.coincides_with is None
        and one.language_correct is not None
        and one.answer.strip()
        and not one.thinking
    ]


def outcome_pairs(answers: Iterable[Answer], n: int, seed: int) -> list[Answer]:
    """One answer in the language asked for and one in another, to the same item in the same language.

    Args:
        n: pairs; languages in turn, items and scenarios at random.
    """
    by_item: dict[tuple[str, str, str], dict[bool, str]] = {}
    by_id = {one.prompt_id: one for one in usable(answers)}
    for name in seeding.shuffled(by_id, "outcomes", seed):
        one = by_id[name]
        found = by_item.setdefault((one.language, one.benchmark, one.item_id), {})
        found.setdefault(bool(one.language_correct), name)
    whole = {key: found for key, found in by_item.items() if len(found) == 2}
    chosen = in_turn({key: key[0] for key in whole}, n)
    return [by_id[name] for key in chosen for name in whole[key].values()]


def in_turn(groups: Mapping[K, str], n: int) -> list[K]:
    """At most ``n`` keys: the first of each group, then the second of each, and so on."""
    seen: dict[str, int] = {}
    ranked = []
    for key, group in groups.items():
        seen[group] = seen.get(group, -1) + 1
        ranked.append((seen[group], group, key))
    return [key for _, _, key in sorted(ranked, key=lambda one: one[:2])[:n]]


def answer_texts(
    lm: LanguageModel, answers: Sequence[Answer], prompts: Iterable[Prompt]
) -> list[tuple[Prompt, LensText]]:
    """Answers below the prompts that they were given to; those of other prompts are left out."""
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    return [
        (by_id[one.prompt_id], with_answer(lm, by_id[one.prompt_id], f" {one.answer.strip()}"))
        for one in answers
        if one.prompt_id in by_id
    ]
