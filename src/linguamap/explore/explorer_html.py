"""HTML of a reading. Everything that a model or a person wrote goes through :func:`shown`."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from linguamap.charts.chart import Chart, page_asset
from linguamap.charts.layer_maps import token_grid
from linguamap.charts.naming import percent, shown_outcome
from linguamap.charts.probe_charts import next_token_handover
from linguamap.charts.svg import (
    CONTROL,
    OUTCOME_COLOURS,
    PAGE_DARK,
    PAGE_LIGHT,
    control_name,
    language_inks,
)
from linguamap.languages import language_name
from linguamap.probes.token_grid import turn_of
from linguamap.report.run_charts import grid_chart, grid_texts

if TYPE_CHECKING:
    from linguamap.explore.explorer import Explorer
    from linguamap.explore.reading import Reading
    from linguamap.probes.handover import NextTokens

TITLES = {"before": "Model as it is", "after": "Tuned model"}
_MARKUP = {"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"}
"""Characters that the page's own template language knows, beside those of HTML."""


def shown(text: str) -> str:
    """Text as HTML that is read and never obeyed: controls named, markup and templates inert."""
    parts, start = [], 0
    for found in CONTROL.finditer(text):
        if found.group() == "\n":
            continue
        parts.append(_escaped(text[start : found.start()]))
        parts.append(f'<span class="lm-control">{control_name(found.group())}</span>')
        start = found.end()
    return "".join([*parts, _escaped(text[start:])])


def _escaped(text: str) -> str:
    return "".join(_MARKUP.get(c, c) for c in html.escape(text))


def page_css(languages: Sequence[str], *, alone: bool = False) -> str:
    """The page's style with the colour of each language and outcome, light and dark.

    Args:
        alone: for a page without Gradio around it: the reader's system says which theme.
    """
    inks = list(language_inks(languages).values())
    light = "".join(f"--lang-{i}:{ink.light};" for i, ink in enumerate(inks))
    dark = "".join(f"--lang-{i}:{ink.dark};" for i, ink in enumerate(inks))
    for name, (on_light, on_dark) in OUTCOME_COLOURS.items():
        light += f"--outcome-{name}:{on_light};"
        dark += f"--outcome-{name}:{on_dark};"
    rules = "".join(
        f'.lm [data-l="{code}"],.lang-{i}{{--c:var(--lang-{i})}}'
        for i, code in enumerate(languages)
    )
    own = resources.files("linguamap.explore").joinpath("page.css").read_text(encoding="utf-8")
    paper = (f"--page:{PAGE_LIGHT};--ink:#22262c;--soft:#5b626b;--faint:#868d94;--rule:#d9d6cf;"
             "--wash:#f4f2ec;--unplaced:#c9c6bf;--sans:system-ui,sans-serif")  # fmt: skip
    night = (f"--page:{PAGE_DARK};--ink:#e8e9ec;--soft:#a3a9b2;--faint:#7e848b;--rule:#3a3e45;"
             "--wash:#1e2126;--unplaced:#4b5057")  # fmt: skip
    dark_rule = f".dark .lm{{{dark}{night}}}"
    if alone:
        page = (
            "body{margin:1rem auto;max-width:80rem;padding:0 1rem;font-family:system-ui,sans-serif"
        )
        dark_rule = (f"{page};background:{PAGE_LIGHT}}}@media (prefers-color-scheme:dark){{"
                     f".lm{{{dark}{night}}}body{{background:{PAGE_DARK}}}}}")  # fmt: skip
    return f".lm{{{light}{paper}}}{dark_rule}{rules}{page_asset('chart.css')}{own}"


ALONE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\"><meta name=\"viewport\" "
    'content="width=device-width"><meta name="color-scheme" content="light dark"><title>linguamap explore'
    "</title><style>{}</style></head><body>{}</body></html>"
)
"""A result as a page of its own, which asks nobody for anything and runs nothing."""


