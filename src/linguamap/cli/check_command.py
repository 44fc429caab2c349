"""The command ``check``: own prompts, no right answers, one number for continuous integration."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from linguamap.api.language_check import check_prompts
from linguamap.api.typed_results import LanguageCheck, Lens
from linguamap.charts.naming import percent, percent_range
from linguamap.cli.open_run_folder import alone, check_asked, console, quiet, screen
from linguamap.cli.options import Json, Set, option, overrides
from linguamap.cli.progress_bars import Bars
from linguamap.config import RunConfig
from linguamap.generation.encoding import render_chat
from linguamap.languages import language_name
from linguamap.prompts.own_prompts import LEAST, read_prompts
from linguamap.records import Answer, Prompt, Rate
from linguamap.run.contents import as_json
from linguamap.run.files import write_rows
from linguamap.run.settings import load_config
from linguamap.scoring.extraction.segments import text_to_learn
from linguamap.scoring.stats import wilson

app = typer.Typer(add_completion=False)
ModelOption: Any = option("model")
EndpointOption: Any = option("endpoint")
SHOWN = 10
"""So many answers in a wrong language are listed; ``--json`` has all."""


@app.command()
def check(
    prompts: Annotated[
        Path, typer.Argument(help="A .txt (one a line), .csv or .jsonl file; chats, too.")
    ],
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="Wanted, where a row names none.")
    ] = None,
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under", min=0, max=1, help="Status 1 if the share is below, e.g. 0.95."
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts", help="Write answers in the language as texts for tune --train-data."
        ),
    ] = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Does it answer your own prompts in the language asked for?

    Needs no right answers. Says which answers are in another language, and where in the layers.
    """
    alone()
    quiet()
    asked = read_prompts(prompts, language)
    typed = overrides({"model": model, "endpoint": endpoint})
    config = load_config(None, [*typed, *(settings or [])])
    with Bars(screen) as bars:
        check_asked(config)
        found = check_prompts(lambda: _load(config), asked, config, bars)
    share = found.share
    if texts is not None:
        write_rows(texts, _training_texts(found, asked))
    if as_json:
        typer.echo(json.dumps(_object(found, asked, fail_under), allow_nan=False))
    else:
        for part in _shown(found, asked, texts):
            console.print(part, highlight=False)
    if fail_under is not None and (share.value is None or share.value < fail_under):
        got = "no answer could be judged" if share.value is None else percent(share.value)
        screen.print(f"linguamap: check failed: {got}, wanted {percent(fail_under)}", markup=False)
        sys.exit(1)


def _load(config: RunConfig) -> Any:
    from linguamap.models.loading import load_model

    return load_model(config.model)


