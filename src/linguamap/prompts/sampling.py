"""Drawing and dividing items and prompts, by item group before languages are looked at; few shots."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from linguamap import seeding
from linguamap.records import Prompt, UserError

if TYPE_CHECKING:
    from linguamap.records import Item, Prompt


class Halves(NamedTuple):
    """Prompts to train on and prompts to validate on; no item group is in both."""

    train: list[Prompt]
    validation: list[Prompt]


def pick_items(items: Sequence[Item], n: int | None, seed: int) -> list[Item]:
    """``n`` items in file order, from as many different groups as possible.

    Depends on ids and groups only, so that it is the same in every language; a smaller pick is
    part of a larger one.
    """
    chosen = set(pick_order(items, seed)[:n])
    return [item for item in items if item.item_id in chosen]


def pick_order(items: Sequence[Item], seed: int) -> list[str]:
    """Ids in the order in which :func:`pick_items` takes them: the first of each group, the second ..."""
    table = {item.item_id: item for item in items}
    taken: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    order = seeding.shuffled(table, "items", seed)
    for item_id in order:
        item = table[item_id]
        group = item.group or (item.subject if item.kind == "open" else None) or item_id
        ranks[item_id] = taken[group]
        taken[group] += 1
    return sorted(order, key=lambda item_id: ranks[item_id])


def spread_examples(prompts: Sequence[Prompt], n: int | None, seed: int) -> list[Prompt]:
    """``n`` prompts, evenly over cells (kind, scenario, language), in a random order.

    Cells with too few prompts give all that they have, and the others make up for it. Within a
    kind, items are taken equally often, so that no item is seen more because of its id.

    Args:
        n: how many; None, or more than there are, takes all.
    """
    cells: dict[tuple[str, str, str], list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        cells[prompt.kind, prompt.scenario, prompt.language].append(prompt)
    wanted = len(prompts) if n is None else n
    names = seeding.shuffled(cells, "cells", seed)
    quotas = _quotas({name: len(cells[name]) for name in names}, wanted)
    used: Counter[tuple[str, str]] = Counter()
    chosen: list[Prompt] = []
    for name in names:
        ranked = sorted(cells[name], key=lambda one: (used[_item(one)], _rank(one, seed)))
        taken = ranked[: quotas[name]]
        used.update(_item(prompt) for prompt in taken)
        chosen += taken
    return sorted(chosen, key=lambda prompt: seeding.number("order", seed, prompt.prompt_id))


def split_items(prompts: Sequence[Prompt], share: float, seed: int) -> Halves:
    """Divide prompts into training and validation by item group.

    All prompts of a group (or, without one, of an item), in every language and scenario, come to
    the same side.

    Args:
        share: of the groups of each benchmark that validate, in [0, 1). Above 0, at least one group
            does wherever there are two.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for prompt in prompts:
        groups[prompt.benchmark].add(prompt.group or prompt.item_id)
    validating: set[tuple[str, str]] = set()
    for benchmark, names in groups.items():
        n = round(share * len(names))
        if share > 0:
            n = min(max(n, 1), len(names) - 1)
        validating |= {(benchmark, name) for name in seeding.shuffled(names, "split", seed)[:n]}
    halves = Halves([], [])
    for prompt in prompts:
        held_out = (prompt.benchmark, prompt.group or prompt.item_id) in validating
        (halves.validation if held_out else halves.train).append(prompt)
    return halves


def _quotas(sizes: dict[tuple[str, str, str], int], n: int) -> dict[tuple[str, str, str], int]:
    """How many to take from each cell: as even as the sizes allow, ``n`` in all if possible."""
    quotas = dict.fromkeys(sizes, 0)
    left = min(n, sum(sizes.values()))
    while left:
        open_cells = [name for name in sizes if quotas[name] < sizes[name]]
        step = max(left // len(open_cells), 1)
        for name in open_cells:
            take = min(step, sizes[name] - quotas[name], left)
            quotas[name] += take
            left -= take
    return quotas


def _item(prompt: Prompt) -> tuple[str, str]:
    return prompt.benchmark, prompt.item_id


def _rank(prompt: Prompt, seed: int) -> int:
    return seeding.number("rank", seed, *_item(prompt))


# Few-shot prompting ------------------------------------------------------------------------------


Cell = tuple[str, str, str]


def with_shots(
    prompts: Sequence[Prompt], examples: Sequence[Prompt], k: int, seed: int
) -> list[Prompt]:
    """Put ``k`` worked examples of the same language, kind and scenario in front of each prompt.

    The rival that trains nothing: what a prompt alone can do for the language of the answer.

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
        order = sorted(fitting.values(), key=lambda one: _shot_rank(one, seed))
        found.append(dataclasses.replace(prompt, shots=tuple(order[:k])))
    return found


def _cell(prompt: Prompt) -> Cell:
    return prompt.language, prompt.kind, prompt.scenario


def _shot_rank(example: Prompt, seed: int) -> tuple[int, str]:
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
