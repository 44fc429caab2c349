"""The charts of the probes: language lens, token-set probability, similarity and handover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from linguamap.charts.chart import Chart
from linguamap.charts.curve_panel import Curve, LayerMarks, Plot, curve_panel
from linguamap.charts.frames import (
    Frame,
    Row,
    grouped,
    ordered,
    phase_of,
    points_of,
    rows_of,
)
from linguamap.charts.naming import MINUS, benchmark_name, count, percent
from linguamap.charts.svg import FAINT, INK, Control, Key, Panel, language_colour, phase_control
from linguamap.languages import language_name


def _both(rows: Sequence[Row]) -> bool:
    return len({phase_of(row) for row in rows}) > 1


PHASE_KEYS = [Key("before tuning", INK, "line"), Key("after tuning", INK, "dash")]


def fixed(value: float) -> str:
    """A cosine or a correlation, two decimals."""
    return f"{value:.2f}".replace("-", MINUS)


def lens(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | Mapping[str, LayerMarks] | None = None,
    ceilings: Mapping[str, float] | None = None, noise: float | None = None,
    overtakes: Mapping[str, int | None] | None = None, by_depth: bool = False,
) -> Chart:  # fmt: skip
    """The language lens: of the words each layer would write, the share in the language asked for.

    Args:
        frame: columns ``layer``, ``target_language``, ``word_language``, ``share``; optional
            ``low`` and ``high`` (band), ``n_items``, ``phase`` (``before``, ``after``) and ``run``
            (a panel for each run).
        languages: order of the panels.
        pivot: the language drawn beside the one asked for.
        marks: the model's layers; by run where there are several.
        ceilings: language -> share that the identifier reaches on genuine words.
        noise: share of the pivot among random tokens.
        overtakes: language -> layer from which it leads the pivot; ringed.
        by_depth: the axis is the share of the model's depth, for models of different sizes.
    """
    rows = rows_of("lens", frame, "layer", "target_language", "word_language", "share")
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    panels: list[Panel] = []
    for code in codes:
        own = [row for row in rows if row["target_language"] == code]
        for run, part in grouped(own, lambda row: row.get("run")).items():
            model = marks.get(str(run)) if isinstance(marks, Mapping) else marks
            curves = _asked_curves(part, code, pivot, "share", (overtakes or {}).get(code))
            ceiling = (ceilings or {}).get(code)
            plot = Plot(
                model or LayerMarks(), percent, named=not panels, by_depth=by_depth,
                right=[] if ceiling is None else [(ceiling, language_colour(code))],
                levels=[] if noise is None or code == pivot else [(noise, "")],
            )  # fmt: skip
            n = _most(part, "n_items")
            note = f"{count(n)} item{'' if n == 1 else 's'}" if n else ""
            label = _label("Asked for", code, curves, run)
            over = (overtakes or {}).get(code)
            label += f", {language_name(code)} overtakes English at layer {over}." if over else "."
            panels.append(
                curve_panel(_titled(code, run), curves, plot, label, code=code, note=note)
            )
    keys = PHASE_KEYS if _both(rows) else []
    keys = keys + ([Key("identifier’s ceiling", INK, "tick")] if ceilings else [])
    keys = keys + ([Key("English among random tokens", FAINT, "dots")] if noise is not None else [])
    n_runs = len({row.get("run") for row in rows})
    return _chart("lens", "Language lens", panels, rows, languages or codes, keys, marks,
                  across=n_runs if n_runs in (2, 4) else 3)  # fmt: skip


def fitted_lens(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None, overtakes: Mapping[str, int | None] | None = None,
) -> Chart:  # fmt: skip
    """The language lens through fitted maps (solid) beside the plain one (dashed), on the same texts.

    Args:
        frame: columns ``layer``, ``target_language``, ``word_language``, ``share``, ``lens``
            (``fitted``, ``plain``); optional ``low`` and ``high`` (band).
        overtakes: language -> layer from which it leads the pivot under the fitted lens; ringed.
    """
    rows = rows_of("fitted_lens", frame, "layer", "target_language", "word_language", "share",
                   "lens")  # fmt: skip
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    panels: list[Panel] = []
    for code in codes:
        curves = []
        for name, dash in (("fitted", ""), ("plain", "4 3.5")):
            own = [
                {**r, "phase": None}
                for r in rows
                if r["target_language"] == code and r["lens"] == name
            ]
            ring = (overtakes or {}).get(code) if name == "fitted" else None
            curves += [
                replace(one, dash=dash, name=f"{one.name}, {name}", long=f"{one.long}, {name}",
                        band=one.band and name == "fitted")
                for one in _asked_curves(own, code, pivot, "share", ring)
            ]  # fmt: skip
        plot = Plot(marks or LayerMarks(), percent, named=not panels)
        label = _label("Asked for", code, curves, None)
        panels.append(curve_panel(language_name(code), curves, plot, label + ".", code=code))
    keys = [Key("fitted lens", INK, "line"), Key("logit lens", INK, "dash")]
    return _chart("fitted_lens", "Fitted lens", panels, rows, languages or codes, keys, marks)


def lens_outcomes(
    frame: Frame, *, languages: Sequence[str] = (), marks: LayerMarks | None = None
) -> Chart:
    """Share of words in the language asked for along own answers that are in it, and that are not.

    Args:
        frame: columns ``layer``, ``target_language``, ``word_language``, ``share``, ``outcome``
            (``consistent``, ``inconsistent``); optional ``low``, ``high``, ``n_items`` and ``phase``.
    """
    rows = rows_of("lens_outcomes", frame, "layer", "target_language", "word_language", "share",
                   "outcome")  # fmt: skip
    asked = [row for row in rows if row["word_language"] == row["target_language"]]
    codes = ordered((str(row["target_language"]) for row in asked), languages)
    panels: list[Panel] = []
    for phase, part in grouped(asked, phase_of).items():
        for code in codes:
            own = grouped(
                (row for row in part if row["target_language"] == code), lambda row: row["outcome"]
            )
            curves = [
                Curve(points_of(own[name]), name, language_colour(code), code, dash, band=True,
                      long=f"{language_name(code)} asked, {name}")
                for name, dash in (("consistent", ""), ("inconsistent", "4 3.5")) if name in own
            ]  # fmt: skip
            n = " and ".join(count(_most(own[curve.name], "n_items") or 0) for curve in curves)
            label = f"Own answers when {language_name(code)} is asked for, by layer, n = {n}."
            plot = Plot(marks or LayerMarks(), percent, named=not panels)
            panels.append(curve_panel(language_name(code), curves, plot, label, code=code,
                                      note=f"n = {n}", when={"phase": phase}))  # fmt: skip
    keys = [Key("in the language asked for", INK, "line"), Key("in another", INK, "dash")]
    return _chart("lens_outcomes", "Own answers in the language asked for and in another", panels, asked,
                  languages or codes, keys, marks,
                  controls=[phase_control("before")] if _both(asked) else [])  # fmt: skip


def _titled(code: str, run: object) -> str:
    return language_name(code) if run is None else f"{run}: {language_name(code)}"


def _label(lead: str, code: str, curves: Sequence[Curve], run: object) -> str:
    ends = [
        f"{curve.name} ends at {percent(curve.points.last)}"
        for curve in curves
        if not curve.dash and curve.points.last is not None
    ]
    place = "" if run is None else f"Run {run}, "
    return f"{place}{lead} {language_name(code)}: {', '.join(ends)}"


def _most(rows: Sequence[Row], name: str) -> int | None:
    return max((int(row[name]) for row in rows if row.get(name) is not None), default=None)


def _asked_curves(
    rows: Sequence[Row], code: str, pivot: str, value: str, ring: int | None = None
) -> list[Curve]:
    """The pivot and the language asked for, before and after tuning."""
    both = _both(rows)
    curves = []
    for phase, dash in (("before", ""), ("after", "4 3.5")):
        for word in dict.fromkeys([pivot, code]):
            part = [r for r in rows if phase_of(r) == phase and r["word_language"] == word]
            if part:
                name = language_name(word) + (f", {phase}" if both else "")
                curves.append(
                    Curve(points_of(part, value), name, language_colour(word), word, dash, not dash,
                          f"{language_name(code)} asked, {name}",
                          ring=ring if word == code and not dash else None)
                )  # fmt: skip
    return curves


def _chart(
    name: str, title: str, panels: list[Panel], rows: list[Row], languages: Sequence[str],
    keys: list[Key], marks: LayerMarks | Mapping[str, LayerMarks] | None, **more: object,
) -> Chart:  # fmt: skip
    model = LayerMarks() if marks is None or isinstance(marks, Mapping) else marks
    last = model.n_layers or int(max((row.get("layer") or 0 for row in rows), default=1)) or 1
    return Chart(name, title, panels, rows, list(languages), keys, labels=model.labels(last),
                 **more)  # type: ignore[arg-type]  # fmt: skip


def token_set_probability(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None, coverage: Mapping[str, float] | None = None,
) -> Chart:  # fmt: skip
    """Probability that each layer gives to tokens of one language only: a lens without identifier.

    Args:
        frame: columns ``layer``, ``target_language``, ``set_language``, ``probability``; optional
            ``low``, ``high``, ``n_items`` and ``phase``.
        coverage: language -> share of its own text that its tokens make up.
    """
    rows = rows_of("token_set_probability", frame, "layer", "target_language", "set_language",
                   "probability")  # fmt: skip
    codes = ordered((str(row["target_language"]) for row in rows), languages)
    read = [{**row, "word_language": row["set_language"]} for row in rows]
    curves = {
        code: _asked_curves(
            [r for r in read if r["target_language"] == code], code, pivot, "probability"
        )
        for code in codes
    }
    every = [one for group in curves.values() for curve in group for one in
             (*curve.points.y, *(curve.points.high if curve.band else ())) if one is not None]  # fmt: skip
    top = next((one for one in (0.02, 0.05, 0.1, 0.2, 0.5) if one >= max(every, default=1)), 1.0)
    panels: list[Panel] = []
    for code in codes:
        plot = Plot(marks or LayerMarks(), percent, (0, top / 2, top), named=not panels)
        share = (coverage or {}).get(code)
        note = "" if share is None else f"its tokens: {percent(share)} of its text"
        label = _label("Probability of tokens by layer, asked for", code, curves[code], None)
        panels.append(
            curve_panel(language_name(code), curves[code], plot, label + ".", code=code, note=note)
        )
    keys = PHASE_KEYS if _both(rows) else []
    return _chart("token_set_probability", "Probability of one language’s tokens", panels, rows,
                  languages or codes, keys, marks)  # fmt: skip


MEASURES = (
    ("cosine", "Raw cosine", "high for anything", "cosine_unrelated", (0, 0.5, 1)),
    ("centred", "Centred cosine", "each language’s mean taken off", "centred_unrelated", (-0.2, 0, 0.5, 1)),
    ("retrieval", "Translation found", "first among all candidates", "", (0, 0.5, 1)),
    ("cka", "Debiased CKA", "sets of texts, not pairs", "", (0, 0.5, 1)),
)  # fmt: skip


def similarity(
    frame: Frame, *, languages: Sequence[str] = (), pivot: str = "en",
    marks: LayerMarks | None = None,
) -> Chart:  # fmt: skip
    """Likeness of translations by layer, beside unrelated texts of the same two languages.

    Args:
        frame: columns ``layer``, ``language_a``, ``language_b``, ``kind`` (of texts), ``measure``
            (``cosine``, ``cosine_unrelated``, ``centred``, ``centred_unrelated``, ``retrieval``,
            ``cka``), ``value``; optional ``low``, ``high``, ``n`` and ``phase``.
        pivot: the language that the others are compared with at first; by kinds of texts it alone.
    """
    rows = rows_of("similarity", frame, "layer", "language_a", "language_b", "kind", "measure",
                   "value")  # fmt: skip
    codes = ordered((str(row[side]) for row in rows for side in ("language_a", "language_b")),
                    languages)  # fmt: skip
    pivot = pivot if pivot in codes else (codes or [pivot])[0]
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows))
    kind = "all" if "all" in kinds else (kinds or ["all"])[0]
    views = [
        (code, texts)
        for code in [pivot, *(code for code in codes if code != pivot)]
        for texts in kinds
        if code == pivot or texts == kind
    ]
    first = f"{pivot}:{kinds.index(kind)}"
    panels: list[Panel] = []
    for phase, part in grouped(rows, phase_of).items():
        for code, texts in views:
            own = [
                r for r in part if r["kind"] == texts and code in (r["language_a"], r["language_b"])
            ]
            when = {"view": f"{code}:{kinds.index(texts)}", "phase": phase}
            panels += _likeness_panels(own, code, marks or LayerMarks(), when)
    options = [
        (f"{code}:{kinds.index(texts)}", f"{language_name(code)}, {_kind_name(texts)}")
        for code, texts in views
    ]
    controls = [Control("view", "Compared with", options, first)] if len(views) > 1 else []
    controls += [phase_control("before")] if _both(rows) else []
    keys = [Key(language_name(c), language_colour(c), "line", c, c == pivot) for c in codes]
    keys.append(Key("unrelated texts", FAINT, "dots"))
    return _chart("similarity", "Likeness of translations by layer", panels, rows,
                  languages or codes, keys, marks, controls=controls, across=2)  # fmt: skip


def _likeness_panels(
    rows: Sequence[Row], own: str, marks: LayerMarks, when: Mapping[str, str]
) -> list[Panel]:
    """A panel for each measure: every language against ``own``, and its control."""
    by_curve = grouped(rows, lambda r: (r["measure"], r["language_a"], r["language_b"]))
    panels: list[Panel] = []
    for measure, title, note, control, ticks in MEASURES:
        curves = []
        for name, dash in ((control, "1.5 3"), (measure, "")):
            for (found, a, b), part in by_curve.items():
                if found == name:
                    other = b if a == own else a
                    named = language_name(other) + (", unrelated" if dash else "")
                    curves.append(Curve(points_of(part, "value"), named, language_colour(other),
                                        other, dash, not dash, f"{title}, {named}"))  # fmt: skip
        if not curves:
            continue
        n = _most([row for row in rows if row["measure"] == measure], "n") or 0
        plot = Plot(marks, percent if measure == "retrieval" else fixed, ticks,
                    [(1 / n, "chance")] if measure == "retrieval" and n > 1 else [],
                    named=not panels, ratio=0.44)  # fmt: skip
        panels.append(curve_panel(title, curves, plot, f"{title} by layer.", note=note, width=480,
                                  when=dict(when)))  # fmt: skip
    return panels


def _kind_name(kind: str) -> str:
    return "all kinds of texts" if kind == "all" else benchmark_name(kind)


DIRECTIONS = {
    "to_english": ("English state into the target’s prompt", "move to the English token"),
    "from_english": ("Target’s state into the English prompt", "move to the target’s token"),
    "skip": ("One block left out", "move to the English token"),
}  # fmt: skip


def handover(
    frame: Frame, *, languages: Sequence[str] = (), marks: LayerMarks | None = None
) -> Chart:
    """How far the next token moves when a state is exchanged at a layer, or a block left out.

    Args:
        frame: columns ``layer`` (-1: nothing was done), ``language``, ``intervention``
            (``to_english``, ``from_english``, ``skip``), ``share``; optional ``low``, ``high``,
            ``n`` and ``phase``.
    """
    rows = rows_of("handover", frame, "layer", "language", "intervention", "share")
    codes = ordered((str(row["language"]) for row in rows), languages)
    seen = list(dict.fromkeys(str(row["intervention"]) for row in rows))
    both = _both(rows)
    panels: list[Panel] = []
    for name in sorted(seen, key=lambda one: ([*DIRECTIONS, one].index(one), seen.index(one))):
        curves, plain = [], []
        title, note = DIRECTIONS.get(name, (name.replace("_", " "), "move of the next token"))
        part = [row for row in rows if row["intervention"] == name]
        for phase, dash in (("before", ""), ("after", "4 3.5")):
            for code in codes:
                own = [r for r in part if r["language"] == code and phase_of(r) == phase]
                if not own:
                    continue
                done = [row for row in own if row["layer"] >= 0]
                named = language_name(code) + (f", {phase}" if both else "")
                curves.append(Curve(points_of(done), named, language_colour(code), code, dash,
                                    not dash, f"{title}, {named}"))  # fmt: skip
                plain += [(row["share"], language_colour(code), code) for row in own
                          if row["layer"] < 0 and row["share"] is not None and not dash]  # fmt: skip
        n = _most(part, "n")
        note += f", n = {n}" if n else ""
        plot = Plot(marks or LayerMarks(), percent, left=plain, named=not panels, ratio=0.58,
                    levels=[] if name == "skip" else [(0.5, "half")])  # fmt: skip
        panels.append(curve_panel(title, curves, plot, f"{title}: {note}, by layer.", note=note,
                                  width=380))  # fmt: skip
    keys = [Key(language_name(code), language_colour(code), "line", code) for code in codes]
    keys += PHASE_KEYS if both else []
    return _chart("handover", "Handover", panels, rows, languages or codes, keys, marks)


def next_token_handover(frame: Frame, *, own: str, english: str = "en", title: str = "") -> Chart:
    """Probability of two next tokens of one prompt, by the layer after which the state was exchanged.

    Args:
        frame: columns ``layer``, ``language`` and ``probability``.
        own: the language asked for.
    """
    rows = rows_of("next_token_handover", frame, "layer", "language", "probability")
    curves = [
        Curve(points_of([r for r in rows if r["language"] == code], "probability"),
              language_name(code), language_colour(code), code, dash)
        for code, dash in ((own, ""), (english, "6 3"))
    ]  # fmt: skip
    panel = curve_panel(title, curves, Plot(LayerMarks(), percent),
                        "Probability of the next token, by layer of the exchange.", width=440)  # fmt: skip
    keys = [Key(curve.name, curve.colour, "dash" if curve.dash else "line") for curve in curves]
    return _chart("next_token_handover", "Handover of one prompt", [panel], rows, [own, english],
                  keys, None, size="column", across=1)  # fmt: skip
