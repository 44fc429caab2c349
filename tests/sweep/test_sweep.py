"""Sweeps: the grammar, the choice, the files, and a whole small sweep, killed and taken up again."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from answers import plain_answer
from commands import call, start
from fake_run import write_fake_run
from tiny import save_tiny
from typer.testing import CliRunner

from linguamap.cli.app import app
from linguamap.cli.sweep_command import do_stages
from linguamap.config import TuneConfig
from linguamap.progress import silent
from linguamap.records import Answer, UserError
from linguamap.run.files import read_rows, write_text
from linguamap.run.folder import Run, open_run
from linguamap.run.settings import dump_config, load_config
from linguamap.scoring.stats import paired_bootstrap
from linguamap.sweep.choice import choose, group_variants
from linguamap.sweep.results import sweep_chart
from linguamap.sweep.run_variants import SweepRequest, describe_end, in_order, run_stages, run_sweep
from linguamap.sweep.table import blocks, footnote, markdown, table_cells, verdict
from linguamap.sweep.variants import DEFAULT, expand, in_folder, in_table
from linguamap.tuning.blocks import parse_layers
from test_pipeline import SMALL

LOCATED = {"n_layers": 18, "tune_layers": [17, 18], "fallback_layers": [18]}


def test_the_default_variants_are_all_methods_and_every_draw_differs() -> None:
    found = expand(DEFAULT, LOCATED, [2], [1e-4], [0])
    assert {variant.label: variant.blocks for variant in found} == {
        "last:1": (18,),
        "last:2": (17, 18),  # chosen is the same here, and left out
        "last:3": (16, 17, 18),
        "last:4": (15, 16, 17, 18),
        "full": (),
        "first:2": (1, 2),
        "middle:2": (9, 10),
        **{f"random:2#{draw}": parse_layers("random:2", 18, draw, (17, 18)) for draw in range(3)},
        "lora:all": tuple(range(1, 19)),
        "lora:chosen": (17, 18),
        "steer:chosen": (17, 18),
        "few_shot": (),
    }
    assert {variant.label: variant.learning_rate for variant in found if variant.method != "selective"} == {
        "full": 2e-5, "lora:all": 1e-3, "lora:chosen": 1e-3, "steer:chosen": None, "few_shot": None,
    }  # fmt: skip


def test_what_is_trained_is_crossed_and_what_is_not_is_not() -> None:
    found = expand("last:1@3e-4, 4+11, few_shot", LOCATED, [1, 2], [1e-4, 2e-4], [0, 1, 2])
    rates = [variant.learning_rate for variant in found if variant.label == "last:1"]
    assert rates == [3e-4] * 6
    assert sum(variant.label == "4+11" for variant in found) == 2 * 2 * 3
    assert [variant for variant in found if variant.label == "few_shot"] == [found[-1]]
    assert len({variant.name for variant in found}) == len(found) == 19
    base = TuneConfig(examples=40, epochs=9)
    one = next(variant for variant in found if variant.name == "4+11-e2-lr0.0002-s1")
    assert one.config(base) == TuneConfig(
        examples=40, epochs=2, layers="4,11", learning_rate=2e-4, seed=1
    )
    assert found[-1].config(base) == TuneConfig(examples=40, epochs=9, method="few_shot")


@pytest.mark.parametrize(
    "text",
    [
        "last",
        "last:19",
        "first:3..1",
        "full:2",
        "last:2*3",
        "19",
        "chosen@fast",
        ",",
        "best",
        "language:",
        "language:few_shot",
        "language",
    ],
)
def test_a_variant_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="sweep: "):
        expand(text, LOCATED, [1], [1e-4], [0])


def test_language_alone_is_a_variant_of_its_own() -> None:
    found = expand("last:2, language:last:1..2@3e-4, language:full", LOCATED, [2], [1e-4], [0])
    assert [(variant.label, variant.blocks, variant.learning_rate) for variant in found] == [
        ("last:2", (17, 18), 1e-4), ("language:last:1", (18,), 3e-4),
        ("language:last:2", (17, 18), 3e-4), ("language:full", (), 1e-4),
    ]  # fmt: skip
    assert [variant.config(TuneConfig()).tasks for variant in found] == [True, False, False, False]
    assert found[2].name == "language-last-2-e2-lr0.0003-s0"


def test_a_folder_tells_its_variant_and_the_table_has_one_order() -> None:
    text = "few_shot, language:lora:first:2, lora:random:2*2, 4+11, language:last:2, random:3*2, "
    text += f"all, {DEFAULT}, full@1e-5"
    found = expand(text, LOCATED, [2, 5], [1.5e-4], [0, 3])
    base = TuneConfig(examples=7)
    for variant in found:
        assert in_folder(variant.name, variant.config(base), base, LOCATED) == variant
        assert in_folder(f"{variant.name}-x", variant.config(base), base, LOCATED) is None
    ordered = in_table(found)
    assert in_table(reversed(found)) == ordered
    labels = list(dict.fromkeys(variant.label for variant in ordered))
    assert labels == [
        "all", "last:1", "last:2", "last:3", "last:4", "4+11", "first:2", "middle:2", "random:2#0",
        "random:2#1", "random:2#2", "random:3#0", "random:3#1", "language:last:2", "full",
        "lora:all", "lora:chosen", "lora:random:2#0", "lora:random:2#1", "language:lora:first:2",
        "steer:chosen", "few_shot",
    ]  # fmt: skip


def test_one_seed_of_all_comes_before_the_next_and_low_boundaries_first() -> None:
    found = expand("last:1, last:3, full, steer", LOCATED, [1], [1e-4], [0, 1])
    assert [(variant.label, variant.seed) for variant in in_order(found)] == [
        ("full", 0), ("last:3", 0), ("steer:chosen", None), ("last:1", 0),
        ("full", 1), ("last:3", 1), ("last:1", 1),
    ]  # fmt: skip


def rows_of(language: list[int], task: list[int]) -> list[Answer]:
    """Answers to prompts of one item each."""
    return [
        plain_answer(item_id=str(place), language_correct=bool(right), task_correct=bool(solved))
        for place, (right, solved) in enumerate(zip(language, task))
    ]


def variant_row(
    label: str, seed: int, answers: list[Answer], seconds: float, task_high: float = 0.1
) -> dict[str, Any]:
    def rate(name: str) -> dict[str, Any]:
        value = sum(getattr(answer, name) for answer in answers) / len(answers)
        return {"value": value, "low": value, "high": value, "n": len(answers), "n_items": 40}

    return {
        "label": label, "method": "selective", "layers": [18], "epochs": 1, "learning_rate": 1e-4,
        "seed": seed, "reason": None, "language_consistency": rate("language_correct"),
        "task_accuracy": rate("task_correct"), "tuning_seconds": seconds, "answer_seconds": 1.0,
        "total_seconds": seconds + 1, "peak_memory_bytes": 10**9, "right": 1,
        "right_in_language": 1, "asked": len(answers), "trainable_share": 0.02,
        "trainable_parameters": 5, "delta_bytes": 10,
        "language_change": {"difference": 0.5, "low": 0.3, "high": 0.6, "p_value": 0.01},
        "task_change": {"difference": 0.0, "low": -0.2, "high": task_high, "p_value": 1.0},
    }  # fmt: skip


def test_the_choice_by_its_rule() -> None:
    solved = [1] * 40
    answers = {
        "spoils": rows_of([1] * 40, [0] * 40),  # speaks best, but solves nothing any more
        "highest": rows_of([1] * 38 + [0] * 2, solved),
        "near": rows_of([1] * 37 + [0] * 3, solved),  # one answer less, in half the time
        "low": rows_of([1] * 10 + [0] * 30, solved),
    }
    seconds = {"spoils": 1.0, "highest": 80.0, "near": 40.0, "low": 2.0}
    rows = [
        variant_row(name, 0, answers[name], seconds[name], -0.5 if name == "spoils" else 0.1)
        for name in answers
    ]
    groups = group_variants(rows, list(answers.values()), rows_of([0] * 40, solved), seed=3)
    choice = choose(groups, seed=3)
    assert choice is not None
    assert choice["best"].startswith("near")
    assert choice["highest"].startswith("highest")
    assert [one[:6] for one in choice["excluded"]] == ["spoils"]
    (tie,), (below,) = choice["ties"], choice["clearly_below"]
    assert tie["difference"] == pytest.approx(-1 / 40)
    assert tie["p_value"] == 1.0  # one differing pair
    assert tie["test"] == "mcnemar"  # each item has one prompt
    assert below["setting"].startswith("low")
    assert below["p_value"] == pytest.approx(2 * 0.5**28)  # 28 pairs, all one way
    assert "(92.5 %)" in choice["reason"]


def test_seeds_are_pooled_and_their_spread_counts() -> None:
    solved = [1] * 20
    runs = [
        ("one", 0, [1] * 20), ("one", 1, [1] * 12 + [0] * 8),  # mean 0.8, from 0.6 to 1
        ("two", 0, [1] * 13 + [0] * 7), ("two", 1, [1] * 13 + [0] * 7),
    ]  # fmt: skip
    answers = [rows_of(language, solved) for _, _, language in runs]
    rows = [variant_row(n, s, a, 9.0) for (n, s, _), a in zip(runs, answers)]
    before = rows_of([0] * 20, solved)
    groups = group_variants(rows, answers, before, seed=1)
    facts = groups[0].facts
    assert facts["seeds"] == [0, 1]
    assert facts["language_consistency"]["mean"] == pytest.approx(0.8)
    assert (facts["language_consistency"]["least"], facts["language_consistency"]["most"]) == (
        0.6,
        1,
    )
    wanted = paired_bootstrap([0.0] * 20, [1.0] * 12 + [0.5] * 8, list(range(20)), seed=1)
    change = facts["language_change"]
    assert (change["difference"], change["low"]) == (wanted.value, wanted.low)
    assert change["p_value"] is None
    choice = choose(groups, seed=1)
    assert choice is not None
    assert choice["ties"][0]["seeds_overlap"] is True


def test_one_seed_and_several_stand_in_one_table() -> None:
    """Means over seeds where there are several; the single seed lies in the others' range."""
    solved = [1] * 20
    runs = [
        ("single", 0, [1] * 18 + [0] * 2),
        ("thrice", 0, [1] * 19 + [0]), ("thrice", 1, [1] * 4 + [0] * 16), ("thrice", 2, [1] * 13 + [0] * 7),
        ("single low", 0, [1] * 3 + [0] * 17),
    ]  # fmt: skip
    answers = [rows_of(language, solved) for _, _, language in runs]
    rows = [variant_row(n, s, a, 9.0) for (n, s, _), a in zip(runs, answers)]
    groups = group_variants(rows, answers, rows_of([0] * 20, solved), seed=1)
    assert [group.facts["n_seeds"] for group in groups] == [1, 3, 1]
    choice = choose(groups, seed=1)
    assert choice is not None
    assert choice["highest"].startswith("single (")
    (tie,), (below,) = choice["ties"], choice["clearly_below"]
    assert tie["difference"] == pytest.approx((19 + 4 + 13) / 60 - 18 / 20)
    assert tie["high"] < 0  # by the items alone it would be below
    assert tie["seeds_overlap"] is True
    assert (below["setting"][:10], below["seeds_overlap"]) == ("single low", None)
    cells = table_cells({"untuned": untuned_rates(), "groups": [group.facts for group in groups]})
    assert cells[2][6] == "60.0 [20.0 to 95.0]"
    assert cells[1][6] == "90.0 (90.0 to 90.0)"


