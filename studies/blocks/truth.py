#!/usr/bin/env python3
"""What training a single block (or a set) changes: the truth that rules of choosing blocks are judged by.

    python studies/blocks/truth.py starter --benchmarks FOLDER [--part 0/2] [--stages rates seed0 seed1]

One row per setting goes into ``studies/blocks/results/MODEL.jsonl``; what stands there is not done again,
so a killed run goes on. Several processes share the work with ``--part RANK/COUNT``, each with one thread.

Trained on: training items of two kinds in some languages (``plan.toml``), all four scenarios, one pass.
Measured on test items: the margin of the target-language reference over the English one under the same
prompt (mean log probability of the first 8 tokens, nats), free answers' outcomes, and the loss on
held-back training items; seed 0 also nats per token of FLORES sentences, in trained and other languages.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linguamap.config import EvaluateConfig, ModelConfig, RunConfig, ScoreConfig
from linguamap.generation.local import generate
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.models.structure import hidden_out
from linguamap.prompts.run_prompts import RunItems
from linguamap.prompts.sampling import split_items, spread_examples
from linguamap.prompts.scenarios import render_all, training_examples
from linguamap.records import PAPER_SCENARIOS, Answer, Prompt
from linguamap.scoring.language_id import make_identifier
from linguamap.scoring.lcb import english_words_at_hand
from linguamap.scoring.score import Scorer
from linguamap.tuning.data.batches import TrainingExample, answer_beginnings, collate
from linguamap.tuning.data.training_examples import examples_from_prompts
from linguamap.tuning.layers import choose_parameters
from linguamap.tuning.training.loss import frozen_head, head_loss, tiled_cross_entropy
from linguamap.tuning.training.master_weights import choose_precision
from linguamap.tuning.training.split_model import SplitModel

HERE = Path(__file__).parent
FIRST_TOKENS = 8
BATCH = 8
WARM_UP = 4
"""Steps until the rate is whole."""
CHECKPOINTS = (40, 80, 160)
"""Examples seen when the margin is read."""
RATE_EXAMPLES = 80
CALIBRATION_SHARE = 0.2
"""Of the training items' groups: held back, to choose the rate by."""
SENTENCES = 6
"""Of FLORES, a language."""

States = list[list[Tensor]]
"""(boundary, example) -> (position, d_model); boundary b is what enters block b + 1."""


