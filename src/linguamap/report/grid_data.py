"""Tokens x layers of single prompts in a form small enough to travel inside the page.

Words and tokens repeat over layers, positions and models, so every distinct text is stored once and a
cell is four whole numbers. What is not laid out as it should be is left out, never guessed.
"""

from __future__ import annotations

from typing import Any

from linguamap.report.answer_table import embed_json
from linguamap.report.rates import is_number
from linguamap.report.run_values import Json, RunData, list_at

BUDGET_BYTES = 1_200_000
"""Room for the grids of all prompts; those that do not fit are left out and counted."""

MAX_CELL = 40
"""Characters of a cell's text that are kept."""

MAX_TEXT = 6000
"""Characters of a prompt or answer that are kept."""

CELL = 4
"""Numbers a cell: text of the word, of the token (each a place in ``texts``), of the language
(-1: none), and the probability in percent (-1: not known)."""


def grid_data(data: RunData, budget: int = BUDGET_BYTES) -> Json | None:
    """The grids of a run before and after tuning, prompt by prompt; None if it has none.

    Returns:
        ``texts``: distinct cell texts; ``languages``: distinct codes; ``prompts``: for each prompt
        ``item``, ``kind``, ``scenario``, ``language``, ``prompt``, ``answer`` and the sides
        ``before`` and ``after``: null or ``layers`` (numbers of the rows), ``tokens`` (what stands in
        the answer) and ``cells`` (layer -> numbers, :data:`CELL` for each position);
        ``left_out``: prompts that did not fit.
    """
    before, after = _by_prompt(data.grid), _by_prompt(data.grid_after)
    keys = list(dict.fromkeys([*before, *after]))
    table: Json = {"texts": [], "languages": [], "prompts": [], "left_out": 0}
    texts: dict[str, int] = {}
    languages: dict[str, int] = {}
    used = 0
    for key in keys:
        entry = before.get(key) or after[key]
        sides = {
            when: _side(found[key], texts, languages) if key in found else None
            for when, found in (("before", before), ("after", after))
        }
        prompt = {
            "item": _short(entry.get("item_id")),
            "kind": _short(entry.get("kind")),
            "scenario": _short(entry.get("scenario")),
            "language": _short(entry.get("language")),
            "prompt": str(entry.get("prompt") or "")[:MAX_TEXT],
            "answer": str(entry.get("answer") or "")[:MAX_TEXT],
            **sides,
        }
        used += len(embed_json(prompt).encode("utf-8"))
        if used > budget and table["prompts"]:
            table["left_out"] = len(keys) - len(table["prompts"])
            break
        table["prompts"].append(prompt)
    table["texts"], table["languages"] = list(texts), list(languages)
    return table if table["prompts"] else None


def _by_prompt(grid: Json | None) -> dict[str, Json]:
    """Well-formed prompts of a ``grid.json`` by id, each with the numbers of its layers."""
    layers = [one for one in list_at(grid, "layers") if isinstance(one, int)]
    found: dict[str, Json] = {}
    for entry in list_at(grid, "prompts"):
        if isinstance(entry, dict) and _is_whole(entry, len(layers)):
            found.setdefault(str(entry.get("prompt_id")), {**entry, "layers": layers})
    return found


def _is_whole(entry: Json, n_layers: int) -> bool:
    """Whether there is a row of cells for each layer and a cell for each token."""
    tokens, cells = list_at(entry, "tokens"), list_at(entry, "cells")
    return (
        len(tokens) > 0
        and len(cells) == n_layers > 0
        and all(isinstance(row, list) and len(row) == len(tokens) for row in cells)
        and all(isinstance(cell, dict) for row in cells for cell in row)
    )


def _side(entry: Json, texts: dict[str, int], languages: dict[str, int]) -> Json:
    def place(pool: dict[str, int], text: Any) -> int:
        return pool.setdefault(_short(text), len(pool))

    rows = []
    for row in entry["cells"]:
        numbers: list[int] = []
        for cell in row:
            code, share = cell.get("l"), cell.get("p")
            numbers += [
                place(texts, cell.get("w") or cell.get("t") or ""),
                place(texts, cell.get("t") or ""),
                -1 if code is None else place(languages, code),
                round(100 * min(1.0, max(0.0, share))) if is_number(share) else -1,
            ]
        rows.append(numbers)
    return {
        "layers": entry["layers"],
        "tokens": [_short(token) for token in entry["tokens"]],
        "cells": rows,
    }


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"
