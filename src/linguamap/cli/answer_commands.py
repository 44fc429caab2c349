"""The commands on answers that are there already: score, identifiers, compare, figures. None needs a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from linguamap.benchmarks import starter_benchmarks
from linguamap.cli.open_run_folder import screen
from linguamap.cli.options import Json
from linguamap.cli.progress_bars import Bars
from linguamap.config import ScoreConfig
from linguamap.languages import LANGUAGES
from linguamap.outside import nearest
from linguamap.pipeline import Pipeline
from linguamap.records import PHASES, Summary, UserError
from linguamap.report.terminal import terminal_summary
from linguamap.report.terminal_scores import comparison_tables, identifier_tables, lcb_tables
from linguamap.run.contents import as_json as json_of
from linguamap.run.files import read_as
from linguamap.run.folder import open_run
from linguamap.run.settings import difference, load_config
from linguamap.scoring.compare import compare_runs, latest_answers
from linguamap.scoring.identifier_accuracy import benchmark_identifiers
from linguamap.scoring.labelled_texts import labelled_from_folder, labelled_from_starter
from linguamap.scoring.language_id import (
    IdentifierName,
    LangDetect,
    lingua_languages,
    make_identifier,
)
from linguamap.scoring.lcb import (
    FASTTEXT_LACKS,
    average_lcb,
    english_words_at_hand,
    english_words_in,
    read_completions,
    score_lcb,
    with_codes,
)
from linguamap.scoring.summary import lcb_rows

app = typer.Typer(add_completion=False)


@app.command()
def score(
    target: Annotated[Path, typer.Argument(help="A run folder, or a CSV file of completions.")],
    format_name: Annotated[
        str | None,
        typer.Option("--format", help="run or lcb; a folder is a run, a file is lcb."),
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--identifier", help="lingua, langdetect or fasttext.")
    ] = None,
    words: Annotated[
        Path | None, typer.Option("--words", help="lcb: English words for WPR, one a line.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="run: score.b=value; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score stored answers again, of a run or of any program.

    A CSV file of completions is read in the form of the Language Confusion Benchmark.
    """
    if format_name not in (None, "run", "lcb"):
        raise UserError(f"score: --format {format_name} is unknown; known: run, lcb")
    known = get_args(IdentifierName)
    if identifier not in (None, *known):
        raise UserError(f"score: --identifier {identifier} is unknown; known: {', '.join(known)}")
    if not target.exists():
        raise UserError(
            f"score: {target} does not exist; give a run folder or a CSV file of completions{nearest(target)}"
        )
    kind = format_name or ("run" if target.is_dir() else "lcb")
    if kind == "run":
        if words is not None:
            raise UserError("score: --words is for --format lcb; a run takes the usual word list")
        _score_run(target, identifier, settings or [], as_json)
    else:
        if settings:
            raise UserError("score: --set is for runs; a CSV file has no config")
        _score_lcb(target, identifier or "lingua", words, as_json)


def _score_run(folder: Path, identifier: str | None, settings: list[str], as_json: bool) -> None:
    run = open_run(folder, None, writes=True)
    was = run.config.score
    changes = [f"score.identifier={identifier}"] if identifier else []
    asked = _other_rules(folder, [*changes, *settings])
    with Bars(screen) as bars:
        Pipeline(run, bars).rescore(asked)
    if as_json:
        paths = {phase: folder / phase / "summary.json" for phase in PHASES}
        there = {phase: read_as(Summary, path) for phase, path in paths.items() if path.exists()}
        rows = [row for phase, summary in there.items() for row in lcb_rows(summary, phase)]
        _print_json({"rows": rows, "score": asked.model_dump()})
        return
    _print(*terminal_summary(folder))
    _print(f"Scored with {asked.identifier}; min_letters {asked.min_letters}.")
    if was.identifier != asked.identifier and (folder / "probe" / "lens.parquet").exists():
        _print(f"The curves in {folder / 'probe'} are still those read with {was.identifier}.")


def _other_rules(folder: Path, overrides: list[str]) -> ScoreConfig:
    """The score section of a run's config with some values changed."""
    path = folder / "config.yaml"
    stored, asked = load_config(path), load_config(path, overrides)
    other = [one for one in difference(stored, asked) if not one.startswith("score.")]
    if other:
        raise UserError(
            f"score: only settings under score. can change without the model, not {'; '.join(other)}"
        )
    return asked.score


