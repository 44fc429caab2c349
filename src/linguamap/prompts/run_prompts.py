"""What a run asks and trains on: its benchmarks and prompts, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.benchmarks import check_name, load_benchmark
from linguamap.languages import get_language
from linguamap.prompts.scenarios import render_all
from linguamap.records import Benchmark, BenchmarkUse, Prompt, Split, UserError

if TYPE_CHECKING:
    from linguamap.config import RunConfig


def check_names(config: RunConfig) -> None:
    """Refuse what can be known to be wrong before anything is loaded, written or deleted.

    Raises:
        UserError: an unknown language or benchmark, or a file of training texts that does not exist.
    """
    for code in config.languages:
        get_language(code)
    for name in config.data.benchmarks:
        check_name(name)
    tune = config.tune
    if tune.data is not None and tune.data.endswith(".jsonl") and not Path(tune.data).is_file():
        raise UserError(f"tune.data: the file {tune.data} does not exist")


@dataclass
class RunItems:
    """The items that a run's settings name."""

    config: RunConfig

    def benchmarks(self, split: Split) -> list[Benchmark]:
        """The benchmarks that were asked for, aligned by item id."""
        config = self.config
        for code in config.languages:
            get_language(code)
        folder = Path(config.data.folder) if config.data.folder else None
        return [
            load_benchmark(
                name,
                config.languages,
                split,
                folder=folder,
                revision=config.data.revision,
                subjects=config.data.subjects,
                halves=config.data.hold_out,
            )
            for name in config.data.benchmarks
        ]

    @cached_property
    def test_benchmarks(self) -> list[Benchmark]:
        """The benchmarks with the items that are evaluated."""
        return self.benchmarks("test")

    @cached_property
    def test_prompts(self) -> list[Prompt]:
        """The evaluation's prompts, in their fixed order."""
        config = self.config
        return render_all(
            self.test_benchmarks,
            config.languages,
            config.scenarios,
            config.evaluate.items,
            config.seed,
            config.data.name_language,
        )

    @cached_property
    def train_prompts(self) -> list[Prompt]:
        """All training items in the plain scenarios, for the probes."""
        config = self.config
        return render_all(
            self.benchmarks("train"),
            config.languages,
            ["monolingual", "code_mixed"],
            None,
            config.seed,
            config.data.name_language,
        )


def describe(benchmark: Benchmark) -> BenchmarkUse:
    """What a summary says of a benchmark's rows: read, used, left out and why."""
    return BenchmarkUse(
        name=benchmark.name,
        kind=benchmark.kind,
        split=benchmark.split,
        source=benchmark.source,
        items={code: len(items) for code, items in benchmark.items.items()},
        missing_languages=benchmark.missing_languages,
        rows_read=benchmark.rows_read,
        dropped=benchmark.dropped,
    )
