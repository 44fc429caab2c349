"""The main path, top to bottom: the page to open first.

    benchmarks -> scenarios -> generate -> score -> probe -> locate -> tune -> the same again -> report

Every stage reads what the stages before it wrote into the run folder, and is skipped when its result
is there, made from the same settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linguamap.config import ScoreConfig
from linguamap.evaluate import evaluate, rescore
from linguamap.progress import say
from linguamap.records import PHASES
from linguamap.run.contents import as_json, read_evaluation
from linguamap.run.files import write_json
from linguamap.run_context import RunContext, probe, probe_again, tune


@dataclass
class Pipeline(RunContext):
    """The stages of one run, each a method that does its work once."""

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
        """Answer and score the test items with the model as it is."""
        outputs = ["before/answers.jsonl", "before/summary.json"]
        self._stage("before", outputs, lambda: evaluate(self, "before"))

    def probe(self) -> None:
        """Read every layer's language and similarity on training items."""
        outputs = ["probe/lens.parquet", "probe/similarity.parquet", "probe/grid.json"]
        self._stage("probe", outputs, lambda: probe(self))

    def locate(self) -> None:
        """Choose the blocks to tune from the curves."""

        def work() -> None:
            from linguamap.probes.locate import locate

            config, folder = self.run.config, self.run.folder
            layers = locate(folder / "probe", config.locate, config.seed)
            write_json(folder / "layers.json", layers)

        self._stage("locate", ["layers.json"], work)

    def tune(self) -> None:
        """Train only those blocks; keep only what changed."""
        outputs = ["tuned/delta.safetensors", "tuned/tuning.json"]
        self._stage("tune", outputs, lambda: tune(self))

    def after(self) -> None:
        """Answer and score the same test items with the delta read back from disk."""
        outputs = ["after/answers.jsonl", "after/summary.json"]
        self._stage("after", outputs, lambda: evaluate(self, "after"))

    def probe_after(self) -> None:
        """Probe again, and see whether the curves moved only in the tuned blocks."""
        probed = ["probe_after/lens.parquet", "probe_after/grid.json"]
        changed = probed if self.method.changes_weights else []
        self._stage("probe_after", [*changed, "change.json"], lambda: probe_again(self))

    def compare(self) -> None:
        """Before against after on the same items."""

        def work() -> None:
            from linguamap.scoring.compare import compare_answers

            before, after = (read_evaluation(self.run.folder, one) for one in PHASES)
            comparison = compare_answers(before.answers, after.answers, seed=self.run.config.seed)
            write_json(self.run.folder / "comparison.json", as_json(comparison))

        self._stage("compare", ["comparison.json"], work)

    def report(self) -> None:
        """Draw the page and the figures from the run folder; needs no model."""

        def work() -> None:
            from linguamap.report import write_all

            write_all(self.run)

        self._stage("report", ["report.html", "manifest.json"], work)

    def rescore(self, score: ScoreConfig) -> None:
        """Score the stored answers by other rules, without the model, and redo what is made of them."""
        rescore(self, score)
        for stage, work in (("compare", self.compare), ("report", self.report)):
            if stage in self.run.stages():
                self.run.forget(stage)
                work()

    def _stage(self, name: str, outputs: list[str], work: Callable[[], None]) -> None:
        """Do a stage once; of several processes the first keeps the book."""
        if damaged := self.run.damaged(name):
            say(self.progress, f"{name}: {', '.join(damaged)} changed since; it is done again")
        if self.processes.writes:
            self.run.run_stage(name, outputs, work)
        elif not self.run.is_done(name):
            work()
