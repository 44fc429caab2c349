"""What tuning changed, in sentences."""

from __future__ import annotations

from linguamap.charts.naming import (
    SCENARIO_PHRASES,
    change_figures,
    count,
    duration,
    language_name,
    number_word,
    p_value,
    percent,
    percent_exact,
    points,
    size,
    spans,
)
from linguamap.report.rates import Case, cluster, is_number, own_rows
from linguamap.report.run_values import Json, RunData, list_at, object_at
from linguamap.report.sentences import MOST_NAMED, Number, Piece, Sentence, figure, weakest
from linguamap.scoring.stats import paired_bootstrap
from linguamap.tuning.methods import FEW_SHOT, STEER


def change(data: RunData, found: list[Case]) -> list[Sentence]:
    """What was tuned and what it changed; empty without tuning."""
    if data.tuning is None:
        return []
    sentences: list[Sentence] = [_tuning_sentence(data)]
    right = _right_in_both_sentence(data)
    if right:
        sentences.append(right)
    language = overall_difference(data, "language_consistency")
    task = overall_difference(data, "task_accuracy")
    both: Sentence = []
    for name, difference in (("language consistency went ", language), ("task accuracy ", task)):
        if difference:
            both += [", and " if both else "On the prompts judged both times, ", name]
            both += _difference_pieces(difference)
    if both:
        sentences.append([*both, "."])
    sentences += _by_language_sentences(data)
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
    if tuning.get("method") == FEW_SHOT.name:
        shots = tuning.get("shots")
        worked = f"{number_word(shots)} worked" if isinstance(shots, int) else "Worked"
        return [f"{worked[:1].upper()}{worked[1:]} examples stand before each question; "
                "nothing was trained."]  # fmt: skip
    if layers:
        plural = "s" if len(layers) != 1 else ""
        verb = "steered; nothing was trained" if tuning.get("method") == STEER.name else "tuned"
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


PROMPT = ("benchmark", "scenario", "language", "item_id")


def _right_in_both_sentence(data: RunData) -> Sentence:
    """Answers right in task and language, of all prompts asked both times; nothing is left out."""
    sides = []
    for rows in (data.before, data.after):
        sides.append({tuple(str(row.get(name)) for name in PROMPT): row for row in own_rows(rows)})
    common = [key for key in sides[0] if key in sides[1]]
    if not common:
        return []
    first, second = ([side[key].get("outcome") == "both" for key in common] for side in sides)
    items = [cluster(sides[0][key]) for key in common]
    found = paired_bootstrap([float(one) for one in first], [float(one) for one in second], items)
    sentence: Sentence = ["Right in both task and language were ", Number(count(sum(first)))]
    sentence += [" answers before and ", Number(count(sum(second))), " after"]
    sentence.append(f", of all {count(len(common))} prompts")
    if found.value is None or found.low is None or found.high is None:
        return [*sentence, "."]
    *_, moved = change_figures(sum(first) / len(common), sum(second) / len(common))
    detail = f"{points(found.low)} to {points(found.high)}"
    sentence += [": ", Number(f"{moved} points", detail)]
    if found.low <= 0 <= found.high:
        sentence.append(", which cannot be told from no change")
    return [*sentence, "."]


def _by_language_sentences(data: RunData) -> list[Sentence]:
    """Languages whose task accuracy clearly changed, and out of how many they are picked."""
    looked_at, clear = 0, []
    for code, entry in object_at(data.comparison, "languages").items():
        found = object_at(entry, "task_accuracy")
        low, high = found.get("low"), found.get("high")
        if not is_number(found.get("before")) or not is_number(found.get("after")):
            continue
        if not is_number(low) or not is_number(high):
            continue
        looked_at += 1
        if low > 0 or high < 0:
            clear.append((code, found))
    if not clear:
        return []
    sentence: Sentence = [
        f"Of {number_word(looked_at)} languages looked at one by one, {number_word(len(clear))} "
        f"{'has' if len(clear) == 1 else 'have'} an interval of task accuracy without 0: "
    ]
    for place, (code, found) in enumerate(clear[:MOST_NAMED]):
        sentence += ["; " if place else "", f"{language_name(code)} "]
        sentence += _difference_pieces(found)
    if len(clear) > MOST_NAMED:
        sentence.append(f"; and in {len(clear) - MOST_NAMED} more")
    return [[*sentence, ". Picked from several, it may be chance." if looked_at > 1 else "."]]


def _difference_pieces(difference: Json) -> list[Piece]:
    before, after, moved = change_figures(difference["before"], difference["after"])
    pieces: list[Piece] = ["from ", Number(before), " to ", Number(after)]
    low, high, p = (difference.get(name) for name in ("low", "high", "p_value"))
    if not is_number(low) or not is_number(high):
        return pieces
    detail = f"{points(low)} to {points(high)}"
    if is_number(p):
        detail += f"; {p_value(float(p))}"
    if is_number(difference.get("n")):
        detail += f"; n = {count(int(difference['n']))}"
    pieces += [", ", Number(f"{moved} points", detail)]
    if low <= 0 <= high:
        pieces.append(", which cannot be told from no change")
    return pieces


def _moved_sentence(change: Json | None) -> Sentence:
    """Where the curves moved; no finding is made of what cannot be otherwise."""
    inside, below = (change or {}).get("share_in_tuned"), (change or {}).get("share_below")
    if not is_number(inside) or not is_number(below):
        return []
    if (change or {}).get("largest_below") == 0:
        if inside == 1:
            return [
                "No curve moved below the tuned blocks, as it must be: those blocks are frozen."
            ]
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
