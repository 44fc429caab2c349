"""Figures of the probes: lens, language map, similarity and handover. Needs Matplotlib.

A drawing takes a run and a style and returns the figure with the numbers behind it, or None where
the run has no data for it.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from linguamap.charts.colours import language_inks
from linguamap.charts.naming import language_name
from linguamap.report.curve_data import curve_data
from linguamap.report.plotting import (
    DASHED,
    GREY,
    Drawing,
    Style,
    before_after_legend,
    draw_line,
    layer_axis,
    points_of,
    tuned_marks,
)
from linguamap.report.run_values import Json, RunData


def lens(data: RunData, style: Style) -> Drawing | None:
    """Share of words in the language asked for and in English, a panel for each language."""
    curves = curve_data(data)
    before, after = curves["lens"]["before"], curves["lens"]["after"]
    if not before:
        return None
    targets = [code for code in data.languages if code in before]
    inks = language_inks(data.languages)
    n_rows = -(-len(targets) // 3)
    figure = Figure(figsize=(style.page, style.page * 0.235 * n_rows + 0.35))
    axes = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, target in zip(axes, targets, strict=False):
        words = dict.fromkeys([curves["pivot"], target])
        for word in words:
            for when, table in (("before", before), ("after", after)):
                curve = ((table or {}).get(target) or {"curves": {}})["curves"].get(word)
                if curve:
                    draw_line(
                        axis, curve, inks[word], dashed=when == "after", band=when == "before"
                    )
        ceiling = curves["ceilings"].get(target)
        if ceiling is not None:
            axis.plot([1.0, 1.035], [ceiling] * 2, color=inks[target].light, lw=1.5,
                      transform=axis.get_yaxis_transform(), clip_on=False)  # fmt: skip
        if curves["noise"] is not None and target != curves["pivot"]:
            axis.axhline(curves["noise"], color=inks[curves["pivot"]].light, lw=0.6, ls=":")
        axis.set_title(language_name(target), color=inks[target].light, weight="bold")
        layer_axis(axis, curves)
        axis.set_ylim(0, 1.02)
        axis.set_yticks([0, 0.5, 1], ["0", "50", "100%"])
    for axis in axes[len(targets) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(targets) - 3) : len(targets)]:
        axis.set_xlabel("Layer")
        axis.tick_params(labelbottom=True)
    before_after_legend(figure, after is not None)
    return Drawing(figure, ["when", "asked_for", "words_in", "layer", "share", "low", "high"], [
        [when, target, word, *point]
        for when, table in (("before", before), ("after", after))
        for target, entry in (table or {}).items()
        for word, curve in entry["curves"].items()
        for point in points_of(curve)
    ])  # fmt: skip


def mass(data: RunData, style: Style) -> Drawing | None:
    """Probability mass on tokens of one language only, a panel for each language asked for."""
    curves = curve_data(data)
    before, after = curves["mass"]["before"], curves["mass"]["after"]
    targets = [code for code in data.languages if code in (before or {})]
    if not before or not targets:
        return None
    inks = language_inks(data.languages)
    n_rows = -(-len(targets) // 3)
    figure = Figure(figsize=(style.page, style.page * 0.235 * n_rows + 0.35))
    axes = figure.subplots(n_rows, 3, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, target in zip(axes, targets, strict=False):
        for word in dict.fromkeys([curves["pivot"], target]):
            for when, table in (("before", before), ("after", after)):
                curve = ((table or {}).get(target) or {"curves": {}})["curves"].get(word)
                if curve:
                    late = when == "after"
                    draw_line(axis, curve, inks[word], dashed=late, band=not late)
        axis.set_title(language_name(target), color=inks[target].light, weight="bold")
        layer_axis(axis, curves)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=3))
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes[0].set_ylim(bottom=0)
    for axis in axes[len(targets) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(targets) - 3) : len(targets)]:
        axis.set_xlabel("Layer")
        axis.tick_params(labelbottom=True)
    before_after_legend(figure, after is not None)
    return Drawing(figure, ["when", "asked_for", "tokens_of", "layer", "mass", "low", "high"], [
        [when, target, word, *point]
        for when, table in (("before", before), ("after", after))
        for target, entry in (table or {}).items()
        for word, curve in entry["curves"].items()
        for point in points_of(curve)
    ])  # fmt: skip


def language_map(data: RunData, style: Style) -> Drawing | None:
    """Layers x languages: colour is the leading language, strength its share of words."""
    curves = curve_data(data)
    sides = [(w, t) for w, t in curves["lens"].items() if t]
    if not sides:
        return None
    inks = language_inks(data.languages)
    targets = [code for code in data.languages if code in sides[0][1]]
    height = (0.16 * len(targets) + 0.42) * len(sides) * style.column / 3.3
    figure = Figure(figsize=(style.column, height))
    axes = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    rows: list[list[Any]] = []
    for axis, (when, table) in zip(axes, sides, strict=True):
        for y, target in enumerate(targets):
            for layer, word, share in _leaders((table.get(target) or {"curves": {}})["curves"]):
                rows.append([when, target, layer, word, share])
                colour = inks[word].light if word in inks else GREY
                box = Rectangle((layer - 0.46, y - 0.44), 0.92, 0.88, lw=0, fc=colour)
                box.set_alpha(0.06 + 0.94 * share)
                axis.add_patch(box)
        axis.set_yticks(range(len(targets)), [language_name(code) for code in targets])
        axis.set_ylim(len(targets) - 0.5, -0.5)
        axis.set_xlim(-0.5, (curves["n_layers"] or 1) + 0.5)
        axis.tick_params(length=0)
        axis.spines[["left", "bottom"]].set_visible(False)
        if len(sides) > 1:
            axis.set_title(f"{when.capitalize()} tuning")
        if curves["late_start"] is not None:
            axis.axvline(curves["late_start"] - 0.5, color=GREY, lw=0.7, ls=DASHED)
        tuned_marks(axis, curves)
        for label, target in zip(axis.get_yticklabels(), targets, strict=True):
            label.set_color(inks[target].light)
    axes[-1].set_xlabel("Layer")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return Drawing(figure, ["when", "asked_for", "layer", "leading_language", "share"], rows)


def _leaders(curves: Json) -> list[tuple[int, str, float]]:
    best: dict[int, tuple[str, float]] = {}
    for word, curve in curves.items():
        for layer, share, _, _ in points_of(curve) if word else ():
            if share is not None and (layer not in best or share > best[layer][1]):
                best[layer] = (word, share)
    return [(layer, word, share) for layer, (word, share) in sorted(best.items())]


PANELS = (
    ("cosine", "Raw cosine", "cosine_unrelated"),
    ("centred", "Centred cosine", "centred_unrelated"),
    ("retrieval", "Translation found", None),
    ("cka", "Debiased CKA", None),
)


def similarity(data: RunData, style: Style) -> Drawing | None:
    """Similarity with English (or the first language), all kinds of text, with its controls."""
    curves = curve_data(data)
    pivot = curves["pivot"]
    every = curves["similarity"]["before"] or []
    kinds = [entry["kind"] for entry in every]
    kind = "all" if "all" in kinds else next(iter(kinds), None)
    chosen = [e for e in every if e["kind"] == kind and pivot in (e["a"], e["b"])]
    if not chosen:
        return None
    inks = language_inks(data.languages)
    figure = Figure(figsize=(style.page, style.page * 0.27))
    axes = figure.subplots(1, 4, sharex=True)
    for axis, (measure, title, control) in zip(axes, PANELS, strict=True):
        axis.set_title(title)
        layer_axis(axis, curves)
        axis.set_xlabel("Layer")
        axis.set_ylim(-0.1 if measure == "centred" else 0, 1.02)
        for entry in chosen:
            other = entry["b"] if entry["a"] == pivot else entry["a"]
            if entry["measure"] == measure:
                draw_line(axis, entry, inks[other])
            elif control and entry["measure"] == control:
                draw_line(axis, entry, inks[other], dashed=True, band=False)
    others = [code for code in data.languages if code != pivot and _in_pairs(chosen, code)]
    handles = [Line2D([], [], color=inks[code].light) for code in others]
    names = [language_name(code) for code in others]
    handles.append(Line2D([], [], color=GREY, ls=DASHED))
    names.append("unrelated texts")
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 7))
    return Drawing(
        figure,
        ["language_a", "language_b", "kind", "measure", "layer", "value", "low", "high"],
        [[e["a"], e["b"], e["kind"], e["measure"], *p] for e in every for p in points_of(e)],
    )


def _in_pairs(entries: list[Json], code: str) -> bool:
    return any(code in (entry["a"], entry["b"]) for entry in entries)


TITLES = {
    "to_english": "English state into the target's prompt:\nnext words in English",
    "from_english": "Target's state into the English prompt:\nnext words in the target",
    "skip": "One block left out:\nnext words in the target",
}


def handover(data: RunData, style: Style) -> Drawing | None:
    """Share of first words after each intervention, by layer, before and after tuning."""
    curves = curve_data(data)
    before, after = curves["handover"]["before"], curves["handover"]["after"]
    if not before:
        return None
    inks = language_inks(data.languages)
    seen = dict.fromkeys(entry["direction"] for entry in before)
    directions = [name for name in TITLES if name in seen] + [n for n in seen if n not in TITLES]
    figure = Figure(figsize=(style.page, style.page * 0.36))
    axes = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axis, direction in zip(axes, directions, strict=True):
        axis.set_title(TITLES.get(direction, direction.replace("_", " ")))
        layer_axis(axis, curves)
        axis.set_xlabel("Layer")
        axis.set_ylim(0, 1.02)
        axis.set_yticks([0, 0.5, 1], ["0", "50", "100%"])
        for dashed, entries in ((False, before), (True, after or [])):
            for entry in entries:
                if entry["direction"] == direction and entry["language"] in inks:
                    draw_line(axis, entry, inks[entry["language"]], dashed=dashed, band=not dashed)
    codes = [code for code in data.languages if any(e["language"] == code for e in before)]
    handles = [Line2D([], [], color=inks[code].light) for code in codes if code in inks]
    names = [language_name(code) for code in codes if code in inks]
    if after:
        handles.append(Line2D([], [], color=GREY, ls=DASHED))
        names.append("after tuning")
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 7))
    return Drawing(
        figure,
        ["when", "intervention", "language", "layer", "share", "low", "high"],
        [
            [when, entry["direction"], entry["language"], *point]
            for when, entries in (("before", before), ("after", after))
            for entry in entries or []
            for point in points_of(entry)
        ],
    )
