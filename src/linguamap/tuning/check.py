"""A small check after each epoch: which language would the model write in, answer by answer?

*Teacher-forced*: at each answer position of a validation example the model reads the reference up to
there, and its most probable next token is noted. An example's tokens are joined into text, split into
words, and the words identified, as in the language lens's last layer. Nothing is generated, so the
blocks below the boundary are not needed: kept states are enough, and the cost is that of a few
validation examples. It is not the language consistency of written answers: the reference, which is in
the target language, pulls each next word towards it, so this share is the higher one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from linguamap.languages import LANGUAGES, words
from linguamap.records import UserError
from linguamap.tuning.data.batches import TrainingExample

if TYPE_CHECKING:
    from linguamap.models.structure import Structure
    from linguamap.scoring.language_id import Identifier

POSITION_BLOCK = 128
"""Positions whose whole logits are alive at once."""


@dataclass
class Counts:
    """What was counted in one language.

    Attributes:
        in_target, n_words: most probable words identified as the target language; all.
        right, n_positions: most probable tokens that are the reference's; all.
    """

    in_target: int = 0
    n_words: int = 0
    right: int = 0
    n_positions: int = 0
    n_items: int = 0

    def numbers(self) -> list[float]:
        return [self.in_target, self.n_words, self.right, self.n_positions, self.n_items]


@dataclass
class Checker:
    """Reads some validation examples.

    Attributes:
        items: those examples, cut down to their answers' positions, by index.
    """

    items: dict[int, TrainingExample]
    identifier: Identifier
    tokenizer: Any
    counts: dict[str, Counts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.languages = sorted({str(example.language) for example in self.items.values()})
        self.start()

    def start(self) -> None:
        """Count from nothing."""
        self.counts = {language: Counts() for language in self.languages}

    def add(self, indices: Sequence[int], rows: Tensor, targets: Tensor, predicted: Tensor) -> None:
        """Count a batch.

        Args:
            rows: (target,) the row in the batch of each answer position.
            targets, predicted: (target,) the reference's token and the most probable one.
        """
        for row, index in enumerate(indices):
            in_row = (rows == row).to(predicted.device)
            text = self.tokenizer.decode(predicted[in_row].tolist(), skip_special_tokens=True)
            language = str(self.items[index].language)
            read = words(text)
            counts = self.counts[language]
            counts.in_target += self.identifier.identify_words(read).count(language)
            counts.n_words += len(read)
            counts.right += int((predicted[in_row] == targets.to(predicted.device)[in_row]).sum())
            counts.n_positions += int(in_row.sum())
            counts.n_items += 1

    def numbers(self) -> list[float]:
        """All counts in a row, to be added up over processes."""
        return [number for counts in self.counts.values() for number in counts.numbers()]

    def summary(self, epoch: int, numbers: Sequence[float]) -> dict[str, Any]:
        """The check of an epoch; a share is None where nothing was counted.

        Args:
            numbers: :meth:`numbers`, added up over processes.
        """
        size = len(Counts().numbers())
        whole = [int(number) for number in numbers]
        each = [Counts(*whole[at : at + size]) for at in range(0, len(whole), size)]
        together = Counts(*(sum(column) for column in zip(*(c.numbers() for c in each))))  # type: ignore[arg-type]
        return {
            "epoch": epoch,
            **_shares(together),
            "languages": {code: _shares(counts) for code, counts in zip(self.languages, each)},
        }


def make_checker(
    examples: Sequence[TrainingExample],
    validation: Sequence[int],
    per_language: int,
    tokenizer: Any,
    identify: Callable[[list[str]], Identifier],
) -> Checker | str:
    """A checker over a few validation examples of each language, or why there is none.

    Args:
        validation: indices of the validation examples.
        per_language: how many, spread evenly over them.
        identify: gives the identifier for some languages.
    """
    if not per_language:
        return "tune.check_items is 0"
    if not validation:
        return "there are no validation examples"
    of_language: Mapping[str, list[int]] = defaultdict(list)
    for index in validation:
        if examples[index].language in LANGUAGES:
            of_language[str(examples[index].language)].append(index)
    if not of_language:
        return "the validation examples name no known language"
    chosen = {}
    for _, indices in sorted(of_language.items()):
        count = min(per_language, len(indices))
        for number in range(count):
            index = indices[number * len(indices) // count]
            chosen[index] = _answer_only(examples[index])
    try:
        return Checker(chosen, identify(sorted(of_language)), tokenizer)
    except UserError as error:
        return str(error)


@torch.no_grad()
def best_tokens(hidden: Tensor, structure: Structure) -> Tensor:
    """The most probable token at each position; scale and soft-cap keep the order.

    Args:
        hidden: (position, d_model), what the head reads.
    Returns:
        (position,).
    """
    weight = getattr(structure.head, "weight", hidden)
    kind = weight.dtype if weight.is_floating_point() else hidden.dtype
    predicted = [
        structure.head(hidden[start : start + POSITION_BLOCK].to(kind)).argmax(-1)
        for start in range(0, len(hidden), POSITION_BLOCK)
    ]
    return torch.cat(predicted)


def _answer_only(example: TrainingExample) -> TrainingExample:
    """Only the last trained stretch: with ``loss_on: QRA`` the question is trained on, too."""
    mask = list(example.loss_mask)
    end = len(mask) - mask[::-1].index(True)
    start = end
    while start > 0 and mask[start - 1]:
        start -= 1
    return replace(example, loss_mask=tuple(start <= at < end for at in range(len(mask))))


def _shares(counts: Counts) -> dict[str, Any]:
    return {
        "teacher_forced_consistency": _share(counts.in_target, counts.n_words),
        "n_words": counts.n_words,
        "teacher_forced_accuracy": _share(counts.right, counts.n_positions),
        "n_positions": counts.n_positions,
        "n_items": counts.n_items,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
