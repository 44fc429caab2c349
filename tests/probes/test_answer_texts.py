"""Own answers that are probed: pairs of one item, and the lens split by what became of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from fake_identifier import FakeIdentifier, by_script
from tiny import TEXT, tiny_lm

from linguamap.benchmarks import load_benchmark
from linguamap.probes.answer_texts import POSITIONS, in_turn, outcome_pairs, usable
from linguamap.probes.run_probes import run_probe
from linguamap.probes.texts import encode_texts, with_answer
from linguamap.prompts.scenarios import render_all
from linguamap.records import Answer, Prompt, Scenario
from linguamap.run.settings import load_config

IDENTIFIER = FakeIdentifier(("en", "es", "ar"), by_script)


def answer(prompt: Prompt, text: str, right: bool | None) -> Answer:
    return Answer(
        prompt.prompt_id, prompt.item_id, prompt.item_id, prompt.benchmark, prompt.kind,
        prompt.language, prompt.scenario, prompt.text, text, None, right, "unscored",
    )  # fmt: skip


def bare(item: str, scenario: Scenario, language: str = "es") -> Prompt:
    return Prompt(item, "sums", "sums", language, scenario, (), ())


def test_a_pair_is_one_item_in_one_language_answered_in_both_ways() -> None:
    answers = [
        answer(bare("1", "monolingual"), "uno", True),
        answer(bare("1", "code_mixed"), "one", False),
        answer(bare("1", "bilingual_answer"), "one", False),
        answer(bare("2", "monolingual"), "dos", True),  # never in another language
        answer(bare("3", "monolingual"), "tres", True),
        answer(bare("3", "code_mixed"), "3", None),  # cannot be identified
        answer(bare("4", "monolingual", "ar"), "x", True),
        answer(bare("4", "code_mixed", "es"), "four", False),  # another language's prompt
        answer(bare("5", "monolingual"), "cinco", True),
        answer(bare("5", "code_mixed"), " ", False),  # empty
    ]
    assert len(usable(answers)) == 8
    found = outcome_pairs(answers, 10, 0)
    assert {one.item_id for one in found} == {"1"}
    assert sorted(bool(one.language_correct) for one in found) == [False, True]
    assert found == outcome_pairs(answers[::-1], 10, 0)
    assert outcome_pairs(answers, 0, 0) == []


def test_languages_come_in_turn() -> None:
    groups = {"a": "es", "b": "es", "c": "es", "d": "ar", "e": "hi", "f": "hi"}
    assert in_turn(groups, 4) == ["d", "a", "e", "b"]
    assert len(in_turn(groups, 10)) == 6


def test_the_lens_is_split_by_what_became_of_the_same_item(tmp_path: Path) -> None:
    languages = ["en", "es", "ar"]
    asked = render_all(
        [load_benchmark("sums", languages, "test")],
        languages,
        ["monolingual", "code_mixed"],
        2,
        0,
        True,
    )
    train = render_all(
        [load_benchmark("sums", languages, "train")], languages, ["monolingual"], 4, 0, True
    )
    answers = [
        answer(p, TEXT[2] if p.scenario == "monolingual" else TEXT[0], p.scenario == "monolingual")
        for p in asked
        if p.language != "en"
    ]
    config = load_config(
        None,
        ["languages=[en, es, ar]", "probe.items=2", "probe.handover_items=0", "probe.bootstrap=20"],
    )
    lm = tiny_lm("llama", max_position_embeddings=2048)
    answered = (answers, asked)
    before, after = tmp_path / "before", tmp_path / "after"
    facts = run_probe(lm, train, config, IDENTIFIER, before, answered=answered)
    assert facts["lens_outcomes"] == {"n_texts": 8, "positions": POSITIONS}
    items = pq.read_table(before / "lens_outcomes_items.parquet").to_pylist()
    scenario = {"consistent": "monolingual", "inconsistent": "code_mixed"}
    assert {(row["outcome"], row["scenario"]) for row in items} == set(scenario.items())
    pairs = {(row["item_id"], row["target_language"], row["outcome"]) for row in items}
    assert len(pairs) == 8
    curves = pq.read_table(before / "lens_outcomes.parquet").to_pylist()
    assert {(row["outcome"], row["target_language"]) for row in curves} == {
        (outcome, code) for outcome in scenario for code in ("es", "ar")
    }
    # The last layer writes what the model would write along the answer: read one text without batch.
    one = next(p for p in asked if p.language == "es" and p.scenario == "monolingual")
    (encoded,) = encode_texts(lm, [with_answer(lm, one, f" {TEXT[2]}")])
    n_words = {
        row["n_words"] for row in items
        if (row["item_id"], row["target_language"], row["outcome"], row["layer"])
        == (one.item_id, "es", "consistent", lm.n_layers)
    }  # fmt: skip
    assert max(n_words) <= min(POSITIONS, encoded.stop - encoded.first)
    # After tuning the same prompts are read, whatever became of them.
    changed = [answer(p, TEXT[2], True) for p in asked if p.language != "en"]
    again = run_probe(lm, train, config, IDENTIFIER, after, reuse=before, answered=(changed, asked))
    assert again["lens_outcomes"]["n_texts"] == 8
    read = pq.read_table(after / "lens_outcomes_items.parquet").to_pylist()
    assert {(row["prompt_id"], row["outcome"]) for row in read} == {
        (row["prompt_id"], row["outcome"]) for row in items
    }
