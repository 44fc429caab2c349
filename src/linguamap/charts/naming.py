"""What things are called on the page: names for codes, and numbers as a reader writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linguamap.records import Answer, Outcome

SCENARIO_NAMES: dict[str, str] = {
    "monolingual": "Monolingual",
    "code_mixed": "Code-mixed",
    "english_distractor": "English distractors",
    "bilingual_answer": "Bilingual answer",
    "other_language": "Another language asked for",
}

SCENARIO_NOTES: dict[str, str] = {
    "monolingual": "preamble, instruction and question all in the target language",
    "code_mixed": "preamble and instruction in English, the question in the target language",
    "english_distractor": "the right option in the target language, plausible wrong ones in English",
    "bilingual_answer": "the right answer offered in both the target language and English",
    "other_language": "everything in another language, in which an answer in the target language is asked for",
}

SCENARIO_PHRASES: dict[str, str] = {
    "monolingual": "asked wholly in {language}",
    "code_mixed": "asked in {language} under an English instruction",
    "english_distractor": "asked in {language} with wrong answers offered in English",
    "bilingual_answer": "asked in {language} with the right answer offered in English, too",
    "other_language": "asked in another language for an answer in {language}",
}

OUTCOME_NAMES: dict[str, str] = {
    "both": "Right task, right language",
    "transfer_bottleneck": "Right language, wrong task",
    "neither": "Wrong task, wrong language",
    "consistency_bottleneck": "Right task, wrong language",
    "unscored": "Unscored",
}
"""In the order of the bars: what is in the right language comes first."""

LANGUAGE_NAMES: dict[str, str] = {
    "transfer_bottleneck": "In the language asked for",
    "neither": "In another language",
    "unscored": "Language not identified",
}
"""Instead, where no prompt has a task, in the tones of an answer whose task is not right."""

OUTCOME_NOTES: dict[str, str] = {
    "both": "what was wanted",
    "transfer_bottleneck": "transfer bottleneck: it speaks the language and cannot do the task in it",
    "neither": "neither the task nor the language",
    "consistency_bottleneck": "consistency bottleneck: it can do the task and will not speak the "
    "language",
    "unscored": "the answer, or its language, could not be identified; the reason is kept",
}


def shown_outcome(answer: Answer) -> tuple[Outcome, str]:
    """The outcome in whose tone an answer is drawn, and its name; without a task its language alone."""
    if answer.kind != "open":
        return answer.outcome, OUTCOME_NAMES[answer.outcome]
    tone: Outcome = "neither" if answer.language_correct is False else "unscored"
    tone = "transfer_bottleneck" if answer.language_correct else tone
    return tone, LANGUAGE_NAMES[tone]


STAGE_NAMES: dict[str, str] = {
    "before": "Answers before tuning",
    "probe": "Probes before tuning",
    "locate": "Locating the layers",
    "choose": "Choosing the blocks",
    "tune": "Tuning",
    "after": "Answers after tuning",
    "probe_after": "Probes after tuning",
    "compare": "Comparison",
    "report": "This page",
}

MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def scenario_name(name: str) -> str:
    """A scenario's name for people."""
    return SCENARIO_NAMES.get(name, name.replace("_", " ").capitalize())


def benchmark_name(name: str) -> str:
    """A benchmark's name for people; acronyms stand as they are known."""
    known = {"mgsm": "MGSM", "mmlu": "MMLU", "mmmlu": "MMMLU", "xquad": "XQuAD", "lcb": "LCB"}
    return known.get(name, name[:1].upper() + name[1:])


def model_title(name: str) -> str:
    """A model's name for a headline; it is not broken over two lines."""
    if name == "starter":
        return "Gemma\N{NO-BREAK SPACE}3\N{NO-BREAK SPACE}270M"
    return name.rstrip("/").rsplit("/", 1)[-1] or name


def percent(share: float) -> str:
    """A share as percent; a decimal only where rounding would claim 0 or 100."""
    value = 100 * share
    if 0 < value < 1 or 99 < value < 100:
        short = f"{value:.1f}"
        if short in ("0.0", "100.0"):
            return "<0.1%" if value < 50 else ">99.9%"
        return f"{short}%"
    return f"{value:.0f}%"


def percent_exact(share: float) -> str:
    """A share with one decimal: for shares of weights, which have no sampling error."""
    return f"{100 * share:.1f}%" if share >= 0.001 else f"{100 * share:.2g}%"


def points(difference: float) -> str:
    """A difference of two shares in signed percentage points, without the word."""
    value = round(100 * difference, 1 if abs(difference) < 0.01 else 0)
    if value == 0:
        return "0"
    sign = "+" if value > 0 else MINUS
    return f"{sign}{abs(value):g}"


def change_figures(before: float, after: float) -> tuple[str, str, str]:
    """Two shares and their difference in points, rounded so that the difference is theirs.

    Whole numbers where these agree; else one decimal, and the difference that the reader would work
    out from the two, which is the true one to a tenth of a point.
    """
    texts = percent(before), percent(after)
    values = [float(text.rstrip("%").lstrip("<>")) for text in texts]
    whole = points(after - before)
    if whole == points((values[1] - values[0]) / 100):
        return *texts, whole
    tenths = [round(100 * share, 1) for share in (before, after)]
    moved = round(tenths[1] - tenths[0], 1)
    sign = "+" if moved > 0 else MINUS if moved < 0 else ""
    return f"{tenths[0]:.1f}%", f"{tenths[1]:.1f}%", f"{sign}{abs(moved):.1f}"


def percent_range(low: float, high: float) -> str:
    """An interval of shares in percent, e.g. ``57\N{EN DASH}65%``."""
    return f"{percent(low).rstrip('%')}{EN_DASH}{percent(high)}"


def p_value(p: float) -> str:
    """A p-value with its relation, e.g. ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def count(number: int) -> str:
    """A whole number with thousands marked."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """Seconds for people: ``4 min 10 s``."""
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}{THIN}min {rest}{THIN}s" if rest else f"{minutes}{THIN}min"
    hours, rest = divmod(whole, 3600)
    return f"{hours}{THIN}h {rest // 60}{THIN}min"


def size(n_bytes: float) -> str:
    """Bytes for people, decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            value = n_bytes / factor
            return f"{value:.1f}{THIN}{unit}" if value < 10 else f"{value:.0f}{THIN}{unit}"
    return f"{n_bytes:.0f}{THIN}bytes"


def joined(words: Sequence[str]) -> str:
    """Words as an English list: ``a``, ``a and b``, ``a, b and c``."""
    if len(words) <= 1:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def spans(numbers: Sequence[int]) -> str:
    """Layer numbers as ranges: ``17\N{EN DASH}18``, ``3, 7\N{EN DASH}9``."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for index, number in enumerate(ordered):
        if index + 1 < len(ordered) and ordered[index + 1] == number + 1:
            continue
        first = ordered[start]
        parts.append(str(number) if first == number else f"{first}{EN_DASH}{number}")
        start = index + 1
    return ", ".join(parts)


def number_word(number: int) -> str:
    """Small numbers as words, in running text."""
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return names[number] if 0 <= number < len(names) else count(number)
