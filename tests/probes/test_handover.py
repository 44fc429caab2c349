"""Handover and block skipping against a literal loop without cache or batch."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from scipy.stats import norm
from scipy.stats import t as student_t
from tiny import TEXT, tiny_lm

from linguamap.models.language_model import LanguageModel
from linguamap.probes.handover import (
    ITEMS_SCHEMA,
    handover,
    handover_curves,
    next_tokens,
    supports_handover,
    with_languages,
)
from linguamap.probes.texts import PromptPair

IDENTIFIER = FakeIdentifier(("en", "es", "ar", "hi"), by_script)
NEW_TOKENS = 4
KINDS = ["llama", "gemma3_text", "bloom", "gpt2", "opt", "qwen3_moe", "gptj", "falcon"]


def make_pairs(lm: LanguageModel) -> list[PromptPair]:
    pairs = [(TEXT[2], TEXT[0], "es"), (TEXT[3][:30], TEXT[1], "es"), (TEXT[5], TEXT[0][:40], "ar")]
    return [
        PromptPair(
            f"i{i}",
            f"g{i}",
            "open",
            code,
            lm.tokenizer(own)["input_ids"],
            lm.tokenizer(english)["input_ids"],
        )
        for i, (own, english, code) in enumerate(pairs)
    ]


def greedy(
    lm: LanguageModel,
    prompt: list[int],
    layers: list[int],
    change: Callable[[int, torch.Tensor, dict[int, torch.Tensor]], torch.Tensor],
) -> str:
    """Whole forward passes, one a token, with a change to some layers' states."""
    ids = list(prompt)
    for _ in range(NEW_TOKENS):
        seen: dict[int, torch.Tensor] = {}

        def see(
            layer: int, hidden: torch.Tensor, seen: dict[int, torch.Tensor] = seen
        ) -> torch.Tensor | None:
            out = change(layer, hidden, seen) if layer in layers else None
            seen[layer] = hidden if out is None else out
            return out

        with lm.watch(range(lm.n_layers + 1), see), torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([ids])).logits
        ids.append(int(logits[0, -1].argmax()))
    return str(lm.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True))


@pytest.mark.parametrize("kind", KINDS)
def test_handover_equals_the_literal_loop(kind: str) -> None:
    lm = tiny_lm(kind)
    pairs = make_pairs(lm)
    table = handover(lm, pairs, IDENTIFIER, new_tokens=NEW_TOKENS, items_per_batch=2).to_pylist()
    texts = {(r["item_id"], r["intervention"], r["layer"]): r["text"] for r in table}
    for one in pairs:
        sides = {
            "to_english": (one.prompt_ids, one.english_ids),
            "from_english": (one.english_ids, one.prompt_ids),
        }
        for name, (into, donor) in sides.items():
            states = lm.block_outputs(torch.tensor([donor]))
            place = len(into) - 1
            for layer in range(-1, lm.n_layers + 1):

                def change(
                    at: int,
                    hidden: torch.Tensor,
                    seen: dict[int, torch.Tensor],
                    place: int = place,
                    states: list[torch.Tensor] = states,
                ) -> torch.Tensor:
                    out = hidden.clone()
                    out[0, place] = states[at][0, -1]
                    return out

                expected = greedy(lm, into, [layer] if layer >= 0 else [], change)
                assert texts[one.item_id, name, layer] == expected, (name, layer)
        for block in range(1, lm.n_layers + 1):

            def skip(
                at: int,
                hidden: torch.Tensor,
                seen: dict[int, torch.Tensor],
                place: int = len(one.prompt_ids) - 1,
            ) -> torch.Tensor:
                out = hidden.clone()
                out[0, place:] = seen[at - 1][0, place:]
                return out

            expected = greedy(lm, one.prompt_ids, [block], skip)
            assert texts[one.item_id, "skip", block] == expected, block


