"""The ways of making a model keep to a language: what each one needs, trains and applies.

Everything else asks these objects instead of knowing the methods' names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from linguamap.records import UserError

if TYPE_CHECKING:
    from linguamap.config import TuneConfig


@dataclass(frozen=True)
class Method:
    """One method of tuning, or a rival that trains nothing.

    Attributes:
        trains: what gets gradients; None if nothing is trained and no weight changes.
        applies: what a delta of this method brings to the base: new weights, the factors of low-rank
            changes, vectors that steer, or nothing but worked examples in the prompts.
        takes_layers: whether blocks can be chosen.
        default_blocks: the choice of a sweep that names none.
        loss_on: the parts whose tokens are read, where the method leaves no choice.
        needs_every_language: whether each language of the run must have training examples.
        draws_examples: whether ``tune.examples`` of them are drawn beforehand; else the method picks
            its own from all.
        unchanged: why a model with nothing trained has no curves of its own after.
    """

    name: str
    trains: Literal["blocks", "everything", "adapters"] | None
    applies: Literal["weights", "factors", "vectors", "examples"]
    takes_layers: bool = True
    default_blocks: Literal["chosen", "all"] = "chosen"
    loss_on: Literal["QRA", "RA"] | None = None
    needs_every_language: bool = False
    draws_examples: bool = True
    unchanged: str = ""

    @property
    def changes_weights(self) -> bool:
        """Whether there is anything to probe again, to merge, or to share between processes."""
        return self.trains is not None


SELECTIVE = Method("selective", trains="blocks", applies="weights")
FULL = Method("full", trains="everything", applies="weights", takes_layers=False)
LORA = Method("lora", trains="adapters", applies="factors", default_blocks="all")
STEER = Method(
    "steer",
    trains=None,
    applies="vectors",
    loss_on="RA",  # vectors are of answers
    needs_every_language=True,
    unchanged="steer changes no weight: the model's own curves are those before; what the vectors add "
    "depends on the row",
)
FEW_SHOT = Method(
    "few_shot",
    trains=None,
    applies="examples",
    takes_layers=False,
    draws_examples=False,
    unchanged="few_shot changes no weight: the model's own curves are those before",
)
METHODS = {method.name: method for method in (SELECTIVE, FULL, LORA, STEER, FEW_SHOT)}


def method_of(name: str) -> Method:
    """The method of this name, as ``tune.method`` and ``tuning.json`` have it.

    Raises:
        UserError: there is none.
    """
    if name not in METHODS:
        raise UserError(f"tune: there is no method '{name}'; use {', '.join(METHODS)}")
    return METHODS[name]


def check_settings(tune: TuneConfig) -> None:
    """Raise a :class:`UserError` if blocks are named for a method that takes none."""
    if tune.layers is not None and not method_of(tune.method).takes_layers:
        *others, last = [method.name for method in METHODS.values() if method.takes_layers]
        raise UserError(
            f"tune.layers: {tune.method} takes no blocks (found '{tune.layers}'); leave it out, or take "
            f"{', '.join(others)} or {last}"
        )


def check_shareable(method: Method, n_processes: int) -> None:
    """Raise a :class:`UserError` if several processes were launched for what trains nothing."""
    if n_processes > 1 and not method.changes_weights:
        raise UserError(
            f"tune: method '{method.name}' trains nothing that processes could share; start it without "
            "accelerate launch"
        )