def with_link(result: str, languages: Sequence[str]) -> str:
    """A result with a link that saves it as one page, to read offline and to pass on.

    The page travels in the link itself: nothing is kept here.
    """
    page = ALONE.format(page_css(languages, alone=True), result).encode("utf-8", "replace")
    address = f"data:text/html;base64,{base64.b64encode(page).decode('ascii')}"
    link = f'<a download="linguamap-result.html" href="{address}">Save this result as one page</a>'
    return f'{result}<p class="lm lm-soft">{link}, to read offline or to pass on.</p>'


def stored_html(explorer: Explorer, example: Sequence[Reading]) -> str:
    """A run's own answers to a prompt, and a text of its language in depth, both read from its files."""
    first, languages = example[0].scored, explorer.config.languages
    asked = f'<details open><summary>The prompt</summary><div class="lm-answer" dir="auto">{shown(first.prompt)}</div></details>'
    parts = [readings_html(example, languages, first.language, True, ""), asked]
    texts = grid_texts(explorer.run) if explorer.run else []
    text = next((one for one in texts if one.about.language == first.language), None)
    if explorer.run and text:
        chart = grid_chart(explorer.run, text, hints=True)
        name = language_name(first.language)
        parts += [f"<h3>Layer by layer: a text in {name} of the same run</h3>",
                  f'<p class="lm-soft">{GRID_HELP}</p>', _embedded(chart, languages, "stored-")]  # fmt: skip
    return with_link(f'<div class="lm">{"".join(parts)}</div>', languages)


def _embedded(chart: Chart, languages: Sequence[str], name: str) -> str:
    """A chart as inert HTML: nothing on this page brings languages forward, so its key is plain."""
    plain = chart.with_(keys=[replace(key, code=None) for key in chart.keys], controls=[])
    written = str(plain.html(languages, name))
    return "".join(_MARKUP.get(c, c) for c in written)


