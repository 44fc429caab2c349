"""Probe tables with a known boundary, for tests and for the simulation in docs/methods/probes.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from linguamap.probes.curves import Array
from linguamap.probes.lens import ITEMS_SCHEMA as LENS_SCHEMA
from linguamap.probes.similarity import ITEMS_SCHEMA as SIMILARITY_SCHEMA


@dataclass(frozen=True)
class Planted:
    """Curves of a model whose late phase begins at ``turn`` (a real-valued layer).

    Attributes:
        width: layers over which the change runs; 0 is a step.
        item_noise: scatter between items, which is what the bootstrap must see.
        flat: no late phase at all: English and target are level, nothing falls.
        english: share of English words before the late phase.
    """

    turn: float = 14.5
    n_layers: int = 18
    width: float = 1.0
    item_noise: float = 0.1
    flat: bool = False
    english: float = 0.8

    def lateness(self) -> Array:
        """(layer,) from 0 in the middle phase to 1 in the late one, 1/2 at ``turn``."""
        layers = np.arange(self.n_layers + 1, dtype=np.float64)
        if self.flat:
            return np.full(len(layers), 0.5)
        if self.width == 0:
            return (layers >= self.turn).astype(np.float64)
        return np.clip((layers - self.turn) / (2 * self.width) + 0.5, 0, 1)

    def rise(self) -> Array:
        """(layer,) from 0 in the first layers to 1 from layer 7 on; half done at layer 4."""
        return np.clip((np.arange(self.n_layers + 1) - 1) / 6, 0, 1)

    def lens_shares(self) -> tuple[Array, Array]:
        """(layer,) shares of target and English words; level at ``turn``."""
        late = self.lateness()
        return 0.1 + 0.7 * late, self.english - (self.english - 0.1) * late

    def similarity_values(self) -> Array:
        """(layer,) retrieval or centred cosine."""
        fall = 0.0 if self.flat else 0.5 * self.lateness()
        return 0.1 + 0.7 * self.rise() - fall * (self.rise() >= 1)


def lens_table(
    planted: Planted, languages: list[str], n_groups: int, rng: np.random.Generator
) -> pa.Table:
    """Word counts per item, each item with its own leaning for or against the target."""
    own, english = planted.lens_shares()
    rows: list[dict[str, object]] = []
    for language in languages:
        for g in range(n_groups):
            lean = rng.normal(0, planted.item_noise)
            n_words = int(rng.integers(15, 45))
            for layer in range(planted.n_layers + 1):
                share = np.clip(own[layer] + lean, 0.01, 0.98)
                other = np.clip(english[layer] - lean, 0.01, 0.99 - share)
                counts = rng.multinomial(n_words, [share, other, 1 - share - other])
                for name, n in zip((language, "en", None), counts, strict=True):
                    rows.append(
                        {"item_id": f"i{g}", "group": f"g{g}", "kind": "sums"}
                        | {"scenario": "monolingual", "target_language": language, "layer": layer}
                        | {"word_language": name, "n": int(n), "n_words": n_words}
                    )
    return pa.Table.from_pylist(rows, LENS_SCHEMA)


def similarity_table(
    planted: Planted, languages: list[str], n_groups: int, rng: np.random.Generator
) -> pa.Table:
    """Retrieval and centred cosine of English-target pairs per item."""
    values = planted.similarity_values()
    rows: list[dict[str, object]] = []
    for language in languages:
        for g in range(n_groups):
            lean = rng.normal(0, planted.item_noise)
            luck = rng.random()  # an item that is easy to find is so in most layers
            for layer in range(planted.n_layers + 1):
                own_luck = luck if rng.random() < 0.7 else rng.random()
                rows.append(
                    {"layer": layer, "language_a": "en", "language_b": language}
                    | {"item_id": f"i{g}", "group": f"g{g}", "kind": "sums"}
                    | {"cosine": 0.99, "cosine_unrelated": 0.98, "centred_unrelated": 0.0}
                    | {"centred": float(values[layer] + lean + rng.normal(0, 0.05))}
                    | {"retrieval": float(own_luck < values[layer])}
                )
    return pa.Table.from_pylist(rows, SIMILARITY_SCHEMA)
