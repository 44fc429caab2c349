"""What the public functions return: typed, with the numbers as a pandas frame and drawn as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from linguamap import charts
from linguamap.probes.curves import overtakings
from linguamap.records import Answer, Identification, Phase, Rate, Summary
from linguamap.run.contents import BlockScores, RuleName, as_json
from linguamap.scoring.extraction.prose import Drift
from linguamap.scoring.stats import wilson
from linguamap.scoring.summary import summarise

if TYPE_CHECKING:
    import pandas

SHOWN = (
    "prompt_id", "language", "answer_language", "language_correct", "task_correct", "outcome", "reason",
    "line_pass", "word_pass", "prompt", "answer",
)  # fmt: skip
"""Columns of answers, the telling ones first; all others follow."""


class Result:
    """A result that shows itself; ``frame`` has its numbers and ``plot`` a chart of them."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The numbers, one mapping a row."""
        raise NotImplementedError

    def plot(self) -> charts.Chart:
        """The chart: it shows itself in Jupyter, and ``save("name.svg")`` writes it."""
        raise NotImplementedError

    def frame(self) -> pandas.DataFrame:
        """The numbers as a pandas data frame; halves of a character, as models may write, become U+FFFD."""
        import pandas

        return pandas.DataFrame(
            [{name: _whole(value) for name, value in row.items()} for row in self.rows]
        )

    def _repr_html_(self) -> str:
        return str(self.plot()._repr_html_())


@dataclass(frozen=True, repr=False)
class Curves(Result):
    """Curves over the layers.

    Attributes:
        table: one row a point; layer 0 is the embedding, layer i the output of block i.
        languages: in the order of the chart.
    """

    table: pa.Table
    n_layers: int
    languages: tuple[str, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.table.to_pylist())

    @property
    def marks(self) -> charts.LayerMarks:
        return charts.LayerMarks(self.n_layers)

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}: {', '.join(self.languages)}; {self.n_layers} layers; .plot(), .frame()>"


class Lens(Curves):
    """The language lens: the share of each layer's words in each language.

    Columns: ``layer``, ``target_language`` (asked for), ``word_language`` (found; None: no language
    that the identifier could name), ``share`` in [0, 1] with its 95 % interval ``low`` to ``high``,
    ``n_items``, ``n_words``.
    """

    @property
    def overtakes(self) -> dict[str, int | None]:
        """Language -> first layer from which its words lead the English ones to the end, or None."""
        return overtakings(self.rows)

    def plot(self) -> charts.Chart:
        return charts.lens(
            self.table, languages=self.languages, marks=self.marks, overtakes=self.overtakes
        )


class Similarity(Curves):
    """Likeness of translations by layer; ``measure`` says which, ``cosine_unrelated`` is the baseline."""

    def plot(self) -> charts.Chart:
        return charts.similarity(self.table, languages=self.languages, marks=self.marks)


class Handover(Curves):
    """How far a layer's state, exchanged, moves the next token: 0 not at all, 1 as far as all of it."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """``share`` and its interval; a left out block's in the same units."""
        return [{**row, "share": row["shift"]} for row in super().rows]

    def plot(self) -> charts.Chart:
        return charts.handover(self.rows, languages=self.languages, marks=self.marks)


@dataclass(frozen=True, repr=False)
class BlockRules(Result):
    """What each rule says of each block; scores of different rules have no common unit.

    Attributes:
        rule: the one by which the run's blocks are chosen.
        rules: name -> scores, the blocks that it would tune under the cap, their share, its cost.
    """

    rule: str
    rules: Mapping[RuleName, BlockScores]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {"rule": name, "block": block, "score": score, "chosen": block in found.blocks,
             "low": found.low and found.low[block - 1], "high": found.high and found.high[block - 1]}
            for name, found in self.rules.items() for block, score in enumerate(found.values or (), 1)
        ]  # fmt: skip

    def plot(self) -> charts.Chart:
        blocks = {str(name): found.blocks for name, found in self.rules.items()}
        return charts.rule_scores(self.rows, blocks=blocks)

    def __repr__(self) -> str:
        said = "; ".join(
            f"{name}: {', '.join(map(str, found.blocks)) or found.reason}"
            for name, found in self.rules.items()
        )
        return f"<BlockRules, chosen by {self.rule}: {said}; .plot(), .frame()>"