def test_the_last_layer_hands_the_next_token_over() -> None:
    lm = tiny_lm("llama")
    one = make_pairs(lm)[0]
    (row,) = [
        r
        for r in handover(lm, [one], IDENTIFIER, new_tokens=1, skip=False).to_pylist()
        if r["intervention"] == "to_english" and r["layer"] == lm.n_layers
    ]
    with torch.no_grad():
        english = lm.model(input_ids=torch.tensor([one.english_ids])).logits[0, -1].argmax()
    assert row["text"] == lm.tokenizer.decode([int(english)], skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2"])
def test_chances_of_the_next_token_equal_whole_forward_passes(kind: str) -> None:
    lm = tiny_lm(kind)
    tells_apart = 0
    for one in make_pairs(lm):
        prompt, english = torch.tensor([one.prompt_ids]), torch.tensor([one.english_ids])
        states = lm.block_outputs(english)
        with torch.no_grad():
            plain = lm.model(input_ids=prompt).logits[0, -1].softmax(-1)
            twin = lm.model(input_ids=english).logits[0, -1].softmax(-1)
        found = next_tokens(lm, one)
        own, other = int(plain.argmax()), int(twin.argmax())
        if own == other:
            assert found is None
            continue
        tells_apart += 1
        assert found is not None
        assert (found.own_token, found.english_token) == (
            lm.tokenizer.decode([own]), lm.tokenizer.decode([other]),
        )  # fmt: skip
        assert found.untouched == pytest.approx([float(plain[own]), float(plain[other])], abs=1e-5)
        assert len(found.own) == lm.n_layers + 1
        for layer in range(lm.n_layers + 1):

            def change(
                _: int, hidden: torch.Tensor, donor: torch.Tensor = states[layer][0, -1]
            ) -> torch.Tensor:
                out = hidden.clone()
                out[0, -1] = donor
                return out

            with lm.watch([layer], change), torch.no_grad():
                patched = lm.model(input_ids=prompt).logits[0, -1].softmax(-1)
            chances = (found.own[layer], found.english[layer])
            assert chances == pytest.approx([float(patched[own]), float(patched[other])], abs=1e-5)
        assert found.english[-1] == pytest.approx(float(twin[other]), abs=1e-5)
    assert tells_apart


def test_pairs_that_go_on_alike_have_no_curve() -> None:
    lm = tiny_lm("llama")
    ids = make_pairs(lm)[0].prompt_ids
    assert next_tokens(lm, PromptPair("i", "g", "open", "es", ids, ids)) is None


def test_rows_of_the_table() -> None:
    lm = tiny_lm("llama")
    table = handover(lm, make_pairs(lm), IDENTIFIER)
    assert table.schema.equals(ITEMS_SCHEMA)
    rows = table.to_pylist()
    layers = lm.n_layers
    for intervention, expected in (
        ("to_english", list(range(-1, layers + 1))),
        ("from_english", list(range(-1, layers + 1))),
        ("skip", [-1, *range(1, layers + 1)]),
    ):
        own = [
            r["layer"] for r in rows if (r["intervention"], r["item_id"]) == (intervention, "i2")
        ]
        assert sorted(own) == expected
    without = handover(lm, make_pairs(lm), IDENTIFIER, skip=False).to_pylist()
    assert {r["intervention"] for r in without} == {"to_english", "from_english"}


def test_curves_by_hand() -> None:
    def row(item: str, word: str | None, has_word: bool = True) -> dict[str, object]:
        return {"item_id": item, "group": item, "kind": "open", "language": "es", "layer": 3} | {
            "intervention": "to_english",
            "text": "",
            "word_language": word,
            "has_word": has_word,
        }

    rows = [row("a", "en"), row("b", "es"), row("c", None), row("d", "en"), row("e", None, False)]
    (curve,) = handover_curves(pa.Table.from_pylist(rows, ITEMS_SCHEMA)).to_pylist()
    assert (curve["english"], curve["target"], curve["n"]) == (0.5, 0.25, 4)
    assert 0 <= curve["english_low"] < 0.5 < curve["english_high"] <= 1


def test_a_band_has_a_width_where_all_prompts_agree() -> None:
    """Three prompts of two groups, no word in English: Wilson's limits of 0 in m and of m in m.

    m is 2 groups times (z / t)^2, with one degree of freedom; of 0 in m the upper limit is
    z^2 / (m + z^2).

    Regression: the bootstrap gave 0 (0 to 0).
    """
    facts = {"kind": "open", "language": "es", "layer": 3, "intervention": "to_english"}
    said = {"text": "", "word_language": "es", "has_word": True}
    rows = [{"item_id": f"i{i}", "group": g, **facts, **said} for i, g in enumerate("aab")]
    (curve,) = handover_curves(pa.Table.from_pylist(rows, ITEMS_SCHEMA)).to_pylist()
    assert (curve["english"], curve["english_low"], curve["target"]) == (0.0, 0.0, 1.0)
    z, t = norm.ppf(0.975), student_t.ppf(0.975, df=1)
    high = z**2 / (2 * (z / t) ** 2 + z**2)
    assert curve["english_high"] == pytest.approx(high)
    assert curve["target_low"] == pytest.approx(1 - high)


def test_a_model_without_such_a_cache_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert supports_handover(tiny_lm("llama"))
    assert not supports_handover(tiny_lm("mamba"))
    assert not supports_handover(tiny_lm("jamba"))
    monkeypatch.setattr("linguamap.probes.handover.cache_fault", lambda lm: "planted")
    assert not supports_handover(tiny_lm("llama"))


def test_the_letter_of_an_option_is_no_word() -> None:
    """ "A) El perro" begins with the letter of an option, which an identifier would call Spanish."""
    rows = [
        {"item_id": "1", "group": "1", "kind": "choice", "language": "es", "layer": 0, "text": text,
         "intervention": "to_english"}
        for text in ("A) El perro", "B", "el perro")
    ]  # fmt: skip
    table = with_languages(rows, FakeIdentifier(("es", "en"), lambda word: "es"))
    assert table.column("has_word").to_pylist() == [True, False, True]
    assert table.column("word_language").to_pylist() == ["es", None, "es"]
