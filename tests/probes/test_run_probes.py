"""The probe stage on a tiny model and real starter items: files, reuse, change, and the way on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from tiny import STATE_SPACE, tiny_lm

from linguamap.benchmarks import load_benchmark
from linguamap.config import RunConfig
from linguamap.generation.cache_check import cache_fault
from linguamap.models.language_model import LanguageModel
from linguamap.models.self_check import verify_model
from linguamap.probes import layer_reading
from linguamap.probes.curves import CURVES_SCHEMA as LENS_CURVES
from linguamap.probes.curves import change_outside
from linguamap.probes.locate import locate
from linguamap.probes.run_probes import own_answers, run_probe
from linguamap.probes.texts import (
    gold_texts,
    lens_prompts,
    lens_texts,
    parallel_items,
    pick,
    prompt_pairs,
)
from linguamap.prompts.scenarios import render_all
from linguamap.records import Prompt, UserError
from linguamap.run.settings import load_config

LANGUAGES = ["en", "es", "ar"]
IDENTIFIER = FakeIdentifier(("en", "es", "ar"), by_script)
PROBES = ("lens", "fitted_lens", "token_set_probability", "similarity", "handover")


def config(*settings: str) -> RunConfig:
    return load_config(
        None,
        [
            f"languages=[{', '.join(LANGUAGES)}]",
            "probe.items=2",
            "probe.similarity_items=12",
            "probe.handover_items=2",
            "probe.bootstrap=50",
            "locate.bootstrap=50",
            "evaluate.max_new_tokens=4",
            *settings,
        ],
    )


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    benchmarks = [
        load_benchmark(name, LANGUAGES, "train") for name in ("sums", "choice", "passage")
    ]
    return render_all(benchmarks, LANGUAGES, ["monolingual", "code_mixed"], None, 0, True)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_lm("llama", max_position_embeddings=2048)


def test_all_files_are_written_and_lead_on_to_locate(
    lm: LanguageModel, prompts: list[Prompt], tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        seen.append((label, done, total))

    facts = run_probe(lm, prompts, config(), IDENTIFIER, tmp_path, progress)
    names = {path.name for path in tmp_path.iterdir()}
    tables = [f"{n}{s}.parquet" for n in PROBES for s in ("", "_items")]
    assert names == {*tables, "lens_tokens.npz", "probe.json"}
    assert json.loads((tmp_path / "probe.json").read_text()) == facts
    assert facts["n_layers"] == 4
    parameters = sum(p.numel() for p in lm.model.parameters())
    assert facts["total_parameters"] == parameters
    assert facts["block_parameters"] == [
        sum(p.numel() for p in block.parameters()) for block in lm.model.model.layers
    ]
    assert set(facts["missing"]) == {"lens_outcomes"}  # no answers were given
    assert set(facts["ceilings"]) == set(LANGUAGES)
    assert facts["lens"]["n_texts"] == 2 * 3 * 3
    assert {label for label, _, _ in seen} == {
        "lens",
        "fitted lens: states",
        "fitted lens",
        "similarity",
        "handover",
    }
    assert all(0 < done <= total for _, done, total in seen)
    fitted = facts["fitted_lens"]
    assert len(fitted["explained"]) == len(fitted["penalties"]) == 4
    assert fitted["n_fitted"] > 3 * fitted["n_held"] > 0
    assert fitted["source"].startswith("questions, passages and worked answers")
    result = locate(tmp_path, config().locate)
    assert set(result["fitted_overtakes_english"]) == {"es", "ar"}
    assert result["n_layers"] == 4
    assert result["fallback_layers"] == [4]


def test_the_same_probe_twice_is_the_same(
    lm: LanguageModel, prompts: list[Prompt], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        run_probe(lm, prompts, config(), IDENTIFIER, tmp_path / name)
    for path in (tmp_path / "one").glob("*.parquet"):
        assert pq.read_table(path).equals(pq.read_table(tmp_path / "two" / path.name)), path.name


def test_reuse_reads_only_what_a_changed_block_moved(
    prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm("llama", max_position_embeddings=2048)
    before, after, fresh = (tmp_path / name for name in ("before", "after", "fresh"))
    run_probe(lm, prompts, config(), IDENTIFIER, before)
    with torch.no_grad():
        lm.model.model.layers[3].mlp.down_proj.weight.mul_(3.0)
    calls: list[int] = []
    plain = layer_reading.scan_head

    def counted(*args: object, **kwargs: object) -> None:
        calls.append(1)
        plain(*args, **kwargs)  # type: ignore[arg-type]

    run_probe(lm, prompts, config(), IDENTIFIER, fresh)
    monkeypatch.setattr(layer_reading, "scan_head", counted)
    facts = run_probe(lm, prompts, config(), IDENTIFIER, after, reuse=before)
    assert len(calls) == facts["lens"]["batches_known"] / 5  # one layer of 0..4
    assert not (after / "fitted_lens.parquet").exists()  # it describes the untuned model
    for path in (one for one in fresh.glob("*.parquet") if not one.name.startswith("fitted")):
        assert pq.read_table(path).equals(pq.read_table(after / path.name)), path.name
    change = change_outside(before, after, (4,))
    assert change["share_below"] == change["largest_below"] == 0
    assert change["share_in_tuned"] is None  # it can lie nowhere else
    assert "nowhere else" in change["reason"]
    assert change["curves"]["similarity"]["share_in_tuned"] == 1.0
    wrong = change_outside(before, after, (2,))
    assert wrong["share_in_tuned"] == 0
    assert wrong["share_downstream"] == 1.0


def test_change_by_hand(tmp_path: Path) -> None:
    def curve(layer: int, language: str | None, share: float | None) -> dict[str, object]:
        return {"layer": layer, "target_language": "es", "word_language": language} | {
            "share": share,
            "n_items": 1,
            "n_words": 1,
        }

    for name, rows in {
        "a": [curve(1, "es", 0.5), curve(2, "es", 0.5), curve(3, "es", 0.2), curve(3, "en", 0.8)],
        "b": [curve(1, "es", 0.6), curve(2, "es", 0.5), curve(3, "es", 1.0)],
    }.items():
        (tmp_path / name).mkdir()
        table = pa.Table.from_pylist(rows, LENS_CURVES)
        pq.write_table(table, tmp_path / name / "lens.parquet")
    change = change_outside(tmp_path / "a", tmp_path / "b", [3])
    assert change["share_in_tuned"] == pytest.approx(1.6 / 1.7)
    assert change["share_below"] == pytest.approx(0.1 / 1.7)
    assert change["largest_below"] == pytest.approx(0.1)
    assert change["curves"]["lens"]["by_layer"] == pytest.approx({"1": 0.1, "2": 0.0, "3": 0.8})
    same = change_outside(tmp_path / "a", tmp_path / "a", [3])
    assert same["share_in_tuned"] is None
    with pytest.raises(UserError, match="no layers were tuned"):
        change_outside(tmp_path / "a", tmp_path / "b", [])


def test_items_are_alike_in_all_languages_and_a_small_pick_is_part_of_a_large_one(
    prompts: list[Prompt],
) -> None:
    small, large = (pick(prompts, n, 0, "lens") for n in (3, 6))
    ids = {
        code: {(p.benchmark, p.item_id) for p in small if p.language == code} for code in LANGUAGES
    }
    assert ids["en"] == ids["es"] == ids["ar"]
    assert len(ids["en"]) == 9
    assert ids["en"] < {(p.benchmark, p.item_id) for p in large}
    groups = [(p.benchmark, p.group) for p in pick(prompts, 5, 0, "lens") if p.kind == "passage"]
    assert len(set(groups)) == 5  # as many passages as items


def test_lens_reads_both_scenarios_and_english_only_plain(prompts: list[Prompt]) -> None:
    chosen = lens_prompts(prompts, 4, 0)
    assert len(chosen) == 4 * 3 * 3
    spanish = [p.scenario for p in chosen if p.language == "es"]
    assert spanish.count("monolingual") == spanish.count("code_mixed") == 6
    assert {p.scenario for p in chosen if p.language == "en"} == {"monolingual"}


def test_texts_without_references_are_read_from_the_question(
    lm: LanguageModel, prompts: list[Prompt]
) -> None:
    bare = [dataclasses.replace(p, reference=()) for p in lens_prompts(prompts, 1, 0)]
    texts = lens_texts(lm, bare, "auto", own_answers(lm, config()))
    assert len(texts) == len(bare)
    for text, prompt in zip(texts, bare, strict=True):
        assert prompt.text.startswith(text.prompt_text + text.answer_text)
        assert 20 < len(text.answer_text) <= 400
    with pytest.raises(UserError, match="no training item has a worked answer"):
        lens_texts(lm, bare, "reference", own_answers(lm, config()))


def test_own_answers_can_be_read(lm: LanguageModel, prompts: list[Prompt], tmp_path: Path) -> None:
    facts = run_probe(
        lm, prompts, config("probe.texts=generated", "probe.handover_items=0"), IDENTIFIER, tmp_path
    )
    assert facts["lens"]["n_texts"] > 0
    assert "handover" in facts["missing"]
    assert not (tmp_path / "handover.parquet").exists()


@pytest.mark.parametrize("kind", STATE_SPACE)
def test_a_model_without_a_usable_cache_is_probed_but_for_the_handover(
    kind: str, prompts: list[Prompt], tmp_path: Path
) -> None:
    """Regression: the handover ended in a traceback."""
    lm = tiny_lm(kind)
    lm.model.config.max_position_embeddings = 1024  # none of them has learned positions
    verify_model(lm)
    few = config("probe.texts=generated", "probe.similarity_items=4", "evaluate.max_new_tokens=2")
    facts = run_probe(lm, [p for p in prompts if p.kind == "sums"], few, IDENTIFIER, tmp_path)
    assert facts["lens"]["n_texts"] > 0
    assert facts["similarity"]["n_items"] == 4
    assert cache_fault(lm) in facts["missing"]["handover"]


def test_parallel_items_are_questions_in_every_language(prompts: list[Prompt]) -> None:
    items = parallel_items(prompts, 12, 0)
    assert len(items) == 12
    assert all(set(item.texts) == set(LANGUAGES) for item in items)
    passages = {p.passage for p in prompts if p.passage}
    assert not any(text in passages for item in items for text in item.texts.values())
    assert not any("A)" in text for item in items for text in item.texts.values())


def test_twins_pair_an_item_with_itself_in_english(
    lm: LanguageModel, prompts: list[Prompt]
) -> None:
    found = prompt_pairs(lm, prompts, config("probe.handover_items=4"))
    assert [t.language for t in found].count("es") == 4
    assert {t.language for t in found} == {"es", "ar"}
    plain = {(p.item_id, p.language): p.text for p in prompts if p.scenario == "monolingual"}
    for one in found:
        own, english = map(lm.tokenizer.decode, (one.prompt_ids, one.english_ids))
        before, after = plain[one.item_id, one.language], plain[one.item_id, "en"]
        assert own.startswith(before)
        assert english.startswith(after)
        # a letter is a token here: blanks and what both answers begin with have been read
        assert own.removeprefix(before).strip() == english.removeprefix(after).strip()
        assert one.first_ids is not None
        assert one.first_ids[0] != one.first_ids[1]


def test_gold_is_the_worked_answer(prompts: list[Prompt]) -> None:
    gold = gold_texts(prompts)
    assert set(gold) == set(LANGUAGES)
    spanish = [p for p in prompts if p.language == "es" and p.scenario == "monolingual"]
    assert gold["es"][0] == "".join(part.text for part in spanish[0].reference)
