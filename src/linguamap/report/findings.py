"""The finding: what the first screen says, with what to hold against it.

Nothing is claimed that an interval does not bear, and small n is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from linguamap.charts.naming import language_name, model_title, number_word, percent
from linguamap.report.benchmark_rows import languages_without_items
from linguamap.report.change_sentences import change, overall_difference
from linguamap.report.rates import Case, cases, headline_rates, is_number, own_rows, rate_of
from linguamap.report.reservations import reservations
from linguamap.report.run_values import RunData, Table, object_at
from linguamap.report.sentences import (
    Sentence,
    behaviour,
    cut_answers,
    figure,
    weakest,
    where,
)
from linguamap.tuning.methods import FEW_SHOT, STEER

SMALL_N = 30
"""Below this many answers the text warns that the figure is rough."""

LOW_ACCURACY = 0.9
"""Below this share of known texts placed right the text warns of the identifier."""

ERRORS = (
    ("sentences", "rates of answers in the language asked for err as much."),
    ("words", "their curves over the layers read low."),
)
"""Unit of the identifier's test, and what its errors there lead to."""

FEW_QUESTIONS = 300
"""Below this many different questions the text says how many there are."""


@dataclass(frozen=True)
class Finding:
    """What the first screen says.

    Attributes:
        headline: one short sentence without numbers.
        warnings: what stands right below it, since every figure depends on it.
        paragraphs: (title, sentences); stages that were not run have none.
        cautions: what the reader should hold against the numbers.
        missing: what was not run.
    """

    headline: str
    warnings: list[Sentence]
    paragraphs: list[tuple[str, list[Sentence]]]
    cautions: list[Sentence]
    missing: list[str]


def find(data: RunData) -> Finding:
    """Put a run into words."""
    found = cases(data)
    paragraphs = [
        ("What it does", behaviour(data, found)),
        ("Where", where(data)),
        ("What tuning changed", change(data, found)),
    ]
    return Finding(
        headline(data),
        cut_answers(data),
        [(title, sentences) for title, sentences in paragraphs if sentences],
        _cautions(data, found),
        missing_stages(data),
    )


def headline(data: RunData) -> str:
    """The run in one sentence; it claims a change only where the interval excludes 0."""
    model = model_title(data.model_name)
    difference = overall_difference(data, "language_consistency")
    remedy = _remedy(data)
    if difference and remedy and is_number(difference.get("low")):
        if difference["low"] > 0:
            return f"{remedy} brings {model} back to the language it is asked for"
        return f"{remedy} did not measurably help {model} keep to the language it is asked for"
    n_empty, n = len(_empty(data)), len(data.before)
    if 2 * n_empty >= max(n, 1):
        return f"{n_empty} of {n} answers of {model} are empty: nothing can be said of its language"
    rates = headline_rates(data, "before")
    if rates and rates[0].low is not None and rates[0].high is not None:
        if rates[0].low >= 0.9:
            return f"{model} keeps to the language it is asked for"
        if rates[0].high < 0.9:
            return f"{model} often answers in another language than the one it is asked for"
        return f"How well {model} keeps to the language it is asked for"
    return f"Which language does {model} speak, and in which layers?"


def _remedy(data: RunData) -> str:
    """What was done about the language, as the subject of a sentence; empty if nothing was."""
    method = (data.tuning or {}).get("method")
    if method == FEW_SHOT.name:
        return "Few-shot prompting"
    tuned, total = len(data.tuned_layers), (data.layers or {}).get("n_layers")
    if not tuned:
        return ""
    blocks = "a few blocks"
    if is_number(total):
        blocks = f"{number_word(tuned)} of {number_word(int(total))} blocks"
    return f"{'Steering' if method == STEER.name else 'Tuning'} {blocks}"


def _empty(data: RunData) -> Table:
    """The answers before tuning that hold no letter and no digit."""
    return [row for row in data.before if row.get("reason") == "empty"]


