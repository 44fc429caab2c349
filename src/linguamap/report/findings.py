"""The finding in words: sentences made from a run's numbers, honest about what they cannot show.

A sentence is a list of plain strings and :class:`Number`; the page sets the numbers off and shows
their intervals. Nothing is claimed that an interval does not bear: where a difference includes 0 the
sentence says so, and small n is named.
"""

from __future__ import annotations

from dataclasses import dataclass

from linguamap.records import Rate
from linguamap.report.curve_data import handover_rows
from linguamap.report.curve_readings import commitment, overtakings
from linguamap.report.loading import Json, RunData
from linguamap.report.naming import (
    EN_DASH,
    SCENARIO_PHRASES,
    count,
    duration,
    joined,
    language_name,
    model_title,
    number_word,
    p_value,
    percent,
    percent_range,
    points,
    size,
    spans,
)
from linguamap.report.rates import (
    Case,
    cases,
    headline_rates,
    is_number,
    own_rows,
    tally,
)

SMALL_N = 30
"""Below this many answers the text warns that the figure is rough."""

SHOWN_N = 100
"""Below this many answers a figure in the text says its n."""


@dataclass(frozen=True)
class Number:
    """A figure in running text; ``detail`` is its interval and n, if it has them."""

    text: str
    detail: str = ""


Piece = str | Number
Sentence = list[Piece]


@dataclass(frozen=True)
class Finding:
    """What the first screen says.

    Attributes:
        headline: one short sentence without numbers.
        paragraphs: (title, sentences); stages that were not run have none.
        cautions: what the reader should hold against the numbers.
        missing: what was not run.
    """

    headline: str
    paragraphs: list[tuple[str, list[Sentence]]]
    cautions: list[Sentence]
    missing: list[str]


def find(data: RunData) -> Finding:
    """Put a run into words."""
    found = cases(data)
    paragraphs = [
        ("What it does", _behaviour(data, found)),
        ("Where", _where(data)),
        ("What tuning changed", _change(data, found)),
    ]
    return Finding(
        headline(data),
        [(title, sentences) for title, sentences in paragraphs if sentences],
        _cautions(data, found),
        missing_stages(data),
    )


def headline(data: RunData) -> str:
    """The run in one sentence; it claims a change only where the interval excludes 0."""
    model = model_title(data.model_name)
    difference = _difference(data, "language_consistency")
    tuned = len(data.tuned_layers)
    total = (data.layers or {}).get("n_layers")
    if difference and tuned and is_number(difference.get("low")):
        blocks = f"{number_word(tuned)} of {total} blocks" if is_number(total) else "a few blocks"
        if difference["low"] > 0:
            return f"Tuning {blocks} brings {model} back to the language it is asked for"
        return f"Tuning {blocks} did not measurably help {model} keep to the language it is asked for"
    rates = headline_rates(data, "before")
    if rates and rates[0].low is not None and rates[0].high is not None:
        if rates[0].low >= 0.9:
            return f"{model} keeps to the language it is asked for"
        if rates[0].high < 0.9:
            return f"{model} often answers in another language than the one it is asked for"
        return f"How well {model} keeps to the language it is asked for"
    return f"Which language does {model} speak, and in which layers?"


def figure(rate: Rate) -> Number:
    """A rate as a number with its interval, and its n where that is small."""
    if rate.value is None:
        return Number("unknown", "no answer could be counted")
    parts = []
    if rate.low is not None and rate.high is not None:
        parts.append(percent_range(rate.low, rate.high))
    if 0 < rate.n < SHOWN_N:
        parts.append(f"n = {rate.n}")
    return Number(percent(rate.value), ", ".join(parts))


def _behaviour(data: RunData, found: list[Case]) -> list[Sentence]:
    rates = headline_rates(data, "before")
    if rates is None:
        return []
    own = own_rows(data.before)
    languages = {row.get("language") for row in own}
    sentences: list[Sentence] = [
        [
            f"Asked {count(len(own))} questions in {number_word(len(languages))} "
            f"language{'s' * (len(languages) != 1)}, {model_title(data.model_name)} answered in the "
            "language it was asked for ",
            figure(rates[0]),
            " of the time and got the task right ",
            figure(rates[1]),
            " of the time.",
        ]
    ]
    stray = tally(own)
    if stray.wrong_in_english.n >= 5 and (stray.wrong_in_english.value or 0) >= 0.5:
        sentences.append(
            ["Of those in a wrong language, ", figure(stray.wrong_in_english), " were in English."]
        )
    hardest = weakest(found)
    if hardest is not None:
        sentences.append(_weakest_sentence(hardest))
    return sentences


