"""Sentences made from a run's numbers.

A sentence is a list of plain strings and :class:`Number`; the page sets the numbers off and shows
their intervals. Where a difference includes 0 the sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from linguamap.charts.naming import (
    EN_DASH,
    SCENARIO_PHRASES,
    count,
    joined,
    language_name,
    model_title,
    number_word,
    percent,
    percent_exact,
    percent_range,
    spans,
)
from linguamap.records import Rate
from linguamap.report.rates import Case, headline_rates, is_number, own_rows, share, tally
from linguamap.report.run_values import Json, RunData, Table, list_at, object_at

MANY_CUT = 0.1
"""From more cut answers than this share on the text says so."""

MOST_NAMED = 6
"""More languages than this are counted instead of named."""


@dataclass(frozen=True)
class Number:
    """A figure in running text; ``detail`` is its interval and n, if it has them."""

    text: str
    detail: str = ""


Piece = str | Number
Sentence = list[Piece]


def as_text(sentence: Sentence) -> str:
    """A sentence without a page: details of a number in brackets behind it."""
    parts = (
        piece
        if isinstance(piece, str)
        else f"{piece.text}" + f" ({piece.detail})" * bool(piece.detail)
        for piece in sentence
    )
    return "".join(parts).strip()


def figure(rate: Rate) -> Number:
    """A rate as a number with its interval and its n."""
    if rate.value is None:
        return Number("unknown", "no answer could be counted")
    parts = []
    if rate.low is not None and rate.high is not None:
        parts.append(percent_range(rate.low, rate.high))
    if rate.n > 0:
        parts.append(f"n = {count(rate.n)}")
    return Number(percent(rate.value), ", ".join(parts))


def behaviour(data: RunData, found: list[Case]) -> list[Sentence]:
    """How well the model did before tuning; empty without answers."""
    rates = headline_rates(data, "before")
    if rates is None:
        return []
    own = own_rows(data.before)
    model = model_title(data.model_name)
    subject = f"Asked {_prompts_asked(own)}, {model}" if own else model
    sentences: list[Sentence] = [
        [
            f"{subject} used the language it was asked for in ",
            figure(rates[0]),
            " of the answers whose language could be told, and got the task right in ",
            figure(rates[1]),
            " of those whose task could be judged.",
        ]
    ]
    if own and not data.after:
        sentences.append(
            ["Right in both, of all prompts: ", figure(share_of_all(own, "both")), "."]
        )
    stray = tally(own)
    if stray.wrong_in_english.n >= 5 and (stray.wrong_in_english.value or 0) >= 0.5:
        sentences.append(
            ["Of those in a wrong language, ", figure(stray.wrong_in_english), " were in English."]
        )
    hardest = weakest(found)
    if hardest is not None:
        sentences.append(_weakest_sentence(hardest))
    return sentences


def _prompts_asked(rows: Table) -> str:
    """How many prompts, and how many questions, languages and scenarios they were made from."""
    prompts = f"{count(len(rows))} prompt{'s' * (len(rows) != 1)}"
    questions = len({(row.get("benchmark"), row.get("item_id")) for row in rows})
    if not 0 < questions < len(rows):
        return prompts
    kinds = []
    for n, kind in (
        (len({row.get("language") for row in rows}), "language"),
        (len({row.get("scenario") for row in rows}), "scenario"),
    ):
        kinds.append(f"{number_word(n)} {kind}{'s' * (n != 1)}")
    return f"{prompts} ({count(questions)} questions in {joined(kinds)})"


def share_of_all(rows: Table, outcome: str) -> Rate:
    """Share of all answers with an outcome; those that could not be judged do not have it."""
    return share([{**row, "found": row.get("outcome") == outcome} for row in rows], "found")


def cut_answers(data: RunData) -> list[Sentence]:
    """How many answers the token limit cut, where they are many."""
    shares = []
    for rows in (own_rows(data.before), own_rows(data.after)):
        cut = sum(row.get("finish") == "length" for row in rows)
        shares.append(cut / len(rows) if rows else 0.0)
    if max(shares) <= MANY_CUT:
        return []
    text = f"The token limit cut {percent(shares[0])} of the answers before tuning"
    text += f" and {percent(shares[1])} of those after it" if data.after else ""
    return [
        [f"{text}. They are judged by what stands there, and not at all where only reasoning does; "
         "with a higher evaluate.max_new_tokens the rates may be others."]
    ]  # fmt: skip


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
    """In which layers the language can be read and is carried; empty without probes."""
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
    known = object_at(data.layers, "committed_layer")
    committed = {code: layer for code, layer in known.items() if is_number(layer)}
    if not committed:
        return []
    first, last = min(committed.values()), max(committed.values())
    place = f"layer {first}" if first == last else f"layers {first}{EN_DASH}{last}"
    late = object_at(data.layers, "phases").get("late_start")
    if is_number(late) and last < late:
        lead = "It is carried before it can be read: swapping in"
    else:
        lead = "Swapping in"
    rest = " the state of an English prompt has done half of what it does to the next words from "
    asked = {row["language"] for row in data.handover}
    some = f", in {len(committed)} of {len(asked)} languages" if len(committed) < len(asked) else ""
    return [lead + rest, Number(place), f" on{some}."]


def _overtaking_sentences(data: RunData) -> list[Sentence]:
    sentences: list[Sentence] = []
    crossings = object_at(data.layers, "overtakes_english")
    reached = {code: layer for code, layer in crossings.items() if is_number(layer)}
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
    never = [code for code, layer in crossings.items() if not is_number(layer)]
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
    begins: Sentence = [
        "Over all languages the late phase begins at layer ",
        Number(str(late), detail),
        end,
    ]
    return [*begins, *_budget(data.layers, int(late))]


def _budget(layers: Json, late: int) -> Sentence:
    """Which blocks the budget of parameters left out of those that the rule names."""
    chosen = [one for one in list_at(layers, "tune_layers") if isinstance(one, int)]
    cap, total = object_at(layers, "evidence").get("max_trainable_share"), layers.get("n_layers")
    if not chosen or min(chosen) <= late or not is_number(cap) or not is_number(total):
        return []
    ruled = Number(spans(list(range(late, int(total) + 1))))
    budget = percent_exact(cap)
    left: Sentence = [" The rule names blocks ", ruled, f"; a budget of {budget} of the parameters"]
    return [*left, " leaves ", Number(spans(chosen)), ": the budget decided."]


def _named(codes: list[str]) -> str:
    if len(codes) > MOST_NAMED:
        return f"{number_word(len(codes))} languages"
    return joined([language_name(code) for code in codes])
