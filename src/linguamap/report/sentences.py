"""Sentences made from a run's numbers.

A sentence is a list of plain strings and :class:`Number`; the page sets the numbers off and shows
their intervals. Where a difference includes 0 the sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from linguamap.records import Rate
from linguamap.report.curve_data import handover_rows
from linguamap.report.curve_readings import commitment, overtakings
from linguamap.report.loading import Json, RunData, list_at, object_at
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
    percent_exact,
    percent_range,
    points,
    size,
    spans,
)
from linguamap.report.rates import Case, headline_rates, is_number, own_rows, tally

SHOWN_N = 100
"""Below this many answers a figure in the text says its n."""

MOST_NAMED = 6
"""More languages than this are counted instead of named."""


@dataclass(frozen=True)
class Number:
    """A figure in running text; ``detail`` is its interval and n, if it has them."""

    text: str
    detail: str = ""


Piece = str | Number
Sentence = list[Piece]


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


def behaviour(data: RunData, found: list[Case]) -> list[Sentence]:
    """How well the model did before tuning; empty without answers."""
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
    known: list[tuple[float, Case]] = []
    for case in found:
        tally_of = case.after if after else case.before
        rate = tally_of.language if tally_of else None
        if rate is not None and rate.value is not None and rate.n >= 5:
            known.append((rate.value, case))
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


def where(data: RunData) -> list[Sentence]:
    """In which layers the language is spoken and decided; empty without probes."""
    sentences = _overtaking_sentences(data)
    late = _late_sentence(data)
    if late:
        sentences.append(late)
    committed = _committed_sentence(data)
    if committed:
        sentences.append(committed)
    return sentences


def _committed_sentence(data: RunData) -> Sentence:
    """From which layer on the English twin's state decides; a contrast only where it is one."""
    committed = commitment(handover_rows(data.handover))
    if not committed:
        return []
    first, last = min(committed.values()), max(committed.values())
    place = f"layer {first}" if first == last else f"layers {first}{EN_DASH}{last}"
    late = object_at(data.layers, "phases").get("late_start")
    if is_number(late) and last < late:
        lead = "Where it is spoken is not where it is decided: swapping in"
    else:
        lead = "Swapping in"
    rest = " the state of an English prompt turns half of the next words English from "
    asked = {row["language"] for row in data.handover}
    some = f", in {len(committed)} of {len(asked)} languages" if len(committed) < len(asked) else ""
    return [lead + rest, Number(place), f" on{some}."]


def _overtaking_sentences(data: RunData) -> list[Sentence]:
    sentences: list[Sentence] = []
    crossings = overtakings(data.lens)
    reached = {code: layer for code, layer in crossings.items() if layer is not None}
    if reached:
        ordered = sorted(reached.items(), key=lambda pair: pair[1])
        layers = sorted({layer for _, layer in ordered})
        by_layer = [
            (layer, _named([code for code, one in ordered if one == layer])) for layer in layers
        ]
        sentence: Sentence = [
            "Read layer by layer, the language asked for overtakes English for good "
        ]
        for place, (layer, names) in enumerate(by_layer):
            link = "" if place == 0 else " and " if place == len(by_layer) - 1 else ", "
            lead = "at layer " if place == 0 else link
            sentence += [lead, Number(str(layer)), f" for {names}"]
        sentences.append([*sentence, "."])
    never = [code for code, layer in crossings.items() if layer is None]
    if never:
        verb = "never does" if reached else "never overtakes English for good"
        subject = "It" if reached else "Read layer by layer, the language asked for"
        sentences.append([f"{subject} {verb} for {_named(never)}."])
    return sentences


def _late_sentence(data: RunData) -> Sentence:
    if data.layers is None:
        return []
    late = object_at(data.layers, "phases").get("late_start")
    if not is_number(late):
        reason = object_at(data.layers, "evidence").get("reason")
        return [f"No blocks are proposed: {reason}." if reason else "No late phase was found."]
    interval = data.layers.get("late_start_interval")
    detail = ""
    if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
        detail = f"{interval[0]}{EN_DASH}{interval[1]}"
    total = data.layers.get("n_layers")
    end = f" of {total}." if is_number(total) else "."
    return ["Over all languages the late phase begins at layer ", Number(str(late), detail), end]


def _named(codes: list[str]) -> str:
    if len(codes) > MOST_NAMED:
        return f"{number_word(len(codes))} languages"
    return joined([language_name(code) for code in codes])


def change(data: RunData, found: list[Case]) -> list[Sentence]:
    """What was tuned and what it changed; empty without tuning."""
    if data.tuning is None:
        return []
    sentences: list[Sentence] = [_tuning_sentence(data)]
    language = overall_difference(data, "language_consistency")
    task = overall_difference(data, "task_accuracy")
    both: Sentence = []
    for name, difference in (("language consistency went ", language), ("task accuracy ", task)):
        if difference:
            both += [", and " if both else "On the questions judged both times, ", name]
            both += _difference_pieces(difference)
    if both:
        sentences.append([*both, "."])
    worst = weakest(found, after=True)
    if language and worst is not None and worst.after is not None:
        phrase = SCENARIO_PHRASES.get(worst.scenario, worst.scenario)
        case = phrase.format(language=language_name(worst.language))
        sentences.append(
            [f"The weakest case is now the one {case}: ", figure(worst.after.language), "."]
        )
    moved = _moved_sentence(data.change)
    if moved:
        sentences.append(moved)
    return sentences


def _tuning_sentence(data: RunData) -> Sentence:
    tuning = data.tuning or {}
    layers = data.tuned_layers
    sentence: Sentence = []
    if tuning.get("method") == "few_shot":
        shots = tuning.get("shots")
        worked = f"{number_word(shots)} worked" if isinstance(shots, int) else "Worked"
        return [f"{worked[:1].upper()}{worked[1:]} examples stand before each question; "
                "nothing was trained."]  # fmt: skip
    if layers:
        plural = "s" if len(layers) != 1 else ""
        verb = "steered; nothing was trained" if tuning.get("method") == "steer" else "tuned"
        sentence += [
            f"Block{plural} ",
            Number(spans(layers)),
            f" {'were' if plural else 'was'} {verb}",
        ]
    else:
        sentence += [f"The method {tuning.get('method', 'used')} was applied"]
    if is_number(tuning.get("trainable_share")) and tuning["trainable_share"] > 0:
        sentence += [", ", Number(percent_exact(tuning["trainable_share"])), " of the weights"]
    seconds = [one for one in list_at(tuning, "seconds_per_epoch") if is_number(one)]
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
        detail += f"; {p_value(float(p))}"
    pieces += [", ", Number(f"{points(after - before)} points", detail)]
    if low <= 0 <= high:
        pieces.append(", which cannot be told from no change")
    return pieces


def _moved_sentence(change: Json | None) -> Sentence:
    """Whether the curves moved in the tuned blocks only."""
    inside, below = (change or {}).get("share_in_tuned"), (change or {}).get("share_below")
    if not is_number(inside) or not is_number(below):
        return []
    if (change or {}).get("largest_below") == 0:
        if inside == 1:
            return ["The curves moved in the tuned blocks only."]
        share = Number(percent(inside))
        return ["Below them no curve moved; ", share, " of the change lies in the tuned blocks."]
    where_not: Sentence = [
        " of the curves' change lies in the tuned blocks, ",
        Number(percent(below)),
    ]
    return [Number(percent(inside)), *where_not, " below them."]


def overall_difference(data: RunData, name: str) -> Json | None:
    found = object_at(data.comparison, "overall", name)
    if is_number(found.get("before")) and is_number(found.get("after")):
        return found
    return None