def readings_html(
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
        parts.append(f'<p class="lm-soft">{GRID_HELP}</p>')
        parts.append(_beside([_grid(one, languages, language) for one in grids]))
    handovers = [one for one in readings if one.next_tokens or "handover" in one.missing]
    if handovers:
        parts.append("<h3>Handover: from which layer on is the language settled?</h3>")
        parts.append(_beside([_curve(one, languages, language) for one in handovers]))
    return f'<div class="lm" aria-live="polite">{"".join(parts)}</div>'


def _beside(sections: Sequence[str]) -> str:
    inner = "".join(f'<section class="lm-half">{section}</section>' for section in sections)
    return f'<div class="lm-pair">{inner}</div>'


def _answer(reading: Reading, language: str, picked: bool) -> str:
    scored = reading.scored
    found, wanted = scored.answer_language, language_name(language)
    if found is None:
        reason = str(scored.language_reason or "unknown").replace("_", " ")
        spoken = f"language not identified ({_escaped(reason)}); wanted: {wanted}"
    elif scored.language_correct:
        spoken = f"in {_named(found)}, as wanted"
    else:
        spoken = f"in {_named(found)}; wanted: {wanted}"
    facts = [spoken]
    if picked:
        tone, name = shown_outcome(scored)
        mark = f'<i class="lm-dot" style="background:var(--outcome-{tone})"></i>'
        facts.insert(0, f"{mark}<b>{_escaped(name)}</b>")
    if picked and scored.gold:
        gold = " or ".join(scored.gold)
        taken = "nothing found" if scored.extracted is None else scored.extracted
        facts.append(f"taken as <bdi>{shown(taken)}</bdi>, right is <bdi>{shown(gold)}</bdi>")
    if scored.finish == "length":
        facts.append("stopped at the token limit")
    text = scored.answer or "(nothing)"
    return (
        f"<h3>{TITLES[reading.phase]}</h3>"
        f'<div class="lm-answer" dir="auto"{_lang(found)}>{shown(text)}</div>'
        f'<p class="lm-facts">{" · ".join(facts)}</p>'
    )


GRID_HELP = (
    "Columns: the answer, token by token. Rows: layers, the last on top. A cell is the word that the "
    "layer would write there, coloured by its language; the fuller the colour, the surer the layer. "
    "Point at a cell for the probability. A frame marks where the text turns to a language other than the "
    "one asked for: at this token, from this layer on."
)


def _grid(reading: Reading, languages: Sequence[str], language: str) -> str:
    if reading.grid is None:
        return f'<p class="lm-soft">{_escaped(reading.missing["grid"])}</p>'
    grid = reading.grid
    turn = turn_of(grid, language)
    rows = [
        {
            "layer": layer, "position": position, "text_there": token,
            "word": cell.word if cell.word is not None else cell.text, "token": cell.text,
            "language": cell.language, "probability": cell.probability,
            "turn": turn is not None and (turn.layer, turn.position) == (layer, position),
        }
        for layer, cells in enumerate(grid.cells)
        for position, (token, cell) in enumerate(zip(grid.tokens, cells, strict=True), 1)
    ]  # fmt: skip
    chart = token_grid(rows, language=language, languages=languages, title=TITLES[reading.phase],
                       hints=True)  # fmt: skip
    rest = f" Its last {grid.n_left_out} tokens are left out." if grid.n_left_out else ""
    drawn = _embedded(chart, languages, f"{reading.phase}-")
    return drawn + (f'<p class="lm-soft">{rest}</p>' if rest else "")


def _curve(reading: Reading, languages: Sequence[str], language: str) -> str:
    """Probabilities of the two next tokens by the layer after which the state was exchanged."""
    found = reading.next_tokens
    if found is None:
        return f'<p class="lm-soft">{_escaped(reading.missing["handover"])}</p>'
    rows = [
        {"layer": layer, "language": code, "probability": share}
        for code, shares in ((language, found.own), ("en", found.english))
        for layer, share in enumerate(shares)
    ]
    drawn = _embedded(next_token_handover(rows, own=language), languages, f"{reading.phase}-")
    own, english = (
        f"“<bdi>{_blank(t.strip() or t)}</bdi>”" for t in (found.own_token, found.english_token)
    )
    untouched = " and ".join(percent(share) for share in found.untouched)
    lines = "".join(
        f"<li>After layer {layer}: {percent(one)} and {percent(other)}</li>"
        for layer, (one, other) in enumerate(zip(found.own, found.english, strict=True))
    )
    return (
        f'<p class="lm-facts">{settled(found)}</p>'
        f'<figure class="lm-curve">{drawn}<figcaption>Probability of the next token once the last '
        f"position has the English twin&#x27;s state: {_named(language)} {own}, solid; {_named('en')} "
        f"{english}, dashed. Untouched: {untouched}.</figcaption><details><summary>The same in numbers"
        f"</summary><ul>{lines}</ul></details></figure>"
    )


def settled(found: NextTokens) -> str:
    """From which layer on the English twin's state makes the English token the likelier one."""
    first = len(found.own)
    while first > 0 and found.english[first - 1] > found.own[first - 1]:
        first -= 1
    if first == len(found.own):
        return "The English state does not make the English token the likelier one."
    return f"With the English twin's state the English token is the likelier one from layer {first} on."


def _named(code: str) -> str:
    name = _escaped(language_name(code))
    return f'<span data-l="{_escaped(code)}"><i class="lm-dot"></i>{name} ({_escaped(code)})</span>'


def _blank(token: str) -> str:
    """A token's text, with blanks and pieces of letters made visible."""
    if token.strip() == "":
        return "↵" if "\n" in token else "␣"
    return shown(token.replace("\ufffd", "\N{DOTTED CIRCLE}"))


def _lang(code: str | None) -> str:
    return f' lang="{_escaped(code)}"' if code else ""