def untuned_rates() -> dict[str, Any]:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "n_items": 20}
    return {"language_consistency": rate, "task_accuracy": rate, "right": 10, "asked": 20}


def test_what_trains_nothing_wins_with_its_price_told() -> None:
    solved = [1] * 20
    names = ("few_shot", "quick", "slow")
    answers = [rows_of([1] * 20, solved) for _ in names]
    rows = [variant_row(n, 0, a, s) for n, a, s in zip(names, answers, (0.0, 50.0, 90.0))]
    rows[0] |= {"epochs": None, "learning_rate": None, "seed": None, "answer_seconds": 383.0}
    rows[1]["answer_seconds"], rows[2]["answer_seconds"] = 80.0, 100.0
    groups = group_variants(rows, answers, rows_of([0] * 20, solved), seed=1)
    choice = choose(groups, seed=1)
    assert choice is not None
    assert choice["best"] == "few_shot"
    assert choice["reason"].endswith(
        "Answering all prompts takes it 383 seconds, the trained settings 90 (median)."
    )
    assert choice["best_trained"].startswith("quick (")
    lines = verdict({"choice": choice, "rule": ""})
    assert lines[1].startswith("Best of the trained settings, by the same rule: quick (")
    trained = choose(groups[1:], seed=1)
    assert trained is not None
    assert trained["best_trained"] == trained["best"]
    assert trained["reason"].endswith(
        "takes it 80 seconds, the trained settings 100 (median of the others)."
    )
    alone = choose(groups[:1], seed=1)
    assert alone is not None
    assert alone["best_trained"] is None
    assert alone["reason"].endswith("Answering all prompts takes it 383 seconds.")