@dataclass(frozen=True)
class Identified(Result):
    """The language of each text, or None with the reason (``too_short``, ``mixed``, ``ambiguous``)."""

    texts: tuple[str, ...]
    found: tuple[Identification, ...]

    @property
    def languages(self) -> list[str | None]:
        return [one.language for one in self.found]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "text": text,
                "language": one.language,
                "reason": one.reason,
                "shares": dict(one.shares),
            }
            for text, one in zip(self.texts, self.found, strict=True)
        ]

    def _repr_html_(self) -> str:
        return str(self.frame().to_html())


@dataclass(frozen=True, repr=False)
class Scores(Result):
    """Scored answers; after tuning, too, where a run has them.

    Attributes:
        answers: phase -> answers; ``before`` is the model as it is.
    """

    answers: Mapping[Phase, Sequence[Answer]]

    @property
    def rates(self) -> dict[Phase, Summary]:
        """Every rate with n and interval, see :class:`linguamap.records.Summary`."""
        return {phase: summarise(own, "") for phase, own in self.answers.items()}

    @property
    def consistency(self) -> dict[Phase, Rate]:
        """Share of the answers in the language asked for, of those whose language is known."""
        return {phase: one.overall[-1].language_consistency for phase, one in self.rates.items()}

    @property
    def rows(self) -> list[dict[str, Any]]:
        both = len(self.answers) > 1
        return [
            ({"phase": phase} if both else {}) | {name: row[name] for name in SHOWN} | row
            for phase, own in self.answers.items()
            for row in map(as_json, own)
        ]

    def plot(self) -> charts.Chart:
        """Language consistency and task accuracy by language and scenario, with intervals."""
        measures = {"language": "language_consistency", "task": "task_accuracy"}
        chart = charts.change([
            {"phase": phase, "scenario": row.scenario, "language": row.language, "measure": measure}
            | as_json(rate)
            for phase, summary in self.rates.items()
            for row in summary.by_language_and_scenario
            for measure, name in measures.items()
            if (rate := getattr(row, name)).n
        ])  # fmt: skip
        return chart if len(self.answers) > 1 else chart.with_(title="Rates of the answers")

    def __repr__(self) -> str:
        said = (
            f"{phase}: {rate.value:.1%} of {rate.n} in the language asked for"
            for phase, rate in self.consistency.items()
            if rate.value is not None
        )
        return f"<Scores: {'; '.join(said) or 'no answer could be judged'}; .plot(), .frame()>"


@dataclass(frozen=True, repr=False)
class LanguageCheck(Scores):
    """Does a model answer own prompts in the language asked for, and where in its layers?

    Attributes:
        model: its name.
        drifts: prompt id -> where its answer turns, for those that do.
        lens: of the answers; None where a server gave them.
        lens_astray: of the answers in a wrong language alone; None where there is none.
    """

    model: str = ""
    drifts: Mapping[str, Drift] = field(default_factory=dict)
    lens: Lens | None = None
    lens_astray: Lens | None = None

    @property
    def share(self) -> Rate:
        """Language consistency over all prompts; Wilson's interval where no item is asked twice."""
        answers = self.answers["before"]
        known = [one.language_correct for one in answers if one.language_correct is not None]
        if len({one.item_id for one in answers}) < len(answers):
            return self.consistency["before"]
        return wilson(sum(known), len(known))

    @property
    def rows(self) -> list[dict[str, Any]]:
        drifts = {name: as_json(one) for name, one in self.drifts.items()}
        return [row | {"drift": drifts.get(row["prompt_id"])} for row in super().rows]


def _whole(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
