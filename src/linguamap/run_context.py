"""What the stages of one run share, each made when first asked for, and what probing and tuning do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.progress import Progress, silent
from linguamap.prompts.run_prompts import RunItems
from linguamap.records import Phase, Prompt, UserError
from linguamap.run.files import read_json, write_json
from linguamap.run.folder import Run
from linguamap.run.processes import ProcessGroup
from linguamap.scoring.labelled_texts import LabelledTexts, labelled_from_items
from linguamap.scoring.language_id import Identifier, IdentifierName, make_identifier
from linguamap.scoring.lcb import english_words_at_hand
from linguamap.scoring.score import Scorer
from linguamap.tuning.methods import FEW_SHOT, Method, check_shareable, method_of

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.tuning.data.gather import TuningData


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
        from linguamap.models.loading import load_model

        lm = load_model(self.run.config.model)
        if self.processes.writes:
            self.run.check_model(lm.identity)
        return lm

    @cached_property
    def tuned_model(self) -> LanguageModel:
        """The model with the delta read back from disk; the other one is forgotten, as tuning has
        freed parts of it and two would take twice the memory."""
        from linguamap.models.loading import load_model
        from linguamap.tuning.delta import apply_delta

        self.__dict__.pop("model", None)
        delta = self.run.folder / "tuned" / "delta.safetensors"
        return apply_delta(load_model(self.run.config.model), delta)

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

    @cached_property
    def items(self) -> RunItems:
        """What the run asks and trains on."""
        return RunItems(self.run.config)

    def labelled_texts(self) -> LabelledTexts:
        """The run's own texts of known language, on which its identifier is tried."""
        try:
            return labelled_from_items(self.items.benchmarks("train"), "training items")
        except UserError:  # not every benchmark has training items
            return labelled_from_items(self.items.test_benchmarks, "test items")

    def prompts(self, phase: Phase) -> list[Prompt]:
        """What is asked; few-shot prompting puts worked examples before it after tuning."""
        if phase == "after" and self.method is FEW_SHOT:
            return self._prompts_with_shots
        return self.items.test_prompts

    @cached_property
    def _prompts_with_shots(self) -> list[Prompt]:
        from linguamap.prompts.few_shot import with_shots

        config = self.run.config
        examples = self.tuning_data.prompts
        return with_shots(self.items.test_prompts, examples, config.tune.shots, config.seed)

    @cached_property
    def tuning_data(self) -> TuningData:
        """Examples with worked answers for tuning, spread over kinds, scenarios and languages."""
        from linguamap.tuning.data.gather import gather
        from linguamap.tuning.data.teacher import taught

        config, out = self.run.config, self.run.path("tuned", "tuning.json").parent
        return gather(
            config,
            lambda: self.items.benchmarks("train"),
            self.items.test_benchmarks,
            lambda: self.model,
            lambda prompts, questions: taught(
                prompts, questions, config, self.identifier, out, self.progress
            ),
            self.progress,
        )


def probe(context: RunContext) -> None:
    """The probe stage: curves and grids of the model as it is."""
    from linguamap.probes.run_probes import own_answers, run_probe
    from linguamap.probes.token_grid import write_grids

    folder = context.run.path("probe", "lens.parquet").parent
    prompts, config, identifier = (
        context.items.train_prompts,
        context.run.config,
        context.identifier,
    )
    run_probe(
        context.model,
        prompts,
        config,
        identifier,
        folder,
        context.progress,
        processes=context.processes,
    )
    if context.processes.writes:  # a few prompts' worth
        write_grids(
            context.model,
            prompts,
            config,
            identifier,
            folder / "grid.json",
            own_answers=own_answers(context.model, config, context.progress),
            progress=context.progress,
        )


def probe_again(context: RunContext) -> None:
    """The same of the tuned model, and where the curves moved.

    Where no weight changed there are no other curves: nulls, and why.
    """
    run, method = context.run, context.method
    if not method.changes_weights:
        nothing = dict.fromkeys(
            ("share_in_tuned", "share_below", "share_downstream", "largest_below")
        )
        change: dict[str, Any] = {**nothing, "tuned": [], "curves": {}, "reason": method.unchanged}
        write_json(run.path("change.json"), change)
        return
    from linguamap.probes.curves import change_outside
    from linguamap.probes.run_probes import own_answers, run_probe
    from linguamap.probes.token_grid import write_grids

    first, again = run.folder / "probe", run.path("probe_after", "lens.parquet").parent
    identifier = context.probing_identifier(read_json(first / "probe.json")["identifier"])
    lm, prompts, config = context.tuned_model, context.items.train_prompts, run.config
    run_probe(lm, prompts, config, identifier, again, context.progress, reuse=first)
    write_grids(
        lm,
        prompts,
        config,
        identifier,
        again / "grid.json",
        own_answers=own_answers(lm, config, context.progress),
        same_as=first / "grid.json",
        progress=context.progress,
    )
    layers = read_json(run.folder / "tuned" / "tuning.json")["layers"]
    write_json(run.path("change.json"), change_outside(first, again, tuple(layers)))


def tune(context: RunContext) -> None:
    """The stage: blocks from ``layers.json`` or the config, examples, and what the method makes of them."""
    from linguamap.tuning.layers import blocks_to_tune
    from linguamap.tuning.run_tuning import tune as train
    from linguamap.tuning.untrained import few_shot

    run, config, processes = context.run, context.run.config, context.processes
    layers, source = blocks_to_tune(run.folder / "layers.json", config.tune, context.tuning_seed)
    out = run.path("tuned", "tuning.json").parent
    check_shareable(context.method, processes.world_size)
    if processes.rank:
        processes.wait()  # what a teacher writes is asked for once
    data = context.tuning_data
    if not processes.rank:
        processes.wait()
    if context.method is FEW_SHOT:
        tuning = few_shot(context.model, context.prompts("after"), config, out)
        write_json(out / "tuning.json", {**tuning, "data": data.facts})
        return
    tuning = train(
        context.model,
        data.examples,
        config.tune,
        layers,
        out,
        seed=context.tuning_seed,
        progress=context.progress,
        model_config=config.model,
        shared_cache=context.shared_cache,
        processes=processes,
        identifier=context.identifier,
    )
    if processes.writes:
        facts = {"layers_source": source, "data": data.facts}
        write_json(out / "tuning.json", {**tuning, **facts})