def _object(found: LanguageCheck, prompts: list[Prompt], bound: float | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    row = found.rates["before"].overall[-1]
    ids = {prompt.prompt_id: prompt.item_id for prompt in prompts}
    fields = ("language", "language_correct", "answer_language", "language_reason", "language_shares",
              "line_pass", "word_pass", "drift", "finish", "prompt", "answer")  # fmt: skip
    lenses = {"all": found.lens, "astray": found.lens_astray}
    return {
        "model": found.model,
        "n": row.n,
        "consistency": as_json(found.share),
        "line_pass_rate": as_json(row.intervals["line_pass_rate"]),
        "word_pass_rate": as_json(row.intervals["word_pass_rate"]),
        "n_turned": len(found.drifts),
        "fail_under": bound,
        "passed": bound is None or (found.share.value or 0.0) >= bound,
        "overtakes_english": {name: one and one.overtakes for name, one in lenses.items()},
        "answers": [
            {"id": ids[one["prompt_id"]], **{name: one[name] for name in fields}}
            for one in found.rows
        ],
    }


def _shown(found: LanguageCheck, prompts: list[Prompt], texts: Path | None) -> Iterator[Any]:
    row = found.rates["before"].overall[-1]
    languages = ", ".join(dict.fromkeys(language_name(prompt.language) for prompt in prompts))
    yield Text(f"{found.model}: {row.n} prompts, asked for {languages}", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    _rate(table, "in the language", found.share, "answers")
    by = {code: [one for one in found.answers["before"] if one.language == code]
          for code in dict.fromkeys(prompt.language for prompt in prompts)}  # fmt: skip
    for code, own in by.items() if len(by) > 1 else ():
        known = [one.language_correct for one in own if one.language_correct is not None]
        _rate(table, f"  {language_name(code)}", wilson(sum(known), len(known)), "answers")
    _rate(table, "line pass rate", row.intervals["line_pass_rate"], "answers with a full line")
    _rate(table, "word pass rate", row.intervals["word_pass_rate"], "that passed, without English")
    yield table
    wrong = [one for one in found.answers["before"] if one.language_correct is False]
    unknown = sum(one.language_correct is None for one in found.answers["before"])
    ids = {prompt.prompt_id: prompt.item_id for prompt in prompts}
    yield from _listed("In another language:", wrong, ids, lambda one: (
        language_name(one.answer_language) if one.answer_language else one.language_reason or "",
        one.answer))  # fmt: skip
    turned = [one for one in found.answers["before"] if one.prompt_id in found.drifts]
    yield from _listed("Begin in the language and turn:", turned, ids, lambda one: (
        f"{language_name(found.drifts[one.prompt_id].language)}, "
        f"sentence {found.drifts[one.prompt_id].sentence}", found.drifts[one.prompt_id].text,
    ))  # fmt: skip
    if unknown:
        yield Text(
            f"{unknown} answers could not be judged (too short, or of several languages).",
            style="dim",
        )
    if found.lens is not None:
        yield from _layers(found.lens, "In the layers")
    if found.lens_astray is not None and len(wrong) < row.n:
        yield from _layers(found.lens_astray, "In answers in another language")
    if texts is not None:
        codes = ",".join(dict.fromkeys(["en", *(prompt.language for prompt in prompts)]))
        next_one = f"linguamap tune --languages {codes} --train-data {texts} --model MODEL"
        yield Text(f"\nNext: {next_one}", style="dim")
    elif wrong and len(prompts) >= LEAST:
        yield Text(
            "\nNext: linguamap run with the same file and options trains on the right ones",
            style="dim",
        )


def _training_texts(found: LanguageCheck, prompts: list[Prompt]) -> list[dict[str, Any]]:
    """Conversations with the answers that are in the language from beginning to end: the model's own, or
    a teacher's where a server answered."""
    right = {
        one.prompt_id: text_to_learn(one, one.prompt_id in found.drifts)
        for one in found.answers["before"]
    }
    return [
        {
            "id": prompt.item_id,
            "language": prompt.language,
            "messages": [*render_chat(prompt), {"role": "assistant", "content": right[prompt.prompt_id]}],
        }
        for prompt in prompts
        if right[prompt.prompt_id]
    ]  # fmt: skip


def _rate(table: Table, name: str, rate: Rate, of: str) -> None:
    if rate.value is not None and rate.low is not None and rate.high is not None:
        said = f"{percent(rate.value)} ({percent_range(rate.low, rate.high)})"
        table.add_row(name, Text(said, style="bold"), f"of {rate.n} {of}")


def _listed(title: str, answers: list[Answer], ids: dict[str, str], told: Any) -> Iterable[Any]:
    """Some answers, one a line, cut at the width of the screen."""
    if not answers:
        return
    rows = [(ids[one.prompt_id], *told(one)) for one in answers[:SHOWN]]
    widths = [min(max(len(row[place]) for row in rows), 24) for place in (0, 1)]
    yield Text(f"\n{title}", style="bold")
    for name, what, text in rows:
        line = Text(f"{name:<{widths[0]}.{widths[0]}}  {what:<{widths[1]}.{widths[1]}}  ")
        line.append(" ".join(text.split()), style="dim")
        line.truncate(console.width, overflow="ellipsis")
        yield line
    if len(answers) > SHOWN:
        yield Text(f"and {len(answers) - SHOWN} more (--json has all)", style="dim")


def _layers(lens: Lens, title: str) -> Iterator[Text]:
    for code, layer in lens.overtakes.items():
        led = f"leads English from layer {layer} on" if layer is not None else "never leads English"
        yield Text(f"{title}: {language_name(code)} {led} (of {lens.n_layers}).")