def _score_lcb(path: Path, name: str, words: Path | None, as_json: bool) -> None:
    rows = read_completions(path)
    if not rows:
        raise UserError(f"{path} holds no completions")
    used, known = _lcb_identifier(name)
    rows = with_codes(rows, used, known)
    english = english_words_in(words) if words is not None else english_words_at_hand()
    table = score_lcb(rows, used, english.words)
    averages = average_lcb(table)
    if as_json:
        about = {"name": used.name, "candidates": list(used.languages)}
        listed = english.about
        _print_json({"rows": table, "averages": averages, "identifier": about, "words": listed})
        return
    _print(*lcb_tables(table, averages))
    notes = [f"Percent; identifier {used.name}."]
    if used.name != "fasttext":
        notes.append("The benchmark's own figures are made with --identifier fasttext.")
    notes.append(f"English words: {english.name}, sha256 {english.sha256}.")
    _print(Text(" ".join(notes), style="dim"))


def _lcb_identifier(name: str) -> tuple[Any, frozenset[str]]:
    """An identifier that chooses among all languages, as the benchmark's own does, and those it names."""
    if name == "lingua":
        return make_identifier("lingua", list(LANGUAGES)), lingua_languages()
    used = make_identifier(cast(IdentifierName, name), [])
    if name == "fasttext":
        return used, lingua_languages() - FASTTEXT_LACKS
    return used, used.known if isinstance(used, LangDetect) else frozenset()


@app.command()
def identifiers(
    languages: Annotated[
        str | None, typer.Option("--languages", help="Codes, e.g. en,fr,hi; all by default.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with lingua_testdata; else the starter items."),
    ] = None,
    items: Annotated[
        int, typer.Option("--items", min=1, help="At most so many sentences and words a language.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """How often is each language identifier right?

    It is tried on sentences and words whose language is known.
    """
    codes = [part.strip() for part in (languages or "").split(",") if part.strip()] or None
    texts = (
        labelled_from_starter(starter_benchmarks(), codes)
        if data is None
        else labelled_from_folder(data, codes)
    )
    with Bars(screen) as bars:
        result = benchmark_identifiers(texts.drawn(items, items), progress=bars)
    if as_json:
        about = {"missing": result.missing, "candidates": result.candidates, "gold": texts.source}
        _print_json({"rows": result.rows, **about})
        return
    _print(*identifier_tables(result.rows))
    _print(Text(f"Percent with 95% Wilson intervals; gold: {texts.source}.", style="dim"))
    for name, why in result.missing.items():
        _print(Text(f"Not tried: {name}. {why}", style="yellow"))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the first is compared with.")],
    phase: Annotated[
        str | None,
        typer.Option(
            "--phase", help="before or after tuning; after by default if all runs have it."
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The page; compare.html by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Runs on the same prompts, side by side, with paired tests.

    Writes a page; p values are corrected over cells (Holm).
    With --json a page is drawn only where --to names it.
    """
    from linguamap.report.compare_page import write_compare

    if phase is None:
        phase = latest_answers(runs)
    if phase not in PHASES:
        raise UserError(f"compare: --phase {phase} is unknown; known: {', '.join(PHASES)}")
    result = compare_runs(runs, phase)
    page = to or (None if as_json else Path("compare.html"))
    if page is not None:
        write_compare(runs, result, page)
    if as_json:
        _print_json(json_of(result))
        return
    for one in result.comparisons:
        _print(*comparison_tables(result, one))
    _print(f"Page: {page}")


@app.command()
def figures(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    style: Annotated[
        str, typer.Option("--style", help="paper (column 3.3 in, page 6.9 in) or slides (wide).")
    ] = "paper",
) -> None:
    """Draw each figure as SVG, PDF and PNG, its numbers as CSV.

    They are written to the run's figures/.
    """
    from linguamap.charts import FORMATS
    from linguamap.report.run_charts import write_figures

    written = write_figures(run, style)
    names = list(dict.fromkeys(path.stem for path in written))
    kinds = ", ".join(FORMATS)
    _print(f"Figures in {written[0].parent} ({kinds}): {', '.join(names)}")


def _print(*parts: RenderableType) -> None:
    """Tables are not cut off where there is no terminal to be as wide as."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    for part in parts:
        console.print(part, markup=False, highlight=False)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, allow_nan=False))
