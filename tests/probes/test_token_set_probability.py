"""Token sets and the mass on them against literal definitions, and their curves by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from tiny import TEXT, tiny_lm

from linguamap.models.language_model import LanguageModel
from linguamap.probes import layer_reading
from linguamap.probes.curves import lens_curves
from linguamap.probes.layer_reading import read_texts
from linguamap.probes.lens import (
    SET_ITEMS_SCHEMA,
    SetProbabilities,
    WordCounts,
    exclusive_tokens,
    language_lens,
)
from linguamap.probes.logit_scan import SetProbability, TopTokens, scan_head
from linguamap.probes.texts import LensText, encode_texts, word_texts
from linguamap.records import Part, Prompt


def make_texts() -> list[LensText]:
    languages = ["en", "en", "es", "es", "fr", "ar", "hi", "ja"]
    return [
        LensText(f"i{i}", f"g{i // 2}", code, "monolingual", "open", text[:12], text[12:])
        for i, (code, text) in enumerate(zip(languages, TEXT, strict=True))
    ]


def token_set_probability(
    lm: LanguageModel, texts: list[LensText], sets: dict[str, list[int]], batch_tokens: int = 2048
) -> pa.Table:
    encoded, consumer = encode_texts(lm, texts), SetProbabilities(lm, sets)
    (found,) = read_texts(lm, encoded, [consumer], batch_tokens=batch_tokens)
    return pa.Table.from_batches(found, SET_ITEMS_SCHEMA)


@pytest.fixture(params=["llama", "gemma2", "cohere"])
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny_lm(request.param)


def test_exclusive_tokens_leave_shared_ones_out() -> None:
    lm = tiny_lm("llama")
    texts = {"en": [TEXT[0] + " 77"] * 2, "es": [TEXT[2] + " 88"] * 2, "ar": [TEXT[5]] * 2}
    found = exclusive_tokens(lm, texts, min_count=2)
    sets, coverage = found.tokens, found.coverage
    ids = {
        code: lm.tokenizer(t[0], add_special_tokens=False)["input_ids"] for code, t in texts.items()
    }
    for code, own in ids.items():
        others = {token for other, found in ids.items() if other != code for token in found}
        pieces = {token: lm.tokenizer.decode([token]) for token in own}
        expected = {
            token
            for token in set(own) - others
            if any(c.isalpha() or c == "\ufffd" for c in pieces[token])
        }
        assert set(sets[code]) == expected
        assert coverage[code] == pytest.approx(sum(t in expected for t in own) / len(own))
        assert coverage[code] > 0.2
    rare = exclusive_tokens(
        lm, texts, min_count=99, covered={"en": [TEXT[0]], "es": [], "ar": [""]}
    )
    assert rare.coverage == {"en": 0.0, "es": None, "ar": None}


def test_token_set_mass_equals_softmax(lm: LanguageModel) -> None:
    texts = make_texts()[:3]
    sets = {"en": [10, 20, 30], "es": [40, 50]}
    table = token_set_probability(lm, texts, sets, batch_tokens=64).to_pylist()
    for one in encode_texts(lm, texts):
        states = lm.block_outputs(torch.tensor([one.token_ids]))
        for layer, hidden in enumerate(states):
            chances = torch.softmax(lm.project(hidden[0, one.first : one.stop]).float(), -1)
            for name, ids in sets.items():
                (found,) = [
                    r["probability"]
                    for r in table
                    if (r["item_id"], r["layer"], r["set_language"])
                    == (one.text.item_id, layer, name)
                ]
                assert found == pytest.approx(float(chances[:, ids].sum(-1).mean()), rel=1e-3)


def test_one_pass_serves_lens_and_mass_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, texts = tiny_lm("gemma2"), make_texts()
    identifier = FakeIdentifier(("en", "es", "ar", "hi"), by_script)
    sets = {"en": [10, 20, 30], "es": [40, 50]}
    calls: list[int] = []
    plain = layer_reading.scan_head

    def counted(*args: object) -> None:
        calls.append(len(args[2]))  # type: ignore[arg-type]
        plain(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(layer_reading, "scan_head", counted)
    consumers = [WordCounts(lm, identifier), SetProbabilities(lm, sets)]
    known: dict[str, torch.Tensor] = {}
    both = read_texts(lm, encode_texts(lm, texts), consumers, known=known)
    assert calls == [2]  # the head products of all layers at once, read twice
    tables = [
        pa.Table.from_batches(found, consumer.schema)
        for found, consumer in zip(both, consumers, strict=True)
    ]
    assert tables[0].equals(language_lens(lm, texts, identifier))
    assert tables[1].equals(token_set_probability(lm, texts, sets))
    calls.clear()
    again = read_texts(lm, encode_texts(lm, texts), consumers, known=known)
    assert calls == []
    assert all(a == b for a, b in zip(again, both, strict=True))
    other_sets = [consumers[0], SetProbabilities(lm, {"en": [10, 20], "es": [40, 50]})]
    read_texts(lm, encode_texts(lm, texts), other_sets, known=known)
    assert calls == [1]  # the words are known, these sets are not


def test_only_the_layers_asked_for_are_read() -> None:
    lm, texts = tiny_lm("llama"), make_texts()
    (found,) = read_texts(
        lm, encode_texts(lm, texts), [SetProbabilities(lm, {"en": [5], "es": [6]})], layers=[1, 4]
    )
    rows = pa.Table.from_batches(found).to_pylist()
    whole = token_set_probability(lm, texts, {"en": [5], "es": [6]}).to_pylist()
    assert rows == [row for row in whole if row["layer"] in (1, 4)]


def test_mass_survives_logits_of_any_size_and_stretches_without_members() -> None:
    """Logits of hundreds overflow a plain exponential in half precision and in float32."""
    lm = tiny_lm("llama")
    with torch.no_grad():
        lm.structure.head.weight.mul_(200.0)  # type: ignore[union-attr, operator]
    hidden = torch.randn(6, lm.d_model, generator=torch.Generator().manual_seed(1))
    membership = torch.full((384,), -1)
    membership[300:310] = 0
    reader = SetProbability(membership, 1)
    scan_head(lm.structure, hidden, [reader, TopTokens()])
    expected = torch.softmax(lm.project(hidden).double(), -1)[:, 300:310].sum(-1)
    torch.testing.assert_close(reader.result()[:, 0].double(), expected, atol=1e-6, rtol=1e-4)


def row(item: str, group: str, name: str, probability: float, n: int) -> dict[str, object]:
    return {
        "item_id": item, "group": group, "kind": "open", "scenario": "monolingual",
        "target_language": "es", "layer": 0, "set_language": name, "probability": probability, "n_positions": n,
    }  # fmt: skip


def test_curves_are_means_over_positions() -> None:
    rows = [
        row("a", "g1", "es", 0.5, 1), row("a", "g1", "en", 0.1, 1),
        row("b", "g2", "es", 0.1, 3), row("b", "g2", "en", 0.3, 3),
    ]  # fmt: skip
    curves = lens_curves(pa.Table.from_pylist(rows, SET_ITEMS_SCHEMA)).to_pylist()
    masses = {c["set_language"]: c["probability"] for c in curves}
    assert masses == {"es": pytest.approx(0.8 / 4), "en": pytest.approx(1.0 / 4)}
    spanish = next(c for c in curves if c["set_language"] == "es")
    # Two groups drawn twice: each alone a quarter of the time.
    assert (spanish["low"], spanish["high"]) == (pytest.approx(0.1), pytest.approx(0.5))
    assert (spanish["n_items"], spanish["n_positions"]) == (2, 4)
    single = lens_curves(pa.Table.from_pylist(rows[:2], SET_ITEMS_SCHEMA)).to_pylist()
    assert [(c["probability"], c["low"]) for c in single] == [(0.1, None), (0.5, None)]


def prompt(item: str, language: str, question: str, answer: str) -> Prompt:
    parts = (Part("I", "Solve."), Part("Q", question))
    return Prompt(
        item, "sums", "sums", language, "monolingual", parts, (), reference=(Part("R", answer),)
    )


def test_sets_are_made_of_other_items_than_those_that_are_read() -> None:
    prompts = [
        prompt(item, code, f"{code} question {item}", f"{code} answer {item}")
        for item in "abc"
        for code in ("en", "es")
    ]
    found = word_texts(prompts, [p for p in prompts if p.item_id == "b"])
    assert found.texts["es"] == ["es question a", "es answer a", "es question c", "es answer c"]
    assert found.covered == {"en": ["en answer b"], "es": ["es answer b"]}
    assert "does not read" in found.source
    every = word_texts(prompts, prompts)
    assert len(every.texts["en"]) == 6  # there are no others
    assert "all training items" in every.source
