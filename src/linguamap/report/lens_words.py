"""What the language lens was read on, and how far tuning moved it, in words for the captions."""

from __future__ import annotations

from linguamap.charts.naming import count
from linguamap.report.rates import is_number
from linguamap.report.run_values import RunData, object_at

SAME_TO_THE_EYE = 0.10
"""Maps before and after whose shares nowhere differ by more than this are not drawn twice at the top."""


def texts_read(data: RunData) -> str:
    """Which texts the lens was read on; it ends a sentence that begins with ``Read on``.

    ``probe.json`` counts the kinds of texts; one from before it did is worded from the setting.
    """
    facts = object_at(data.probe, "lens")
    names = ("n_reference", "n_stand_in", "n_generated")
    reference, stand_in, generated = (
        int(found) if is_number(found := facts.get(name)) else 0 for name in names
    )
    setting = facts.get("texts") or object_at(data.config, "probe").get("texts")
    if generated or setting == "generated":
        return f"the model’s own answers to {_number(generated)}training prompts"
    answers = f"{_number(reference)}given right answers to training prompts"
    others = f"{_number(stand_in)}given questions or passages of training items without one"
    if (reference and not stand_in) or setting == "reference":
        return f"{answers}, not on the model’s own"
    if stand_in and not reference:
        return f"{_number(stand_in)}given questions or passages of training items, not on the model’s own answers"
    return f"{answers} and {others}, not on the model’s own answers"


def _number(n: int) -> str:
    return f"{count(n)} " if n else ""


def largest_move(data: RunData) -> float | None:
    """Largest change of a layer's share of the language asked for; None without both probes."""
    sides = [
        {
            (row["target_language"], row["layer"]): row["share"]
            for row in rows
            if row.get("word_language") == row.get("target_language")
            and is_number(row.get("share"))
        }
        for rows in (data.lens, data.lens_after)
    ]
    moves = [abs(sides[1][key] - share) for key, share in sides[0].items() if key in sides[1]]
    return max(moves, default=None)
