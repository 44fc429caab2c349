"""HTML of a reading. Everything that a model or a person wrote goes through :func:`shown`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import regex

from linguamap.charts.colours import OUTCOME_COLOURS, PAGE_DARK, PAGE_LIGHT, language_inks
from linguamap.charts.naming import OUTCOME_NAMES, language_name, percent
from linguamap.explore.reading import Reading
from linguamap.probes.token_grid import Cell, TokenGrid

RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
TITLES = {"before": "Model as it is", "after": "Tuned model"}
INTERVENTIONS = {
    "to_english": "{language} prompt, last state from the English twin",
    "from_english": "English prompt, last state from the {language} twin",
    "skip": "{language} prompt, this one block left out",
}

_CONTROL = regex.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
_NAMES = {
    0x00: "NUL", 0x07: "BEL", 0x0D: "CR", 0x1B: "ESC", 0x200B: "ZWSP", 0x200E: "LRM",
    0x200F: "RLM", 0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO",
    0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM",
}  # fmt: skip
_MARKUP = {"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"}
"""Characters that the page's own template language knows, beside those of HTML."""


def shown(text: str) -> str:
    """Text as HTML that is read and never obeyed: controls named, markup and templates inert."""
    parts, start = [], 0
    for found in _CONTROL.finditer(text):
        code = ord(found.group())
        name = _NAMES.get(code, f"U+{code:04X}")
        parts.append(_escaped(text[start : found.start()]))
        parts.append(f'<span class="lm-control">{name}</span>')
        start = found.end()
    return "".join([*parts, _escaped(text[start:])])


def _escaped(text: str) -> str:
    return "".join(_MARKUP.get(c, c) for c in html.escape(text))


def colours_css(languages: Sequence[str]) -> str:
    """The colour of each language and outcome as CSS variables, light and dark."""
    inks = language_inks(languages)
    light = "".join(f"--lm-{code}:{ink.light};" for code, ink in inks.items())
    dark = "".join(f"--lm-{code}:{ink.dark};" for code, ink in inks.items())
    for name, (on_light, on_dark) in OUTCOME_COLOURS.items():
        light += f"--lm-{name}:{on_light};"
        dark += f"--lm-{name}:{on_dark};"
    rules = "".join(f".lm [data-l={code}]{{--c:var(--lm-{code})}}" for code in inks)
    return (
        f".lm{{{light}--page:{PAGE_LIGHT};--ink:#22262c;--soft:#5b626b;--rule:#d9d6cf}}"
        f".dark .lm{{{dark}--page:{PAGE_DARK};--ink:#e8e9ec;--soft:#a3a9b2;--rule:#3a3e45}}{rules}"
    )


def draw_readings(
    readings: Sequence[Reading], languages: Sequence[str], language: str, picked: bool, note: str
) -> str:
    """The whole result: answers side by side, then grids, then handover.

    Args:
        languages: the identifier's candidates, in the order of the legend.
        language: the target language.
        picked: whether the answer's outcome is known (else only its language).
        note: a remark for the top, plain text.
    """
    parts = [f'<p class="lm-note">{_escaped(note)}</p>'] if note else []
    parts.append(_beside([_answer(one, language, picked) for one in readings]))
    grids = [one for one in readings if one.grid is not None or "grid" in one.missing]
    if grids:
        parts.append("<h3>Layer by layer: what would be written next, and in which language</h3>")
        parts.append(_legend(languages))
        parts.append(_beside([_grid(one, language) for one in grids]))
    handovers = [one for one in readings if one.handover or "handover" in one.missing]
    if handovers:
        parts.append("<h3>Handover: from which layer on is the language settled?</h3>")
        parts.append(_beside([_handover(one, language) for one in handovers]))
    return f'<div class="lm" aria-live="polite">{"".join(parts)}</div>'


def _beside(sections: Sequence[str]) -> str:
    inner = "".join(f'<section class="lm-half">{section}</section>' for section in sections)
    return f'<div class="lm-pair">{inner}</div>'


def _answer(reading: Reading, language: str, picked: bool) -> str:
    row = reading.row
    found, wanted = row["answer_language"], language_name(language)
    if found is None:
        reason = str(row["language_reason"] or "unknown").replace("_", " ")
        spoken = f"language not told ({_escaped(reason)}); wanted: {wanted}"
    elif row["language_correct"]:
        spoken = f"in {_named(found)}, as wanted"
    else:
        spoken = f"in {_named(found)}; wanted: {wanted}"
    facts = [spoken]
    if picked:
        name = _escaped(OUTCOME_NAMES[row["outcome"]])
        mark = f'<i class="lm-dot" style="background:var(--lm-{row["outcome"]})"></i>'
        facts.insert(0, f"{mark}<b>{name}</b>")
        gold = " or ".join(row["gold"])
        taken = "nothing found" if row["extracted"] is None else row["extracted"]
        facts.append(f"taken as <bdi>{shown(taken)}</bdi>, right is <bdi>{shown(gold)}</bdi>")
    if row["finish"] == "length":
        facts.append("stopped at the token limit")
    text = row["answer"] or "(nothing)"
    return (
        f"<h3>{TITLES[reading.when]}</h3>"
        f'<div class="lm-answer" dir="auto"{_lang(found)}>{shown(text)}</div>'
        f'<p class="lm-facts">{" · ".join(facts)}</p>'
    )


