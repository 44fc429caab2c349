"""What a run asks and trains on: its benchmarks and prompts, loaded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from linguamap.benchmarks import REAL, SUBJECTS, check_name, load_benchmark, select_subjects
from linguamap.languages import get_language
from linguamap.outside import nearest
from linguamap.prompts.own_prompts import in_halves, open_benchmark
from linguamap.prompts.sampling import Halves, spread_examples
from linguamap.prompts.scenarios import render_all
from linguamap.records import Benchmark, BenchmarkUse, Item, Prompt, Split, UserError

if TYPE_CHECKING:
    from linguamap.config import RunConfig


def check_names(config: RunConfig) -> None:
    """Refuse what can be known to be wrong before anything is loaded, written or deleted.

    Raises:
        UserError: an unknown language or benchmark, or a file of training texts that does not exist.
    """
    for code in config.languages:
        get_language(code)
    tune, prompts = config.tune, config.data.prompts
    if prompts is not None and not Path(prompts).is_file():
        raise UserError(f"data.prompts: the file {prompts} does not exist{nearest(Path(prompts))}")
    for name in (*config.data.benchmarks, *(tune.benchmarks or ())):
        check_name(name)
    if tune.data is not None and tune.data.endswith(".jsonl") and not Path(tune.data).is_file():
        raise UserError(f"tune.data: the file {tune.data} does not exist{nearest(Path(tune.data))}")


@dataclass
class RunItems:
    """The items that a run's settings name."""

    config: RunConfig

    def benchmarks(self, split: Split) -> list[Benchmark]:
        """The benchmarks that are evaluated, aligned by item id.

        Of MMLU all subjects that are not tuned on, where none are named.
        """
        if self.own is not None:
            prompts = self.own.train if split == "train" else self.own.validation
            return [open_benchmark(prompts, Path(str(self.config.data.prompts)), split)]
        data, tuned_on = self.config.data, self.config.tune.subjects
        subjects = data.subjects
        if subjects is None and tuned_on is not None and split == "test":
            subjects = sorted(frozenset(SUBJECTS) - select_subjects(tuned_on))
        return [self._load(name, split, subjects, data.hold_out) for name in data.benchmarks]

    @cached_property
    def own(self) -> Halves | None:
        """Own prompts: to train on, and to ask; None where benchmarks are asked."""
        path = self.config.data.prompts
        return None if path is None else in_halves(Path(path), self.config)

    @cached_property
    def training_benchmarks(self) -> list[Benchmark]:
        """What is tuned and probed on: other benchmarks and subjects, where the config names some.

        Raises:
            UserError: a benchmark without training items is evaluated whole.
        """
        data, tune = self.config.data, self.config.tune
        if tune.benchmarks is None and tune.subjects is None:
            return self.benchmarks("train")
        subjects = tune.subjects or data.subjects
        return [
            self._load(name, "train", subjects, data.hold_out)
            if self._is_tested(name) or name.partition(":")[0] not in REAL
            else _for_training(self._load(name, "test", subjects, False))
            for name in tune.benchmarks or data.benchmarks
        ]

    def _is_tested(self, name: str) -> bool:
        """Whether some of what a benchmark gives for training is evaluated, too."""
        data, tune = self.config.data, self.config.tune
        base = name.partition(":")[0]
        if base not in {one.partition(":")[0] for one in data.benchmarks}:
            return False
        if base != "mmlu" or tune.subjects is None:
            return True
        if data.subjects is None:
            return False
        return bool(select_subjects(tune.subjects) & select_subjects(data.subjects))

    def _load(
        self, name: str, split: Split, subjects: Sequence[str] | None, halves: bool
    ) -> Benchmark:
        data = self.config.data
        folder = Path(data.folder) if data.folder else None
        return load_benchmark(
            name,
            self.config.languages,
            split,
            folder=folder,
            revision=data.revision,
            subjects=subjects,
            halves=halves,
        )

    @cached_property
    def test_benchmarks(self) -> list[Benchmark]:
        """The benchmarks with the items that are evaluated."""
        return self.benchmarks("test")

    @cached_property
    def test_prompts(self) -> list[Prompt]:
        """The evaluation's prompts, in their fixed order."""
        config = self.config
        if self.own is not None:
            asked, items = self.own.validation, config.evaluate.items
            n_languages = len({prompt.language for prompt in asked})
            return spread_examples(asked, items and items * n_languages, config.seed)
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
        if self.own is not None:
            return self.own.train
        return render_all(
            self.training_benchmarks,
            config.languages,
            ["monolingual", "code_mixed"],
            None,
            config.seed,
            config.data.name_language,
        )


def _for_training(benchmark: Benchmark) -> Benchmark:
    """All items of a benchmark of which nothing is evaluated."""

    def turned(items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(dataclasses.replace(item, split="train") for item in items)

    return dataclasses.replace(
        benchmark,
        split="train",
        items={code: turned(items) for code, items in benchmark.items.items()},
        english=turned(benchmark.english),
        source=f"{benchmark.source} (all test items, none of which is tested)",
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
