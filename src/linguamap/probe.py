"""The probe stage: lens, similarity and handover over training items, written to the run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from linguamap.config import RunConfig
from linguamap.handover import handover, handover_curves, supports_handover
from linguamap.headscan import BLOCK_ROWS, TopTokens, scan_head, state_bytes
from linguamap.langid import Identifier
from linguamap.lens import identifier_ceiling, language_lens, lens_curves
from linguamap.lens_text import encode_texts
from linguamap.model import LanguageModel
from linguamap.probe_texts import gold_texts, lens_prompts, lens_texts, parallel_items, twins
from linguamap.progress import Progress, silent
from linguamap.records import Prompt, UserError
from linguamap.similarity import similarity
from linguamap.store import replacing, write_json


def run_probe(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    out_dir: Path,
    progress: Progress = silent,
    reuse: Path | None = None,
) -> dict[str, Any]:
    """Run all probes and write their tables.

    Writes ``lens``, ``similarity`` and ``handover`` (curves), ``lens_items``, ``similarity_items``
    and ``handover_items`` (what the curves are made of) as Parquet, ``lens_tokens.npz`` (arg-max
    ids by hash of the states they were read from) and, last, ``probe.json``.

    Args:
        prompts: training prompts, monolingual and code-mixed, all languages.
        reuse: an earlier probe folder of the same prompts. Every state is computed again; where one
            is bit for bit what it was, its arg-max tokens are taken from there.
    Raises:
        UserError: nothing to read.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    facts = _facts(lm, identifier)
    seconds = facts["seconds"]
    started = time.monotonic()
    _lens(lm, prompts, config, identifier, out_dir, progress, reuse, facts)
    seconds["lens"] = time.monotonic() - started
    started = time.monotonic()
    _similarity(lm, prompts, config, out_dir, progress, facts)
    seconds["similarity"] = time.monotonic() - started
    started = time.monotonic()
    _handover(lm, prompts, config, identifier, out_dir, progress, facts)
    seconds["handover"] = time.monotonic() - started
    write_json(out_dir / "probe.json", facts)
    return facts


def change_outside(before: Path, after: Path, tune_layers: Sequence[int]) -> dict[str, Any]:
    """How much of the change of the curves between two probes lies in the tuned blocks.

    The change of a curve at a layer is the absolute difference. Layers below the first tuned block
    cannot change; those above one that are not tuned themselves change because of it.

    Returns:
        ``share_in_tuned``, ``share_below`` and ``share_downstream`` of the summed change of the
        lens curves (null if nothing changed), ``largest_below``, the same per curve under
        ``curves``, and the mean change of each layer. Handover is left out: its curve at a layer
        depends on all blocks above it.
    """
    if not tune_layers:
        raise UserError("change: no layers were tuned, so there is nothing to compare")
    keys = {
        "lens": (["target_language", "word_language"], "share"),
        "similarity": (["language_a", "language_b", "kind", "measure"], "value"),
    }
    curves = {
        name: _change(
            pq.read_table(before / f"{name}.parquet"),
            pq.read_table(after / f"{name}.parquet"),
            columns,
            value,
            sorted(tune_layers),
        )
        for name, (columns, value) in keys.items()
        if (before / f"{name}.parquet").is_file() and (after / f"{name}.parquet").is_file()
    }
    lens = {k: v for k, v in curves["lens"].items() if k != "by_layer"}
    return {**lens, "tuned": sorted(tune_layers), "curves": curves}


def _change(
    before: pa.Table, after: pa.Table, keys: list[str], value: str, tuned: list[int]
) -> dict[str, Any]:
    def by_key(table: pa.Table) -> dict[tuple[Any, ...], float]:
        rows = table.to_pylist()
        return {(r["layer"], *(r[k] for k in keys)): r[value] for r in rows if r[value] is not None}

    first, second = by_key(before), by_key(after)
    moved: dict[int, list[float]] = {}
    for key in first.keys() | second.keys():
        # A language in which no word was read has no row: its share is 0 there.
        difference = abs(first.get(key, 0.0) - second.get(key, 0.0))
        moved.setdefault(int(key[0]), []).append(difference)
    total = sum(map(sum, moved.values()))
    below = [sum(v) for layer, v in moved.items() if layer < tuned[0]]
    inside = [sum(v) for layer, v in moved.items() if layer in tuned]
    largest = max((max(v) for layer, v in moved.items() if layer < tuned[0]), default=0.0)
    return {
        "share_in_tuned": sum(inside) / total if total else None,
        "share_below": sum(below) / total if total else None,
        "share_downstream": (total - sum(inside) - sum(below)) / total if total else None,
        "largest_below": largest,
        "by_layer": {str(layer): float(np.mean(v)) for layer, v in sorted(moved.items())},
    }


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


