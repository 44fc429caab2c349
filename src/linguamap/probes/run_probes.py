"""The probe stage: lens, token sets, similarity and handover over training items, written to the
run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from linguamap.generation.cache_check import cache_fault
from linguamap.generation.local import generate
from linguamap.probes import lens
from linguamap.probes.answer_texts import PAIRS, POSITIONS, answer_texts, outcome_pairs, usable
from linguamap.probes.curves import lens_curves, read_table
from linguamap.probes.fitted_lens import fit_lens
from linguamap.probes.handover import ITEMS_SCHEMA as HANDOVER_ITEMS
from linguamap.probes.handover import handover_batches, handover_curves, supports_handover
from linguamap.probes.layer_reading import load_readings, read_texts, save_readings
from linguamap.probes.logit_scan import BLOCK_ROWS, scan_head, state_bytes
from linguamap.probes.similarity import compare_states, pooled_states
from linguamap.probes.texts import (
    WordTexts,
    count_sources,
    encode_texts,
    first_positions,
    gold_texts,
    lens_prompts,
    lens_texts,
    parallel_items,
    prompt_pairs,
    word_texts,
)
from linguamap.progress import Progress, silent
from linguamap.run.files import replacing, write_json
from linguamap.run.processes import ProcessGroup

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.models.language_model import LanguageModel
    from linguamap.probes.layer_reading import Consumer
    from linguamap.probes.texts import EncodedText, LensText, OwnAnswers
    from linguamap.records import Answer, Completion, Prompt
    from linguamap.scoring.language_id import Identifier


def run_probe(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    out_dir: Path,
    progress: Progress = silent,
    reuse: Path | None = None,
    processes: ProcessGroup | None = None,
    answered: tuple[Sequence[Answer], Sequence[Prompt]] = ((), ()),
) -> dict[str, Any]:
    """Run all probes and write their tables.

    Writes ``lens``, ``fitted_lens`` (before tuning), ``lens_outcomes`` (of own answers, consistent or not), ``token_set_probability``, ``similarity`` and ``handover`` (curves), the same with ``_items``
    (what the curves are made of) as Parquet, ``lens_tokens.npz`` (what was read of each layer, by
    hash of the states it was read from) and, last, ``probe.json``.

    Args:
        prompts: training prompts, monolingual and code-mixed, all languages.
        reuse: an earlier probe folder of the same prompts. Every state is computed again; where one
            is bit for bit what it was, its arg-max tokens and probabilities are taken from there.
        processes: they divide the batches of texts; the first one merges them in the order of a
            single process, and alone writes.
        answered: the model's scored answers to the run's questions, and these; they are read where an
            item was answered in the language asked for under one scenario and not under another.
    Returns:
        What ``probe.json`` holds; of further processes, what they know of it.
    Raises:
        UserError: nothing to read.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    several = processes or ProcessGroup()
    probe = _Probe(
        lm,
        prompts,
        config,
        identifier,
        out_dir,
        progress,
        several,
        _facts(lm, identifier),
        *answered,
    )
    seconds = probe.facts["seconds"]
    stages: dict[str, Callable[[], None]] = {
        "lens": lambda: probe.read_layers(reuse),
        "fitted_lens": lambda: probe.read_fitted(reuse),
        "lens_outcomes": lambda: probe.read_answers(reuse),
        "similarity": probe.compare_translations,
        "handover": probe.hand_over,
    }
    for name, work in stages.items():
        started = time.monotonic()
        work()
        seconds[name] = time.monotonic() - started
    if several.rank == 0:
        write_json(out_dir / "probe.json", probe.facts)
    return probe.facts


def _facts(lm: LanguageModel, identifier: Identifier) -> dict[str, Any]:
    count = sum(p.numel() for p in lm.model.parameters())
    return {
        "model": dict(lm.identity),
        "n_layers": lm.n_layers,
        "d_model": lm.d_model,
        "vocab_size": lm.vocab_size,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "block_path": lm.structure.block_path,
        "block_parameters": [
            sum(p.numel() for p in block.parameters()) for block in lm.structure.blocks
        ],
        "total_parameters": count,
        "identifier": identifier.name,
        "seconds": {},
        "missing": {},
    }


