"""What the page of several runs says in words: its title, its sentences, what to hold against them."""

from __future__ import annotations

from collections.abc import Sequence

from linguamap.charts.naming import change_figures, count, joined, p_value, points
from linguamap.report.compare_charts import RunView
from linguamap.report.rates import is_number
from linguamap.report.run_values import Json
from linguamap.report.sentences import Number, Sentence

MEASURES = (("language_consistency", "language consistency"), ("task_accuracy", "task accuracy"))
CLAIMS = {
    "language_consistency": "answers in the language asked for",
    "task_accuracy": "gets the task right",
}


def title(runs: Sequence[RunView], comparison: Json) -> Sentence:
    """The largest paired difference whose interval excludes 0, with that interval."""
    largest = _largest(runs, comparison)
    if largest is None:
        first = runs[0].letter
        others = joined([run.letter for run in runs[1:]])
        return [f"{others} cannot be told from {first} over all answers"]
    run, measure, one = largest
    *_, moved = change_figures(one["before"], one["after"])
    often = "more" if one["difference"] > 0 else "less"
    detail = f"{points(one['low'])} to {points(one['high'])}"
    return [
        f"{run.letter} {CLAIMS[measure]} {often} often than {runs[0].letter}: ",
        Number(f"{moved} points", detail),
    ]


def _differences(runs: Sequence[RunView], comparison: Json) -> list[tuple[RunView, str, Json]]:
    """Each run, each measure: the difference from the first run over all answers, where known."""
    return [
        (run, measure, found["overall"][measure])
        for run, found in zip(runs[1:], comparison["comparisons"], strict=True)
        for measure, _ in MEASURES
        if all(map(is_number, (found["overall"][measure].get(one) for one in ("low", "high"))))
    ]


def _largest(runs: Sequence[RunView], comparison: Json) -> tuple[RunView, str, Json] | None:
    clear = [
        (run, measure, one)
        for run, measure, one in _differences(runs, comparison)
        if one["low"] > 0 or one["high"] < 0
    ]
    return max(clear, key=lambda found: abs(found[2]["difference"]), default=None)


def sentences(runs: Sequence[RunView], comparison: Json) -> list[Sentence]:
    """Each run against the first one, over the prompts that both answered."""
    found_sentences: list[Sentence] = []
    for run, found in zip(runs[1:], comparison["comparisons"], strict=True):
        sentence: Sentence = [f"{run.letter} against {runs[0].letter}: "]
        for place, (measure, name) in enumerate(MEASURES):
            one = found["overall"][measure]
            sentence.append("; " if place else "")
            if one["n"] == 0:
                sentence.append(f"{name} could not be judged in both")
                continue
            detail = f"{points(one['low'])} to {points(one['high'])}; {p_value(one['p_value'])}; n = {count(one['n'])}"
            before, after, moved = change_figures(one["before"], one["after"])
            sentence += [f"{name} ", Number(before), " to ", Number(after), ", "]
            sentence.append(Number(f"{moved} points", detail))
            if one["low"] <= 0 <= one["high"]:
                sentence.append(", which cannot be told from no difference")
        found_sentences.append(
            [*sentence, f". {count(found['n_prompts'])} prompts are common to both."]
        )
    return found_sentences


def cautions(runs: Sequence[RunView], comparison: Json) -> list[str]:
    """What the reader should hold against the page's differences."""
    listed = []
    for run, found in zip(runs[1:], comparison["comparisons"], strict=True):
        names = f"{runs[0].letter} and {run.letter}"
        only = found["only_first"] + found["only_second"]
        if only:
            listed.append(f"{names}: {count(only)} prompts stand in one of them only and are "
                            "left out of the paired figures.")  # fmt: skip
        if found["n_other_text"]:
            listed.append(f"{names}: {count(found['n_other_text'])} common prompts ask in other "
                            "words, so part of a difference may come from that.")  # fmt: skip
    n_differences = len(_differences(runs, comparison))
    if n_differences > 1 and _largest(runs, comparison) is not None:
        listed.append(f"The title names the largest of {n_differences} differences, picked after "
                      "looking, which makes it look a little larger than it is.")  # fmt: skip
    if len(runs) > 2:
        listed.append("Each run is compared with the first one; the p values over all answers "
                        "are not corrected for the number of runs, those of cells are.")  # fmt: skip
    seeds = {run.letter: run.data.tuning for run in runs if run.data.tuning is not None}
    if seeds and comparison["phase"] == "after":
        listed.append(f"Tuning ran once in {joined(list(seeds))}: the luck of a seed is not in "
                        "the intervals.")  # fmt: skip
    return listed