class Bench:
    """A model, what it is trained on and what is measured on it."""

    def __init__(self, name: str, plan: dict[str, Any], flores: Path | None) -> None:
        self.plan = plan
        config = RunConfig(languages=plan["languages"])
        self.model_config = ModelConfig(name=plan["model"], dtype="float32")
        self.lm: LanguageModel = load_model(self.model_config)
        precision = choose_precision("auto", self.lm.model, self.lm.dtype)
        self.precision, self.autocast = precision, precision.autocast
        self.lm.model.requires_grad_(False)
        self.head = frozen_head(self.lm.structure, precision.products)
        self.tune = config.tune
        items = RunItems(config)
        train = items.benchmarks("train")
        worked = [
            one
            for one in training_examples(
                train, plan["languages"], list(PAPER_SCENARIOS), None, 0, True
            )
            if one.kind in plan["kinds"] and one.language in plan["trained"]
        ]
        halves = split_items(worked, CALIBRATION_SHARE, 0)
        self.training = halves.train
        self.calibration = self.tokenised(spread_examples(halves.validation, 48, 0))
        self.test = list(test_prompts(items, plan))
        self.beginnings = self.references(items)
        self.evaluate = EvaluateConfig(batch_size=32)
        identifier = make_identifier("lingua", plan["languages"])
        self.scorer = Scorer(identifier, ScoreConfig(), english_words_at_hand(None))
        self.texts = [] if flores is None else self.sentences(flores)
        self.original = [
            [parameter.detach().clone() for parameter in block.parameters()]
            for block in self.lm.structure.blocks
        ]
        self.fixed = self.beginnings + self.calibration
        self.fixed_states = self.states(self.fixed)
        self.drawn: tuple[int, list[TrainingExample], States] | None = None

    def tokenised(self, prompts: Sequence[Prompt]) -> list[TrainingExample]:
        return examples_from_prompts(self.lm, prompts, self.tune, self.model_config)

    def references(self, items: RunItems) -> list[TrainingExample]:
        """Test prompts with the first tokens of the target's reference, then with the English one's."""
        config = items.config
        english = {
            (one.benchmark, one.item_id): one.reference
            for one in render_all(items.test_benchmarks, ["en"], ["monolingual"], None, 0, True)
        }
        twins = [replace(one, reference=english[one.benchmark, one.item_id]) for one in self.test]
        assert config.languages
        return answer_beginnings(self.tokenised([*self.test, *twins]), FIRST_TOKENS)

    def sentences(self, folder: Path) -> list[tuple[str, TrainingExample]]:
        """Language and text, every token but the first a target."""
        found = []
        for code, file in self.plan["flores"].items():
            lines = (folder / "flores" / "devtest" / file).read_text(encoding="utf-8").splitlines()
            for number in range(SENTENCES):
                text = lines[number * 97]
                ids = tuple(self.lm.tokenizer(text)["input_ids"])
                mask = (False, *([True] * (len(ids) - 1)))
                found.append((code, TrainingExample(f"{code}/{number}", ids, mask, code)))
        return found

    @torch.no_grad()
    def states(self, examples: Sequence[TrainingExample]) -> States:
        """What enters each block, of the untuned model."""
        lm = self.lm
        found: States = [[] for _ in range(lm.n_layers)]
        split = SplitModel(lm, lm.n_layers, self.autocast)
        kept: dict[int, Tensor] = {}
        handles = [
            block.register_forward_hook(
                lambda module, args, output, at=at: kept.__setitem__(at, hidden_out(output))
            )
            for at, block in enumerate(split.below)
        ]
        try:
            for example in examples:
                split.prefix(torch.tensor([example.token_ids]))
                for at in range(lm.n_layers - 1):
                    found[at + 1].append(kept[at][0].clone())
        finally:
            for handle in handles:
                handle.remove()
        return found

    def examples(self, seed: int) -> tuple[list[TrainingExample], States]:
        """The examples that a seed draws, in its order."""
        if self.drawn is None or self.drawn[0] != seed:
            self.drawn = None
            drawn = spread_examples(self.training, CHECKPOINTS[-1], seed)
            examples = self.tokenised(drawn)
            self.drawn = seed, examples, self.states(examples)
        return self.drawn[1:]


def test_prompts(items: RunItems, plan: dict[str, Any]) -> Iterator[Prompt]:
    """Prompts of the scenarios with faults; cells where items are taken by the plan's counts."""
    every = render_all(
        items.test_benchmarks, items.config.languages, plan["scenarios"], None, 0, True
    )
    cells: dict[tuple[str, str, str], list[Prompt]] = {}
    for one in every:
        if one.language != "en" and one.coincides_with is None:
            cells.setdefault((one.kind, one.scenario, one.language), []).append(one)
    for (kind, _, language), prompts in cells.items():
        domain = domain_of(kind, language, plan)
        yield from prompts[: plan["items"][domain]]


def domain_of(kind: str, language: str, plan: dict[str, Any]) -> str:
    """``trained``, ``language`` (an untrained one), ``kind`` (an untrained one), or ``both``."""
    new_kind, new_language = kind not in plan["kinds"], language not in plan["trained"]
    if new_kind:
        return "both" if new_language else "kind"
    return "language" if new_language else "trained"


