"""The charts of runs: frames from a run's contents, given to :mod:`linguamap.charts`.

One place says which chart draws which file; the page, the comparison and ``linguamap figures`` take
their charts from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from linguamap.charts.chart import FORMATS, Chart
from linguamap.charts.curve_panel import LayerMarks
from linguamap.charts.dots import change
from linguamap.charts.layer_maps import language_map, token_grid
from linguamap.charts.naming import LANGUAGE_NAMES, OUTCOME_NAMES, scenario_name, spans
from linguamap.charts.outcome_map import outcome_map, outcomes
from linguamap.charts.probe_charts import (
    fitted_lens,
    handover,
    lens,
    lens_outcomes,
    similarity,
    token_set_probability,
)
from linguamap.charts.svg import Control
from linguamap.charts.training_charts import layer_change, loss, rule_front, rule_scores
from linguamap.languages import language_name
from linguamap.records import OUTCOMES, PHASES, ScoreRow, UserError
from linguamap.run.contents import GridPrompt
from linguamap.run.files import replacing
from linguamap.run.read_run import RunContents, Table, read_run

GRID_CELLS = 24_000
"""Cells of texts in depth that a page holds; the rest stays in the run folder."""
MAX_TEXT = 6000
"""Characters of a prompt and its text that are kept."""
MAX_CELL = 40
"""Characters of a cell's text that are kept."""


@dataclass(frozen=True)
class RunView:
    """A run as a page of several names it.

    Attributes:
        letter: A, B, C ..., its name in drawings.
        title: model and, where tuned, method.
        folder: name of the run folder.
        report: address of the run's own page relative to this one; None if there is none.
    """

    letter: str
    title: str
    folder: str
    report: str | None
    run: RunContents


def marks_of(run: RunContents) -> LayerMarks:
    """What is drawn on the axis of a run's layers."""
    layers, tuned = run.layers, run.tuning is not None
    if layers is None:
        return LayerMarks(run.n_layers, tuned=run.tuned_layers, were_tuned=tuned)
    late, interval = layers.phases.late_start, layers.late_start_interval
    return LayerMarks(run.n_layers, late, interval, run.tuned_layers, tuned)


def curves_of(run: RunContents, table: str, *, after: bool = True) -> Table:
    """The rows of a probe's table before and after tuning as one frame with the column ``phase``."""
    phases = PHASES if after else PHASES[:1]
    return [{"phase": name, **row} for name in phases for row in getattr(run.phase(name), table)]


def lens_chart(run: RunContents) -> Chart | None:
    if not (rows := curves_of(run, "lens")):
        return None
    probe, pivot = run.before.probe, run.pivot
    ceilings = {c: one.value for c, one in probe.ceilings.items() if one.value is not None} if probe else {}  # fmt: skip
    return lens(
        rows, languages=run.languages, pivot=pivot, marks=marks_of(run), ceilings=ceilings,
        noise=probe.noise.shares.get(pivot) if probe else None,
        overtakes=run.layers.overtakes_english if run.layers else None,
    )  # fmt: skip


def fitted_lens_chart(run: RunContents) -> Chart | None:
    """The lens through fitted maps, beside the plain one dashed."""
    if not run.before.fitted_lens:
        return None
    layers = run.layers
    return fitted_lens(
        [{**row, "lens": name} for name, rows in (("fitted", run.before.fitted_lens), ("plain", run.before.lens))
         for row in rows],
        languages=run.languages, pivot=run.pivot, marks=marks_of(run),
        overtakes=layers.fitted_overtakes_english if layers else None,
    )  # fmt: skip


def lens_outcomes_chart(run: RunContents) -> Chart | None:
    rows = curves_of(run, "lens_outcomes")
    return lens_outcomes(rows, languages=run.languages, marks=marks_of(run)) if rows else None


def map_chart(run: RunContents, *, compact: bool = False, after: bool = True) -> Chart | None:
    """The language map, before and (where ``after``) after tuning."""
    if not (rows := curves_of(run, "lens", after=after)):
        return None
    return language_map(rows, languages=run.languages, pivot=run.pivot, marks=marks_of(run),
                        compact=compact)  # fmt: skip


