"""What the files of a run folder hold, typed; :mod:`linguamap.run.files` reads them.

Fields that a file has beyond those of its type are kept out of the way, so that a later version may add
some.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from linguamap.records import UserError

T = TypeVar("T")


def as_type(kind: type[T], value: Any, name: str, remedy: str = "leave it out or fix it") -> T:
    """What was read from JSON, checked.

    Args:
        name: of the file, for the error.
        remedy: what to do about it.
    """
    try:
        checked: T = _adapter(kind).validate_python(value)
        return checked
    except ValidationError as error:
        raise UserError(f"run folder: {name} is broken ({_first_fault(error)}); {remedy}") from None


def as_json(value: Any) -> Any:
    """A dataclass, or what holds some, as what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: as_json(inner) for name, inner in vars(value).items()}
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return value


@dataclass(frozen=True)
class Phases:
    """Last layer of the early phase and first of the late one; None where there is none."""

    early_end: int | None
    late_start: int | None


@dataclass(frozen=True)
class EvidenceCurve:
    """One curve of one language: where it turns, and whether that counts."""

    turn: float | None
    turn_interval: tuple[float, float] | None
    counts: bool
    reason: str | None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class LanguageEvidence:
    """Where one language's late phase begins, by which curves."""

    boundary: float | None
    reason: str | None
    curves: dict[str, EvidenceCurve]
    curves_agree: bool = True
    rise_half_done: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What the choice of layers rests on; ``reason`` says why there is no late phase."""

    reason: str | None
    languages: dict[str, LanguageEvidence] = field(default_factory=dict)
    rule: str = ""
    n_lens_groups: int = 0
    n_similarity_groups: int = 0
    bootstrap: int = 0
    confidence: float = 0.95
    max_trainable_share: float | None = None


RuleName = Literal[
    "lens", "handover", "gradient", "gradient_product", "gradient_sign", "step", "trial", "lora",
    "last", "middle", "random",
]  # fmt: skip
"""How the blocks to tune are chosen, see :mod:`linguamap.tuning.choosing.choose`."""
Aim = Literal["quality", "cost"]
"""Most predicted gain under the cap, or most gain a predicted second."""


@dataclass(frozen=True)
class CandidateSet:
    """Blocks that a rule could take: what it promises of them, and what training them would take.

    Attributes:
        gain: their scores' share of all scores above 0.
        share: of all parameters that they hold.
        seconds_per_epoch, memory_bytes: predicted, see :mod:`linguamap.tuning.choosing.front`.
    """

    blocks: tuple[int, ...]
    gain: float
    share: float
    seconds_per_epoch: float
    memory_bytes: int


@dataclass(frozen=True)
class TrainingCost:
    """What an epoch is made of, and how fast the machine was while rules were computed.

    Attributes:
        tokens, target_tokens: of the training examples.
        batch_tokens: of a forward pass, on average.
        weight_bytes: of one weight of the model.
        seconds_per_operation: of one weight at one token.
    """

    tokens: int
    target_tokens: int
    batch_tokens: int
    d_model: int
    head_parameters: int
    weight_bytes: int
    seconds_per_operation: float


@dataclass(frozen=True)
class BlockScores:
    """What one rule says of each block, and which it would tune under the cap.

    Attributes:
        values, low, high: (block,); None where the rule gives no score, or no uncertainty.
        interval: what ``low`` and ``high`` are.
        n: examples, or languages, behind them.
        seconds: what the rule cost. Those from the same passes each say the whole.
        share: of all parameters that the blocks hold, in [0, 1].
        reason: why there are no scores or no blocks.
        order: blocks from the best to the worst, where that is not the order of their values.
        front: sets under the cap that no other one outdoes in gain, seconds and memory.
    """

    values: tuple[float, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    interval: str | None = None
    n: int | None = None
    seconds: float = 0.0
    blocks: tuple[int, ...] = ()
    share: float = 0.0
    reason: str | None = None
    order: tuple[int, ...] = ()
    front: tuple[CandidateSet, ...] = ()

    def choosing(
        self, blocks: tuple[int, ...], share: float, reason: str | None = None
    ) -> BlockScores:
        """The same with the blocks that it would tune, or why there are none."""
        return dataclasses.replace(
            self, blocks=blocks, share=share, reason=reason or (None if blocks else self.reason)
        )

    def ordered(self, blocks: Sequence[int]) -> BlockScores:
        """The same with an order of its own."""
        return dataclasses.replace(self, order=tuple(blocks))

    def timed(self, seconds: float) -> BlockScores:
        """The same with its cost."""
        return dataclasses.replace(self, seconds=round(seconds, 3))


@dataclass(frozen=True)
class Layers:
    """``layers.json``: phases, the blocks to tune, and readings of the curves.

    Attributes:
        rule, aim: by which ``tune_layers`` were chosen, and for what.
        rules: what each rule that was computed says.
        cost: what the rules' fronts rest on; None where no rule ran the model.
        late_start_interval, late_start_range: over items, given the weights of the curves; and over the
            curves, each alone, whose median turns over languages are ``curve_turns``.
        rule_layers: the blocks that the rule names without the cap; ``cap_effect`` says in words what
            the cap made of them.
        overtakes_english: language -> first layer from which its words lead the English ones to the
            end; None where they do not in the last layer. ``fitted_overtakes_english``: by the fitted lens.
        committed_layer: language -> first layer from which the English twin's state does half of what
            it can do to the next token; None where it does not clearly do anything.
    """

    n_layers: int
    phases: Phases
    tune_layers: tuple[int, ...]
    fallback_layers: tuple[int, ...]
    trainable_share: float
    evidence: Evidence
    late_start_interval: tuple[int, int] | None = None
    late_start_range: tuple[int, int] | None = None
    curve_turns: dict[str, float] = field(default_factory=dict)
    rule_layers: tuple[int, ...] = ()
    cap_effect: str | None = None
    overtakes_english: dict[str, int | None] = field(default_factory=dict)
    fitted_overtakes_english: dict[str, int | None] = field(default_factory=dict)
    committed_layer: dict[str, int | None] = field(default_factory=dict)
    rule: RuleName = "lens"
    aim: Aim = "quality"
    cost: TrainingCost | None = None
    rules: dict[RuleName, BlockScores] = field(default_factory=dict)


@dataclass(frozen=True)
class WrittenFile:
    """A finished file: its size and the SHA-256 of its bytes."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> WrittenFile | None:
        """What a file is now; None if there is none."""
        if not path.is_file():
            return None
        state = path.stat()
        return _hashed(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=1024)
