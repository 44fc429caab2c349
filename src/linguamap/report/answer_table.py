"""All answers in a form small enough to travel inside the page.

Prompts repeat: the same before and after tuning, the same passage under many questions, the same
instruction in every item. Each prompt is therefore a list of numbers of lines, and every distinct
line is stored once. Where the run is too large for the page all the same, long answers are cut and,
in the last resort, whole items left out; the page says so and names the file that has everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from linguamap.charts.naming import OUTCOME_NAMES
from linguamap.records import OUTCOMES, Answer
from linguamap.seeding import shuffled

BUDGET_BYTES = 6_000_000
"""Room for the answers; the rest of the page stays well below 2 MB."""

CUTS = (4000, 2000, 1000, 500, 250)
"""Characters an answer is cut to, tried in turn until everything fits."""

MAX_PROMPT_LINE = 6000


@dataclass
class _Pool:
    """Distinct strings and their numbers."""

    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def answer_table(
    before: Sequence[Answer], after: Sequence[Answer], budget: int = BUDGET_BYTES
) -> dict[str, Any]:
    """The answers for the page.

    Returns:
        ``lines``: distinct prompt lines; ``benchmarks``, ``scenarios``, ``languages``,
        ``outcomes``: the names that rows refer to by number; ``rows``: one list a question,
        [benchmark, scenario, language, item id, prompt line numbers, gold, coincides-with or -1,
        before, after, prompt parts], where before and after are null or [outcome, answer, extracted,
        answer language, reason, thinking, finish, characters cut, language of the option chosen],
        and the parts are a number of ``layouts``, then a length in UTF-16 units for each of its
        names, or null where they are not those of what is shown; ``layouts``: lists of part names;
        ``cut``: characters that answers were cut to, if any was; ``left_out``: questions that did
        not fit; ``total``.
    """
    pairs = _pairs(before, after)
    longest = max((_longest(pair) for pair in pairs), default=0)
    table: dict[str, Any] = {}
    for cut in CUTS:
        table = _build(pairs, cut)
        table["cut"] = cut if longest > cut else None
        if _size(table) <= budget:
            return table
    kept = pairs
    while len(kept) > 1 and _size(table) > budget:
        kept = _thin(kept, max(1, len(kept) * 9 * budget // (10 * _size(table))))
        table = _build(kept, CUTS[-1])
        table["cut"] = CUTS[-1]
    table["left_out"] = len(pairs) - len(kept)
    table["total"] = len(pairs)
    return table


Pair = tuple[Answer | None, Answer | None]


def _pairs(before: Sequence[Answer], after: Sequence[Answer]) -> list[Pair]:
    """Answers to the same prompt side by side, in the order of the files."""
    first, second = ({one.prompt_id: one for one in side} for side in (before, after))
    return [(first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])]


def _thin(pairs: list[Pair], n: int) -> list[Pair]:
    """About ``n`` pairs, evenly from the whole list, so that every cell keeps some."""
    return [pairs[index * len(pairs) // n] for index in range(n)]


def _longest(pair: Pair) -> int:
    return max(
        (len(text or "") for one in pair if one for text in (one.answer, one.thinking)), default=0
    )


def _build(pairs: list[Pair], cut: int) -> dict[str, Any]:
    lines, layouts = _Pool(), _Pool()
    benchmarks, scenarios, languages = _Pool(), _Pool(), _Pool()
    rows = []
    for before, after in pairs:
        one = before or after
        assert one is not None
        rows.append(
            [
                benchmarks.add(one.benchmark),
                scenarios.add(one.scenario),
                languages.add(one.language),
                one.item_id,
                [lines.add(_shortened(line)) for line in one.prompt.split("\n")],
                [value[:400] for value in one.gold[:5]],
                scenarios.add(one.coincides_with) if one.coincides_with else -1,
                _answer(before, cut),
                _answer(after, cut),
                _parts(one, layouts),
            ]
        )
    return {
        "lines": list(lines.numbers),
        "layouts": [layout.split(" ") for layout in layouts.numbers],
        "benchmarks": list(benchmarks.numbers),
        "scenarios": list(scenarios.numbers),
        "languages": list(languages.numbers),
        "outcomes": list(OUTCOMES),
        "rows": rows,
        "cut": None,
        "left_out": 0,
        "total": len(rows),
    }


def _parts(answer: Answer, layouts: _Pool) -> list[int] | None:
    """The prompt's layout and its parts' lengths, if they add up to the prompt as it is shown."""
    prompt, parts = answer.prompt, answer.prompt_parts
    if not parts or any(len(line) > MAX_PROMPT_LINE for line in prompt.split("\n")):
        return None
    lengths, start = [], 0
    for _, size in parts:
        text = prompt[start : start + size]
        start += size
        lengths.append(len(text) + sum(character > "\uffff" for character in text))
    if start != len(prompt) or any(size < 0 for _, size in parts):
        return None
    return [layouts.add(" ".join(name for name, _ in parts)), *lengths]


def _answer(answer: Answer | None, cut: int) -> list[Any] | None:
    if answer is None:
        return None
    return [
        OUTCOMES.index(answer.outcome),
        answer.answer[:cut],
        answer.extracted and answer.extracted[:400],
        answer.answer_language,
        answer.reason,
        (answer.thinking or "")[:cut] or None,
        answer.finish,
        max(0, len(answer.answer) - cut),
        answer.option_language,
    ]


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_PROMPT_LINE else f"{line[:MAX_PROMPT_LINE]} […]"


def one_of_each(found: Sequence[tuple[str, str]], seed: str) -> list[int]:
    """Places of one answer for each outcome, drawn by lot from the seed.

    Languages that no example has yet come first, so that the examples show different ones.

    Args:
        found: outcome and language of each answer; an outcome of no name is passed over.
    """
    chosen: list[int] = []
    for outcome in OUTCOME_NAMES:
        places = [place for place, (one, _) in enumerate(found) if one == outcome]
        drawn = shuffled(places, "examples", seed, outcome)
        seen = {found[place][1] for place in chosen}
        chosen += sorted(drawn, key=lambda place: found[place][1] in seen)[:1]
    return chosen


def _size(table: dict[str, Any]) -> int:
    return len(embed_json(table).encode("utf-8"))


def embed_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element, whatever text it holds.

    ``<``, ``>``, ``&``, line separators, NUL and other controls, and lone surrogates are escaped, so
    that no text ends the element, starts a comment in it, or fails to encode; NaN is refused.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_UNSAFE = re.compile("[\\x00-\\x1f<>&\\x7f\\u2028\\u2029\\ufeff\\ud800-\\udfff]")
