"""The boundary rule on curves whose boundary is known, and where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_identifier import FakeIdentifier
from planted import Planted, lens_table, similarity_table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from linguamap.config import LocateConfig, ModelConfig
from linguamap.models.language_model import LanguageModel, assemble
from linguamap.probes.curves import read_table
from linguamap.probes.evidence import half_fall, half_rise, last_crossing, plateau_start
from linguamap.probes.lens import language_lens
from linguamap.probes.locate import (
    RULE,
    WEIGHTS,
    cap_effect,
    choose_blocks,
    curves_agree,
    locate,
    locate_layers,
)
from linguamap.probes.texts import LensText
from linguamap.records import UserError
from linguamap.run.contents import Layers
from linguamap.run.files import read_as
from linguamap.scoring.stats import expanded_tail

CONFIG = LocateConfig(bootstrap=200)
BLOCKS = [2] * 18
TOTAL = 100


def found(  # type: ignore[type-arg]
    planted: Planted, seed: int, n: int = 30, languages: str = "es,ar,hi", noise: float = 0.0
) -> dict:
    rng = np.random.default_rng(seed)
    codes = languages.split(",")
    return locate_layers(
        lens_table(planted, codes, n, rng),
        similarity_table(planted, codes, n, rng),
        block_parameters=[2] * planted.n_layers,
        total_parameters=TOTAL,
        config=CONFIG,
        seed=seed,
        noise=noise,
    )


def test_crossings_by_hand() -> None:
    assert last_crossing(np.array([1.0, -1.0, -1.0, 1.0])) == 2.5
    assert last_crossing(np.array([-1.0, 3.0, -1.0, 3.0])) == 2.25
    assert np.isnan(last_crossing(np.array([-1.0, 1.0, -1.0])))  # does not end above
    assert np.isnan(last_crossing(np.array([2.0, 1.0])))  # never was below
    both = last_crossing(np.array([[-1.0, 1.0], [1.0, 1.0]]))
    assert both[0] == 0.5
    assert np.isnan(both[1])


def test_plateau_fall_and_rise_by_hand() -> None:
    curve = np.array([0.9, 0.1, 0.2, 0.8, 0.8, 0.8, 0.6, 0.4, 0.4])
    start = plateau_start(curve)
    assert start == 3  # layer 0 does not count
    assert half_fall(curve, start) == pytest.approx(6.0)  # 0.6 is half-way from 0.8 to 0.4
    assert half_rise(curve, start) == pytest.approx(2 + 0.25 / 0.6)  # 0.45 between 0.2 and 0.8
    step = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.2, 0.2])
    assert np.ceil(half_fall(step, plateau_start(step))) == 5
    assert np.isnan(half_fall(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 4))


@pytest.mark.parametrize("turn", [9.0, 12.3, 16.6])
@pytest.mark.parametrize("width", [0.0, 1.5])
def test_planted_boundary_is_found_within_one_layer(turn: float, width: float) -> None:
    for seed in range(4):
        result = found(Planted(turn=turn, width=width), seed)
        late = result["phases"]["late_start"]
        assert abs(late - np.ceil(turn)) <= 1
        low, high = result["late_start_interval"]
        assert low <= late <= high
        assert abs(result["phases"]["early_end"] - 4) <= 1


def test_interval_covers_the_truth_at_about_its_nominal_rate() -> None:
    # 60 runs of a nominal 95 %: 53 hits or fewer have a chance of 3 % (binomial).
    planted = Planted(turn=13.6, item_noise=0.15)
    hits = whole = 0
    for seed in range(60):
        result = found(planted, 1000 + seed, n=20, languages="es,ar")
        low, high = result["evidence"]["boundary_interval"]
        hits += low <= planted.turn <= high
        low, high = result["late_start_interval"]
        whole += low <= 14 <= high
    assert hits >= 53
    assert whole >= hits  # whole layers can only cover more


def test_few_groups_widen_the_interval() -> None:
    # Student's 2.5 % quantile with 5 degrees of freedom is -2.5706 (any table); times sqrt(6 / 5)
    # that is -2.8159, where the normal distribution leaves 0.24 %.
    assert expanded_tail(6) == pytest.approx(0.00243, abs=2e-5)
    assert expanded_tail(10**6) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(1) == pytest.approx(0.025)


def test_two_halves_of_the_items_agree_within_one_layer() -> None:
    for seed in range(3):
        one, other = (found(Planted(turn=14.4), 2 * seed + half, n=15) for half in (0, 1))
        assert abs(one["phases"]["late_start"] - other["phases"]["late_start"]) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_no_late_phase_is_said_and_nothing_proposed(seed: int) -> None:
    result = found(Planted(flat=True), seed)
    assert result["phases"] == {"early_end": None, "late_start": None}
    assert result["tune_layers"] == []
    assert result["late_start_interval"] is None
    assert result["trainable_share"] == 0
    assert "no late phase" in result["evidence"]["reason"]
    json.dumps(result, allow_nan=False)


def test_what_an_identifier_makes_of_garbage_is_not_english() -> None:
    """A third of random words look English, which leads a target that none of them looks like."""
    garbage = Planted(english=0.33)
    assert found(garbage, 0)["phases"]["late_start"] is not None
    result = found(garbage, 0, noise=0.33)
    assert (result["phases"]["late_start"], result["tune_layers"]) == (None, [])
    assert "random tokens" in result["evidence"]["reason"]
    assert found(Planted(), 0, noise=0.33) == found(Planted(), 0)


def test_raw_cosine_has_no_say() -> None:
    rng = np.random.default_rng(0)
    lens = lens_table(Planted(), ["es"], 20, rng)
    similarity = similarity_table(Planted(), ["es"], 20, rng)
    falling = np.tile(np.repeat(np.linspace(1, 0, 19), 1), 20)
    place = similarity.column_names.index("cosine")
    moved = similarity.set_column(place, similarity.schema.field("cosine"), [falling])
    options = {"block_parameters": BLOCKS, "total_parameters": TOTAL, "config": CONFIG}
    assert locate_layers(lens, moved, **options) == locate_layers(lens, similarity, **options)  # type: ignore[arg-type]


def test_languages_may_differ_and_the_median_counts() -> None:
    rng = np.random.default_rng(1)
    planted = {"es": Planted(turn=11.5), "ar": Planted(turn=14.5), "hi": Planted(turn=16.5)}
    lens = pa.concat_tables([lens_table(p, [code], 25, rng) for code, p in planted.items()])
    similarity = pa.concat_tables(
        [similarity_table(p, [code], 25, rng) for code, p in planted.items()]
    )
    result = locate_layers(
        lens, similarity, block_parameters=BLOCKS, total_parameters=TOTAL, config=CONFIG
    )
    own = {c: e["boundary"] for c, e in result["evidence"]["languages"].items()}
    for code, p in planted.items():
        assert own[code] == pytest.approx(p.turn, abs=1)
    assert result["evidence"]["boundary"] == sorted(own.values())[1]


def test_without_similarity_the_lens_decides() -> None:
    lens = lens_table(Planted(), ["es"], 20, np.random.default_rng(2))
    result = locate_layers(lens, None, block_parameters=BLOCKS, total_parameters=100, config=CONFIG)
    assert result["phases"]["late_start"] == 15
    assert result["phases"]["early_end"] is None
    assert result["evidence"]["n_similarity_groups"] == 0


def test_english_alone_has_no_boundary() -> None:
    lens = lens_table(Planted(), ["en"], 5, np.random.default_rng(3))
    result = locate_layers(lens, None, block_parameters=BLOCKS, total_parameters=100, config=CONFIG)
    assert result["evidence"]["reason"] == "no language other than English was probed"


def test_cap_leaves_the_lowest_blocks_out() -> None:
    assert choose_blocks(15, [2] * 18, 100, 0.05) == ([17, 18], None)
    assert choose_blocks(15, [2] * 18, 100, 1.0) == ([15, 16, 17, 18], None)
    assert choose_blocks(18, [2] * 18, 100, 1.0) == ([18], None)
    blocks, reason = choose_blocks(15, [2] * 18, 30, 0.05)
    assert blocks == []
    assert reason is not None
    assert "6.7%" in reason
    assert "cap of 5.0%" in reason


def test_the_cap_is_said_apart_from_the_rule() -> None:
    result = found(Planted(turn=15.4), 0)
    assert result["rule_layers"] == [16, 17, 18]
    assert result["tune_layers"] == [17, 18]
    assert result["cap_effect"] == "rule 16-18, cap of 5%: 17-18; the cap decided"
    assert cap_effect([17, 18], [17, 18], 0.05) == "rule 17-18, within the cap of 5%"
    assert cap_effect([18], [], 0.01) == "rule 18, cap of 1%: none; the cap decided"
    nothing = found(Planted(flat=True), 0)
    assert (nothing["rule_layers"], nothing["cap_effect"]) == ([], None)


def test_curves_that_disagree_are_not_averaged() -> None:
    """The lens turns at 11.5, retrieval and centred cosine at 16.5: their mean, 14, is no layer at
    which anything happens."""
    rng = np.random.default_rng(0)
    options = {"block_parameters": BLOCKS, "total_parameters": TOTAL, "config": CONFIG}
    result = locate_layers(
        lens_table(Planted(turn=11.5), ["es"], 30, rng),
        similarity_table(Planted(turn=16.5), ["es"], 30, rng),
        **options,  # type: ignore[arg-type]
    )
    spanish = result["evidence"]["languages"]["es"]
    assert not spanish["curves_agree"]
    assert spanish["boundary"] == spanish["curves"]["lens"]["turn"]
    assert result["phases"]["late_start"] == 12
    assert set(result["curve_turns"]) == {"lens", "retrieval", "centred"}
    low, high = result["late_start_range"]
    assert abs(low - 12) <= 1
    assert abs(high - 17) <= 1
    alike = found(Planted(turn=14.4), 0)
    assert all(one["curves_agree"] for one in alike["evidence"]["languages"].values())
    low, high = alike["late_start_range"]
    assert high - low <= 1
    assert curves_agree([[11.2, 12.1], [13.0, 14.0], None])
    assert not curves_agree([[11.2, 12.1], [13.2, 14.0]])


def test_result_has_the_promised_fields_and_the_rule_names_its_weights() -> None:
    result = found(Planted(), 0)
    assert result["n_layers"] == 18
    assert result["tune_layers"] == [17, 18]
    assert result["trainable_share"] == pytest.approx(0.04)
    assert set(result["evidence"]["languages"]) == {"es", "ar", "hi"}
    spanish = result["evidence"]["languages"]["es"]["curves"]
    assert set(spanish) == set(WEIGHTS) == {"lens", "retrieval", "centred"}
    assert all(len(curve["values"]) == 19 for curve in spanish.values())
    assert "1/2, 1/4, 1/4" in RULE
    assert WEIGHTS == {"lens": 0.5, "retrieval": 0.25, "centred": 0.25}
    json.dumps(result, allow_nan=False)


def test_locate_reads_a_probe_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no lens_items\.parquet; run `linguamap probe`"):
        locate(tmp_path, CONFIG)
    rng = np.random.default_rng(4)
    pq.write_table(lens_table(Planted(), ["es"], 20, rng), tmp_path / "lens_items.parquet")
    pq.write_table(
        similarity_table(Planted(), ["es"], 20, rng), tmp_path / "similarity_items.parquet"
    )
    facts = {"block_parameters": BLOCKS, "total_parameters": TOTAL}
    (tmp_path / "probe.json").write_text(json.dumps(facts))
    assert locate(tmp_path, CONFIG)["phases"]["late_start"] == 15
    assert locate(tmp_path, CONFIG) == locate(tmp_path, CONFIG)


# A model whose last block alone writes the language -----------------------------------------

N_WORDS = 12
VOCABULARY = ["<pad>", *(f"a{c}" for c in "bcdefghijklm"), *(f"z{c}" for c in "bcdefghijklm")]


def last_block_model() -> LanguageModel:
    """A Llama of four blocks trained in two steps.

    Words a* ("English") and z* ("target") each go round in a circle. First blocks 1 to 3 learn, with
    block 4 silent, to follow every word by the next a* word; then block 4 alone learns to follow
    z* words by z* words.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    last = model.model.layers[3]
    torch.nn.init.zeros_(last.self_attn.o_proj.weight)
    torch.nn.init.zeros_(last.mlp.down_proj.weight)
    last_only = set(last.parameters())
    for step in (1, 2):
        trained = [p for p in model.parameters() if (p in last_only) == (step == 2)]
        optimiser = torch.optim.Adam(trained, lr=3e-3)
        for _ in range(100):
            starts = torch.randint(N_WORDS, (16, 1))
            place = (starts + torch.arange(8)) % N_WORDS
            target_language = torch.arange(16)[:, None] % 2
            ids = 1 + place + N_WORDS * target_language
            wanted = 1 + (place + 1) % N_WORDS + N_WORDS * target_language * (step == 2)
            logits = model(input_ids=ids).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCABULARY)}, "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
    return assemble(ModelConfig(), model.eval(), fast)


