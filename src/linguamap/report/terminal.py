"""What a terminal shows at the end of a run: the tables that matter, a screen long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from linguamap.charts.naming import (
    EN_DASH,
    benchmark_name,
    language_name,
    model_title,
    percent,
    percent_exact,
    percent_range,
    points,
    scenario_name,
    spans,
)
from linguamap.records import Rate
from linguamap.report.findings import find
from linguamap.report.rates import grouped, headline_rates, is_number, own_rows, tally
from linguamap.report.reservations import reservations
from linguamap.report.run_values import Json, RunData, list_at, object_at, read_run
from linguamap.report.sentences import as_text
from linguamap.report.tables import evidence_rows, stage_rows

NOTHING = EN_DASH


def terminal_summary(run_dir: Path) -> list[RenderableType]:
    """The run on one screen: rates by scenario and benchmark, layers, tuning, time.

    Returns:
        Rich renderables, top to bottom; parts that were not run are left out. Names from the run are
        plain text, never markup.
    Raises:
        UserError: the folder is not a run.
    """
    data = read_run(Path(run_dir))
    finding = find(data)
    parts: list[RenderableType] = [Text(finding.headline, style="bold")]
    parts += [Text(as_text(sentence), style="yellow") for sentence in finding.warnings]
    parts.append(_rates(data))
    if held := object_at(data.comparison or {}, "non_inferiority").get("reason"):
        parts.append(Text(f"Non-inferiority: {held}", style="dim"))
    parts += [Text(line, style="dim") for line in items_used(data)]
    parts += [Text(as_text(sentence), style="dim") for sentence in reservations(data)]
    parts += _layers(data)
    if data.tuning is not None:
        parts.append(_tuning_line(data))
    if data.stages:
        parts.append(_stages(data))
    if finding.missing:
        parts.append(Text(f"Not run yet: {', '.join(finding.missing)}.", style="dim"))
    parts += [Text(fault, style="yellow") for fault in data.faults]
    return parts


def show_layers(run_dir: Path) -> list[RenderableType]:
    """The phases, the chosen blocks and each language's evidence.

    Raises:
        UserError: the folder is not a run.
    """
    data = read_run(Path(run_dir))
    parts = _layers(data)
    rows = evidence_rows(data)
    if rows:
        table = _table("Language", "Boundary", "Lens", "Retrieval", "Centred cosine")
        why: dict[str, list[str]] = {}
        for language, *figures, reason in rows:
            table.add_row(language, *figures)
            if reason:
                why.setdefault(reason, []).append(language)
        parts.append(table)
        for reason, languages in why.items():
            parts.append(Text(f"[ ] not counted for {', '.join(languages)}: {reason}", style="dim"))
    return parts or [Text("The layers were not located yet.", style="dim")]


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _rates(data: RunData) -> RenderableType:
    """Language consistency and task accuracy, before and after where both are there."""
    if not data.before and not data.after:
        return Text("No answers yet.", style="dim")
    if not data.after:
        return _rates_of_one(data)
    if not data.comparison:
        return _rates_of_one(data)
    table = _table("", "language", "points (95%)", "task", "points (95%)")
    for name, entry in _comparisons(data.comparison):
        table.add_row(
            name, *_change(entry, "language_consistency"), *_change(entry, "task_accuracy")
        )
    return table


def _comparisons(comparison: Json) -> list[tuple[str, Json]]:
    rows = [("all answers", object_at(comparison, "overall"))]
    for group, name_of in (("scenarios", scenario_name), ("benchmarks", benchmark_name)):
        rows += [(name_of(name), entry) for name, entry in object_at(comparison, group).items()]
    return rows


def _change(entry: Json, measure: str) -> list[RenderableType]:
    """Before and after, and the difference; coloured where its interval excludes 0."""
    found = object_at(entry, measure)
    before, after = found.get("before"), found.get("after")
    if not is_number(before) or not is_number(after):
        return [NOTHING] * 2
    low, high = found.get("low"), found.get("high")
    difference = points(after - before)
    style = ""
    if is_number(low) and is_number(high):
        difference += f" ({points(low)}, {points(high)})"
        style = "green" if low > 0 else "red" if high < 0 else ""
    return [
        f"{percent(before).removesuffix('%')} to {percent(after)}",
        Text(difference, style=style),
    ]


def _rates_of_one(data: RunData) -> RenderableType:
    """Rates with their intervals where there is only one side."""
    table = _table("", "in the language", "n", "right task", "n", "answers")
    for when, rows in (("before", data.before), ("after", data.after)):
        if not rows:
            continue
        suffix = f", {when}" if data.after else ""
        rates = headline_rates(data, when)
        if rates:
            table.add_row(
                f"all answers{suffix}", *_rate(rates[0]), *_rate(rates[1]), str(len(own_rows(rows)))
            )
        for key, name_of in (("scenario", scenario_name), ("benchmark", benchmark_name)):
            for (name,), group in grouped(own_rows(rows), (key,)).items():
                counted = tally(group)
                table.add_row(
                    f"{name_of(name)}{suffix}",
                    *_rate(counted.language),
                    *_rate(counted.task),
                    str(counted.n),
                )
    return table


def _rate(rate: Rate) -> tuple[str, str]:
    """A rate with its interval, and the answers that it counts."""
    if rate.value is None or rate.low is None or rate.high is None:
        return NOTHING, "0"
    return f"{percent(rate.value)} ({percent_range(rate.low, rate.high)})", str(rate.n)


def _span(counts: dict[str, Any]) -> str:
    least, most = min(counts.values()), max(counts.values())
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def items_used(data: RunData) -> list[str]:
    """One line a benchmark: how many of its items were asked, how many rows were left out, and
    which of the run's languages it lacks."""
    lines = []
    limit = object_at(data.config, "evaluate").get("items")
    for entry in list_at(data.summary_before, "benchmarks"):
        counts = {code: n for code, n in object_at(entry, "items").items() if is_number(n)}
        if not counts:
            continue
        asked = max(counts.values()) if limit is None else min(limit, max(counts.values()))
        rows = {code: n for code, n in object_at(entry, "rows_read").items() if is_number(n)}
        text = f"{benchmark_name(str(entry.get('name')))}: {asked} of {_span(counts)} items a cell"
        if rows:
            text += f", from {_span(rows)} rows a language"
        dropped = sum(one.get("rows", 1) for one in list_at(entry, "dropped"))
        if dropped:
            text += f"; {dropped} rows left out (summary.json says why)"
        if missing := list(entry.get("missing_languages") or []):
            text += f"; no items in {', '.join(map(language_name, missing))}"
        lines.append(text)
    return lines