def test_intervals_that_rest_on_the_number_of_items_are_marked(tmp_path: Path) -> None:
    """They are the widest where every answer is right, and read as the least certain."""
    answers = [rows_of([1] * 20, [1] * 10 + [0] * 10), rows_of([1] * 15 + [0] * 5, [1] * 20)]
    rows = [variant_row(n, 0, a, 9.0) for n, a in zip(("all", "some"), answers)]
    rows[0]["language_consistency"] |= {"low": 0.7, "n_items": 9}
    rows[1]["task_accuracy"] |= {"low": 0.67, "n_items": 8}
    groups = group_variants(rows, answers, rows_of([0] * 20, [1] * 20), seed=1)
    facts = [group.facts for group in groups]
    cells = table_cells({"untuned": untuned_rates(), "groups": facts})
    assert [row[6] for row in cells[1:]] == ["100.0 (70.0 to 100.0)†", "75.0 (75.0 to 75.0)"]
    assert cells[2][8] == "100.0 (67.0 to 100.0)†"
    assert footnote(facts) == "† all agree: counted as 8 or 9 items."
    assert footnote(facts[:1]) == "† all agree: counted as 9 items."
    untuned = {**untuned_rates(), "task_accuracy": {"value": 0.0, "low": 0.0, "n_items": 7}}
    written = markdown({"untuned": untuned, "groups": [], "rows": [], "choice": None})
    assert "† all agree: counted as 7 items." in written
    assert "all agree: counted as 8 or 9 items" in sweep_chart(facts, untuned_rates()).svg()
    facts[0]["language_consistency"]["mean"] = facts[1]["task_accuracy"]["mean"] = 0.9
    assert footnote(facts) == ""


