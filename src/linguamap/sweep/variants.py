"""What a sweep tries: a short grammar, crossed with epochs, learning rates and seeds.

    VARIANTS = VARIANT, VARIANT, ...
    VARIANT  = [language:][METHOD:]BLOCKS[*DRAWS][@RATE]  or  [language:]METHOD[@RATE]
    METHOD   = selective (if left out) | lora | full | steer | few_shot
    BLOCKS   = chosen (those of layers.json) | all | last:K | first:K | middle:K | random:K | 17+18
    K        = a number, or 1..4 for each of 1, 2, 3, 4
    *DRAWS   = so many different random draws of K blocks, with seeds 0, 1, 2, ...; never the chosen
    @RATE    = this learning rate in place of those of --learning-rates
    language = examples without tasks (tune.tasks=false): what the language alone brings, without
               worked answers

``full`` and ``few_shot`` take no blocks; ``lora`` alone means ``lora:all``, ``selective`` and ``steer``
alone mean the chosen blocks. What trains nothing has neither epochs, learning rate nor seed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from linguamap.config import TuneConfig
from linguamap.records import UserError
from linguamap.tuning.blocks import parse_layers
from linguamap.tuning.methods import FEW_SHOT, METHODS, SELECTIVE, method_of

DEFAULT = (
    "last:1..4, chosen, full@2e-5, first:2, middle:2, random:2*3, lora:all@1e-3, "
    "lora:chosen@1e-3, steer, few_shot"
)
"""Full tuning and LoRA at learning rates of their own: the others' suits few blocks, trained whole."""
USED = (
    "use e.g. last:1..4, chosen, 17+18, random:2*3, full@2e-5, lora:all@1e-3, steer, few_shot, "
    "language:last:2"
)
LANGUAGE = "language:"
KINDS = ("all", "last", "chosen", "named", "first", "middle", "random")
"""The order of rows within a method."""


@dataclass(frozen=True)
class Variant:
    """One training of a sweep, or a method that trains nothing.

    Attributes:
        label: method and blocks as they were asked for.
        setting: of ``tune.layers``; None takes layers.json.
        blocks: 1..L; empty where the method has no choice of blocks.
        epochs, learning_rate, seed: None where nothing is trained.
        tasks: False for examples without tasks.
    """

    label: str
    method: str
    setting: str | None
    blocks: tuple[int, ...]
    epochs: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    tasks: bool = True

    @property
    def is_trained(self) -> bool:
        return method_of(self.method).changes_weights

    @property
    def name(self) -> str:
        """The variant's folder."""
        parts = [re.sub(r"[:*#]", "-", self.label)]
        if self.seed is not None:
            parts += [f"e{self.epochs}", f"lr{self.learning_rate:g}", f"s{self.seed}"]
        return "-".join(parts)

    @property
    def choice(self) -> tuple[str, int | None, float | None]:
        """What the variant shares with its repetitions under other seeds."""
        return (self.label, self.epochs, self.learning_rate)

    def config(self, base: TuneConfig) -> TuneConfig:
        """The tuning's settings."""
        changes: dict[str, Any] = {"method": self.method, "layers": self.setting}
        if not self.tasks:
            changes["tasks"] = False
        if self.seed is not None:
            changes |= {
                "epochs": self.epochs,
                "learning_rate": self.learning_rate,
                "seed": self.seed,
            }
        return TuneConfig.model_validate({**base.model_dump(), **changes})


def expand(
    text: str,
    located: Mapping[str, Any],
    epochs: Sequence[int],
    rates: Sequence[float],
    seeds: Sequence[int],
) -> list[Variant]:
    """All variants of a sweep; what comes to the same as an earlier one is left out.

    Args:
        text: in the grammar of this module.
        located: ``layers.json``.
    Raises:
        UserError: a variant that is not understood, or blocks that the model does not have.
    """
    variants: dict[tuple[object, ...], Variant] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        body, _, rate = (piece.strip() for piece in part.partition("@"))
        part_rates = [_rate(rate, part)] if rate else list(rates)
        for choice in _either(body, located):
            for variant in _crossed(choice, epochs, part_rates, seeds):
                key = (
                    variant.method, variant.blocks, variant.epochs, variant.learning_rate,
                    variant.seed, variant.tasks,
                )  # fmt: skip
                variants.setdefault(key, variant)
    if not variants:
        raise UserError(f"sweep: --variants names none; {USED}")
    return list(variants.values())


def in_folder(
    name: str, tune: TuneConfig, base: TuneConfig, located: Mapping[str, Any]
) -> Variant | None:
    """The variant that a sweep's folder is of; None if such settings have another name.

    Args:
        name, tune: the folder's name, and its settings of tuning.
        base: the settings that all variants share.
    """
    tasks, method = tune.tasks or not base.tasks, method_of(tune.method)
    label = ("" if tasks else LANGUAGE) + ("" if method is SELECTIVE else method.name)
    blocks: tuple[int, ...] = ()
    if method.takes_layers:
        blocks = _blocks(tune.layers or "chosen", located)[1]
        drawn = re.search(r"\brandom-([0-9]+)-([0-9]+)", name)
        shown = (tune.layers or "chosen").replace(",", "+")
        shown = f"random:{drawn[1]}#{drawn[2]}" if drawn else shown
        label += shown if method is SELECTIVE else f":{shown}"
    variant = Variant(label, method.name, tune.layers, blocks, tasks=tasks)
    if variant.is_trained:
        variant = replace(
            variant, epochs=tune.epochs, learning_rate=tune.learning_rate, seed=tune.seed
        )
    return variant if variant.name == name else None