def _layers(data: RunData) -> list[RenderableType]:
    layers = data.layers
    if layers is None:
        return []
    late = object_at(layers, "phases").get("late_start")
    interval = layers.get("late_start_interval")
    parts: list[RenderableType] = []
    if is_number(late):
        text = f"Late phase from layer {late}"
        if isinstance(interval, list) and len(interval) == 2:
            text += f" (95% interval {interval[0]}{EN_DASH}{interval[1]})"
        text += f" of {layers.get('n_layers')}"
    else:
        reason = object_at(layers, "evidence").get("reason")
        text = f"No blocks proposed: {reason}" if reason else "No late phase found"
    chosen = [one for one in list_at(layers, "tune_layers") if isinstance(one, int)]
    if chosen:
        text += f"; blocks to tune: {spans(chosen)}"
        if is_number(late) and min(chosen) > late:
            text += f" (of {late}{EN_DASH}{layers.get('n_layers')}; the budget decided)"
        if is_number(layers.get("trainable_share")):
            text += f", {percent_exact(layers['trainable_share'])} of the weights"
    parts.append(Text(text + "."))
    overtakes = object_at(layers, "overtakes_english")
    crossings = {code: layer for code, layer in overtakes.items() if is_number(layer)}
    if crossings:
        named = ", ".join(f"{language_name(code)} {layer}" for code, layer in crossings.items())
        parts.append(
            Text(f"The language asked for overtakes English at layer: {named}.", style="dim")
        )
    return parts


def _tuning_line(data: RunData) -> RenderableType:
    tuning = data.tuning or {}
    text = f"Tuned {model_title(data.model_name)}: {tuning.get('method', 'unknown method')}"
    if data.tuned_layers:
        text += f", block{'s' * (len(data.tuned_layers) != 1)} {spans(data.tuned_layers)}"
    if is_number(tuning.get("trainable_share")) and tuning["trainable_share"] == 0:
        text += ", nothing trained"
    elif is_number(tuning.get("trainable_share")):
        text += f", {percent_exact(tuning['trainable_share'])} of the weights"
    return Text(text + ".")


def _stages(data: RunData) -> RenderableType:
    table = _table("stage", "time", "peak memory so far")
    for name, seconds, memory, _ in stage_rows(data):
        table.add_row(Text(name), seconds, memory)
    return table
