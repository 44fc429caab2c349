"""Run folders: stages that are skipped or redone, torn lines, refused folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic.fields import FieldInfo

from linguamap.config import RunConfig, Section
from linguamap.records import UserError
from linguamap.run.files import append_rows, read_json, read_rows, replacing, write_json, write_rows
from linguamap.run.folder import STAGES, open_run
from linguamap.run.settings import load_config


def test_stage_is_done_once_and_again_when_what_it_needs_is_redone(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    calls: list[str] = []

    def do(stage: str) -> bool:
        def work() -> None:
            calls.append(stage)
            run.path(f"{stage}.json").write_text("{}")

        return run.run_stage(stage, [f"{stage}.json"], work)

    assert [do("before"), do("probe"), do("locate")] == [True] * 3
    assert [do("before"), do("probe"), do("locate")] == [False] * 3
    run.path("before.json").unlink()
    assert [do("before"), do("probe"), do("locate")] == [
        True,
        False,
        False,
    ]  # probes read no answers
    run.change(load_config(None, ["probe.items=9"]))
    assert [do("before"), do("probe"), do("locate")] == [False, True, True]
    assert calls == ["before", "probe", "locate", "before", "probe", "locate"]


CALIBRATION = (
    "data", "examples", "tasks", "teacher", "teacher_model", "teacher_tokens", "loss_on", "learning_rate",
    "validation_share", "seed", "dtype", "batch_size", "clip_norm",
)  # fmt: skip
"""What rules that run the model read: training examples, and how a step is made."""

EVALUATED = {"before", "after", "compare", "report"}
ALL = set(STAGES)
UNDONE = {
    "evaluate.concurrency": set(), "evaluate.timeout": set(),
    "model": ALL, "languages": ALL, "seed": ALL, "data": ALL,
    "scenarios": ALL - {"probe", "locate"},
    "evaluate": EVALUATED,
    "evaluate.items": ALL - {"probe", "locate", "choose"},  # few-shot prompting draws examples for them
    "evaluate.max_new_tokens": ALL, "evaluate.stop": ALL,  # of texts that are written for the probes
    "evaluate.batch_tokens": ALL, "evaluate.batch_size": ALL,
    "score": EVALUATED,
    "probe": ALL - {"before"},
    "locate": ALL - {"before", "probe"},
    "choose": ALL - {"before", "probe", "locate"},
    "tune": ALL - {"before", "probe", "locate", "choose"},
    **{f"tune.{name}": ALL - {"before", "probe", "locate"} for name in CALIBRATION},
    "tune.benchmarks": ALL - {"before"},  # probes read training items
    "tune.subjects": ALL,  # and what is trained on is not tested
    "compare": {"compare", "report"},
    "preset": {"report"},  # what it sets stands in the sections
}  # fmt: skip
"""Section or setting -> the stages that must be done again, those that need one of them included."""

VALUES = {
    "model.name": "other", "data.revision": "other", "tune.schedule": "constant", "seed": "1", "probe.confidence": "0.9",
    "languages": "[en, fr]", "scenarios": "[monolingual]", "data.benchmarks": "[sums]",
    "data.subjects": "[law]", "tune.benchmarks": "[sums]", "tune.subjects": "[law]", "evaluate.stop": "[x]", "tune.layers": "last:1",
}  # fmt: skip
"""Other values than the defaults, where the type does not give one."""


def other_value(field: FieldInfo, old: object) -> str:
    """A valid value that is not the default, as YAML."""
    choices = [one for one in get_args(field.annotation) if isinstance(one, str) and one != old]
    if choices:
        return choices[0]
    if isinstance(old, bool):
        return "false" if old else "true"
    if isinstance(old, int | float):
        return str(old + 1) if isinstance(old, int) else str(old / 2 or 0.5)
    nested = [name for one in get_args(field.annotation) for name in get_args(one)]
    if nested:
        return str(nested[0])
    return "1" if {int, float} & set(get_args(field.annotation)) else "other"


def every_setting() -> dict[str, str]:
    """Each key of the config with another value than its default."""
    found = {}
    defaults = load_config()
    for name, field in RunConfig.model_fields.items():
        value = getattr(defaults, name)
        inner = type(value).model_fields if isinstance(value, Section) else {}
        for key, one in inner.items():
            found[f"{name}.{key}"] = other_value(one, getattr(value, key))
        if not inner:
            found[name] = other_value(field, value)
    return found | VALUES


@pytest.mark.parametrize(("key", "value"), every_setting().items())
def test_a_setting_undoes_the_stages_that_read_it_and_no_other(
    tmp_path: Path, key: str, value: str
) -> None:
    """A new setting of the score must never cost a training."""
    run = open_run(tmp_path / "r", load_config())
    for stage in STAGES:
        run.run_stage(stage, [stage], lambda name=stage: write_json(run.path(name), 1))  # type: ignore[misc]
    changed = run.config.model_copy(deep=True)
    section, _, name = key.rpartition(".")
    new = load_config(None, [f"{key}={value}"])
    source, target = (getattr(c, section) if section else c for c in (new, changed))
    setattr(target, name, getattr(source, name))
    assert changed != run.config
    run.change(changed)
    undone = UNDONE[key if key in UNDONE else key.partition(".")[0]]
    assert {stage for stage in STAGES if not run.is_done(stage)} == undone


def test_the_weights_are_a_part_of_what_a_stage_is_made_from(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.check_model({"weights_sha256": "a" * 64})
    for stage in STAGES[:3]:
        run.run_stage(stage, [stage], lambda name=stage: write_json(run.path(name), 1))  # type: ignore[misc]
    write_json(run.path("model.json"), {"weights_sha256": "b" * 64})
    assert [run.is_done(stage) for stage in STAGES[:3]] == [False] * 3


def test_a_cut_or_emptied_file_of_a_finished_stage_is_told_and_redone(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.run_stage("locate", ["located.json"], lambda: write_json(run.path("located.json"), [1, 2]))
    for text in ("", "[1"):
        run.path("located.json").write_text(text)
        assert (run.is_done("locate"), run.damaged("locate")) == (False, ["located.json"])


def test_stage_with_a_missing_result_is_redone(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.run_stage("before", ["x.json"], lambda: write_json(run.path("x.json"), 1))
    run.path("x.json").unlink()
    assert not run.is_done("before")


def test_failed_stage_is_not_done(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run.run_stage("before", [], fail)
    assert not run.is_done("before")


def test_changed_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    write_json(open_run(tmp_path / "r", load_config()).path("before", "summary.json"), {})
    with pytest.raises(UserError, match=r"probe\.items: \d+ -> 99.*--fresh"):
        open_run(tmp_path / "r", load_config(None, ["probe.items=99"]))
    again = open_run(tmp_path / "r", load_config(None, ["probe.items=99"]), fresh=True)
    assert again.config.probe.items == 99
    assert open_run(tmp_path / "r", None).config.probe.items == 99


def test_a_folder_without_results_takes_another_config(tmp_path: Path) -> None:
    """A first command that was refused must not stand in the way of the corrected one."""
    open_run(tmp_path / "r", load_config(None, ["languages=[en, xx]"]))
    assert open_run(tmp_path / "r", load_config()).config == load_config()
    assert open_run(tmp_path / "r", None).config == load_config()


def test_where_a_server_is_and_how_fast_it_is_asked_are_no_part_of_a_run(tmp_path: Path) -> None:
    """A new job gets another node; answers that were paid for stay."""
    asked = ["evaluate.endpoint=http://node1:8000", "evaluate.concurrency=4"]
    run = open_run(tmp_path / "r", load_config(None, asked))
    run.run_stage("before", ["x"], lambda: write_json(run.path("x"), 1))
    moved = ["evaluate.endpoint=http://node2:9000", "evaluate.timeout=9"]
    run = open_run(tmp_path / "r", load_config(None, moved))
    assert run.is_done("before")
    assert open_run(tmp_path / "r", None).config == load_config(None, moved)
    for other in ([], [*moved, "evaluate.endpoint_model=b"], [*moved, "seed=1"]):
        with pytest.raises(UserError, match="made with another config"):
            open_run(tmp_path / "r", load_config(None, other))


def test_settings_of_tuning_may_change_until_it_is_done(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.run_stage("before", ["x"], lambda: write_json(run.path("x"), 1))
    other = load_config(None, ["tune.method=steer", "tune.layers='17,18'"])
    run = open_run(tmp_path / "r", other)
    assert run.is_done("before")
    assert open_run(tmp_path / "r", None).config == other
    with pytest.raises(UserError, match="made with another config"):
        open_run(tmp_path / "r", load_config(None, ["tune.method=full", "seed=1"]))
    run.path("tuned", "log.jsonl").touch()  # a training that failed
    assert open_run(tmp_path / "r", load_config(None, ["tune.epochs=9"])).config.tune.epochs == 9
    open_run(tmp_path / "r", other)
    write_json(run.path("tuned", "tuning.json"), {})
    with pytest.raises(UserError, match=r"tune.method: 'steer' -> 'selective'"):
        open_run(tmp_path / "r", load_config())


def test_a_folder_that_is_no_run_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(UserError, match="is not a run"):
            open_run(tmp_path, load_config(), fresh=fresh)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    with pytest.raises(UserError, match="holds no run"):
        open_run(tmp_path / "nothing", None)


def test_torn_line_is_dropped_and_the_next_append_starts_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_rows(path, [{"a": 1}, {"a": 2}])
    with open(path, "ab") as file:
        file.write(b'{"a": 3, "b": "ha')
    assert [row["a"] for row in read_rows(path)] == [1, 2]
    append_rows(path, [{"a": 4}])
    assert [row["a"] for row in read_rows(path)] == [1, 2, 4]


def test_rows_survive_hostile_text(tmp_path: Path) -> None:
    hostile = "\u2028\u0085\x00\ud800 \u202e</script>\n\r"
    write_rows(tmp_path / "a.jsonl", [{"t": hostile}])
    append_rows(tmp_path / "a.jsonl", [{"t": hostile}])
    assert [row["t"] for row in read_rows(tmp_path / "a.jsonl")] == [hostile, hostile]


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"rate": float("nan")})


def test_broken_and_missing_json_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the stage that makes it"):
        read_json(tmp_path / "no.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="delete it"):
        read_json(tmp_path / "x.json")


def test_fresh_deletes_only_what_a_run_wrote(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    write_json(run.path("before", "summary.json"), {})
    run.path("thesis.tex").write_text("mine")
    open_run(tmp_path / "r", load_config(None, ["seed=1"]), fresh=True)
    assert (tmp_path / "r" / "thesis.tex").read_text() == "mine"
    assert not (tmp_path / "r" / "before").exists()


def test_fresh_refuses_a_folder_whose_config_is_another_programs(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("db: x")
    with pytest.raises(UserError, match="unknown key"):
        open_run(tmp_path, load_config(), fresh=True)
    assert (tmp_path / "config.yaml").read_text() == "db: x"


def test_settings_of_locating_forget_what_was_located(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    for stage in ("probe", "locate"):
        run.run_stage(stage, [stage], lambda s=stage: write_json(run.path(s), 1))  # type: ignore[misc]
    run = open_run(tmp_path / "r", load_config(None, ["locate.max_trainable_share=0.9"]))
    assert (run.is_done("probe"), run.is_done("locate")) == (True, False)


@pytest.mark.parametrize("text", ["[]", '{"before": 3}', '{"zzz": {}}', '{"before": {}}'])
def test_broken_stages_are_one_line(tmp_path: Path, text: str) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.path("stages.json").write_text(text)
    with pytest.raises(UserError, match=r"stages\.json is broken \(.*\); delete it"):
        run.stages()


def test_other_weights_between_stages_are_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", load_config())
    run.check_model({"name": "m", "weights_sha256": "a" * 64})
    run.check_model({"name": "m", "weights_sha256": "a" * 64})
    with pytest.raises(UserError, match="of weights aaaaaaaa, but the model now has bbbbbbbb"):
        run.check_model({"name": "m", "weights_sha256": "b" * 64})