def _cautions(data: RunData, found: list[Case]) -> list[Sentence]:
    cautions: list[Sentence] = []
    if empty := _empty(data):
        said = f"{len(empty)} of {len(data.before)} answers before tuning are empty, and count as wrong in both."
        if reasoned := sum(bool(row.get("thinking")) for row in empty):
            said += (
                f" With {reasoned} of them came reasoning: raise evaluate.max_new_tokens, set "
                "model.thinking=no, or see how the server parts reasoning and answer."
            )
        cautions.append([said])
    if weakest(found) is not None and len(found) > 1:
        cautions.append(
            [f"The worst case is picked from {len(found)} after looking, which makes it look a "
             "little worse than it is."]
        )  # fmt: skip
    sizes = sorted(case.before.n for case in found)
    if sizes and sizes[0] < SMALL_N:
        cautions.append(
            [f"One language under one scenario has as few as {sizes[0]} answers, so a single case's "
             "figure is rough: read its interval."]
        )  # fmt: skip
    questions = {(row.get("benchmark"), row.get("item_id")) for row in data.before}
    if 0 < len(questions) < FEW_QUESTIONS and len(found) > 1:
        cautions.append(
            [f"All of it rests on {len(questions)} different question"
             f"{'s' * (len(questions) != 1)}, asked again in each language and scenario. The pooled "
             "intervals allow for that; other questions might still behave otherwise."]
        )  # fmt: skip
    unscored = [_unscored_share(data.before), _unscored_share(data.after)]
    if max(unscored) >= 0.02:
        shares = f"{percent(unscored[0])} of the answers before tuning"
        shares += f" and {percent(unscored[1])} after it" if data.after else ""
        cautions.append(
            [f"For {shares} the task, the language or both could not be judged. Each rate counts "
             "only the answers that could be judged for it; the outcome map shows the others as "
             "unscored. Were they mostly right or mostly wrong, the rates would shift."]
        )  # fmt: skip
    cautions += reservations(data)
    cautions += languages_without_items(data)
    cautions += _identifier_cautions(data)
    if any(row.get("coincides_with") for row in data.before):
        cautions.append(
            ["For English some scenarios are the same text; those answers are counted once."]
        )
    if data.tuning is not None and (data.tuning.get("seed") is not None):
        cautions.append(["Tuning was run once, with one seed: its luck is not in the intervals."])
    return cautions


def _identifier_cautions(data: RunData) -> list[Sentence]:
    """Languages in which the identifier often errs on texts that are known to be in them."""
    cautions: list[Sentence] = []
    name = (data.identifier or {}).get("name") or "the identifier"
    for unit, effect in ERRORS:
        low = []
        for code in data.languages:
            rate = rate_of(object_at(data.identifier, "languages", code, unit))
            if rate is not None and (rate.value or 0.0) < LOW_ACCURACY:
                low.append((code, rate))
        if low:
            sentence: Sentence = [f"Of {unit} known to be in a language, {name} places right "]
            for place, (code, rate) in enumerate(low):
                sentence += [", " if place else "", figure(rate), f" in {language_name(code)}"]
            cautions.append([*sentence, f": {effect}"])
    return cautions


def _unscored_share(rows: Table) -> float:
    own = own_rows(rows)
    return sum(row.get("outcome") == "unscored" for row in own) / len(own) if own else 0.0


def missing_stages(data: RunData) -> list[str]:
    """What the run has not done, in words."""
    stages = [
        (bool(data.summary_before), _evaluation("before", bool(data.before))),
        (bool(data.lens or data.similarity), "the probes"),
        (data.layers is not None, "locating the layers"),
        (data.tuning is not None, "tuning"),
        (bool(data.summary_after), _evaluation("after", bool(data.after))),
        (
            bool(data.lens_after or data.similarity_after or (data.change or {}).get("reason")),
            "the probes after tuning",
        ),
        (data.comparison is not None, "the comparison"),
    ]
    return [name for done, name in stages if not done]


def _evaluation(when: str, begun: bool) -> str:
    return f"the evaluation {when} tuning{' to its end' if begun else ''}"