def _hashed(path: Path, size: int, changed: int, number: int) -> WrittenFile:
    """Remembered for a file that stays as it is: a delta may hold gigabytes."""
    with open(path, "rb") as file:
        return WrittenFile(size, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class StageEntry:
    """What ``stages.json`` says of a finished stage.

    Attributes:
        inputs: a key of the settings and results that it was made from.
        outputs: the files that it left.
        finished: when, in UTC.
    """

    inputs: str
    outputs: dict[str, WrittenFile]
    seconds: float
    peak_memory_bytes: int
    finished: str


@dataclass(frozen=True)
class Tuning:
    """``tuned/tuning.json``: what a method trained, and what that took.

    Attributes:
        layers: blocks; empty where a method takes none.
        train_loss, validation_loss: by epoch, in nats per token.
        best_epoch: the one that was kept.
        shots, strength: of few-shot prompting and of steering.
        cached_examples: those whose frozen part was run once, in ``build_seconds``.
    """

    method: str
    layers: tuple[int, ...]
    trainable_parameters: int
    total_parameters: int
    trainable_share: float
    seed: int | None = None
    epochs: int = 0
    seconds_per_epoch: tuple[float, ...] = ()
    train_loss: tuple[float | None, ...] = ()
    validation_loss: tuple[float | None, ...] = ()
    best_epoch: int | None = None
    peak_memory_bytes: int | None = None
    delta_bytes: int | None = None
    build_seconds: float | None = None
    cached_examples: int | None = None
    training_examples: int | None = None
    validation_examples: int | None = None
    target_tokens: int | None = None
    learning_rate: float | None = None
    precision: str | None = None
    shots: int | None = None
    strength: float | None = None


@dataclass(frozen=True)
class LayerChange:
    """How far one kind of curve moved, by layer."""

    by_layer: dict[str, float]


@dataclass(frozen=True)
class CurveChanges:
    """``change.json``: where tuning moved the curves; None for the ``reason``.

    Attributes:
        share_in_tuned, share_below: of the summed change of the lens curves.
        largest_below: largest change below the first tuned block.
    """

    share_in_tuned: float | None
    share_below: float | None
    largest_below: float | None
    tuned: tuple[int, ...] = ()
    curves: dict[str, LayerChange] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True)
