"""The sweep's table: as Markdown for a page, and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from linguamap.sweep.choice import Row

ALL_AGREE = "†"
"""After an interval that rests on the number of items alone."""
HEADS = (
    "Setting", "Blocks", "Trained", "Epochs", "Rate", "Seeds", "Language %", "Change (95 %)",
    "Task %", "Change (95 %)", "Right", "Seconds", "Answers s", "Peak GB", "Delta MB",
)  # fmt: skip
NOTES = (
    "Language, task: rate over all judged answers, with its 95 % interval in round brackets, or mean "
    "with the range over seeds in square ones where there are several. Change: points against the untuned model on the same prompts, "
    "with p where there is one seed (sign-flip test over items; McNemar's exact test where each item "
    "has one prompt). Right: answers with the right task result, of all "
    "asked. Seconds: building the boundary states as if alone, and all epochs. Answers s: loading "
    "the tuned model and answering all prompts. Peak: largest "
    "resident size of the process that tuned, model loading included."
)


def markdown(results: Row) -> str:
    """``results.md``: the table, what failed, and the choice."""
    lines = [_line(HEADS), _line(["---"] + ["---:"] * (len(HEADS) - 1))]
    lines += [_line(cells) for cells in table_cells(results)]
    lines += ["", NOTES]
    lines += ["", note] if (note := footnote(_shown(results))) else []
    lines += ["", *(f"- {one}" for one in failures(results))] if failures(results) else []
    lines += ["", *(f"{one}\n" for one in verdict(results))]
    return "\n".join(lines).rstrip() + "\n"


def terminal_table(results: Row) -> list[RenderableType]:
    """The same for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for cells in table_cells(results):
        table.add_row(*(Text(cell) for cell in cells))
    parts: list[RenderableType] = [table]
    parts += [Text(note, style="dim")] if (note := footnote(_shown(results))) else []
    parts += [Text(one, style="yellow") for one in failures(results)]
    parts += [Text(one) for one in verdict(results)]
    return parts


def table_cells(results: Row) -> list[list[str]]:
    """One row for the untuned model, and one for each setting that was measured."""
    untuned = results["untuned"]
    first = ["untuned", "–", "0 %", "–", "–", "–"]
    first += [_rate(untuned["language_consistency"]), "–"]
    first += [_rate(untuned["task_accuracy"]), "–"]
    first += [f"{untuned['right']}/{untuned['asked']}", "–", "–", "–", "–"]
    return [first, *(_cells(facts) for facts in results["groups"] if facts["n_seeds"])]


def agrees(rate: Row) -> bool:
    """Whether all judged answers agree, so that the interval is as if each item were one answer."""
    value = rate.get("value", rate.get("mean"))
    return value in (0, 1) and rate.get("low") is not None


def footnote(rows: Sequence[Row]) -> str:
    """What :data:`ALL_AGREE` means in these rows; empty if it is in none."""
    rates = [row[name] for row in rows for name in ("language_consistency", "task_accuracy")]
    items = sorted({rate["n_items"] for rate in rates if agrees(rate)})
    if not items:
        return ""
    return f"{ALL_AGREE} all agree: counted as {' or '.join(map(str, items))} items."


def _shown(results: Row) -> list[Row]:
    return [results["untuned"], *(facts for facts in results["groups"] if facts["n_seeds"])]


def failures(results: Row) -> list[str]:
    """A line for each variant without a result."""
    return [f"{row['name']}: {row['reason']}" for row in results["rows"] if row["reason"]]


def verdict(results: Row) -> list[str]:
    """The choice, its reason, and what cannot be told from it."""
    choice = results["choice"]
    if choice is None:
        return ["No variant was measured, so none is chosen."]
    lines = [f"Best: {choice['best']}. {choice['reason']}"]
    if choice["best_trained"] not in (None, choice["best"]):
        lines.append(f"Best of the trained settings, by the same rule: {choice['best_trained']}.")
    for name, what in (
        ("ties", "Cannot be told from"),
        ("clearly_below", "Below, by an uncorrected interval,"),
    ):
        others = [f"{one['setting']} {_points(one)}" for one in choice[name]]
        if others:
            lines.append(f"{what} the highest (difference in points): {'; '.join(others)}.")
    if choice["excluded"]:
        lines.append(f"Left out for lost task accuracy: {'; '.join(choice['excluded'])}.")
    return [*lines, f"Rule: {results['rule']}"]


def blocks(numbers: Sequence[int]) -> str:
    """``15-18`` for neighbours, ``4, 11`` for others."""
    if len(numbers) > 2 and all(b == a + 1 for a, b in pairwise(numbers)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers)) or "–"


def _cells(facts: Row) -> list[str]:
    share = facts["trainable_share"]
    peak, delta = facts["peak_memory_bytes"]["mean"], facts["delta_bytes"]
    return [
        facts["label"],
        "all" if facts["method"] == "full" else blocks(facts["layers"]),
        "–" if share is None else f"{100 * share:.2f} %",
        "–" if facts["epochs"] is None else str(facts["epochs"]),
        "–" if facts["learning_rate"] is None else f"{facts['learning_rate']:g}",
        ", ".join(map(str, facts["seeds"])) or "–",
        _rate(facts["language_consistency"]),
        _points(facts["language_change"]),
        _rate(facts["task_accuracy"]),
        _points(facts["task_change"]),
        f"{_mean(facts['right'])}/{facts['asked']}",
        f"{facts['tuning_seconds']['mean']:.0f}",
        f"{facts['answer_seconds']['mean']:.0f}",
        "–" if peak is None else f"{peak / 1e9:.2f}",
        "–" if delta is None else f"{delta / 1e6:.1f}",
    ]


def _mean(spread: Row) -> str:
    return f"{spread['mean']:.1f}".removesuffix(".0")


def _rate(rate: Row) -> str:
    """A rate with its interval, or a mean with its range over seeds."""
    value = rate.get("value", rate.get("mean"))
    if value is None:
        return "–"
    low, high = rate.get("low"), rate.get("high")
    if low is not None and high is not None:
        mark = ALL_AGREE if agrees(rate) else ""
        return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f}){mark}"
    low, high = rate.get("least"), rate.get("most")
    if low is None or high is None:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} [{100 * low:.1f} to {100 * high:.1f}]"


def _points(change: Row) -> str:
    if change["difference"] is None:
        return "–"
    text = f"{100 * change['difference']:+.1f}"
    if change["low"] is not None:
        text += f" ({100 * change['low']:+.1f} to {100 * change['high']:+.1f})"
    p_value = change.get("p_value")
    if p_value is not None:
        text += " p<.001" if p_value < 0.001 else f" p={p_value:.3f}".replace("0.", ".", 1)
    return text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