def test_a_model_whose_last_block_writes_the_language_is_located_there() -> None:
    lm = last_block_model()
    identifier = FakeIdentifier(("en", "xx"), lambda word: "en" if word[0] == "a" else "xx")
    z_words = VOCABULARY[1 + N_WORDS :]
    texts = []
    for i in range(10):
        round_trip = [z_words[(i + j) % N_WORDS] for j in range(9)]
        texts.append(
            LensText(
                f"i{i}",
                f"g{i}",
                "xx",
                "monolingual",
                "open",
                round_trip[0],
                " " + " ".join(round_trip[1:]),
            )
        )
    table = language_lens(lm, texts, identifier)
    result = locate_layers(
        table,
        None,
        block_parameters=[1] * 4,
        total_parameters=4,
        config=LocateConfig(bootstrap=100, max_trainable_share=0.3),
    )
    assert result["phases"]["late_start"] == 4
    assert result["late_start_interval"] == [4, 4]
    assert result["tune_layers"] == [4]


def test_broken_files_of_a_run_are_one_line(tmp_path: Path) -> None:
    table = tmp_path / "lens_items.parquet"
    table.write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"lens_items.parquet is broken; delete it and run the st"):
        read_table(table)
    layers = tmp_path / "layers.json"
    layers.write_text('{"tune_layers": [3]}')
    with pytest.raises(UserError, match=rf"delete it and run: linguamap choose --out {tmp_path}"):
        read_as(Layers, layers)
