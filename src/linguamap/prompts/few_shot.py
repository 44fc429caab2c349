"""Few-shot prompting: worked examples of training items in front of a test prompt.

The rival that trains nothing: what a prompt alone can do for the language of the answer.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from linguamap import seeding
from linguamap.records import Prompt, UserError

Cell = tuple[str, str, str]


def with_shots(
    prompts: Sequence[Prompt], examples: Sequence[Prompt], k: int, seed: int
) -> list[Prompt]:
    """Put ``k`` worked examples of the same language, kind and scenario in front of each prompt.

    Which ones is drawn by seed and training item alone: the same items, in the same order, in every
    language and scenario that has them, and in front of every prompt of a cell, so that this long
    beginning is read once for all of them. An example of the prompt's own item, group or question is
    never taken; the next one takes its place. Prompt ids stay, so answers are compared with those
    without examples.

    Args:
        prompts: what is asked.
        examples: prompts of training items; those without a reference, or that coincide with
            another scenario's, are left out.
        k: examples a prompt, fewer where there are fewer.
    Raises:
        UserError: a prompt has no example of its language, kind and scenario.
    """
    pools: dict[Cell, list[Prompt]] = defaultdict(list)
    for example in examples:
        if example.reference and example.coincides_with is None:
            pools[_cell(example)].append(example)
    found = []
    for prompt in prompts:
        # A prompt that coincides with another scenario's is that scenario's, examples and all.
        scenario = prompt.coincides_with or prompt.scenario
        pool = pools[prompt.language, prompt.kind, scenario]
        fitting = {one.prompt_id: one for one in pool if not _is_near(one, prompt)}
        if not fitting:
            raise UserError(
                f"few_shot: no training item for {prompt.language}, {prompt.kind}, {scenario} has "
                "worked reasoning; add a benchmark that has (sums, choice, passage), or use "
                "another tune.method"
            )
        order = sorted(fitting.values(), key=lambda one: _rank(one, seed))
        found.append(dataclasses.replace(prompt, shots=tuple(order[:k])))
    return found


def _cell(prompt: Prompt) -> Cell:
    return prompt.language, prompt.kind, prompt.scenario


def _rank(example: Prompt, seed: int) -> tuple[int, str]:
    number = seeding.number("shots", seed, example.benchmark, example.item_id)
    return number, example.prompt_id


def _is_near(example: Prompt, prompt: Prompt) -> bool:
    """Whether an example is of the prompt's item or group, or asks the very same."""
    if example.benchmark == prompt.benchmark:
        if example.item_id == prompt.item_id:
            return True
        if example.group is not None and example.group == prompt.group:
            return True
    return example.question == prompt.question