class Setting:
    """Some blocks in training; the rest stays, and below the lowest nothing is run again."""

    def __init__(self, bench: Bench, blocks: Sequence[int], rate: float) -> None:
        self.bench, self.blocks = bench, tuple(blocks)
        self.split = SplitModel(bench.lm, min(blocks), bench.autocast)
        trainable = choose_parameters(bench.lm, blocks)
        self.split.prepare()
        self.parameters = list(trainable.parameters.values())
        self.rate, self.step, self.seconds = rate, 0, 0.0
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=0.0, fused=True)

    def head_input(
        self, examples: Sequence[TrainingExample], states: States, indices: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """What the head reads at the targets, and these."""
        batch = collate(examples, indices, self.split.pad)
        kept = None
        if self.split.below:
            kept = torch.zeros((*batch.ids.shape, states[min(self.blocks) - 1][0].shape[-1]))
            for row, index in enumerate(indices):
                one = states[min(self.blocks) - 1][index]
                kept[row, : len(one)] = one
        return self.split.head_input(batch.ids, kept, batch.rows, batch.columns), batch.targets

    def train(self, examples: Sequence[TrainingExample], states: States, upto: int) -> None:
        """Go on to example ``upto``."""
        started = time.process_time()
        lm = self.bench.lm
        while self.step * BATCH < upto:
            first = self.step * BATCH
            indices = range(first, min(first + BATCH, upto))
            hidden, targets = self.head_input(examples, states, indices)
            loss = head_loss(hidden, targets, lm.structure, self.bench.head) / len(targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * min(1.0, (self.step + 1) / WARM_UP)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
        self.seconds += time.process_time() - started

    @torch.no_grad()
    def losses(
        self, examples: Sequence[TrainingExample], states: States, indices: Sequence[int]
    ) -> list[float]:
        """Mean nats per target token of each example."""
        order = sorted(indices, key=lambda at: len(examples[at].token_ids))
        found: dict[int, float] = {}
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            hidden, targets = self.head_input(examples, states, part)
            each, _ = tiled_cross_entropy(hidden, targets, self.bench.head, with_gradient=False)
            at = 0
            for index in part:
                n = examples[index].n_targets
                found[index] = float(each[at : at + n].mean())
                at += n
        return [found[index] for index in indices]

    def margins(self) -> list[float]:
        """Of each test prompt: how much likelier the target's reference begins than the English one."""
        bench, n = self.bench, len(self.bench.test)
        losses = self.losses(bench.fixed, bench.fixed_states, range(2 * n))
        return [round(english - target, 4) for target, english in zip(losses[:n], losses[n:])]

    def calibration_loss(self) -> float:
        bench, n = self.bench, len(self.bench.beginnings)
        indices = range(n, len(bench.fixed))
        losses = self.losses(bench.fixed, bench.fixed_states, indices)
        weights = [bench.fixed[index].n_targets for index in indices]
        return sum(a * b for a, b in zip(losses, weights)) / sum(weights)

    def answers(self) -> list[Answer]:
        """Free answers to the test prompts."""
        bench = self.bench
        bench.lm.model.requires_grad_(False)
        found: dict[str, Answer] = {}
        prompts = {one.prompt_id: one for one in bench.test}

        def save(completions: Iterable[Any]) -> None:
            for one in completions:
                found[one.prompt_id] = bench.scorer(one, prompts[one.prompt_id])

        generate(bench.lm, bench.test, bench.evaluate, model_config=bench.model_config, save=save)
        return [found[one.prompt_id] for one in bench.test]

    @torch.no_grad()
    def nats(self) -> dict[str, float]:
        """Per token of FLORES sentences, by language."""
        bench = self.bench
        whole = SplitModel(bench.lm, 1, bench.autocast)
        whole.prepare()
        found: dict[str, list[float]] = {}
        for code, example in bench.texts:
            batch = collate([example], [0], whole.pad)
            hidden = whole.head_input(batch.ids, None, batch.rows, batch.columns)
            each, _ = tiled_cross_entropy(hidden, batch.targets, bench.head, with_gradient=False)
            found.setdefault(code, []).append(float(each.sum()) / len(each))
        return {code: round(sum(values) / len(values), 4) for code, values in found.items()}

    def undo(self) -> None:
        """The untuned weights again."""
        bench = self.bench
        bench.lm.model.requires_grad_(False)
        with torch.no_grad():
            for block in self.blocks:
                module = bench.lm.structure.blocks[block - 1]
                for parameter, kept in zip(module.parameters(), bench.original[block - 1]):
                    parameter.copy_(kept)


def outcome_letters(answers: Sequence[Answer]) -> dict[str, str]:
    """A character per prompt: y right, n wrong, - not judged; loops and cut answers apart."""
    letter = {True: "y", False: "n", None: "-"}
    return {
        "language": "".join(letter[one.language_correct] for one in answers),
        "task": "".join(letter[one.task_correct] for one in answers),
        "repeats": "".join("y" if one.repeats else "n" for one in answers),
    }


def one_rate(bench: Bench, block: int, rate: float) -> dict[str, Any]:
    examples, states = bench.examples(100)
    setting = Setting(bench, [block], rate)
    try:
        setting.train(examples, states, RATE_EXAMPLES)
        return {"calibration_loss": round(setting.calibration_loss(), 4)}
    finally:
        setting.undo()


def one_setting(
    bench: Bench, blocks: Sequence[int], rate: float, seed: int, harm: bool
) -> dict[str, Any]:
    examples, states = bench.examples(seed)
    setting = Setting(bench, blocks, rate)
    try:
        row: dict[str, Any] = {"margins": {}, "seconds": {}}
        for count in CHECKPOINTS if rate else (0,):
            if rate:
                setting.train(examples, states, count)
            row["margins"][str(count)] = setting.margins()
            row["seconds"][str(count)] = round(setting.seconds, 1)
        row["calibration_loss"] = round(setting.calibration_loss(), 4)
        row["answers"] = outcome_letters(setting.answers())
        if harm:
            row["nats"] = setting.nats()
        return row
    finally:
        setting.undo()


class Results:
    """The rows of a model, in one file that several processes append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def find(self, **key: Any) -> dict[str, Any] | None:
        return next((row for row in self.rows() if key.items() <= row.items()), None)

    def add(self, **row: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


def work(bench: Bench, results: Results, stages: Sequence[str], rank: int, count: int) -> None:
    """The settings of this process, in the order of the stages."""
    plan = bench.plan
    own = [block for block in range(bench.lm.n_layers, 0, -1) if block % count == rank]
    if rank == 0 and results.find(stage="untuned") is None:
        prompts = [[one.prompt_id, domain_of(one.kind, one.language, plan)] for one in bench.test]
        row = one_setting(bench, [bench.lm.n_layers], 0.0, 0, True)
        results.add(stage="untuned", prompts=prompts, **row)
    for stage in stages:
        if stage == "rates":
            for block in (one for one in own if one in plan["rates_on"]):
                for rate in plan["rates"]:
                    if results.find(stage=stage, block=block, rate=rate) is None:
                        row = one_rate(bench, block, rate)
                        results.add(stage=stage, block=block, rate=rate, **row)
                        print(stage, block, rate, row, flush=True)
        elif stage.startswith("seed"):
            seed = int(stage.removeprefix("seed"))
            for block in own:
                if results.find(stage="truth", blocks=[block], seed=seed) is None:
                    rate = best_rate(results, block)
                    row = one_setting(bench, [block], rate, seed, seed == 0)
                    results.add(stage="truth", blocks=[block], seed=seed, rate=rate, **row)
                    print(stage, block, rate, row["seconds"], flush=True)


def best_rate(results: Results, block: int) -> float:
    """Of those tried on the nearest block, the one with the lowest loss on the held-back items."""
    tried = [row for row in results.rows() if row["stage"] == "rates"]
    nearest = min((row["block"] for row in tried), key=lambda one: (abs(one - block), one))
    own = [row for row in tried if row["block"] == nearest]
    return float(min(own, key=lambda row: row["calibration_loss"])["rate"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a name in plan.toml")
    parser.add_argument(
        "--benchmarks", type=Path, help="folder with flores/devtest; else no harm is read"
    )
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--stages", nargs="+", default=["rates", "seed0", "seed1", "seed2"])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    plan = tomllib.loads((HERE / "plan.toml").read_text(encoding="utf-8"))[options.model]
    rank, count = map(int, options.part.split("/"))
    torch.manual_seed(0)
    bench = Bench(options.model, plan, options.benchmarks)
    work(bench, Results(options.out / f"{options.model}.jsonl"), options.stages, rank, count)


if __name__ == "__main__":
    main()
