"""The sweep's picture: what each setting reaches, against what it trains and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from linguamap.charts.chart import Chart
from linguamap.charts.dots import sweep
from linguamap.run.files import replacing
from linguamap.sweep.table import ALL_AGREE, agrees, footnote
from linguamap.sweep.variants import LANGUAGE

Row = dict[str, Any]
MEASURES = ("language_consistency", "task_accuracy")


def write_picture(folder: Path, results: Row) -> None:
    """Write ``sweep.svg``, and ``.pdf`` and ``.png`` where their library is there; no older one stays.

    Nothing is drawn if no setting was measured.
    """
    kinds = ("svg", "pdf", "png")
    for kind in kinds:
        (folder / f"sweep.{kind}").unlink(missing_ok=True)
    measured = [facts for facts in results["groups"] if facts["n_seeds"]]
    chart = sweep_chart(measured, results["untuned"]) if measured else None
    for kind in kinds if find_spec("vl_convert") else kinds[:1]:
        if chart is not None:
            with replacing(folder / f"sweep.{kind}") as temporary:
                temporary.write_bytes(chart.encoded(kind))


def sweep_chart(measured: Sequence[Row], untuned: Row) -> Chart:
    """Both rates against trained share and seconds of tuning.

    Args:
        measured: groups of ``results.json``; drawn with 95 % intervals, or with their range over
            seeds where there are several.
        untuned: its rates are the dashed lines.
    """
    several = {(facts["epochs"], facts["learning_rate"]) for facts in measured if facts["epochs"]}
    rows = [
        {
            "number": number, "label": _label(facts, len(several) > 1), "family": _family(facts),
            "trained_share": 100 * (facts["trainable_share"] or 0.0),
            "seconds": facts["tuning_seconds"]["mean"],
        }
        | _rates(facts)
        for number, facts in enumerate(measured, start=1)
    ]  # fmt: skip
    notes = [footnote(measured).removeprefix(ALL_AGREE).strip()]
    if any(facts["n_seeds"] > 1 for facts in measured):
        notes.append("thick lines: range over seeds")
    return sweep(
        rows, untuned={name: untuned[name]["value"] for name in MEASURES},
        note="; ".join(filter(None, notes)),
    )  # fmt: skip


def _rates(facts: Row) -> Row:
    row: Row = {}
    for name in MEASURES:
        rate = facts[name]
        is_range = rate["low"] is None or rate["high"] is None
        ends = ("least", "most") if is_range else ("low", "high")
        row |= {name: rate["mean"], f"{name}_low": rate[ends[0]], f"{name}_high": rate[ends[1]],
                f"{name}_is_range": is_range, f"{name}_agree": agrees(rate)}  # fmt: skip
    return row


def _label(facts: Row, with_rate: bool) -> str:
    label = str(facts["label"])
    if with_rate and facts["epochs"]:
        label += f", {facts['epochs']} ep., {facts['learning_rate']:g}"
    return label + (f", {facts['n_seeds']} seeds" if facts["n_seeds"] > 1 else "")


def _family(facts: Row) -> str:
    if facts["label"].startswith(LANGUAGE):
        return "language alone"
    if facts["method"] != "selective":
        return str(facts["method"])
    is_last = facts["label"] == "chosen" or facts["label"].startswith("last:")
    return "last blocks" if is_last else "other blocks"