def test_nothing_measured_nothing_chosen() -> None:
    assert choose([], seed=0) is None


def test_blocks_are_short() -> None:
    assert [blocks(one) for one in ([15, 16, 17, 18], [17, 18], [4, 11], [])] == [
        "15-18", "17, 18", "4, 11", "–",
    ]  # fmt: skip


def command(out: Path, *more: str) -> list[str]:
    asked = ["--variants", "last:1..2, full, lora:last:1@1e-2"]
    return ["sweep", "--out", str(out), *asked, *more]


def settings(model: Path) -> list[str]:
    chosen = [*SMALL, "tune.examples=16", "data.benchmarks=[sums]", "languages=[en,es]"]
    chosen += ["scenarios=[monolingual]", f"model.name={str(model)!r}"]
    return [part for one in chosen for part in ("--set", one)]


@pytest.mark.slow
def test_a_sweep_killed_and_taken_up_ends_like_one_that_was_not(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "m", "llama", max_position_embeddings=4096)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = call(*command(whole, *settings(model)))
    assert done.returncode == 0, done.stderr
    process = start(*command(cut, *settings(model)))
    while not any((cut / "sweep").glob("last-2*/tuned/log.jsonl")):
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    time.sleep(1)  # its child ends by itself
    stages = {path: path.read_bytes() for path in (cut / "sweep").glob("full*/stages.json")}
    again = call(*command(cut, *settings(model)))
    assert again.returncode == 0, again.stderr
    assert stages
    assert all(path.read_bytes() == was for path, was in stages.items())
    for variant in load(whole)["rows"]:
        if variant["reason"] is None:
            folders = [run / "sweep" / variant["name"] for run in (whole, cut)]
            one, other = (read_rows(folder / "after" / "answers.jsonl") for folder in folders)
            assert one == other
    check_files(whole)