def _legend(languages: Sequence[str]) -> str:
    keys = "".join(f"<li>{_named(code)}</li>" for code in languages)
    return (
        f'<ul class="lm-legend">{keys}<li><i class="lm-dot lm-unplaced"></i>a word that fits none'
        "</li></ul>"
        '<p class="lm-soft">Columns: the answer, token by token. Rows: layers, the last on top. A cell '
        "is the token that the layer would write there and the language of its word; the fuller the "
        "colour, the surer the layer. Point at a cell for the word and the probability.</p>"
    )


def _grid(reading: Reading, language: str) -> str:
    if reading.grid is None:
        return f'<p class="lm-soft">{_escaped(reading.missing["grid"])}</p>'
    grid = reading.grid
    heads = "".join(
        f'<th scope="col"{_lang(language)}><bdi>{_blank(token)}</bdi></th>' for token in grid.tokens
    )
    rows = [
        f'<tr><th scope="row">{layer}</th>{"".join(map(_cell, grid.cells[layer]))}</tr>'
        for layer in reversed(range(len(grid.cells)))
    ]
    title = f"{TITLES[reading.when]}: layers by tokens"
    direction = "rtl" if language in RIGHT_TO_LEFT else "ltr"
    rest = f" Its last {grid.n_left_out} tokens are left out." if grid.n_left_out else ""
    return (
        f'<div class="lm-scroll" role="region" tabindex="0" dir="{direction}" '
        f'aria-label="{title}; scrolls sideways"><table class="lm-grid">'
        f'<caption dir="ltr"><span>{title}.{rest}</span></caption>'
        f'<thead><tr><th scope="col">layer</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{_in_words(grid)}"
    )


def _cell(cell: Cell) -> str:
    """The token as it stands; word, language and probability on pointing at it."""
    chance = percent(cell.probability)
    if cell.word is None:
        return f'<td title="no word; {chance}"><bdi>{_blank(cell.text)}</bdi></td>'
    told = "no language told" if cell.language is None else language_name(cell.language)
    hint = f'title="{told}; word: {_plain(shown(cell.word))}; token: {chance}"'
    if cell.language is None:
        return f'<td class="lm-unplaced" {hint}><bdi>{_blank(cell.text)}</bdi></td>'
    tint = 12 + round(38 * cell.probability)
    code = f'<small aria-label="{told}">{cell.language}</small>'
    word = f"<bdi{_lang(cell.language)}>{_blank(cell.text)}</bdi>"
    return f'<td data-l="{cell.language}" style="--t:{tint}%" {hint}>{word}{code}</td>'


def _in_words(grid: TokenGrid) -> str:
    """Each layer's languages counted, for those who do not read a table of many cells."""
    lines = []
    for layer in reversed(range(len(grid.cells))):
        counts: dict[str, int] = {}
        for cell in grid.cells[layer]:
            if cell.language is not None:
                counts[cell.language] = counts.get(cell.language, 0) + 1
        ranked = sorted(counts.items(), key=lambda one: -one[1])
        said = ", ".join(f"{language_name(code)} at {n}" for code, n in ranked)
        lines.append(f"<li>Layer {layer}: {said or 'no language told'}</li>")
    total = len(grid.tokens)
    return (
        f"<details><summary>The same in words: positions of {total} a language</summary>"
        f"<ul>{''.join(lines)}</ul></details>"
    )


