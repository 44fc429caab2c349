"""The main path, top to bottom: the page to open first.

    benchmarks -> scenarios -> generate -> score -> probe -> locate -> choose -> tune -> the same again -> report

Every stage reads what the stages before it wrote into the run folder, and is skipped when its result
is there, made from the same settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.benchmarks import starter_benchmarks
from linguamap.config import ScoreConfig
from linguamap.evaluate import Questions, evaluate, own_texts, rescore
from linguamap.progress import say
from linguamap.prompts.run_prompts import RunItems, describe
from linguamap.records import PHASES, Phase, Prompt, UserError
from linguamap.run.contents import Layers, RuleName, as_json
from linguamap.run.files import read_answers, read_as, read_evaluation, read_json, write_json
from linguamap.run.folder import STAGES
from linguamap.run_context import RunContext
from linguamap.scoring.labelled_texts import (
    LabelledTexts,
    labelled_from_items,
    labelled_from_starter,
)
from linguamap.tuning.choosing.choose import FREE, SIDE_BY_SIDE, Choice, Measured
from linguamap.tuning.methods import FEW_SHOT, check_shareable

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.scoring.language_id import Identifier
    from linguamap.tuning.data.gather import TuningData


@dataclass
class Pipeline(RunContext):
    """The stages of one run, each a method that does its work once."""

    def all(self) -> None:
        """Every stage in order."""
        self.before()
        self.probe()
        self.locate()
        self.choose()
        self.tune()
        self.after()
        self.probe_after()
        self.compare()
        self.report()

    def before(self) -> None:
        """Answer and score the test items with the model as it is."""
        self._evaluate("before")

    def probe(self) -> None:
        """Read every layer's language and similarity on training items."""

        def work() -> None:
            folder = self.run.path("probe", "lens.parquet").parent
            self._probe(self.model, self.identifier, folder)

        outputs = ["probe/lens.parquet", "probe/similarity.parquet", "probe/grid.json"]
        self._stage("probe", outputs, work)

    def locate(self) -> None:
        """Where does each language become readable, and where does the late phase begin?"""

        def work() -> None:
            from linguamap.probes.locate import locate

            config, folder = self.run.config, self.run.folder
            layers = locate(folder / "probe", config.locate, config.seed)
            write_json(folder / "located.json", layers)

        self._stage("locate", ["located.json"], work)

    def choose(self) -> None:
        """Choose the blocks to tune by the run's rule."""

        def work() -> None:
            self._write_rules({*FREE, self.run.config.choose.rule})

        self._stage("choose", ["layers.json"], work)

    def compare_rules(self, names: Iterable[RuleName] = SIDE_BY_SIDE) -> Layers:
        """What other rules would choose, beside the run's own; its choice and what came of it stay."""
        self.choose()
        layers = read_as(Layers, self.run.folder / "layers.json")
        if missing := set(names) - set(layers.rules):
            done = [stage for stage in STAGES[:-1] if self.run.is_done(stage)]
            self._write_rules(missing, layers)
            for stage in done:  # none but the report reads what was added
                self.run.note_again(stage, self.run.stages()[stage].outputs)
        return read_as(Layers, self.run.folder / "layers.json")

    def tune(self) -> None:
        """Train only those blocks; keep only what changed."""
        outputs = ["tuned/delta.safetensors", "tuned/tuning.json"]
        self._stage("tune", outputs, self._tune)

    def after(self) -> None:
        """Answer and score the same test items with the delta read back from disk."""
        self._evaluate("after")

    def probe_after(self) -> None:
        """Probe again, and see whether the curves moved only in the tuned blocks."""

        def work() -> None:
            from linguamap.probes.curves import change_outside, no_change

            run = self.run
            if not self.method.changes_weights:
                write_json(run.path("change.json"), no_change(self.method.unchanged))
                return
            first, again = run.folder / "probe", run.path("probe_after", "lens.parquet").parent
            identifier = self.probing_identifier(read_json(first / "probe.json")["identifier"])
            self._probe(self.tuned_model, identifier, again, first)
            layers = read_json(run.folder / "tuned" / "tuning.json")["layers"]
            write_json(run.path("change.json"), change_outside(first, again, tuple(layers)))

        probed = ["probe_after/lens.parquet", "probe_after/grid.json"]
        changed = probed if self.method.changes_weights else []
        self._stage("probe_after", [*changed, "change.json"], work)

    def compare(self) -> None:
        """Before against after on the same items."""

        def work() -> None:
            from linguamap.scoring.compare import compare_answers

            before, after = (read_evaluation(self.run.folder, one) for one in PHASES)
            config = self.run.config
            comparison = compare_answers(
                before.answers,
                after.answers,
                seed=config.seed,
                margin=config.compare.accuracy_margin,
            )
            write_json(self.run.folder / "comparison.json", as_json(comparison))

        self._stage("compare", ["comparison.json"], work)

    def report(self) -> None:
        """Draw the page and the figures from the run folder; needs no model."""

        def work() -> None:
            from linguamap.report.run_page import write_all

            write_all(self.run)

        self._stage("report", ["report.html", "manifest.json"], work)

    def rescore(self, score: ScoreConfig) -> None:
        """Score the stored answers by other rules, without the model, and redo what is made of them."""
        rescore(self, score, self.questions)
        for stage, work in (("compare", self.compare), ("report", self.report)):
            if stage in self.run.stages():
                self.run.forget(stage)
                work()

    @cached_property
    def items(self) -> RunItems:
        """What the run asks and trains on."""
        return RunItems(self.run.config)

    @cached_property
    def tuning_data(self) -> TuningData:
        """Examples with worked answers for tuning, spread over kinds, scenarios and languages."""
        from linguamap.tuning.data.gather import gather, own_data

        config, test = self.run.config, self.items.test_benchmarks
        if config.data.prompts is not None and config.tune.data is None:
            return own_data(self.own_texts, len(self.items.train_prompts), config, test)
        return gather(
            config,
            lambda: self.items.training_benchmarks,
            test,
            lambda: self.model,
            self._taught,
            self.progress,
        )

    @cached_property
    def own_texts(self) -> list[Prompt]:
        """Own prompts of the training half with answers in the language asked for: a teacher's, or the
        model's own."""
        prompts = self.items.train_prompts
        if self.run.config.tune.teacher is None:
            found = own_texts(self, prompts)
        else:
            if self.processes.rank:
                self.processes.wait()  # what a teacher writes is asked for once
            found, _ = self._taught(prompts, prompts)
            if not self.processes.rank:
                self.processes.wait()
        said = f"{len(found)} of {len(prompts)} answers are in the language from beginning to end"
        say(self.progress, f"texts: {said}")
        return found

    def _taught(
        self, prompts: Sequence[Prompt], questions: Sequence[Prompt]
    ) -> tuple[list[Prompt], dict[str, Any]]:
        from linguamap.tuning.data.teacher import taught

        run, out = self.run, self.run.path("tuned", "tuning.json").parent
        return taught(prompts, questions, run.config, self.identifier, out, self.progress)

    def questions(self, phase: Phase) -> Questions:
        """What is asked; few-shot prompting puts worked examples before it after tuning."""
        prompts, config = self.items.test_prompts, self.run.config
        if phase == "after" and self.method is FEW_SHOT:
            from linguamap.prompts.sampling import with_shots

            examples = self.tuning_data.prompts
            prompts = with_shots(prompts, examples, config.tune.shots, config.seed)
        benchmarks = [describe(benchmark) for benchmark in self.items.test_benchmarks]
        return Questions(prompts, benchmarks, self._labelled_texts)

    def _labelled_texts(self) -> LabelledTexts:
        if self.items.own is not None:  # in which language prompts are written is not known
            starter = starter_benchmarks()
            known = {code for benchmark in starter for code in benchmark.items}
            chosen = [code for code in self.run.config.languages if code in known]
            return labelled_from_starter(starter, chosen)
        try:
            return labelled_from_items(self.items.benchmarks("train"), "training items")
        except UserError:  # not every benchmark has training items
            return labelled_from_items(self.items.test_benchmarks, "test items")

    def _evaluate(self, phase: Phase) -> None:
        outputs = [f"{phase}/answers.jsonl", f"{phase}/summary.json"]
        self._stage(phase, outputs, lambda: evaluate(self, phase, self.questions(phase)))

    def _probe(
        self, lm: LanguageModel, identifier: Identifier, folder: Path, first: Path | None = None
    ) -> None:
        """Curves and grids of a model.

        Args:
            first: the folder of the probes before tuning, whose texts are read again.
        """
        from linguamap.probes.run_probes import own_answers, run_probe
        from linguamap.probes.token_grid import write_grids
        from linguamap.tuning.data.gather import LEAST_OWN

        prompts, config, report = self.items.train_prompts, self.run.config, self.progress
        if self.items.own is not None:
            prompts = self.own_texts
            if len(prompts) < LEAST_OWN:  # the answers as they are, in whichever language
                prompts = self.items.train_prompts
                probe = config.probe.model_copy(update={"texts": "generated"})
                config = config.model_copy(update={"probe": probe})
        phase: Phase = "before" if first is None else "after"
        answers = read_answers(self.run.folder / phase / "answers.jsonl", growing=True)
        answered = (answers, self.items.test_prompts)
        several = self.processes
        run_probe(lm, prompts, config, identifier, folder, report, first, several, answered)
        if self.processes.writes:  # a few prompts' worth
            write_grids(
                lm,
                prompts,
                config,
                identifier,
                folder / "grid.json",
                own_answers=own_answers(lm, config, report),
                same_as=first and first / "grid.json",
                answered=answered,
                progress=report,
            )

    def _write_rules(self, names: Iterable[RuleName], known: Layers | None = None) -> None:
        """Compute rules and write ``layers.json`` with them and those that are known."""

        def measured(rules: Sequence[RuleName]) -> Measured:
            from linguamap.tuning.choosing.block_rules import measure
            from linguamap.tuning.data.training_examples import training_data

            tune, examples = config.tune, self.tuning_data.examples
            data = training_data(self.model, examples, tune, config.model, self.tuning_seed)
            most, notes = config.choose.examples, folder / "rule_scores.json"
            return measure(
                self.model, data, most, tune, rules, self.progress,
                seed=self.tuning_seed, notes=notes,
            )  # fmt: skip

        folder, config = self.run.folder, self.run.config
        located = read_json(folder / "located.json")
        choice = Choice(located, folder / "probe", config, self.tuning_seed)
        write_json(folder / "layers.json", choice.layers(names, measured, known))

    def _tune(self) -> None:
        """Blocks from ``layers.json`` or the config, examples, and what the method makes of them."""
        from linguamap.tuning.blocks import blocks_to_tune
        from linguamap.tuning.run_tuning import tune
        from linguamap.tuning.untrained import few_shot

        config, processes = self.run.config, self.processes
        located = read_as(Layers, self.run.folder / "layers.json")
        layers, source = blocks_to_tune(located, config.tune, self.tuning_seed)
        out = self.run.path("tuned", "tuning.json").parent
        check_shareable(self.method, processes.world_size)
        if processes.rank:
            processes.wait()  # what a teacher writes is asked for once
        data = self.tuning_data
        if not processes.rank:
            processes.wait()
        if self.method is FEW_SHOT:
            tuning = few_shot(self.model, self.questions("after").prompts, config, out)
            write_json(out / "tuning.json", {**tuning, "data": data.facts})
            return
        tuning = tune(
            self.model,
            data.examples,
            config.tune,
            layers,
            out,
            seed=self.tuning_seed,
            progress=self.progress,
            model_config=config.model,
            shared_cache=self.shared_cache,
            processes=processes,
            identifier=self.identifier,
        )
        if processes.writes:
            facts = {"layers_source": source, "data": data.facts}
            write_json(out / "tuning.json", {**tuning, **facts})

    def _stage(self, name: str, outputs: list[str], work: Callable[[], None]) -> None:
        """Do a stage once; of several processes the first keeps the book."""
        if damaged := self.run.damaged(name):
            say(self.progress, f"{name}: {', '.join(damaged)} changed since; it is done again")
        if self.processes.writes:
            if self.run.run_stage(name, outputs, work):
                self._tell_finding(name)
        elif not self.run.is_done(name):
            work()

    def _tell_finding(self, stage: str) -> None:
        from linguamap.report.terminal import stage_finding

        if found := stage_finding(self.run.folder, stage):
            say(self.progress, found)
