"""What several runs took and how their settings differ, a column for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linguamap.charts.naming import STAGE_NAMES, duration, size
from linguamap.config import RunConfig
from linguamap.report.compare_charts import RunView
from linguamap.report.rates import is_number
from linguamap.report.run_values import Json

NO_FIGURE = "\N{EN DASH}"


def cost_rows(runs: Sequence[RunView]) -> list[list[str]]:
    """What each run took: stages, together, peak memory, size of the delta, machine."""
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.data.stages):
        found = [_stage(run, name).get("seconds") for run in runs]
        if any(map(is_number, found)):
            rows.append([STAGE_NAMES.get(name, name), *[_or_none(one, duration) for one in found]])
    sums = [
        sum(v for n in run.data.stages if is_number(v := _stage(run, n).get("seconds")))
        for run in runs
    ]
    rows.append(["Together", *[duration(one) if one else NO_FIGURE for one in sums]])
    peaks = [
        max((v for n in run.data.stages if is_number(v := _stage(run, n).get("peak_memory_bytes"))),
            default=None)
        for run in runs
    ]  # fmt: skip
    rows.append(["Peak memory", *[_or_none(one, size) for one in peaks]])
    deltas = [(run.data.tuning or {}).get("delta_bytes") for run in runs]
    if any(map(is_number, deltas)):
        rows.append(["Size of the delta", *[_or_none(one, size) for one in deltas]])
    machines = [(run.data.manifest or {}).get("machine") for run in runs]
    texts = [
        str(one.get("accelerator") or one.get("processor") or NO_FIGURE)
        if isinstance(one, dict)
        else NO_FIGURE
        for one in machines
    ]
    return [*rows, ["Machine", *texts]]


def _stage(run: RunView, name: str) -> Json:
    found = run.data.stages.get(name)
    return found if isinstance(found, dict) else {}


def _or_none(value: Any, write: Any) -> str:
    return write(float(value)) if is_number(value) else NO_FIGURE


def setting_rows(runs: Sequence[RunView]) -> list[list[str]]:
    """Settings in which the runs differ, a column for each run; defaults are filled in."""
    flat = [_flat(_complete(run.data.config)) for run in runs]
    names = dict.fromkeys(name for one in flat for name in one)
    return [
        [name, *[one.get(name, NO_FIGURE) for one in flat]]
        for name in names
        if len({one.get(name) for one in flat}) > 1
    ]


def _complete(config: Json) -> Json:
    try:
        return RunConfig.model_validate(config).model_dump()
    except ValueError:
        return config


def _flat(values: Json, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = NO_FIGURE if value is None else str(value)
    return found
