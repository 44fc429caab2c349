"""What a terminal shows at the end of a run: the tables that matter, a screen long."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from linguamap.charts.naming import (
    EN_DASH,
    benchmark_name,
    percent,
    percent_exact,
    percent_range,
    points,
    scenario_name,
    spans,
)
from linguamap.languages import language_name
from linguamap.probes.curves import overtakings
from linguamap.records import PHASES, Change, Changes, Comparison, Rate, ScoreRow
from linguamap.report.tables import evidence_rows, front_rows, rule_rows, stage_rows
from linguamap.report.words import Words, is_clear, missing_stages
from linguamap.run.contents import Layers
from linguamap.run.read_run import RunContents, read_run

COLOURS = {1: "green", -1: "red", 0: ""}


def terminal_summary(run_dir: Path) -> list[RenderableType]:
    """The run on one screen: rates by scenario and benchmark, layers, tuning, time.

    Returns:
        Rich renderables, top to bottom; parts that were not run are left out. Names from the run are
        plain text, never markup.
    Raises:
        UserError: the folder is not a run.
    """
    run = read_run(run_dir)
    words = Words(html=False, run=run)
    parts: list[RenderableType] = [Text(words.one("headline"), style="bold")]
    parts += [Text(line, style="yellow") for line in words("warnings")]
    parts += map(Text, words("result"))
    parts.append(_rates(run))
    parts += [
        Text(line, style="dim") for name in ("items_used", "reservations") for line in words(name)
    ]
    parts += [
        Text(line, style="dim" if place else "") for place, line in enumerate(words("layers_found"))
    ]
    if run.tuning is not None:
        parts.append(Text(words.one("tuned")))
    if run.stages:
        parts.append(_table("stage", "time", "peak memory so far", rows=stage_rows(run)))
    if missing := missing_stages(run):
        parts.append(Text(f"Not run yet: {', '.join(missing)}.", style="dim"))
    return parts + [Text(fault, style="yellow") for fault in run.faults]


def stage_finding(run_dir: Path, stage: str) -> str | None:
    """What a finished stage found, in one line of a screen; None where the next stages say it."""
    run = read_run(run_dir)
    said: str | None = None
    if stage in PHASES and (
        summary := run.phase("after" if stage == "after" else "before").summary
    ):
        row = summary.over_all
        language, task = row.language_consistency, row.task_accuracy
        said = f"in the language {_rate(language)[0]} of {language.n}"
        if not language.n:
            said = f"the language of none of {row.n} answers could be identified"
        said += f", right {_rate(task)[0]} of {task.n}" if task.n else ""
    elif stage == "probe":
        leads = overtakings(run.before.lens, run.pivot)
        said = (
            f"{language_name(run.pivot)} is overtaken at layer "
            + (", ".join(f"{at or 'none'} ({code})" for code, at in leads.items()) or "none")
            + f" of {run.n_layers}"
        )
    elif stage == "locate" and (layers := run.layers):
        late, chosen = layers.phases.late_start, layers.tune_layers or layers.fallback_layers
        said = f"late phase from layer {late}" if late is not None else "no late phase found"
        said += f" of {layers.n_layers}; blocks to tune: {spans(chosen)}"
    elif stage == "tune" and (tuning := run.tuning):
        said = f"{percent_exact(tuning.trainable_share)} of the weights trained"
        losses = [loss for loss in tuning.validation_loss if loss is not None]
        said += f"; validation loss {losses[0]:.2f} to {min(losses):.2f}" if losses else ""
    elif stage == "compare" and (found := run.comparison):
        changes = (found.overall.language_consistency, found.overall.task_accuracy)
        said = "; ".join(
            f"{name} {points(one.difference)} points ({points(one.low)}, {points(one.high)})"
            for name, one in zip(("language", "task"), changes, strict=True)
            if one.difference is not None and one.low is not None and one.high is not None
        )
    return f"{stage}: {said}" if said else None


def show_layers(run_dir: Path) -> list[RenderableType]:
    """The phases, the chosen blocks and each language's evidence.

    Raises:
        UserError: the folder is not a run.
    """
    run = read_run(run_dir)
    parts: list[RenderableType] = [*map(Text, Words(html=False, run=run)("layers_found"))]
    if rows := evidence_rows(run):
        parts.append(_table("Language", "Boundary", "Lens", "Retrieval", "Centred cosine",
                            rows=[row[:-1] for row in rows]))  # fmt: skip
        for reason in dict.fromkeys(row[-1] for row in rows if row[-1]):
            languages = ", ".join(row[0] for row in rows if row[-1] == reason)
            parts.append(Text(f"[ ] not counted for {languages}: {reason}", style="dim"))
    return parts or [Text("The layers were not located yet.", style="dim")]


def show_rules(layers: Layers) -> list[RenderableType]:
    """What each rule that was computed would tune, with its strongest block and its cost."""
    found = rule_rows(layers)
    rows = [[("* " if row[0] == layers.rule else "  ") + row[0], *row[1:-1]] for row in found]
    notes = [Text(f"{row[0]}: {row[-1]}", style="dim") for row in found if row[-1]]
    heads = ("rule", "blocks", "share", "highest score", "time")
    about = "* the run's rule. Highest score: of which block; in brackets the score's uncertainty; layers.json says which."
    return [_table(*heads, rows=rows), *notes, Text(about, style="dim")]


def show_front(layers: Layers) -> list[RenderableType]:
    """The sets of blocks that each rule weighs, from the cheapest to the one that promises most."""
    rows = front_rows(layers)
    heads = ("rule", "blocks", "share", "gain", "an epoch", "memory")
    about = (
        f"Sets on the rule's front, * taken for {layers.aim}. Gain: of what the rule promises of all blocks. "
        "Time and memory are predicted, for this machine, from the gradients' time."
    )
    return ["", _table(*heads, rows=rows), Text(about, style="dim")] if rows else []


def _table(*heads: str, rows: list[list[str]] | list[list[str | Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _rates(run: RunContents) -> RenderableType:
    """Language consistency and task accuracy, before and after where both are there."""
    if run.comparison is not None and run.after.summary is not None:
        return _changes(run.comparison)
    if run.before.summary is None and run.after.summary is None:
        return Text("No answers yet.", style="dim")
    heads = ("in the language", "n", "right task", "n", "choice by letters", "guessing", "answers")
    return _table("", *heads, rows=_score_rows(run))


def _changes(found: Comparison) -> Table:
    named = [("all answers", found.overall)]
    named += [(scenario_name(name), one) for name, one in found.scenarios.items()]
    named += [(benchmark_name(name), one) for name, one in found.benchmarks.items()]
    rows = [[name, *_change_cells(one)] for name, one in named]
    return _table("", "language", "points (95%)", "task", "points (95%)", rows=rows)


def _change_cells(changes: Changes) -> list[str | Text]:
    return [*_change(changes.language_consistency), *_change(changes.task_accuracy)]


def _change(change: Change) -> list[str | Text]:
    """Before and after, and the difference; coloured where its interval excludes 0."""
    if change.before is None or change.after is None or change.difference is None:
        return [EN_DASH] * 2
    text = points(change.difference)
    if change.low is not None and change.high is not None:
        text += f" ({points(change.low)}, {points(change.high)})"
    rates = f"{percent(change.before).removesuffix('%')} to {percent(change.after)}"
    return [rates, Text(text, style=COLOURS[is_clear(change)])]


def _score_rows(run: RunContents) -> list[list[str]]:
    """Rates with their intervals where there is only one side."""
    rows = []
    for phase in PHASES:
        if (summary := run.phase(phase).summary) is None:
            continue
        suffix = f", {phase}" if run.after.summary else ""
        named = [("all answers", summary.over_all)]
        named += [(scenario_name(row.scenario), row) for row in summary.overall if row.scenario]
        named += [
            (benchmark_name(row.benchmark), row) for row in summary.by_benchmark if row.benchmark
        ]
        rows += [[f"{name}{suffix}", *_score_cells(row)] for name, row in named]
    return rows


def _score_cells(row: ScoreRow) -> list[str]:
    """Of multiple choice also what its letters alone would earn, and guessing."""
    alone = [row.letters.expected, row.letters.guess] if row.letters else [None, None]
    blind = [EN_DASH if rate is None else percent(rate) for rate in alone]
    return [*_rate(row.language_consistency), *_rate(row.task_accuracy), *blind, str(row.n)]


def _rate(rate: Rate) -> tuple[str, str]:
    """A rate with its interval, and the answers that it counts."""
    if rate.value is None or rate.low is None or rate.high is None:
        return EN_DASH, "0"
    return f"{percent(rate.value)} ({percent_range(rate.low, rate.high)})", str(rate.n)
