"""The sweep's rows, files and picture: read back from the variants' run folders."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from linguamap.charts.chart import Chart
from linguamap.charts.dots import sweep
from linguamap.records import Answer, Comparison, Phase
from linguamap.run.contents import as_json
from linguamap.run.files import (
    read_as,
    read_evaluation,
    read_json,
    replacing,
    write_json,
    write_text,
)
from linguamap.run.folder import Run
from linguamap.scoring.summary import own_answers
from linguamap.sweep.choice import MEASURES, RULE, Row, choose, group_variants
from linguamap.sweep.folders import failure, is_finished
from linguamap.sweep.table import ALL_AGREE, agrees, footnote, markdown
from linguamap.sweep.variants import LANGUAGE, Variant


def collect(base: Run, runs: Mapping[Variant, Run]) -> Row:
    """What ``results.json`` holds: the untuned model, one row for each variant, groups over seeds,
    and the choice among them."""
    before = _own(base, "before")
    rows: list[Row] = []
    answers: list[list[Answer] | None] = []
    for variant, run in runs.items():
        done = is_finished(run)
        rows.append({**_asked(variant), **(_measured(run) if done else _nothing(run))})
        answers.append(_own(run, "after") if done else None)
    groups = group_variants(rows, answers, before, base.config.seed)
    return {
        "model": base.config.model.name,
        "untuned": _rates(base, "before"),
        "rows": rows,
        "groups": [group.facts for group in groups],
        "rule": RULE,
        "choice": choose([group for group in groups if group.is_measured], base.config.seed),
    }


def write_results(base: Run, results: Row, *, picture: bool = False) -> Row:
    """Write ``sweep/results.json``, ``.csv`` and ``.md``, and ``sweep.svg``, ``.pdf`` and ``.png``."""
    folder = base.folder / "sweep"
    folder.mkdir(exist_ok=True)
    write_json(folder / "results.json", results)
    write_text(folder / "results.csv", as_csv(results["rows"]))
    write_text(folder / "results.md", markdown(results))
    if picture:
        write_picture(folder, results)
    return results


def as_csv(rows: list[Row]) -> str:
    """One line for each variant; inner tables as ``name.key``."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _asked(variant: Variant) -> Row:
    return {
        "name": variant.name,
        "label": variant.label,
        "method": variant.method,
        "layers": list(variant.blocks),
        "epochs": variant.epochs,
        "learning_rate": variant.learning_rate,
        "seed": variant.seed,
    }


def _measured(run: Run) -> Row:
    """Everything that a finished variant's files say."""
    tuning = read_json(run.folder / "tuned" / "tuning.json")
    overall = read_as(Comparison, run.folder / "comparison.json").overall
    stages = run.stages()
    epochs = tuning.get("seconds_per_epoch") or []
    spent = tuning.get("build_seconds") or 0.0
    alone = tuning.get("cache_seconds_alone", spent)
    return {
        **_rates(run, "after"),
        "language_change": as_json(overall.language_consistency),
        "task_change": as_json(overall.task_accuracy),
        "layers": tuning.get("layers", []),
        "trainable_share": tuning.get("trainable_share"),
        "trainable_parameters": tuning.get("trainable_parameters"),
        "build_seconds": spent,
        "build_seconds_alone": alone,
        "seconds_per_epoch": sum(epochs) / len(epochs) if epochs else None,
        "tuning_seconds": alone + sum(epochs),
        "answer_seconds": stages["after"].seconds,
        "total_seconds": sum(stages[stage].seconds for stage in ("tune", "after", "compare")),
        "peak_memory_bytes": tuning.get("peak_memory_bytes", stages["tune"].peak_memory_bytes),
        "delta_bytes": tuning.get("delta_bytes"),
        "best_epoch": tuning.get("best_epoch"),
        "stopped": tuning.get("stopped"),
        "reason": None,
    }


def _nothing(run: Run) -> Row:
    return {"reason": failure(run) or "not run yet"}


def _rates(run: Run, phase: Phase) -> Row:
    """The two rates over all answers, and right answers of all that were asked for."""
    whole = read_evaluation(run.folder, phase).summary.over_all
    rates = {name: as_json(getattr(whole, name)) for name in MEASURES}
    task = whole.task_accuracy
    return {
        **{name: {**rate, "n_items": whole.n_items[name]} for name, rate in rates.items()},
        "right": round((task.value or 0.0) * task.n),
        "right_in_language": whole.outcomes["both"],
        "asked": whole.n,
    }


def _own(run: Run, phase: Phase) -> list[Answer]:
    """A run's answers without those that repeat another scenario's prompt."""
    return own_answers(read_evaluation(run.folder, phase).answers)


def _flat(row: Row, prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            joined = isinstance(value, list)
            flat[prefix + name] = "+".join(map(str, value)) if joined else value
    return flat


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
        | _drawn_rates(facts)
        for number, facts in enumerate(measured, start=1)
    ]  # fmt: skip
    notes = [footnote(measured).removeprefix(ALL_AGREE).strip()]
    if any(facts["n_seeds"] > 1 for facts in measured):
        notes.append("thick lines: range over seeds")
    return sweep(
        rows, untuned={name: untuned[name]["value"] for name in MEASURES},
        note="; ".join(filter(None, notes)),
    )  # fmt: skip


def _drawn_rates(facts: Row) -> Row:
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