def in_table(variants: Iterable[Variant]) -> list[Variant]:
    """In the table's order, which does not depend on what was asked for first."""

    methods = list(METHODS)

    def rank(variant: Variant) -> tuple[Any, ...]:
        ranged = re.search(r"(last|first|middle|random):([0-9]+)(?:#([0-9]+))?$", variant.label)
        shown = variant.label.rpartition(":")[2]
        kind = ranged[1] if ranged else shown if shown in KINDS else "named"
        numbers = (int(ranged[2]), int(ranged[3] or 0)) if ranged else (0, 0)
        return (
            methods.index(variant.method), not variant.tasks, KINDS.index(kind), *numbers,
            variant.blocks, variant.epochs or 0, variant.learning_rate or 0.0, variant.seed or 0,
        )  # fmt: skip

    return sorted(variants, key=rank)


def _crossed(
    variant: Variant, epochs: Sequence[int], rates: Sequence[float], seeds: Sequence[int]
) -> Iterator[Variant]:
    if not variant.is_trained:
        yield variant
        return
    for count in epochs:
        for rate in rates:
            for seed in seeds:
                yield replace(variant, epochs=count, learning_rate=rate, seed=seed)


def _either(body: str, located: Mapping[str, Any]) -> Iterator[Variant]:
    """The variants of a part, with or without ``language:``."""
    if not body.startswith(LANGUAGE):
        yield from _plain(body, located)
        return
    rest = body.removeprefix(LANGUAGE).strip()
    if rest in ("", FEW_SHOT.name):  # its examples are worked answers
        raise UserError(f"sweep: '{body}': language: goes before what is trained; {USED}")
    for variant in _plain(rest, located):
        yield replace(variant, label=LANGUAGE + variant.label, tasks=False)


def _plain(body: str, located: Mapping[str, Any]) -> Iterator[Variant]:
    """The variants that a part stands for, before crossing."""
    body, star, draws = (piece.strip() for piece in body.partition("*"))
    word, _, rest = body.partition(":")
    name, blocks = (word, rest) if word in METHODS else (SELECTIVE.name, body)
    method = METHODS[name]
    if not method.takes_layers:
        if blocks or star:
            raise UserError(f"sweep: '{body}' names blocks, but {name} has no choice of them")
        yield Variant(name, name, None, ())
        return
    blocks = blocks or method.default_blocks
    prefix = "" if method is SELECTIVE else f"{name}:"
    if star and not (blocks.startswith("random:") and re.fullmatch(r"[1-9][0-9]?", draws)):
        raise UserError(f"sweep: '{body}*{draws}': draws are for random:K, e.g. random:2*3")
    for choice in _ranged(blocks):
        if choice.startswith("random:"):
            yield from _random(name, prefix, choice, int(draws or 1), located)
        else:
            setting, numbers = _blocks(choice, located)
            yield Variant(prefix + choice, name, setting, numbers)


def _ranged(blocks: str) -> list[str]:
    """``last:1..4`` as last:1, last:2, last:3, last:4."""
    match = re.fullmatch(r"(last|first|middle|random):([0-9]+)\.\.([0-9]+)", blocks)
    if match is None:
        return [blocks]
    word, first, last = match[1], int(match[2]), int(match[3])
    if not 1 <= first <= last:
        raise UserError(f"sweep: '{blocks}' is no range; {USED}")
    return [f"{word}:{count}" for count in range(first, last + 1)]


def _blocks(text: str, located: Mapping[str, Any]) -> tuple[str | None, tuple[int, ...]]:
    if text == "chosen":
        return None, tuple(located["tune_layers"] or located["fallback_layers"])
    setting = text.replace("+", ",")
    try:
        return setting, parse_layers(setting, located["n_layers"])
    except UserError as error:
        raise UserError(f"sweep: {error}; {USED}") from None


def _random(
    method: str, prefix: str, text: str, draws: int, located: Mapping[str, Any]
) -> Iterator[Variant]:
    """Different draws, each named by its seed."""
    n_layers, avoid = located["n_layers"], _blocks("chosen", located)[1]
    count = len(parse_layers(text, n_layers))
    if math.comb(n_layers, count) - (count == len(avoid)) < draws:
        raise UserError(f"sweep: {n_layers} blocks give fewer than {draws} draws of {count}")
    seen: set[tuple[int, ...]] = set()
    seed = 0
    while len(seen) < draws:
        drawn = parse_layers(text, n_layers, seed, avoid)
        if drawn not in seen:
            seen.add(drawn)
            setting = ",".join(map(str, drawn))
            yield Variant(f"{prefix}{text}#{seed}", method, setting, drawn)
        seed += 1


def _rate(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise UserError(f"sweep: '{part.strip()}' has no learning rate after @; {USED}")
    return value
