"""The sweep's rows and files: read back from the variants' run folders."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from linguamap.records import Answer, Comparison, Phase
from linguamap.run.contents import as_json
from linguamap.run.files import read_as, read_evaluation, read_json, write_json, write_text
from linguamap.run.folder import Run
from linguamap.scoring.summary import own_answers
from linguamap.sweep.choice import MEASURES, RULE, choose, group_variants
from linguamap.sweep.folders import failure, is_finished
from linguamap.sweep.sweep_chart import write_picture
from linguamap.sweep.table import markdown
from linguamap.sweep.variants import Variant

Row = dict[str, Any]


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