def probability_chart(run: RunContents) -> Chart | None:
    rows = curves_of(run, "token_set_probability")
    facts = run.before.probe
    coverage = facts.token_set_probability.coverage if facts else None
    return token_set_probability(
        rows, languages=run.languages, pivot=run.pivot, marks=marks_of(run), coverage=coverage
    ) if rows else None  # fmt: skip


def similarity_chart(run: RunContents) -> Chart | None:
    if not (rows := curves_of(run, "similarity")):
        return None
    return similarity(rows, languages=run.languages, pivot=run.pivot, marks=marks_of(run))


def handover_chart(run: RunContents) -> Chart | None:
    rows = [{**row, "share": row["shift"]} for row in curves_of(run, "handover")]
    return handover(rows, languages=run.languages, marks=marks_of(run)) if rows else None


def score_rows(run: RunContents, pool: str) -> list[tuple[str, ScoreRow]]:
    """Rows of the summaries with their phase: each place before and after, in order."""
    found = [(phase, row) for phase in PHASES if (summary := run.phase(phase).summary)
             for row in getattr(summary, pool)]  # fmt: skip
    places = dict.fromkeys((row.benchmark, row.scenario, row.language) for _, row in found)
    order = {place: number for number, place in enumerate(places)}
    return sorted(found, key=lambda one: order[one[1].benchmark, one[1].scenario, one[1].language])


def _outcome_rows(run: RunContents, pool: str) -> Table:
    return [
        {
            "phase": phase, "benchmark": row.benchmark, "language": row.language,
            "scenario": row.scenario, "coincides_with": row.coincides_with,
            **_counts(run, row),
            **{f"{name}_{key}": getattr(rate, field)
               for name, rate in (("language", row.language_consistency), ("task", row.task_accuracy))
               for key, field in (("rate", "value"), ("low", "low"), ("high", "high"), ("n", "n"))},
        }
        for phase, row in score_rows(run, pool)
    ]  # fmt: skip


def _counts(run: RunContents, row: ScoreRow) -> dict[str, int]:
    """Answers by outcome; without any task, under the outcome in whose tone their language is drawn."""
    if run.has_tasks:
        return {str(name): n for name, n in row.outcomes.items()}
    rate = row.language_consistency
    right = round((rate.value or 0.0) * rate.n)
    none: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    return none | {
        "transfer_bottleneck": right,
        "neither": rate.n - right,
        "unscored": row.n - rate.n,
    }


def outcome_map_chart(run: RunContents, links: Mapping[str, str] | None = None) -> Chart | None:
    rows = _outcome_rows(run, "cells")
    return outcome_map(rows, languages=run.languages, scenarios=run.scenarios,
                       benchmarks=run.benchmarks, links=links,
                       names=OUTCOME_NAMES if run.has_tasks else LANGUAGE_NAMES) if rows else None  # fmt: skip


def outcomes_chart(run: RunContents) -> Chart | None:
    rows = [
        {"phase": phase, "scenario": row.scenario, "language": row.language, **row.outcomes}
        for phase, row in score_rows(run, "by_language_and_scenario")
    ]
    return outcomes(rows, languages=run.languages, scenarios=run.scenarios) if rows else None