@dataclass
class _Probe:
    """The probes of one model; ``facts`` grows into ``probe.json``.

    Attributes:
        encoded, others: what the lens reads, and texts of items that it does not read.
    """

    lm: LanguageModel
    prompts: Sequence[Prompt]
    config: RunConfig
    identifier: Identifier
    folder: Path
    progress: Progress
    processes: ProcessGroup
    facts: dict[str, Any]
    answers: Sequence[Answer]
    questions: Sequence[Prompt]
    encoded: Sequence[EncodedText] = ()
    others: WordTexts = field(default_factory=lambda: WordTexts({}, {}, ""))

    def read_layers(self, reuse: Path | None) -> None:
        """Language lens and token sets, from one reading of the layers."""
        lm, settings = self.lm, self.config.probe
        chosen = lens_prompts(self.prompts, settings.items, self.config.seed)
        answers = own_answers(lm, self.config, self.progress, self.processes)
        texts = lens_texts(lm, chosen, settings.texts, answers)
        encoded = encode_texts(lm, texts, settings.positions)
        consumers: list[Consumer] = [lens.WordCounts(lm, self.identifier, settings.top_k)]
        self.encoded, self.others = encoded, word_texts(self.prompts, chosen)
        consumers += self._token_sets(self.others)
        known = load_readings(reuse and reuse / "lens_tokens.npz")
        n_known, started = len(known), time.monotonic()
        tables = read_texts(
            lm,
            encoded,
            consumers,
            known=known,
            share=self.processes.share,
            progress=self.progress,
        )
        merged = [
            self._merge(name, table)
            for name, table in zip(("lens_items", "token_set_probability_items"), tables)
        ]
        elapsed = time.monotonic() - started
        parts = self.processes.gather(known)
        if self.processes.rank:
            return
        known = {name: value for part in parts for name, value in part.items()}
        save_readings(self.folder / "lens_tokens.npz", known)
        self._write("lens_items", pa.Table.from_batches(merged[0], lens.ITEMS_SCHEMA))
        self._write("lens", lens_curves(self._table("lens_items"), **self._bootstrap))
        if len(merged) > 1:
            self._write(
                "token_set_probability_items",
                pa.Table.from_batches(merged[1], lens.SET_ITEMS_SCHEMA),
            )
            self._write(
                "token_set_probability",
                lens_curves(self._table("token_set_probability_items"), **self._bootstrap),
            )
        self.facts["noise"] = lens.identifier_noise(lm, self.identifier, self.config.seed)
        self.facts["ceilings"] = lens.identifier_ceiling(self.identifier, gold_texts(self.prompts))
        n_positions = sum(text.stop - text.first for text in encoded)
        sources = count_sources(chosen, texts, settings.texts)
        self.facts["lens"] = self._costs(texts, n_positions, elapsed) | {
            **sources,
            "batches_read": (len(known) - n_known) // len(consumers),
            "batches_known": n_known // len(consumers),
        }

    def read_answers(self, reuse: Path | None) -> None:
        """The lens on the model's own answers, split by what became of the same item before tuning."""
        first = None if reuse is None else reuse / "lens_outcomes_items.parquet"
        if first is None:
            chosen = outcome_pairs(self.answers, PAIRS, self.config.seed)
            outcome = {one.prompt_id: _outcome(one) for one in chosen}
        else:
            rows = read_table(first).to_pylist() if first.is_file() else []
            outcome = {row["prompt_id"]: row["outcome"] for row in rows}
            chosen = [one for one in usable(self.answers) if one.prompt_id in outcome]
        texts = answer_texts(self.lm, chosen, self.questions)
        if not texts:
            self.facts["missing"]["lens_outcomes"] = (
                "no item was answered in the language asked for under one scenario and in another "
                "language under another, or there are no answers yet"
            )
            return
        encoded = encode_texts(self.lm, [text for _, text in texts])
        short = [first_positions(one, POSITIONS)[0] for one in encoded]
        counts = lens.WordCounts(self.lm, self.identifier)
        share, progress = self.processes.share, self.progress
        (found,) = read_texts(self.lm, short, [counts], share=share, progress=progress)
        merged = self._merge("lens_outcomes", found)
        if self.processes.rank:
            return
        items = pa.Table.from_batches(merged, lens.ITEMS_SCHEMA)
        names = {text_key(prompt): prompt.prompt_id for prompt, _ in texts}
        keys = zip(*(items[name].to_pylist() for name in TEXT_KEY), strict=True)
        ids = [names[key] for key in keys]
        items = items.append_column("prompt_id", pa.array(ids))
        items = items.append_column("outcome", pa.array([outcome[name] for name in ids]))
        self._write("lens_outcomes_items", items)
        parts = []
        for name in sorted(set(outcome.values())):
            part = items.filter(pc.equal(items["outcome"], name))
            curves = lens_curves(part, **self._bootstrap)
            parts.append(curves.append_column("outcome", pa.array([name] * len(curves))))
        self._write("lens_outcomes", pa.concat_tables(parts))
        self.facts["lens_outcomes"] = {"n_texts": len(texts), "positions": POSITIONS}

    def read_fitted(self, reuse: Path | None) -> None:
        """The lens on the same texts through maps that are fitted on others; of the untuned model."""
        if reuse is not None or not self.config.probe.fitted_lens:
            return
        fitted = fit_lens(self.lm, self.others.texts, self.progress)
        if fitted is None:
            self.facts["missing"]["fitted_lens"] = "there are no two texts to fit it on"
            return
        counts = lens.WordCounts(self.lm, self.identifier, self.config.probe.top_k)
        share, progress = self.processes.share, self.progress
        (found,) = read_texts(
            self.lm, self.encoded, [counts], mapped=fitted, share=share, progress=progress
        )
        merged = self._merge("fitted_lens", found)
        if self.processes.rank:
            return
        self._write("fitted_lens_items", pa.Table.from_batches(merged, lens.ITEMS_SCHEMA))
        self._write("fitted_lens", lens_curves(self._table("fitted_lens_items"), **self._bootstrap))
        self.facts["fitted_lens"] = {
            "source": self.others.source,
            "n_fitted": fitted.n_fitted,
            "n_held": fitted.n_held,
            "penalties": fitted.penalties,
            "explained": [round(one, 4) for one in fitted.explained],
        }

    def _token_sets(self, source: WordTexts) -> list[lens.SetProbabilities]:
        """The reader of token sets' probabilities, or none and the reason."""
        if len(source.texts) < 2:
            self.facts["missing"]["token_set_probability"] = (
                "it takes two languages to tell tokens apart"
            )
            return []
        sets = lens.exclusive_tokens(self.lm, source.texts, covered=source.covered)
        self.facts["token_set_probability"] = {
            "source": source.source,
            "min_count": lens.MIN_COUNT,
            "n_tokens": {code: len(tokens) for code, tokens in sets.tokens.items()},
            "coverage": dict(sets.coverage),
        }
        return [lens.SetProbabilities(self.lm, sets.tokens)]

    def _costs(self, texts: Sequence[LensText], n_positions: int, elapsed: float) -> dict[str, Any]:
        n_read = n_positions * (self.lm.n_layers + 1)
        settings = self.config.probe
        return {
            "n_texts": len(texts),
            "n_positions": n_positions,
            "texts": settings.texts,
            "positions": settings.positions,
            "top_k": settings.top_k,
            "processes": self.processes.world_size,
            "layer_positions_per_second": n_read / elapsed,
            "head_floor_seconds": _head_seconds(self.lm) * n_read,
            "logits_bytes": state_bytes(self.lm.structure),
        }

    def compare_translations(self) -> None:
        """Similarity of translations with its controls."""
        settings = self.config.probe
        prompts = settings.similarity_on == "prompts"
        items = parallel_items(self.prompts, settings.similarity_items, self.config.seed, prompts)
        languages = [c for c in self.config.languages if any(c in i.texts for i in items)]
        if len(languages) < 2 or len(items) < 4:
            self.facts["missing"]["similarity"] = "it takes two languages and four items"
            return
        states = pooled_states(
            self.lm,
            items,
            languages,
            pooling=settings.pooling,
            share=self.processes.share,
            progress=self.progress,
        )
        parts = self.processes.gather(states)
        if self.processes.rank:
            return
        whole = {code: np.sum([part[code] for part in parts], axis=0) for code in languages}
        result = compare_states(whole, items, **self._bootstrap)
        self._write("similarity_items", result.items)
        self._write("similarity", result.curves)
        self.facts["similarity"] = {"n_items": len(items), "pooling": settings.pooling}

    def hand_over(self) -> None:
        """Handover and block skipping."""
        wanted = self.config.probe.handover_items
        pairs = prompt_pairs(self.lm, self.prompts, self.config) if wanted else []
        if not pairs or not supports_handover(self.lm):
            self.facts["missing"]["handover"] = (
                "no item has an English prompt, too, and answers that begin with a word, or handover_items is 0"
                if not pairs
                else "the model keeps no key-value cache that could be used"
                + (f": {fault}" if (fault := cache_fault(self.lm)) else "")
            )
            return
        found = handover_batches(self.lm, pairs, share=self.processes.share, progress=self.progress)
        merged = self._merge("handover_items", found)
        if self.processes.rank:
            return
        self._write("handover_items", pa.Table.from_batches(merged, HANDOVER_ITEMS))
        items = self._table("handover_items")
        self._write("handover", handover_curves(items, **self._bootstrap))
        self.facts["handover"] = {"n_prompts": len(pairs)}

    @property
    def _bootstrap(self) -> dict[str, Any]:
        settings = self.config.probe
        return {
            "bootstrap": settings.bootstrap,
            "seed": self.config.seed,
            "confidence": settings.confidence,
        }

    def _merge(self, name: str, own: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """All processes' record batches, in the order in which one process would have made them."""
        parts = self.processes.gather(own)
        by_turn = zip_longest(*parts)
        return [one for turn in by_turn for one in turn if one is not None]

    def _write(self, name: str, table: pa.Table) -> None:
        with replacing(self.folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary)

    def _table(self, name: str) -> pa.Table:
        return read_table(self.folder / f"{name}.parquet")


TEXT_KEY = ("item_id", "kind", "scenario", "target_language")
"""Columns that name an item's text in the lens's table."""


def text_key(prompt: Prompt) -> tuple[str, str, str, str]:
    """A prompt's values of :data:`TEXT_KEY`."""
    return (prompt.item_id, prompt.kind, prompt.scenario, prompt.language)


def _outcome(answer: Answer) -> str:
    return "consistent" if answer.language_correct else "inconsistent"


def own_answers(
    lm: LanguageModel,
    config: RunConfig,
    progress: Progress = silent,
    processes: ProcessGroup | None = None,
) -> OwnAnswers:
    """What writes the model's own greedy answers to prompts.

    Args:
        processes: they divide the generation, and each gets all answers.
    """
    several = processes or ProcessGroup()

    def answer(prompts: Sequence[Prompt]) -> dict[str, str]:
        answers: dict[str, str] = {}

        def save(completions: list[Completion]) -> None:
            answers.update((done.prompt_id, done.answer) for done in completions)

        generate(
            lm,
            prompts,
            config.evaluate.model_copy(update={"temperature": 0.0}),
            model_config=config.model,
            seed=config.seed,
            share=several.share,
            save=save,
            progress=progress,
            label="answers to probe",
        )
        for part in several.gather(answers, everyone=True):
            answers.update(part)
        return answers

    return answer


def _head_seconds(lm: LanguageModel) -> float:
    """Seconds that norm and head take for one row, in a full block; best of three."""
    rows = torch.zeros((BLOCK_ROWS, lm.d_model), dtype=lm.dtype, device=lm.device)
    times = []
    for _ in range(3):
        started = time.monotonic()
        scan_head(lm.structure, rows, [])
        if rows.is_cuda:
            torch.cuda.synchronize()
        times.append(time.monotonic() - started)
    return min(times) / BLOCK_ROWS