def weakest(found: list[Case], after: bool = False) -> Case | None:
    """The case with the lowest consistency; None if all are perfect or none has five answers."""
    known = [
        (rate.value, case)
        for case in found
        for rate in [(case.after if after else case.before)]
        if rate is not None
        for rate in [rate.language]
        if rate.value is not None and rate.n >= 5
    ]
    if not known:
        return None
    value, case = min(known, key=lambda pair: pair[0])
    return case if value < 1 else None


def _weakest_sentence(case: Case) -> Sentence:
    language = language_name(case.language)
    phrase = SCENARIO_PHRASES.get(case.scenario, "under " + case.scenario).format(language=language)
    sentence: Sentence = [
        f"It did worst when {phrase}: ",
        figure(case.before.task),
        " of the answers were right, and ",
        figure(case.before.language),
        f" were in {language}",
    ]
    if case.before.wrong_in_english.n >= 5 and case.language != "en":
        sentence += ["; of those that strayed, ", figure(case.before.wrong_in_english)]
        sentence += [" were in English"]
    return [*sentence, "."]


def _where(data: RunData) -> list[Sentence]:
    sentences: list[Sentence] = []
    crossings = overtakings(data.lens)
    reached = {code: layer for code, layer in crossings.items() if layer is not None}
    if reached:
        ordered = sorted(reached.items(), key=lambda pair: pair[1])
        layers = sorted({layer for _, layer in ordered})
        by_layer = [
            (layer, joined([language_name(code) for code, one in ordered if one == layer]))
            for layer in layers
        ]
        sentence: Sentence = ["Read layer by layer, the language asked for overtakes English for good "]
        for place, (layer, names) in enumerate(by_layer):
            link = "" if place == 0 else " and " if place == len(by_layer) - 1 else ", "
            sentence += [f"{link}at layer " if place == 0 else link, Number(str(layer)), f" for {names}"]
        sentences.append([*sentence, "."])
    never = [language_name(code) for code, layer in crossings.items() if layer is None]
    if never:
        sentences.append([f"It never does for {joined(never)}."])
    late = ((data.layers or {}).get("phases") or {}).get("late_start")
    if is_number(late):
        interval = (data.layers or {}).get("late_start_interval")
        detail = ""
        if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
            detail = f"{interval[0]}{EN_DASH}{interval[1]}"
        sentences.append(
            ["Over all languages the late phase begins at layer ", Number(str(late), detail)]
            + [f" of {data.layers['n_layers']}." if data.layers and "n_layers" in data.layers else "."]
        )
    elif data.layers is not None:
        reason = (data.layers.get("evidence") or {}).get("reason")
        sentences.append(["No late phase was found" + (f" ({reason})." if reason else ".")])
    committed = commitment(handover_rows(data.handover))
    if committed:
        first, last = min(committed.values()), max(committed.values())
        place = f"layer {first}" if first == last else f"layers {first}{EN_DASH}{last}"
        sentences.append(
            ["Where it is spoken is not where it is decided: swapping in the state of an English "
             "prompt already turns half of the next words English from ", Number(place), " on."]
        )  # fmt: skip
    return sentences


def _change(data: RunData, found: list[Case]) -> list[Sentence]:
    if data.tuning is None:
        return []
    sentences: list[Sentence] = [_tuning_sentence(data)]
    language = _difference(data, "language_consistency")
    task = _difference(data, "task_accuracy")
    if language:
        sentences.append(["Language consistency went ", *_difference_pieces(language), "."])
    if task:
        sentences.append(["Task accuracy went ", *_difference_pieces(task), "."])
    worst = weakest(found, after=True)
    if language and worst is not None and worst.after is not None:
        phrase = SCENARIO_PHRASES.get(worst.scenario, worst.scenario)
        sentences.append(
            [f"The weakest case is now the one {phrase.format(language=language_name(worst.language))}: "]
            + [figure(worst.after.language), "."]
        )  # fmt: skip
    inside = inside_share(data.change)
    if inside is not None:
        sentences.append([Number(percent(inside))] + [" of the curves' change lies in the tuned blocks."])
    return sentences


