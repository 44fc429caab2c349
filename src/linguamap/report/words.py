"""The sentences of a run, from the one template that page, comparison, terminal and model card share.

``templates/words.j2`` holds a macro for each passage: sentences apart by an empty line, line breaks
within one as blanks. Figures stand in it as ``num(text, detail)``, which a page sets off and a
terminal puts in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from linguamap.charts import naming
from linguamap.charts.chart import page_asset
from linguamap.languages import language_name
from linguamap.records import PHASES, Change, Rate, ScoreRow
from linguamap.run.read_run import RunContents
from linguamap.tuning.methods import METHODS

FEWEST = 5
"""A case with fewer scored answers is not called the weakest."""

NAMES = (
    "benchmark_name", "count", "duration", "joined", "model_title", "number_word", "p_value", "percent", "percent_exact", "percent_range", "points", "scenario_name",
    "size", "spans",
)  # fmt: skip
"""Functions of :mod:`linguamap.charts.naming` that templates use as filters."""


def template_text(name: str) -> str:
    """A template, a style sheet or a script, of the pages or of the charts."""
    if name.startswith("chart."):
        return page_asset(name)
    folder = "assets" if name.endswith((".js", ".css")) else "templates"
    return (resources.files("linguamap.report") / folder / name).read_text(encoding="utf-8")


@cache
def environment(html: bool) -> jinja2.Environment:
    """Templates for a page, where all that is put in is escaped, or for plain text."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text),
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {name: getattr(naming, name) for name in NAMES}
    made.filters |= {"plain": plain, "language_name": language_name}
    shown = {name: getattr(naming, name) for name in dir(naming) if name.isupper()}
    made.globals |= shown | {
        "change_figures": naming.change_figures,
        "num": _marked if html else _plain,
        "figure": lambda rate: figure(rate, html),
        "moved": lambda change: moved(change, html),
        "plural": lambda n: "" if n == 1 else "s",
        "weakest": weakest,
        "applied": applied,
        "clear": is_clear,
        "PHASES": PHASES,
    }
    return made


def passages(text: str) -> list[str]:
    """The sentences that a macro wrote."""
    kind = type(text)
    parts = (re.sub(r"[ \n]+", " ", part).strip() for part in re.split(r"\n[ \n]*\n", str(text)))
    return [kind(part) for part in parts if part]


class Words:
    """The passages of ``words.j2`` as methods: ``Words(html=False, run=run).headline()``."""

    def __init__(self, *, html: bool, **context: Any) -> None:
        self._module: Any = environment(html).get_template("words.j2").make_module(context)

    def __call__(self, name: str, *arguments: Any) -> list[str]:
        """The sentences of a macro."""
        return passages(getattr(self._module, name)(*arguments))

    def one(self, name: str, *arguments: Any) -> str:
        """A macro that is one sentence, or the empty text."""
        return next(iter(self(name, *arguments)), "")


def _marked(text: str, detail: str = "") -> Markup:
    shown = Markup('<b class="num">{}</b>').format(text)
    return shown + (Markup('<small class="ci"> ({})</small>').format(detail) if detail else "")


def _plain(text: str, detail: str = "") -> str:
    return f"{text} ({detail})" if detail else text


def plain(text: str) -> str:
    """A name fit for Markdown."""
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(text.split()))


def figure(rate: Rate | None, html: bool) -> str:
    """A rate with its interval and its n."""
    shown = _marked if html else _plain
    if rate is None or rate.value is None:
        return shown("unknown", "no answer could be counted")
    parts = []
    if rate.low is not None and rate.high is not None:
        parts.append(naming.percent_range(rate.low, rate.high))
    parts += [f"n = {naming.count(rate.n)}"] if rate.n else []
    return shown(naming.percent(rate.value), ", ".join(parts))


def moved(change: Change, html: bool) -> str:
    """The difference of two rates in points with its interval, p and n."""
    if change.before is None or change.after is None or change.low is None or change.high is None:
        return ""
    *_, difference = naming.change_figures(change.before, change.after)
    parts = [f"{naming.points(change.low)} to {naming.points(change.high)}"]
    parts += [naming.p_value(change.p_value)] if change.p_value is not None else []
    shown = _marked if html else _plain
    return shown(f"{difference} points", "; ".join([*parts, f"n = {naming.count(change.n)}"]))


def is_clear(change: Change | None) -> int:
    """1 or -1 where the interval of a difference excludes 0, else 0."""
    if change is None or change.low is None or change.high is None:
        return 0
    return 1 if change.low > 0 else -1 if change.high < 0 else 0


def weakest(rows: Sequence[ScoreRow]) -> ScoreRow | None:
    """The case with the lowest consistency; None if all are perfect or none has enough answers."""
    known = [row for row in rows if row.language_consistency.n >= FEWEST]
    worst = min(known, key=lambda row: row.language_consistency.value or 0.0, default=None)
    return worst if worst and worst.language_consistency.value != 1 else None


def applied(run: RunContents) -> str:
    """What the run's method brings to the model: ``weights``, ``vectors`` ...; empty without one."""
    method = METHODS.get(run.tuning.method) if run.tuning else None
    return method.applies if method else ""


def missing_stages(run: RunContents) -> list[str]:
    """What the run has not done, in words."""
    after = run.after.lens or run.after.similarity or (run.change and run.change.reason)
    stages = [
        (run.before.summary, "the evaluation before tuning" + " to its end" * bool(run.before.answers)),
        (run.before.lens or run.before.similarity, "the probes"),
        (run.layers, "locating the layers"),
        (run.tuning, "tuning"),
        (run.after.summary, "the evaluation after tuning" + " to its end" * bool(run.after.answers)),
        (after, "the probes after tuning"),
        (run.comparison, "the comparison"),
    ]  # fmt: skip
    return [name for done, name in stages if not done]


def largest_move(run: RunContents) -> float | None:
    """Largest change of a layer's share of the language asked for; None without both probes."""
    first, second = (
        {
            (row["target_language"], row["layer"]): row["share"]
            for row in rows
            if row["word_language"] == row["target_language"] and row["share"] is not None
        }
        for rows in (run.before.lens, run.after.lens)
    )
    return max((abs(second[key] - share) for key, share in first.items() if key in second),
               default=None)  # fmt: skip
