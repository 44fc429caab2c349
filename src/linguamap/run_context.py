"""What the stages of one run share, each made when first asked for: models, identifier, scoring."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.progress import Progress, busy, say, silent
from linguamap.run.folder import Run
from linguamap.run.processes import ProcessGroup
from linguamap.scoring.language_id import Identifier, IdentifierName, make_identifier
from linguamap.scoring.lcb import english_words_at_hand
from linguamap.scoring.score import Scorer
from linguamap.tuning.methods import Method, method_of

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


@dataclass
class RunContext:
    """One run at work.

    Attributes:
        shared_cache: a folder of boundary states that outlasts this run's tuning, for a sweep's other
            runs.
    """

    run: Run
    progress: Progress = silent
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    shared_cache: Path | None = None

    @property
    def method(self) -> Method:
        """How the run makes the model keep to the language."""
        return method_of(self.run.config.tune.method)

    @property
    def tuning_seed(self) -> int:
        """Of the validation split, the order and the adapters."""
        own = self.run.config.tune.seed
        return self.run.config.seed if own is None else own

    @cached_property
    def model(self) -> LanguageModel:
        """The model as it is."""
        busy(self.progress, f"loading {Path(self.run.config.model.name).name}")
        from linguamap.models.loading import load_model
        from linguamap.models.trial_pass import emulated_dtype

        lm = load_model(self.run.config.model)
        if slow := emulated_dtype(lm.dtype, lm.device, "model.dtype"):
            say(self.progress, slow)
        if self.processes.writes:
            self.run.check_model(lm.identity)
        return lm

    @cached_property
    def tuned_model(self) -> LanguageModel:
        """The model with the delta read back from disk; the other one is forgotten, as tuning has
        freed parts of it and two would take twice the memory."""
        busy(self.progress, "loading the tuned model")
        from linguamap.models.loading import load_model
        from linguamap.tuning.delta import apply_delta

        checked = self.__dict__.pop("model", None) is not None  # these very weights
        delta = self.run.folder / "tuned" / "delta.safetensors"
        return apply_delta(load_model(self.run.config.model, verify=not checked), delta)

    @cached_property
    def identifier(self) -> Identifier:
        """Names the language of answers."""
        return make_identifier(self.run.config.score.identifier, self.run.config.languages)

    def probing_identifier(self, name: IdentifierName) -> Identifier:
        """The one that read the model before: another one would look like a change of the curves."""
        same = name == self.identifier.name
        return self.identifier if same else make_identifier(name, self.run.config.languages)

    @property
    def scorer(self) -> Scorer:
        """The run's rules of scoring."""
        folder = self.run.config.data.folder
        english = english_words_at_hand(Path(folder) if folder else None)
        return Scorer(self.identifier, self.run.config.score, english)