class Ceiling:
    """Share of genuine words that the identifier places right; None without words."""

    value: float | None
    n_words: int = 0


@dataclass(frozen=True)
class Noise:
    """Language -> share that the identifier gives it among the words of random tokens."""

    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenSets:
    """Language -> share of its own text that its exclusive tokens make up."""

    coverage: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TextsRead:
    """How many texts of each source the lens was read on."""

    n_reference: int = 0
    n_stand_in: int = 0
    n_generated: int = 0


@dataclass(frozen=True)
class FittedMaps:
    """How well each layer below the last is mapped to it.

    Attributes:
        explained: of layer 0..L-1 the share of the last layer's variance, on texts held out.
    """

    explained: tuple[float, ...] = ()
    n_fitted: int = 0
    n_held: int = 0


@dataclass(frozen=True)
class ProbeFacts:
    """``probe.json``: what the curves are read from and against; ``missing``: probe -> why not."""

    ceilings: dict[str, Ceiling] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    token_set_probability: TokenSets = field(default_factory=TokenSets)
    lens: TextsRead = field(default_factory=TextsRead)
    fitted_lens: FittedMaps = field(default_factory=FittedMaps)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GridCell:
    """What a layer would write at a position.

    Attributes:
        t: text of the token; w: the word that it is part of; l: the word's language; p: probability.
    """

    t: str
    w: str | None
    l: str | None  # noqa: E741
    p: float


@dataclass(frozen=True)
class GridTurn:
    """The first token, from 1, that the last layer writes in another ``language`` than the one asked
    for, and the layer from which on all of them would."""

    position: int
    layer: int
    language: str


@dataclass(frozen=True)
class GridPrompt:
    """One prompt of ``grid.json``: a row of cells for each layer, a cell for each token.

    Attributes:
        source: whether ``answer`` is the model's own, or given.
        answer_language: of a scored answer of its own; None for others, and where it is mixed.
    """

    prompt_id: str
    item_id: str
    kind: str
    scenario: str
    language: str
    prompt: str
    answer: str
    tokens: tuple[str, ...]
    cells: tuple[tuple[GridCell, ...], ...]
    turn: GridTurn | None = None
    source: Literal["reference", "answer"] = "reference"
    answer_language: str | None = None

    def __post_init__(self) -> None:
        if not self.tokens or {len(row) for row in self.cells} != {len(self.tokens)}:
            raise ValueError(f"a layer has other cells than the {len(self.tokens)} tokens")


@dataclass(frozen=True)
class Grid:
    """``grid.json``: prompts read token by token."""

    layers: tuple[int, ...]
    prompts: tuple[GridPrompt, ...]

    def __post_init__(self) -> None:
        if any(len(prompt.cells) != len(self.layers) for prompt in self.prompts):
            raise ValueError(f"a prompt has other rows than the {len(self.layers)} layers")


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``: what made a run."""

    linguamap: str
    python: str
    versions: dict[str, str | None]
    machine: dict[str, str | int | None]
    model: dict[str, Any]
    seed: int | None = None


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once: that takes longer than to check a file."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