def check_files(out: Path) -> None:
    """What a finished sweep leaves."""
    results = load(out)
    assert len(results["rows"]) == 4
    done = [row for row in results["rows"] if row["reason"] is None]
    assert {row["label"] for row in done} >= {"last:1", "last:2", "full", "lora:last:1"}
    for row in done:
        folder = out / "sweep" / row["name"]
        comparison = json.loads((folder / "comparison.json").read_text())
        assert row["language_change"] == comparison["overall"]["language_consistency"]
        assert row["asked"] == 2 * 2
        assert row["peak_memory_bytes"] > 10**8
    tuning = json.loads(
        next((out / "sweep").glob("last-1*")).joinpath("tuned/tuning.json").read_text()
    )
    assert tuning["cache_reused_layers"] == 2  # goes on from the states below last:2
    assert not (out / "sweep" / "cache").exists()
    for suffix in ("svg", "png", "pdf"):
        assert (out / "sweep" / f"sweep.{suffix}").stat().st_size > 1000
    with open(out / "sweep" / "results.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == [row["name"] for row in results["rows"]]
    assert float(table[0]["language_change.difference"] or 0) == (
        results["rows"][0]["language_change"]["difference"] or 0
    )
    assert (out / "sweep" / "results.md").read_text("utf-8") == markdown(results)


def load(out: Path) -> Any:
    return json.loads((out / "sweep" / "results.json").read_text(encoding="utf-8"))


def base_run(folder: Path) -> Run:
    """A made-up run whose stages before tuning are done."""
    base = open_run(folder, load_config(None, ["languages=[en, es]"]))
    write_fake_run(base.folder, languages=("en", "es"), items=2)
    write_text(base.folder / "config.yaml", dump_config(base.config))
    for name in ("before", "probe", "locate", "choose"):
        base.note(name, [], 1.0)
    return base


def test_a_variant_that_fails_is_recorded_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_run(tmp_path / "r")
    tried: list[str] = []

    def stages(do: Any, folder: Path, stages: Any, cache: Path, progress: Any) -> None:
        tried.append(folder.name)
        raise UserError("no room for it")

    monkeypatch.setattr("linguamap.sweep.run_variants.run_stages", stages)
    request = SweepRequest(TuneConfig(), "last:1, steer")
    for _ in range(2):  # what failed is tried again
        results = run_sweep(base, request, silent, do_stages)
    assert tried == ["steer-chosen", "last-1-e2-lr0.00015-s0"] * 2
    assert [row["reason"] for row in results["rows"]] == ["no room for it"] * 2
    assert results["choice"] is None
    assert "steer-chosen: no room for it" in (base.folder / "sweep" / "results.md").read_text()
    with pytest.raises(UserError, match=r"tune.examples: 800 -> 7.*--fresh"):
        run_sweep(base, SweepRequest(TuneConfig(examples=7), "last:1"), silent, do_stages)


def test_finished_variants_of_earlier_calls_stay_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call overwrote the table with its own variants alone."""
    base = base_run(tmp_path / "r")

    def stages(do: Any, folder: Path, stages: Any, cache: Path, progress: Any) -> None:
        if "-s9" in folder.name:
            raise UserError("no room for it")
        run = open_run(folder, None)
        other = base.folder / "fake"
        for name in ("after", "tuned", "comparison.json"):
            source, wanted = other / name, folder / name
            shutil.copytree(source, wanted) if source.is_dir() else shutil.copy(source, wanted)
        for name in ("tune", "after", "compare"):
            run.run_stage(name, [], lambda: None)

    monkeypatch.setattr("linguamap.sweep.run_variants.run_stages", stages)
    write_fake_run(base.folder / "fake", languages=("en", "es"), items=2)
    tune = TuneConfig(examples=9)

    def swept(variants: str, *seeds: int, **changes: Any) -> tuple[list[str], list[str]]:
        settings = tune.model_copy(update=changes)
        found = run_sweep(base, SweepRequest(settings, variants, seeds=seeds), silent, do_stages)
        stored = load(base.folder)
        assert [row["name"] for row in stored["rows"]] == [row["name"] for row in found["rows"]]
        return [facts["label"] + str(facts["seeds"]) for facts in stored["groups"]], found["asked"]

    assert swept("steer, last:2, random:2*1")[0] == [
        "last:2[0]", "random:2#0[0]", "steer:chosen[]",
    ]  # fmt: skip
    everything = ["last:2[0, 1, 2]", "random:2#0[0]", "steer:chosen[]"]
    assert swept("last:2", 1, 2) == (
        everything,
        [f"last-2-e2-lr0.00015-s{seed}" for seed in (1, 2)],
    )
    assert swept("steer", cache_gb=9.0)[0] == everything  # costs, not results
    assert swept("last:2", 9)[0] == everything  # failed, and told so
    assert swept("last:1", 0)[0] == ["last:1[0]", *everything]
    # Others' settings are not of this table.
    assert swept("last:3", examples=10)[0] == ["last:3[0]"]
    assert swept("language:last:2")[0] == [
        "last:1[0]",
        *everything[:2],
        "language:last:2[0]",
        "steer:chosen[]",
    ]


def test_the_command_says_what_it_wrote_and_fails_where_nothing_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_run(tmp_path / "r")
    asked: list[SweepRequest] = []

    def fails(do: Any, folder: Path, stages: Any, cache: Path, progress: Any) -> None:
        raise UserError("no room for it")

    def noted(base: Run, request: SweepRequest, progress: Any, do: Any) -> Any:
        asked.append(request)
        return run_sweep(base, request, progress, do)

    monkeypatch.setattr("linguamap.sweep.run_variants.run_stages", fails)
    monkeypatch.setattr("linguamap.cli.sweep_command.run_sweep", noted)
    write_text(base.folder / "sweep" / "sweep.svg", "of an earlier call")
    arguments = [
        "sweep",
        "--out",
        str(base.folder),
        "--variants",
        "last:1",
        "--set",
        "tune.cache_gb=0.5",
    ]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "sweep: no variant could be done (no room for it)"
    assert ".csv" in done.output
    assert "sweep.svg" not in done.output
    assert not (base.folder / "sweep" / "sweep.svg").exists()
    assert asked[0].tune.cache_gb == 0.5


def test_a_process_tells_why_it_could_not_go_on(tmp_path: Path) -> None:
    config = load_config(None, [f"model.name={str(tmp_path / 'none')!r}"])
    open_run(tmp_path / "r", config)
    with pytest.raises(UserError, match="none"):
        run_stages(do_stages, tmp_path / "r", ("probe",), None, silent)


def test_a_process_that_dies_is_told_from_one_that_fails() -> None:
    assert "want of memory" in describe_end(-signal.SIGKILL)
    assert "SIGSEGV" in describe_end(-signal.SIGSEGV)
    assert "status 3" in describe_end(3)