def _tuning_sentence(data: RunData) -> Sentence:
    tuning = data.tuning or {}
    layers = data.tuned_layers
    sentence: Sentence = []
    if layers:
        plural = "s" if len(layers) != 1 else ""
        sentence += [f"Block{plural} ", Number(spans(layers)), " were tuned" if plural else " was tuned"]
    else:
        sentence += [f"The method {tuning.get('method', 'used')} was applied"]
    if is_number(tuning.get("trainable_share")):
        sentence += [", ", Number(percent_exact(tuning["trainable_share"])), " of the weights"]
    seconds = [one for one in tuning.get("seconds_per_epoch") or [] if is_number(one)]
    if seconds:
        epochs = f"{number_word(len(seconds))} epoch{'s' * (len(seconds) != 1)}"
        sentence += [f", for {epochs} in ", Number(duration(sum(seconds)))]
    if is_number(tuning.get("delta_bytes")):
        sentence += ["; the change is a file of ", Number(size(tuning["delta_bytes"]))]
    return [*sentence, "."]


def _difference_pieces(difference: Json) -> list[Piece]:
    before, after = difference["before"], difference["after"]
    pieces: list[Piece] = ["from ", Number(percent(before)), " to ", Number(percent(after))]
    low, high, p = (difference.get(name) for name in ("low", "high", "mcnemar_p"))
    if not is_number(low) or not is_number(high):
        return pieces
    detail = f"{points(low)} to {points(high)}"
    if is_number(p):
        detail += f"; {p_value(float(p))}"  # type: ignore[arg-type]
    pieces += [", ", Number(f"{points(after - before)} points", detail)]
    if low <= 0 <= high:  # type: ignore[operator]
        pieces.append(", which cannot be told from no change")
    return pieces


def percent_exact(share: float) -> str:
    """A share with one decimal: for shares of weights, which have no sampling error."""
    return f"{100 * share:.1f}%" if share >= 0.001 else f"{100 * share:.2g}%"


def inside_share(change: Json | None) -> float | None:
    """Share of the curves' change that lies in the tuned blocks, if the run measured it."""
    for name in ("share_inside", "inside_share", "share_in_tuned", "inside"):
        value = (change or {}).get(name)
        if is_number(value):
            return float(value)  # type: ignore[arg-type]
    return None


def _difference(data: RunData, name: str) -> Json | None:
    found = ((data.comparison or {}).get("overall") or {}).get(name)
    if isinstance(found, dict) and is_number(found.get("before")) and is_number(found.get("after")):
        return found
    return None


def _cautions(data: RunData, found: list[Case]) -> list[Sentence]:
    cautions: list[Sentence] = []
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
    own = own_rows(data.before)
    unscored = sum(row.get("outcome") == "unscored" for row in own)
    if own and unscored / len(own) >= 0.02:
        cautions.append(
            [f"{percent(unscored / len(own))} of the answers before tuning could not be scored; they "
             "are left out of the rates and shown beside them."]
        )  # fmt: skip
    if any(row.get("coincides_with") for row in data.before):
        cautions.append(
            ["For English some scenarios are the same text; those answers are counted once."]
        )
    if data.tuning is not None and (data.tuning.get("seed") is not None):
        cautions.append(["Tuning was run once, with one seed: its luck is not in the intervals."])
    return cautions


def missing_stages(data: RunData) -> list[str]:
    """What the run has not done, in words."""
    stages = [
        (bool(data.before or data.summary_before), "the evaluation before tuning"),
        (bool(data.lens or data.similarity), "the probes"),
        (data.layers is not None, "locating the layers"),
        (data.tuning is not None, "tuning"),
        (bool(data.after or data.summary_after), "the evaluation after tuning"),
        (bool(data.lens_after or data.similarity_after), "the probes after tuning"),
        (data.comparison is not None, "the comparison"),
    ]
    return [name for done, name in stages if not done]