def _lens(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    out_dir: Path,
    progress: Progress,
    reuse: Path | None,
    facts: dict[str, Any],
) -> None:
    texts = lens_texts(lm, lens_prompts(prompts, config.probe.items, config.seed), config, progress)
    known = _load_tokens(reuse)
    n_known = len(known)
    started = time.monotonic()
    table = language_lens(
        lm,
        texts,
        identifier,
        positions=config.probe.positions,
        top_k=config.probe.top_k,
        known=known,
        progress=progress,
    )
    elapsed = time.monotonic() - started
    curves = lens_curves(
        table,
        bootstrap=config.probe.bootstrap,
        seed=config.seed,
        confidence=config.probe.confidence,
    )
    _write_table(out_dir / "lens_items.parquet", table)
    _write_table(out_dir / "lens.parquet", curves)
    with replacing(out_dir / "lens_tokens.npz") as path, open(path, "wb") as file:
        arrays: Any = {digest: ids.numpy() for digest, ids in known.items()}
        np.savez_compressed(file, **arrays)
    positions = [e.stop - e.first for e in encode_texts(lm, texts, config.probe.positions)]
    facts["ceilings"] = identifier_ceiling(identifier, gold_texts(prompts))
    facts["lens"] = {
        "n_texts": len(texts),
        "n_positions": sum(positions),
        "texts": config.probe.texts,
        "positions": config.probe.positions,
        "top_k": config.probe.top_k,
        "layer_positions_per_second": sum(positions) * (lm.n_layers + 1) / elapsed,
        "head_floor_seconds": _head_seconds(lm) * sum(positions) * (lm.n_layers + 1),
        "logits_bytes": state_bytes(lm.structure),
        "batches_read": len(known) - n_known,
        "batches_known": n_known,
    }


def _similarity(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    out_dir: Path,
    progress: Progress,
    facts: dict[str, Any],
) -> None:
    items = parallel_items(prompts, config.probe.similarity_items, config.seed)
    languages = [code for code in config.languages if any(code in i.texts for i in items)]
    if len(languages) < 2 or len(items) < 4:
        facts["missing"]["similarity"] = "it takes two languages and four items"
        return
    result = similarity(
        lm,
        items,
        languages,
        pooling=config.probe.pooling,
        bootstrap=config.probe.bootstrap,
        seed=config.seed,
        confidence=config.probe.confidence,
        progress=progress,
    )
    _write_table(out_dir / "similarity_items.parquet", result.items)
    _write_table(out_dir / "similarity.parquet", result.curves)
    facts["similarity"] = {"n_items": len(items), "pooling": config.probe.pooling}


def _handover(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    config: RunConfig,
    identifier: Identifier,
    out_dir: Path,
    progress: Progress,
    facts: dict[str, Any],
) -> None:
    pairs = twins(lm, prompts, config) if config.probe.handover_items else []
    if not pairs or not supports_handover(lm):
        facts["missing"]["handover"] = (
            "no item has an English twin, or handover_items is 0"
            if not pairs
            else "the model keeps no key-value cache"
        )
        return
    table = handover(lm, pairs, identifier, progress=progress)
    curves = handover_curves(
        table,
        bootstrap=config.probe.bootstrap,
        seed=config.seed,
        confidence=config.probe.confidence,
    )
    _write_table(out_dir / "handover_items.parquet", table)
    _write_table(out_dir / "handover.parquet", curves)
    facts["handover"] = {"n_prompts": len(pairs)}


def _head_seconds(lm: LanguageModel) -> float:
    """Seconds that norm, head and arg-max take for one row, in a full block; best of three."""
    rows = torch.zeros((BLOCK_ROWS, lm.d_model), dtype=lm.dtype, device=lm.device)
    times = []
    for _ in range(3):
        started = time.monotonic()
        scan_head(lm.structure, rows, [TopTokens()])
        times.append(time.monotonic() - started)
    return min(times) / BLOCK_ROWS


def _load_tokens(folder: Path | None) -> dict[str, Tensor]:
    path = None if folder is None else folder / "lens_tokens.npz"
    if path is None or not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def _write_table(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