def _change_rows(run: RunContents, phases: Sequence[str] = PHASES) -> Table:
    """Both rates of each language under each scenario."""
    return [
        {"phase": phase, "scenario": row.scenario, "language": row.language, "measure": measure,
         "value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}
        for phase, row in score_rows(run, "by_language_and_scenario") if phase in phases
        for measure, rate in (("language", row.language_consistency), ("task", row.task_accuracy))
    ]  # fmt: skip


def change_chart(run: RunContents) -> Chart | None:
    rows = _change_rows(run)
    return change(rows, languages=run.languages, scenarios=run.scenarios) if rows else None


def loss_chart(run: RunContents) -> Chart | None:
    if run.tuning is None or not run.tuning.train_loss:
        return None
    curves = {"training": run.tuning.train_loss, "validation": run.tuning.validation_loss}
    rows = [
        {"curve": name, "epoch": epoch, "loss": value}
        for name, values in curves.items()
        for epoch, value in enumerate(values, 1)
    ]
    return loss(rows, kept_epoch=run.tuning.best_epoch)


def layer_change_chart(run: RunContents) -> Chart | None:
    moved = run.change.curves.get("lens") if run.change else None
    rows = [{"layer": int(k), "change": v} for k, v in moved.by_layer.items()] if moved else []
    return layer_change(rows, marks=marks_of(run)) if rows else None


def rules_chart(run: RunContents) -> Chart | None:
    """Of the rules that score the blocks; last, middle and random do not."""
    rules = run.layers.rules if run.layers else {}
    rows = [
        {"rule": name, "block": block, "score": score,
         **{side: values[block - 1] for side in ("low", "high") if (values := getattr(found, side))}}
        for name, found in rules.items() for block, score in enumerate(found.values or (), 1)
    ]  # fmt: skip
    chosen = {str(name): found.blocks for name, found in rules.items()}
    return rule_scores(rows, blocks=chosen) if rows else None


def front_chart(run: RunContents) -> Chart | None:
    """Of the rules that say what they expect of sets of blocks."""
    rules = run.layers.rules if run.layers else {}
    rows = [
        {"rule": name, "blocks": spans(one.blocks), "gain": one.gain, "seconds": one.seconds_per_epoch,
         "memory_bytes": one.memory_bytes, "share": one.share, "chosen": one.blocks == found.blocks}
        for name, found in rules.items() for one in found.front
    ]  # fmt: skip
    return rule_front(rows) if rows else None


@dataclass(frozen=True)
class GridText:
    """A text in depth: its prompt, and the rows of its cells before and after tuning."""

    about: GridPrompt
    rows: Table


def grid_texts(run: RunContents) -> list[GridText]:
    """The texts that were read token by token."""
    texts: dict[str, GridText] = {}
    for phase in PHASES:
        grid = run.phase(phase).grid
        for prompt in grid.prompts if grid else ():
            text = texts.setdefault(prompt.prompt_id, GridText(prompt, []))
            text.rows.extend(
                {"phase": phase, "layer": layer, "position": position, "text_there": _short(token),
                 "word": _short(cell.w or cell.t), "token": _short(cell.t), "language": cell.l,
                 "probability": cell.p,
                 "turn": prompt.turn is not None and (prompt.turn.layer, prompt.turn.position) == (layer, position)}
                for layer, row in zip(grid.layers if grid else (), prompt.cells, strict=True)
                for position, (token, cell) in enumerate(zip(prompt.tokens, row, strict=True), 1)
            )  # fmt: skip
    return list(texts.values())


def _short(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def grid_chart(run: RunContents, text: GridText, *, hints: bool = False) -> Chart:
    """A text in depth; ``hints`` as in :func:`linguamap.charts.layer_maps.token_grid`."""
    return token_grid(text.rows, language=text.about.language, languages=run.languages,
                      marks=marks_of(run), hints=hints)  # fmt: skip


def grids_chart(run: RunContents) -> tuple[Chart | None, int]:
    """The texts in depth that fit into a page, one shown at a time; and how many did not fit."""
    texts = grid_texts(run)
    kept: list[GridText] = []
    for text in texts:
        if kept and sum(len(one.rows) for one in [*kept, text]) > GRID_CELLS:
            break
        kept.append(text)
    if not kept:
        return None, 0
    panels, options = [], []
    for place, text in enumerate(kept):
        about = text.about
        name = (language_name(about.language), scenario_name(about.scenario).lower(),
                _short(about.kind), _short(about.item_id))  # fmt: skip
        options.append((str(place), ", ".join([*name, *_own_answer(about)])))
        whole = f"{about.prompt}\n→ {about.answer}"[:MAX_TEXT].split("\n")
        for later, panel in enumerate(grid_chart(run, text).panels):
            read = "the model’s own answer" if about.source == "answer" else "the given text"
            more = [*([] if later else [(f"The prompt, and {read} that is read after it", whole)]), *panel.more]  # fmt: skip
            panels.append(replace(panel, when={**panel.when, "prompt": str(place)}, more=more))
    chart = grid_chart(run, GridText(kept[0].about, [row for one in kept for row in one.rows]))
    chosen = next((place for place, one in enumerate(kept) if one.about.language != "en"
                   and one.about.scenario == "code_mixed"), 0)  # fmt: skip
    controls = [Control("prompt", "Prompt", options, str(chosen)), *chart.controls]
    return chart.with_(panels=panels, controls=controls), len(texts) - len(kept)


def _own_answer(about: GridPrompt) -> list[str]:
    """What a text's name says of an answer of the model's own."""
    if about.source == "reference":
        return []
    language = about.answer_language
    return [f"own answer in {language_name(language)}" if language else "own answer"]


def chosen_grid_chart(run: RunContents) -> Chart | None:
    """The text that a paper shows: the first in another language than English."""
    texts = grid_texts(run)
    others = [text for text in texts if text.about.language != "en"]
    chosen = next(iter(others or texts), None)
    return grid_chart(run, chosen) if chosen else None


FIGURES = {
    "fitted_lens": fitted_lens_chart, "outcomes": outcomes_chart, "outcome_map": outcome_map_chart, "change": change_chart,
    "loss": loss_chart, "lens": lens_chart, "language_map": map_chart,
    "token_set_probability": probability_chart, "token_grid": chosen_grid_chart,
    "similarity": similarity_chart, "handover": handover_chart, "layer_change": layer_change_chart,
    "rule_scores": rules_chart, "rule_front": front_chart, "lens_outcomes": lens_outcomes_chart,
}  # fmt: skip


def write_figures(run_dir: Path, style: str = "paper") -> list[Path]:
    """Write every chart that the run has the data for into its folder ``figures``.

    Args:
        style: ``paper`` (column 3.3 in, page 6.9 in, 7.5 pt) or ``slides`` (larger type, wider).
    Returns:
        The files written: for each chart SVG, PDF, PNG and CSV.
    Raises:
        UserError: the folder is not a run or has no results, the style is unknown, or the library
            for PDF and PNG is not installed.
    """
    run = read_run(run_dir)
    written = []
    for name, chart_of in FIGURES.items():
        chart = chart_of(run)
        for kind in FORMATS if chart is not None else ():
            path = run.folder / "figures" / f"{name}.{kind}"
            content = chart.encoded(kind, style)  # type: ignore[union-attr]
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            written.append(path)
    if not written:
        raise UserError(
            f"figures: {run.folder} holds no results to draw yet; "
            f"run: linguamap run --out {run.folder}"
        )
    return written


def compared_charts(views: Sequence[RunView], languages: Sequence[str], phase: str) -> dict[str, Chart | None]:  # fmt: skip
    """The charts of several runs: outcome map with cells that lead to the answers, rates, lens."""

    def rows_of(table: Any) -> Table:
        return [{"run": view.letter, **row} for view in views for row in table(view.run)]

    def joined(name: str) -> list[str]:
        return list(dict.fromkeys(value for view in views for value in getattr(view.run, name)))

    cells = rows_of(lambda run: _outcome_rows(run, "cells"))
    rates = rows_of(lambda run: _change_rows(run, (phase,)))
    curves = rows_of(lambda run: curves_of(run, "lens") if run.before.lens else [])
    scenarios: dict[str, Any] = {"languages": languages, "scenarios": joined("scenarios")}
    links = {view.letter: view.report for view in views if view.report}
    return {
        "outcome_map": outcome_map(cells, **scenarios, links=links, benchmarks=joined("benchmarks"))
        .with_(keys=[]) if cells else None,
        "rates": change(rates, **scenarios) if rates else None,
        "lens": lens(
            curves, languages=languages, pivot="en" if "en" in languages else languages[0],
            marks={view.letter: marks_of(view.run) for view in views if view.run.before.lens},
            by_depth=differ_in_depth(views),
        ) if curves else None,
    }  # fmt: skip


def differ_in_depth(views: Sequence[RunView]) -> bool:
    """Whether the probed models have different numbers of blocks."""
    return len({view.run.n_layers for view in views if view.run.before.lens}) > 1
