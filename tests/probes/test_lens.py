"""The language lens against a literal definition, its memory, its counts and its bands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from scipy.stats import bootstrap as scipy_bootstrap
from tiny import TEXT, tiny_lm

from linguamap.languages import words
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.models.structure import Structure
from linguamap.probes import layer_reading
from linguamap.probes import logit_scan as headscan
from linguamap.probes.curves import lens_curves, ratio_bands
from linguamap.probes.lens import (
    ITEMS_SCHEMA,
    identifier_ceiling,
    identifier_noise,
    language_lens,
)
from linguamap.probes.logit_scan import SetProbability, TopTokens, scan_head, state_bytes
from linguamap.probes.texts import LensText, encode_texts
from linguamap.records import UserError

IDENTIFIER = FakeIdentifier(("en", "es", "ar", "hi"), by_script)


def make_texts() -> list[LensText]:
    languages = ["en", "en", "es", "es", "fr", "ar", "hi", "ja"]
    return [
        LensText(f"i{i}", f"g{i // 2}", code, "monolingual", "open", text[:12], text[12:])
        for i, (code, text) in enumerate(zip(languages, TEXT, strict=True))
    ]


@pytest.fixture(params=["llama", "gemma2", "phi", "cohere", "opt"])
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny_lm(request.param)


def test_scan_equals_whole_logits(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headscan, "BLOCK_VOCAB", 100)  # 384 tokens: three stretches and a rest
    hidden = torch.randn(11, lm.d_model, generator=torch.Generator().manual_seed(3))
    logits = lm.project(hidden)
    one, five = TopTokens(), TopTokens(5)
    membership = torch.arange(384) % 4 - 1  # a quarter of the tokens in no set
    mass = SetProbability(membership, 3)
    scan_head(lm.structure, hidden, [one, five, mass], block_rows=4)
    assert torch.equal(one.result()[:, 0].long(), logits.argmax(-1))
    assert torch.equal(five.result().long(), logits.topk(5).indices)
    chances = torch.softmax(logits.float(), -1)
    expected = torch.stack([chances[:, membership == s].sum(-1) for s in range(3)], -1)
    torch.testing.assert_close(mass.result(), expected, atol=1e-5, rtol=1e-4)


def test_never_more_than_the_stated_block_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headscan, "BLOCK_VOCAB", 64)
    lm = tiny_lm("llama")
    seen: list[int] = []

    class Watching(TopTokens):
        def read(self, first: int, logits: torch.Tensor) -> None:
            seen.append(logits.numel() * logits.element_size())
            super().read(first, logits)

    scan_head(lm.structure, torch.randn(50, 32), [Watching()], block_rows=8)
    assert max(seen) == state_bytes(lm.structure, 8) == 8 * 64 * 4


@pytest.mark.parametrize("top_k", [1, 2])
def test_lens_equals_the_literal_definition(lm: LanguageModel, top_k: int) -> None:
    texts = make_texts()
    table = language_lens(lm, texts, IDENTIFIER, top_k=top_k, batch_tokens=64, block_rows=5)
    expected: dict[tuple[str, int], Counter[str | None]] = {}
    for text in texts:
        whole = lm.tokenizer(text.prompt_text + text.answer_text, return_offsets_mapping=True)
        ids = torch.tensor([whole["input_ids"]])
        answer = [i for i, (_, end) in enumerate(whole["offset_mapping"]) if end > 12]
        for layer, hidden in enumerate(lm.block_outputs(ids)):
            top = lm.project(hidden[0, [i - 1 for i in answer]]).topk(top_k, -1).indices
            found = Counter[str | None]()
            for rank in range(top_k):
                found.update(
                    map(
                        by_script,
                        words(lm.tokenizer.decode(top[:, rank], skip_special_tokens=True)),
                    )
                )
            expected[text.item_id, layer] = found
    measured: dict[tuple[str, int], Counter[str | None]] = {}
    for row in table.to_pylist():
        measured.setdefault((row["item_id"], row["layer"]), Counter())[row["word_language"]] += row[
            "n"
        ]
        total = sum(expected[row["item_id"], row["layer"]].values())
        assert row["n_words"] == total
    assert {k: +v for k, v in measured.items()} == {k: +v for k, v in expected.items()}
    assert table.schema.equals(ITEMS_SCHEMA)


def test_identifier_sees_each_word_once() -> None:
    identifier = FakeIdentifier(("en",), by_script)
    language_lens(tiny_lm("llama"), make_texts(), identifier)
    assert len(identifier.asked) == len(set(identifier.asked)) > 0


def test_answer_positions_start_at_the_last_prompt_token() -> None:
    lm = tiny_lm("llama")
    for one in encode_texts(lm, make_texts()):
        read = lm.tokenizer.decode(one.token_ids[one.first + 1 : one.stop + 1])
        assert one.text.answer_text in read  # a token across the border counts as answer
    last = encode_texts(lm, make_texts(), "last")
    assert all(one.stop - one.first == 1 for one in last)
    everything = encode_texts(lm, make_texts())
    assert [e.first for e in last] == [e.first for e in everything]


def test_given_prompt_tokens_are_used_as_they_are() -> None:
    lm = tiny_lm("llama")
    text = LensText("a", "a", "en", "monolingual", "open", "", "cat", prompt_ids=(7, 8, 9))
    one = encode_texts(lm, [text])[0]
    assert one.token_ids[:3] == [7, 8, 9]
    assert one.first == 2
    assert lm.tokenizer.decode(one.token_ids[3:]) == "cat"


def test_nothing_to_read_is_refused() -> None:
    lm = tiny_lm("llama")
    with pytest.raises(UserError, match="no texts to read"):
        language_lens(lm, [], IDENTIFIER)
    empty = LensText("item-7", "g", "es", "monolingual", "open", "Hola", "")
    with pytest.raises(UserError, match=r"item-7 \(es\) has no tokens"):
        language_lens(lm, [empty], IDENTIFIER)


def test_unchanged_states_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, known = tiny_lm("llama"), dict[str, torch.Tensor]()
    first = language_lens(lm, make_texts(), IDENTIFIER, known=known)
    assert len(known) == lm.n_layers + 1  # one batch
    encoded = encode_texts(lm, make_texts())
    n = sum(one.stop - one.first for one in encoded)
    inputs = {one.token_ids[place] for one in encoded for place in range(one.first, one.stop)}
    read: list[int] = []
    plain = layer_reading.scan_head

    def counted(structure: Structure, states: torch.Tensor, *args: object) -> None:
        read.append(len(states))
        plain(structure, states, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(layer_reading, "scan_head", counted)
    assert language_lens(lm, make_texts(), IDENTIFIER, known=known).equals(first)
    assert not read
    with torch.no_grad():
        lm.model.model.layers[2].mlp.down_proj.weight.mul_(1.5)  # block 3: layers 3 and 4 move
    language_lens(lm, make_texts(), IDENTIFIER, known=known)
    assert sum(read) == 2 * n
    with torch.no_grad():
        lm.model.model.norm.weight.mul_(1.5)  # every layer is read with it
    language_lens(lm, make_texts(), IDENTIFIER, known=known)
    # The state of layer 0 is the input token's alone, and some tokens occur again.
    assert len(inputs) < n
    assert sum(read) == 2 * n + lm.n_layers * n + len(inputs)


def row(item: str, group: str, language: str | None, n: int, n_words: int) -> dict[str, object]:
    base = {"kind": "open", "scenario": "monolingual", "target_language": "es", "layer": 0}
    return base | {
        "item_id": item,
        "group": group,
        "word_language": language,
        "n": n,
        "n_words": n_words,
    }


def test_curves_pool_words_by_hand() -> None:
    rows = [
        row("a", "g1", "es", 3, 4),
        row("a", "g1", None, 1, 4),
        row("b", "g2", "en", 2, 6),
        row("b", "g2", "es", 4, 6),
    ]
    curves = lens_curves(pa.Table.from_pylist(rows, ITEMS_SCHEMA)).to_pylist()
    shares = {c["word_language"]: c["share"] for c in curves}
    assert shares == {"es": 0.7, "en": 0.2, None: 0.1}
    assert {c["n_words"] for c in curves} == {10}
    assert {c["n_items"] for c in curves} == {2}
    # Two groups drawn twice: (1,1) half the time, else one of them alone.
    spanish = next(c for c in curves if c["word_language"] == "es")
    assert (spanish["low"], spanish["high"]) == (pytest.approx(4 / 6), pytest.approx(3 / 4))


def test_no_word_is_no_share_and_one_group_has_no_band() -> None:
    silent = pa.Table.from_pylist([row("a", "g", None, 0, 0)], ITEMS_SCHEMA)
    (only,) = lens_curves(silent).to_pylist()
    assert (only["share"], only["low"], only["n_words"]) == (None, None, 0)
    single = pa.Table.from_pylist([row("a", "g", "es", 3, 3)], ITEMS_SCHEMA)
    shares = [(c["share"], c["low"]) for c in lens_curves(single).to_pylist()]
    assert shares == [(1.0, None), (0.0, None)]


def test_bands_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    totals = rng.integers(5, 30, 40).astype(float)
    hits = rng.binomial(totals.astype(int), 0.3).astype(float)
    (band,) = ratio_bands(hits[None], totals, 4000, 0, 0.9)
    reference = scipy_bootstrap(
        (hits, totals),
        lambda h, t, axis: h.sum(axis) / t.sum(axis),
        paired=True,
        method="percentile",
        confidence_level=0.9,
        n_resamples=4000,
        rng=1,
    ).confidence_interval
    assert band.value == pytest.approx(hits.sum() / totals.sum())
    assert band.low == pytest.approx(reference.low, abs=0.004)
    assert band.high == pytest.approx(reference.high, abs=0.004)


def test_noise_is_the_share_among_random_tokens() -> None:
    lm = tiny_lm("llama")
    shares = [
        identifier_noise(lm, FakeIdentifier(("en", "es"), always))
        for always in (
            lambda word: "en",
            lambda word: None,
            lambda word: "es" if len(word) % 2 else "en",
        )
    ]
    assert shares[0]["shares"] == {"en": 1.0}
    assert shares[1]["shares"] == {}
    assert shares[0]["n_words"] == shares[1]["n_words"] > 500
    mixed = shares[2]["shares"]
    assert mixed["en"] + mixed["es"] == pytest.approx(1)
    assert identifier_noise(lm, IDENTIFIER, 3) == identifier_noise(lm, IDENTIFIER, 3)


def test_ceiling_by_hand() -> None:
    gold = {"es": ["el gato", "dos perros 7"], "ja": []}
    found = identifier_ceiling(IDENTIFIER, gold)
    assert found["es"] == {"value": 0.75, "n_words": 4}  # "el" holds no o
    assert found["ja"] == {"value": None, "n_words": 0}


@pytest.mark.starter
def test_starter_speaks_spanish_late_and_english_before(starter_dir: Path) -> None:
    from linguamap.config import ModelConfig
    from linguamap.scoring.language_id import make_identifier

    lm = load_model(ModelConfig(name=str(starter_dir)))
    answer = (
        " El río nace en las montañas del norte y cruza tres provincias antes de llegar al mar. "
        "En sus orillas viven muchas aves, y los pescadores conocen cada recodo del agua."
    )
    text = LensText("r", "r", "es", "monolingual", "passage", "Pasaje:", answer)
    table = language_lens(lm, [text], make_identifier("lingua", ["en", "es"]))
    shares = {(c["layer"], c["word_language"]): c["share"] for c in lens_curves(table).to_pylist()}
    assert shares[18, "es"] > 0.7 > 0.5 > shares[18, "en"]
    assert shares[12, "en"] > shares[12, "es"]
