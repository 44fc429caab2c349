"""A run folder in Python: what came out, typed and drawn, without a model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pyarrow as pa

from linguamap.api.typed_results import BlockRules, Curves, Handover, Lens, Scores, Similarity
from linguamap.pipeline import Pipeline
from linguamap.probes.curves import read_table
from linguamap.records import PHASES, Answer, Phase, UserError
from linguamap.run.contents import Layers, RuleName
from linguamap.run.files import read_answers, read_as
from linguamap.run.folder import open_run


def choose(run: str | Path, *rules: RuleName) -> BlockRules:
    """Which blocks to tune? The rules side by side, for the run in a folder; see :meth:`Run.choose`.

    Raises:
        UserError: the folder holds no run.
    """
    return Run(run).choose(*rules)


class Run:
    """A run folder.

    Attributes:
        folder: its path; ``config`` is what was asked.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a folder.

        Raises:
            UserError: it holds no run.
        """
        self._run = open_run(Path(folder), None)
        self.folder = self._run.folder
        self.config = self._run.config

    @cached_property
    def answers(self) -> Scores:
        """Scored answers, before tuning and, if there are any, after it.

        Raises:
            UserError: none yet, or the file is broken.
        """
        found: dict[Phase, list[Answer]] = {
            phase: read_answers(self.folder / phase / "answers.jsonl") for phase in PHASES
        }
        there = {phase: own for phase, own in found.items() if own}
        if not there:
            raise UserError(f"{self.folder} holds no answers; run: linguamap evaluate --out ...")
        return Scores(there)

    @cached_property
    def layers(self) -> Layers:
        """The late phase, its interval, the blocks to tune and the evidence.

        Raises:
            UserError: the stage locate was not run.
        """
        return read_as(Layers, self.folder / "layers.json")

    @cached_property
    def lens(self) -> Lens:
        """The language lens, before tuning and after it (column ``phase``)."""
        return Lens(self._curves("lens"), self._n_layers, tuple(self.config.languages))

    @cached_property
    def similarity(self) -> Similarity:
        """Likeness of translations."""
        return Similarity(self._curves("similarity"), self._n_layers, tuple(self.config.languages))

    @cached_property
    def handover(self) -> Handover:
        """Where the language is committed."""
        others = tuple(code for code in self.config.languages if code != "en")
        return Handover(self._curves("handover"), self._n_layers, others)

    @property
    def curves(self) -> dict[str, Curves]:
        """All curves by name; those that were not probed are left out."""
        there = (
            self.folder / "probe" / f"{name}.parquet" for name in ("lens", "similarity", "handover")
        )
        return {path.stem: getattr(self, path.stem) for path in there if path.exists()}

    def choose(self, *rules: RuleName) -> BlockRules:
        """Which blocks each rule would tune, those that were computed before included.

        Args:
            rules: names; all that ``linguamap choose`` compares where there are none. Those by gradients
                load the model and read some training examples.
        """
        pipeline = Pipeline(self._run)
        pipeline.probe()
        pipeline.locate()
        found = pipeline.compare_rules(rules) if rules else pipeline.compare_rules()
        return BlockRules(found.rule, found.rules)

    def report(self) -> Path:
        """Draw ``report.html`` and the figures again; returns the page's path."""
        self._run.forget("report")
        Pipeline(self._run).report()
        return self.folder / "report.html"

    def __repr__(self) -> str:
        done = ", ".join(self._run.stages()) or "nothing yet"
        return f"<Run {self.folder}: {self.config.model.name}; done: {done}>"

    @cached_property
    def _n_layers(self) -> int:
        rows = read_table(self.folder / "probe" / "lens.parquet")
        return int(max(rows["layer"].to_pylist(), default=0))

    def _curves(self, name: str) -> pa.Table:
        parts = []
        for phase, folder in (("before", "probe"), ("after", "probe_after")):
            path = self.folder / folder / f"{name}.parquet"
            if path.exists():
                table = read_table(path)
                parts.append(table.append_column("phase", pa.array([phase] * len(table))))
        if not parts:
            raise UserError(
                f"{self.folder} holds no curves of {name}; run: linguamap probe --out ..."
            )
        return pa.concat_tables(parts)
