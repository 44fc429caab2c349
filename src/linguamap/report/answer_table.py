"""All answers in a form small enough to travel inside the page.

Prompts repeat: the same before and after tuning, the same passage under many questions, the same
instruction in every item. Each prompt is therefore a list of numbers of lines, and every distinct
line is stored once. Where the run is too large for the page all the same, long answers are cut and,
in the last resort, whole items left out; the page says so and names the file that has everything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, get_args

from linguamap.records import OUTCOMES, PartName
from linguamap.report.run_values import Json, RunData, Table

BUDGET_BYTES = 6_000_000
"""Room for the answers; the rest of the page stays well below 2 MB."""

CUTS = (4000, 2000, 1000, 500, 250)
"""Characters an answer is cut to, tried in turn until everything fits."""

MAX_PROMPT_LINE = 6000
PART_NAMES = get_args(PartName)
KEY = ("benchmark", "scenario", "language", "item_id")


@dataclass
class _Pool:
    """Distinct strings and their numbers."""

    texts: list[str]
    numbers: dict[str, int]

    def add(self, text: str) -> int:
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]


def answer_table(data: RunData, budget: int = BUDGET_BYTES) -> Json:
    """The answers for the page.

    Returns:
        ``lines``: distinct prompt lines; ``benchmarks``, ``scenarios``, ``languages``,
        ``outcomes``: the names that rows refer to by number; ``rows``: one list a question,
        [benchmark, scenario, language, item id, prompt line numbers, gold, coincides-with or -1,
        before, after, prompt parts], where before and after are null or [outcome, answer, extracted,
        answer language, reason, thinking, finish, characters cut, language of the option chosen],
        and the parts are a number of ``layouts``, then a length in UTF-16 units for each of its
        names, or null where the run did not keep them; ``layouts``: lists of part names;
        ``cut``: characters that answers were cut to, if any was; ``left_out``: questions that did
        not fit; ``total``.
    """
    pairs = _pairs(data.before, data.after)
    longest = max((_longest(pair) for pair in pairs), default=0)
    table: Json = {}
    for cut in CUTS:
        table = _build(pairs, cut)
        table["cut"] = cut if longest > cut else None
        if _size(table) <= budget:
            return table
    kept = pairs
    while len(kept) > 1 and _size(table) > budget:
        share = 0.9 * budget / _size(table)
        kept = _thin(kept, max(1, int(len(kept) * share)))
        table = _build(kept, CUTS[-1])
        table["cut"] = CUTS[-1]
    table["left_out"] = len(pairs) - len(kept)
    table["total"] = len(pairs)
    return table


Pair = tuple[dict[str, Any] | None, dict[str, Any] | None]


def _pairs(before: Table, after: Table) -> list[Pair]:
    """Answers to the same prompt side by side, in the order of the files."""
    first = {tuple(str(row.get(name)) for name in KEY): row for row in before}
    second = {tuple(str(row.get(name)) for name in KEY): row for row in after}
    return [(first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])]


def _thin(pairs: list[Pair], n: int) -> list[Pair]:
    """About ``n`` pairs, evenly from the whole list, so that every cell keeps some."""
    step = len(pairs) / n
    return [pairs[int(index * step)] for index in range(n)]


def _longest(pair: Pair) -> int:
    texts = [row.get(name) for row in pair if row for name in ("answer", "thinking")]
    return max((len(text) for text in texts if isinstance(text, str)), default=0)


def _build(pairs: list[Pair], cut: int) -> Json:
    lines, layouts = _Pool([], {}), _Pool([], {})
    benchmarks, scenarios, languages = _Pool([], {}), _Pool([], {}), _Pool([], {})
    rows = []
    for before, after in pairs:
        row = before or after or {}
        prompt = row.get("prompt")
        coincides = row.get("coincides_with")
        rows.append(
            [
                benchmarks.add(str(row.get("benchmark"))),
                scenarios.add(str(row.get("scenario"))),
                languages.add(str(row.get("language"))),
                str(row.get("item_id")),
                [
                    lines.add(_shortened(line))
                    for line in (prompt.split("\n") if isinstance(prompt, str) else [])
                ],
                _gold(row.get("gold")),
                scenarios.add(str(coincides)) if coincides else -1,
                _answer(before, cut),
                _answer(after, cut),
                _parts(row, layouts),
            ]
        )
    return {
        "lines": lines.texts,
        "layouts": [layout.split(" ") for layout in layouts.texts],
        "benchmarks": benchmarks.texts,
        "scenarios": scenarios.texts,
        "languages": languages.texts,
        "outcomes": list(OUTCOMES),
        "rows": rows,
        "cut": None,
        "left_out": 0,
        "total": len(rows),
    }


def _parts(row: dict[str, Any], layouts: _Pool) -> list[int] | None:
    """The prompt's layout and its parts' lengths, if they add up to the prompt as it is shown."""
    prompt, parts = row.get("prompt"), row.get("prompt_parts")
    if not isinstance(prompt, str) or not isinstance(parts, list):
        return None
    if any(len(line) > MAX_PROMPT_LINE for line in prompt.split("\n")):
        return None
    names, lengths, start = [], [], 0
    for part in parts:
        if not isinstance(part, list) or len(part) != 2 or part[0] not in PART_NAMES:
            return None
        if type(part[1]) is not int or part[1] < 0:
            return None
        text = prompt[start : start + part[1]]
        start += part[1]
        names.append(part[0])
        lengths.append(len(text) + sum(character > "\uffff" for character in text))
    return [layouts.add(" ".join(names)), *lengths] if start == len(prompt) else None


def _gold(gold: Any) -> list[str]:
    values = gold if isinstance(gold, list) else [] if gold is None else [gold]
    return [str(value)[:400] for value in values[:5]]


def _answer(row: dict[str, Any] | None, cut: int) -> list[Any] | None:
    if row is None:
        return None
    outcome = row.get("outcome")
    answer, thinking = _text(row.get("answer")), _text(row.get("thinking"))
    return [
        OUTCOMES.index(outcome) if outcome in OUTCOMES else OUTCOMES.index("unscored"),
        answer[:cut],
        _short(row.get("extracted")),
        _short(row.get("answer_language")),
        _short(row.get("reason")),
        thinking[:cut] or None,
        _short(row.get("finish")),
        max(0, len(answer) - cut),
        _short(row.get("option_language")),
    ]


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_PROMPT_LINE else f"{line[:MAX_PROMPT_LINE]} […]"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _short(value: Any) -> str | None:
    return None if value is None else str(value)[:400]


def _size(table: Json) -> int:
    return len(embed_json(table).encode("utf-8"))


def embed_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element, whatever text it holds.

    ``<``, ``>``, ``&``, line separators, NUL and other controls, and lone surrogates are escaped, so
    that no text ends the element, starts a comment in it, or fails to encode; NaN is refused.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_UNSAFE = re.compile("[\\x00-\\x1f<>&\\x7f\\u2028\\u2029\\ufeff\\ud800-\\udfff]")