def _handover(reading: Reading, language: str) -> str:
    if reading.handover is None:
        return f'<p class="lm-soft">{_escaped(reading.missing["handover"])}</p>'
    rows = reading.handover
    layers = sorted({row["layer"] for row in rows if row["layer"] >= 0})
    heads = "".join(f'<th scope="col">{layer}</th>' for layer in layers)
    body = ""
    for name, title in INTERVENTIONS.items():
        found = {row["layer"]: row for row in rows if row["intervention"] == name}
        cells = "".join(_handed(found.get(layer)) for layer in [-1, *layers])
        label = title.format(language=language_name(language))
        body += f'<tr><th scope="row">{label}</th>{cells}</tr>'
    return (
        f'<p class="lm-facts">{_settled(rows, language)}</p>'
        f"{_curve(reading, language)}"
        f'<div class="lm-scroll" role="region" tabindex="0" '
        f'aria-label="{TITLES[reading.when]}: handover by layer; scrolls sideways">'
        f'<table class="lm-grid lm-handover"><caption><span>{TITLES[reading.when]}: the first word '
        "after the state of the last position was exchanged after this layer. One prompt gives one "
        "word a layer, not a rate.</span></caption>"
        f'<thead><tr><th scope="col">layer</th><th scope="col">untouched</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


CURVE_WIDTH, CURVE_HEIGHT = 460, 190
CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 44, 12, 10, 34


def _curve(reading: Reading, language: str) -> str:
    """Chances of the two next tokens by the layer after which the state was exchanged."""
    found = reading.next_tokens
    if found is None:
        return (
            '<p class="lm-soft">Both prompts begin their answer with the same token, so there is no '
            "curve of which one is written.</p>"
        )
    last = len(found.own) - 1
    width = CURVE_WIDTH - CURVE_LEFT - CURVE_RIGHT
    height = CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM

    def at(layer: int, chance: float) -> str:
        return f"{CURVE_LEFT + width * layer / last:.1f},{CURVE_TOP + height * (1 - chance):.1f}"

    parts = []
    for chance in (0.0, 0.5, 1.0):
        y = CURVE_TOP + height * (1 - chance)
        parts.append(
            f'<line class="lm-rule" x1="{CURVE_LEFT}" x2="{CURVE_WIDTH - CURVE_RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text x="{CURVE_LEFT - 6}" y="{y + 4}" text-anchor="end">{percent(chance)}</text>'
        )
    for layer in sorted({0, last, *range(0, last - 1, max(1, round(last / 6)))}):
        x = CURVE_LEFT + width * layer / last
        parts.append(
            f'<text x="{x:.1f}" y="{CURVE_HEIGHT - 18}" text-anchor="middle">{layer}</text>'
        )
    middle = CURVE_LEFT + width / 2
    parts.append(
        f'<text x="{middle}" y="{CURVE_HEIGHT - 3}" text-anchor="middle">exchanged after layer</text>'
    )
    for code, chances, dashes in ((language, found.own, ""), ("en", found.english, "6 3")):
        points = " ".join(at(layer, chance) for layer, chance in enumerate(chances))
        parts.append(
            f'<polyline data-l="{_escaped(code)}" points="{points}" stroke-dasharray="{dashes}"/>'
        )
    own, english = (
        f"“<bdi>{_blank(t.strip() or t)}</bdi>”" for t in (found.own_token, found.english_token)
    )
    untouched = " and ".join(percent(chance) for chance in found.untouched)
    rows = "".join(
        f"<li>After layer {layer}: {percent(one)} and {percent(other)}</li>"
        for layer, (one, other) in enumerate(zip(found.own, found.english, strict=True))
    )
    return (
        f'<figure class="lm-curve"><svg viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" role="img" '
        f'aria-label="{TITLES[reading.when]}: probability of the next token, by layer">'
        f"{''.join(parts)}</svg><figcaption>Probability of the next token once the last position has the "
        f"English twin&#x27;s state: {_named(language)} {own}, solid; {_named('en')} {english}, dashed. "
        f"Untouched: {untouched}.</figcaption>"
        f"<details><summary>The same in numbers</summary><ul>{rows}</ul></details></figure>"
    )


def _handed(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return '<td aria-label="not done"></td>'
    text = f"<bdi>{_blank(row['text'][:24])}</bdi>"
    code = row["word_language"]
    if code is None:
        kind = ' class="lm-unplaced"' if row["has_word"] else ""
        return f"<td{kind}>{text}</td>"
    return (
        f'<td data-l="{code}" style="--t:35%" title="{language_name(code)}">{text}'
        f'<small aria-label="{language_name(code)}">{code}</small></td>'
    )


def _settled(rows: Sequence[Mapping[str, Any]], language: str) -> str:
    """From which layer on the English twin's state makes the next word English, to the end."""
    given = {r["layer"]: r["word_language"] for r in rows if r["intervention"] == "to_english"}
    last = max(given)
    if given[-1] == "en":
        return "The first word is English already when nothing is exchanged."
    if given[-1] is None:
        return "Untouched, the answer does not begin with a word whose language can be told."
    first = last + 1
    while first > 0 and given[first - 1] == "en":
        first -= 1
    name = language_name(language)
    if first > last:
        return f"The English state did not make the next word English; it was {name} or unplaced."
    return f"With the English twin's state the next word is English from layer {first} on."


def _named(code: str) -> str:
    name = _escaped(language_name(code))
    return f'<span data-l="{_escaped(code)}"><i class="lm-dot"></i>{name} ({_escaped(code)})</span>'


def _blank(token: str) -> str:
    """A token's text, with blanks and pieces of letters made visible."""
    if token.strip() == "":
        return "↵" if "\n" in token else "␣"
    return shown(token.replace("\ufffd", "\N{DOTTED CIRCLE}"))


def _plain(text: str) -> str:
    """Already escaped text for an attribute: without the tags that name controls."""
    return str(regex.sub(r"<[^>]*>", "", text))


def _lang(code: str | None) -> str:
    return f' lang="{_escaped(code)}"' if code else ""
