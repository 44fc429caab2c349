"""How much of the change of the curves lies in the blocks that were tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from linguamap.probes.curves import read_table
from linguamap.records import UserError


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
        "mass": (["target_language", "set_language"], "mass"),
        "similarity": (["language_a", "language_b", "kind", "measure"], "value"),
    }
    curves = {
        name: _change(
            read_table(before / f"{name}.parquet"),
            read_table(after / f"{name}.parquet"),
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
    for key in dict.fromkeys([*first, *second]):
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
