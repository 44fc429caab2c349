"""The main path, top to bottom: the page to open first.

    benchmarks -> scenarios -> generate -> score -> probe -> locate -> tune -> the same again -> report

Every stage reads what the stages before it wrote into the run folder, and is skipped when its result
is there, made from the same inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.config import ScoreConfig
from linguamap.progress import Progress, silent
from linguamap.prompts.run_prompts import RunItems, describe
from linguamap.records import Completion, Prompt, UserError
from linguamap.run.files import append_rows, read_json, read_rows, write_json, write_rows
from linguamap.run.folder import Run
from linguamap.run.manifest import write_manifest
from linguamap.run.processes import ProcessGroup
from linguamap.scoring.identifier_accuracy import measured_for_run
from linguamap.scoring.labelled_texts import Gold, gold_from_items
from linguamap.scoring.language_id import Identifier, make_identifier
from linguamap.scoring.lcb import EnglishWords, english_words_at_hand
from linguamap.scoring.rescore import answers_name, rejudge_run, shards, stored_answers
from linguamap.scoring.score import judge, summarise
from linguamap.tuning.methods import FEW_SHOT, Method, check_shareable, method_of

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel
    from linguamap.tuning.data.gather import TuningData


@dataclass
class Pipeline:
    """The stages of one run, each a method that does its work once."""

    run: Run
    progress: Progress = silent
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    shared_cache: Path | None = None
    """A folder of boundary states that outlasts this run's tuning, for a sweep's other runs."""

    # The main path -------------------------------------------------------------------------

    def all(self) -> None:
        """Every stage in order."""
        self.before()
        self.probe()
        self.locate()
        self.tune()
        self.after()
        self.probe_after()
        self.compare()
        self.report()

    def before(self) -> None:
        """Answer and judge the test items with the model as it is."""
        self._stage("before", ["before/answers.jsonl", "before/summary.json"], self._before)

    def probe(self) -> None:
        """Read every layer's language and similarity on training items."""
        outputs = ["probe/lens.parquet", "probe/similarity.parquet", "probe/grid.json"]
        self._stage("probe", outputs, self._probe)

    def locate(self) -> None:
        """Choose the blocks to tune from the curves."""
        self._stage("locate", ["layers.json"], self._locate)

    def tune(self) -> None:
        """Train only those blocks; keep only what changed."""
        self._stage("tune", ["tuned/delta.safetensors", "tuned/tuning.json"], self._tune)

    def after(self) -> None:
        """Answer and judge the same test items with the delta read back from disk."""
        self._stage("after", ["after/answers.jsonl", "after/summary.json"], self._after)

    def probe_after(self) -> None:
        """Probe again, and see whether the curves moved only in the tuned blocks."""
        if not self.method.changes_weights:
            self._stage("probe_after", ["change.json"], self._no_probe_after)
            return
        outputs = ["probe_after/lens.parquet", "probe_after/grid.json", "change.json"]
        self._stage("probe_after", outputs, self._probe_after)

    def compare(self) -> None:
        """Before against after on the same items."""
        self._stage("compare", ["comparison.json"], self._compare)

    def report(self) -> None:
        """Draw the page from the run folder; needs no model."""
        self._stage("report", ["report.html", "manifest.json"], self._report)

    # What the stages do --------------------------------------------------------------------

    def _before(self) -> None:
        self._evaluate("before", lambda: self.model)

    def _after(self) -> None:
        self._release()  # tuning has freed parts of the base model
        self._evaluate("after", lambda: self._tuned_model)

    def _evaluate(self, where: str, model: Callable[[], LanguageModel]) -> None:
        """Generate what is missing, judge it, and sum it up in ``where``."""
        config = self.run.config
        path = self.run.path(where, answers_name(self.processes.rank))
        asked = {p.prompt_id: p for p in self.asked(where) if p.coincides_with is None}
        stored = stored_answers(path.parent, asked)
        english = self._english_words.words if self._english_words else None

        def save(completions: list[Completion]) -> None:
            rows = [
                judge(done, asked[done.prompt_id], self.identifier, config.score, english)
                for done in completions
            ]
            append_rows(path, rows)

        if len(stored) < len(asked):
            answer = self._answerer(where, model)
            answer(
                list(asked.values()),
                config.evaluate,
                model_config=config.model,
                seed=config.seed,
                done=frozenset(stored),
                save=save,
                progress=self.progress,
                label=f"answers {where}",
            )
        self.processes.wait()
        if self.processes.rank == 0:
            self._write_scores(where, stored_answers(path.parent, asked))

    def _answerer(self, where: str, model: Callable[[], LanguageModel]) -> Callable[..., None]:
        """Who answers: a server for the model as it is, if one is named; else the local model."""
        if self.run.config.evaluate.endpoint and where == "before":
            if self.processes.world_size > 1:
                raise UserError(
                    "evaluate: a server answers many requests at once; start one process, and "
                    "raise evaluate.concurrency instead"
                )
            from linguamap.generation.endpoint import answer_over_endpoint

            record = self.run.path("before", "endpoint.json")
            return functools.partial(answer_over_endpoint, record=record)
        from linguamap.generation.local import generate

        return functools.partial(generate, model(), share=self.processes.share)

    def _write_scores(self, where: str, stored: dict[str, dict[str, Any]]) -> None:
        """All prompts' rows in their fixed order, coinciding ones filled in, and the summary."""
        rows = []
        for prompt in self.asked(where):
            twin = dataclasses.replace(
                prompt, scenario=prompt.coincides_with or prompt.scenario, coincides_with=None
            )
            row = {
                **stored[twin.prompt_id],
                "scenario": prompt.scenario,
                "prompt_id": prompt.prompt_id,
                "coincides_with": prompt.coincides_with,
            }
            rows.append(row)
        write_rows(self.run.path(where, answers_name(0)), rows)
        for path in shards(self.run.folder / where):
            path.unlink()
        config = self.run.config
        summary = summarise(
            rows,
            config.model.name,
            benchmarks=[benchmark.name for benchmark in self.items.test_benchmarks],
            languages=config.languages,
            identifier=measured_for_run(
                self.run.path("identifier.json"), config, self.identifier, self._gold
            ),
        )
        summary["benchmarks"] = [describe(benchmark) for benchmark in self.items.test_benchmarks]
        summary["english_words"] = self._english_words.about if self._english_words else None
        write_json(self.run.path(where, "summary.json"), summary)

    @property
    def _english_words(self) -> EnglishWords | None:
        """For the word pass rate."""
        folder = self.run.config.data.folder
        return english_words_at_hand(Path(folder) if folder else None)

    def _gold(self) -> Gold:
        """The run's own texts of known language, on which its identifier is tried."""
        try:
            return gold_from_items(self.items.benchmarks("train"), "training items")
        except UserError:  # not every benchmark has training items
            return gold_from_items(self.items.test_benchmarks, "test items")

    def rescore(self, score: ScoreConfig | None = None) -> None:
        """Judge the stored answers again, without the model, and redo what is made from them.

        Args:
            score: other rules of scoring, kept in the run's config; None takes the config's.
        Raises:
            UserError: there are no answers, or the data files changed since they were asked for.
        """
        score = score or self.run.config.score
        identifier = make_identifier(score.identifier, self.run.config.languages)
        judged = rejudge_run(self.run, self.asked, identifier, score)
        self.identifier = identifier
        for where, found in judged.items():
            if found.complete:
                self._write_scores(where, found.rows)
            else:  # the run was stopped while it answered; it goes on from these
                write_rows(self.run.path(where, answers_name(0)), found.rows.values())
        self.run.change_score(score)
        if (self.run.folder / "comparison.json").exists():
            self.compare()
        if (self.run.folder / "report.html").exists():
            self.report()

    def _probe(self) -> None:
        from linguamap.probes.run_probes import own_answers, run_probe
        from linguamap.probes.token_grid import write_grids

        run_probe(
            self.model,
            self.items.train_prompts,
            self.run.config,
            self.identifier,
            self.run.path("probe", "lens.parquet").parent,
            self.progress,
            processes=self.processes,
        )
        if self.processes.rank:
            return  # the first process draws the grids, a few prompts' worth
        write_grids(
            self.model,
            self.items.train_prompts,
            self.run.config,
            self.identifier,
            self.run.path("probe", "grid.json"),
            own_answers=own_answers(self.model, self.run.config, self.progress),
            progress=self.progress,
        )

    def _locate(self) -> None:
        from linguamap.probes.locate import locate

        layers = locate(self.run.folder / "probe", self.run.config.locate, self.run.config.seed)
        write_json(self.run.path("layers.json"), layers)

    def _tune(self) -> None:
        from linguamap.tuning.run_tuning import tune
        from linguamap.tuning.untrained import few_shot

        config = self.run.config
        numbers, source = self._blocks_to_tune()
        out = self.run.path("tuned", "tuning.json").parent
        check_shareable(self.method, self.processes.world_size)
        if self.processes.rank:
            self.processes.wait()  # what a teacher writes is asked for once
        data = self.tuning_data
        if not self.processes.rank:
            self.processes.wait()
        if self.method is FEW_SHOT:
            prompts = self.asked("after")
            tuning = few_shot(self.model, prompts, config, out)
            write_json(out / "tuning.json", {**tuning, "data": data.facts})
            return
        tuning = tune(
            self.model,
            data.examples,
            config.tune,
            numbers,
            out,
            seed=config.seed if config.tune.seed is None else config.tune.seed,
            progress=self.progress,
            model_config=config.model,
            shared_cache=self.shared_cache,
            processes=self.processes,
            identifier=self.identifier,
        )
        if self.processes.rank == 0:
            facts = {"layers_source": source, "data": data.facts}
            write_json(out / "tuning.json", {**tuning, **facts})

    def _blocks_to_tune(self) -> tuple[tuple[int, ...], str]:
        """The blocks, and why these: named in the config, located, or the last ones instead."""
        from linguamap.probes.locate import read_layers
        from linguamap.tuning.layers import parse_layers

        config = self.run.config
        located = read_layers(self.run.path("layers.json"))
        if config.tune.layers:
            seed = config.seed if config.tune.seed is None else config.tune.seed
            avoid = located["tune_layers"] or located["fallback_layers"]
            return parse_layers(config.tune.layers, located["n_layers"], seed, avoid), "config"
        if located["tune_layers"]:
            return tuple(located["tune_layers"]), "located"
        reason = located["evidence"].get("reason") or "locate proposed none"
        return tuple(located["fallback_layers"]), f"fallback: {reason}"

    def _probe_after(self) -> None:
        from linguamap.probes.curves import change_outside
        from linguamap.probes.run_probes import own_answers, run_probe
        from linguamap.probes.token_grid import write_grids

        identifier = self._probing_identifier()
        run_probe(
            self._tuned_model,
            self.items.train_prompts,
            self.run.config,
            identifier,
            self.run.path("probe_after", "lens.parquet").parent,
            self.progress,
            reuse=self.run.folder / "probe",
        )
        write_grids(
            self._tuned_model,
            self.items.train_prompts,
            self.run.config,
            identifier,
            self.run.path("probe_after", "grid.json"),
            own_answers=own_answers(self._tuned_model, self.run.config, self.progress),
            same_as=self.run.folder / "probe" / "grid.json",
            progress=self.progress,
        )
        layers = read_json(self.run.path("tuned", "tuning.json"))["layers"]
        change = change_outside(
            self.run.folder / "probe", self.run.folder / "probe_after", tuple(layers)
        )
        write_json(self.run.path("change.json"), change)

    def _probing_identifier(self) -> Identifier:
        """The one that read the model before: another one would look like a change of the curves."""
        name = read_json(self.run.path("probe", "probe.json"))["identifier"]
        if name == self.identifier.name:
            return self.identifier
        return make_identifier(name, self.run.config.languages)

    def _no_probe_after(self) -> None:
        """Where no weight changed there are no other curves; null, and why."""
        change = dict.fromkeys(("share_in_tuned", "share_below", "share_downstream"))
        write_json(
            self.run.path("change.json"),
            {
                **change,
                "largest_below": None,
                "tuned": [],
                "curves": {},
                "reason": self.method.unchanged,
            },
        )

    def _compare(self) -> None:
        from linguamap.scoring.compare import compare_answers

        comparison = compare_answers(
            read_rows(self.run.folder / "before" / "answers.jsonl"),
            read_rows(self.run.folder / "after" / "answers.jsonl"),
            seed=self.run.config.seed,
        )
        write_json(self.run.path("comparison.json"), comparison)

    def _report(self) -> None:
        from linguamap.report import write_report

        write_manifest(self.run)
        write_report(self.run.folder)
        if find_spec("vl_convert") is not None:
            from linguamap.report.run_charts import write_figures

            write_figures(self.run.folder)

    # What they share -----------------------------------------------------------------------

    def _stage(self, name: str, outputs: list[str], work: Callable[[], None]) -> None:
        """Do a stage once; of several processes the first keeps the book."""
        if self.processes.rank == 0:
            self.run.run_stage(name, outputs, work)
        elif not self.run.is_done(name):
            work()

    @property
    def method(self) -> Method:
        """How the run makes the model keep to the language."""
        return method_of(self.run.config.tune.method)

    @cached_property
    def model(self) -> LanguageModel:
        """The model as it is."""
        from linguamap.models.loading import load_model

        lm = load_model(self.run.config.model)
        if self.processes.rank == 0:
            self.run.check_model(lm.identity)
        return lm

    @cached_property
    def _tuned_model(self) -> LanguageModel:
        from linguamap.models.loading import load_model
        from linguamap.tuning.delta import apply_delta

        delta = self.run.folder / "tuned" / "delta.safetensors"
        return apply_delta(load_model(self.run.config.model), delta)

    def _release(self) -> None:
        """Forget the base model, so that two are never held at once."""
        self.__dict__.pop("model", None)

    @cached_property
    def identifier(self) -> Identifier:
        return make_identifier(self.run.config.score.identifier, self.run.config.languages)

    @cached_property
    def items(self) -> RunItems:
        """What the run asks and trains on."""
        return RunItems(self.run.config)

    def asked(self, where: str) -> list[Prompt]:
        """The prompts before or after; few-shot prompting puts worked examples before the latter."""
        if where == "after" and self.method is FEW_SHOT:
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
