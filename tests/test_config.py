"""Configs: defaults, YAML, overrides, and faults that are all reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from linguamap.config import RunConfig
from linguamap.records import UserError
from linguamap.run.settings import difference, dump_config, load_config


def test_written_config_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(None, ["tune.epochs=4", "languages=[en, hi]"])
    (tmp_path / "c.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == config
    assert config.tune.epochs == 4
    assert config.languages == ["en", "hi"]


def test_the_chat_models_job_is_a_config_of_a_run() -> None:
    config = load_config(Path(__file__).parents[1] / "configs" / "chat.yaml")
    assert config.model.name.endswith(".gguf")
    assert config.evaluate.answer_tokens(is_chat=True) == 256


def test_dump_is_complete_with_defaults() -> None:
    text = dump_config(RunConfig())
    for key in ("max_trainable_share", "identifier", "seed", "batch_size", "revision"):
        assert key in text


def test_all_faults_are_reported_at_once_with_the_nearest_name() -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, ["tune.epoch=3", "modle=2", "tune.batch_size=0", "nonsense"])
    message = str(caught.value)
    assert "\n" not in message
    assert "did you mean 'epochs'" in message
    assert "did you mean 'model'" in message
    assert "tune.batch_size" in message
    assert "'nonsense' is not of the form a.b=value" in message


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 3\ntune: {epochs: 9}\n", encoding="utf-8")
    config = load_config(tmp_path / "c.yaml", ["tune.epochs=2"])
    assert (config.seed, config.tune.epochs) == (3, 2)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n"])
def test_broken_yaml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_config(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.yaml")


def test_difference_names_key_and_both_values() -> None:
    one, two = load_config(None), load_config(None, ["tune.epochs=7"])
    assert difference(one, one) == []
    changes = difference(one, two)
    assert len(changes) == 1
    assert changes[0].startswith("tune.epochs: ")
    assert changes[0].endswith("-> 7")


def test_paths_hold_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    config = load_config(
        None,
        [
            "model.name=model",
            "data.folder=data",
            "data.benchmarks=[mgsm, my.jsonl]",
            "tune.data=t.jsonl",
        ],
    )
    assert config.model.name == str(tmp_path / "model")
    assert config.data.folder == str(tmp_path / "data")
    assert config.data.benchmarks == ["mgsm", str(tmp_path / "my.jsonl")]
    assert config.tune.data == str(tmp_path / "t.jsonl")
    assert load_config(None, ["model.name=Qwen/Qwen3-0.6B"]).model.name == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize("method", ["first:2", "middle:1", "last:12", "random:3"])
def test_a_choice_of_blocks_is_a_method(method: str) -> None:
    tune = load_config(None, [f"tune.method={method}"]).tune
    assert (tune.method, tune.layers) == ("selective", method)
    with pytest.raises(UserError, match=f"method {method} names blocks, and so does layers 4;"):
        load_config(None, [f"tune.method={method}", "tune.layers='4'"])
    with pytest.raises(UserError, match=r"tune.method: Input should be 'selective', "):
        load_config(None, ["tune.method=first"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("languages=[en, es, es]", "languages: es is named twice"),
        ("languages=[]", "languages: "),
        ("data.benchmarks=[]", "data.benchmarks: "),
        ("seed=-1", "seed: "),
        ("tune.learning_rate=.inf", "tune.learning_rate: "),
        ("tune=3", "tune: is a section; give tune.KEY=value"),
    ],
)
def test_values_that_would_fail_later_are_refused_at_once(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, [override])
    assert words in str(caught.value)


def test_a_bare_yes_or_no_is_a_word() -> None:
    config = load_config(None, ["model.chat=no", "model.thinking=yes", "tune.train_head=no"])
    assert (config.model.chat, config.model.thinking, config.tune.train_head) == ("no", "yes", "no")


def test_an_answer_cannot_end_at_nothing() -> None:
    with pytest.raises(UserError, match=r"evaluate.stop: an empty text would end every answer"):
        load_config(None, ['evaluate.stop=["\\n", ""]'])
    assert load_config(None, ['evaluate.stop=["\\n"]']).evaluate.stop == ["\n"]


def test_the_paper_preset_sets_exactly_the_papers_readings(tmp_path: Path) -> None:
    """Generated positions, prompts for similarity, langdetect, QRA, 80/20; nothing else."""
    changed = {
        "preset: None -> 'paper'",
        "score.identifier: 'lingua' -> 'langdetect'",
        "probe.texts: 'auto' -> 'generated'",
        "probe.similarity_on: 'questions' -> 'prompts'",
        "tune.loss_on: 'RA' -> 'QRA'",
        "tune.validation_share: 0.1 -> 0.2",
    }
    paper = load_config(None, ["preset=paper"])
    assert set(difference(load_config(), paper)) == changed
    assert RunConfig(preset="paper") == paper
    own = load_config(None, ["tune.loss_on=RA", 'preset="paper"'])
    assert (own.tune.loss_on, own.probe.texts) == ("RA", "generated")
    (tmp_path / "c.yaml").write_text(dump_config(load_config()), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml", ["preset=paper"]) == paper
    with pytest.raises(UserError, match=r"preset.*'paper'.*papper"):
        load_config(None, ["preset=papper"])
