"""Handover and block skipping against a literal loop without cache or batch."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch
from tiny import TEXT, tiny_lm

from linguamap.models.language_model import LanguageModel
from linguamap.probes.handover import (
    ITEMS_SCHEMA,
    handover,
    handover_curves,
    next_tokens,
    supports_handover,
)
from linguamap.probes.texts import PromptPair

KINDS = ["llama", "gemma3_text", "bloom", "gpt2", "opt", "qwen3_moe", "gptj", "falcon", "cohere"]


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
            (20 + i, 40 + i),
        )
        for i, (own, english, code) in enumerate(pairs)
    ]


Change = Callable[[int, torch.Tensor, dict[int, torch.Tensor]], torch.Tensor]


def literal(lm: LanguageModel, prompt: list[int], at: int, change: Change) -> torch.Tensor:
    """Logits of the next token from a whole forward pass, one layer's states changed."""
    seen: dict[int, torch.Tensor] = {}

    def see(layer: int, hidden: torch.Tensor) -> torch.Tensor | None:
        out = change(layer, hidden, seen) if layer == at else None
        seen[layer] = hidden if out is None else out
        return out

    with lm.watch(range(lm.n_layers + 1), see), torch.no_grad():
        return lm.model(input_ids=torch.tensor([prompt])).logits[0, -1]


def exchange(states: list[torch.Tensor]) -> Change:
    def change(at: int, hidden: torch.Tensor, seen: dict[int, torch.Tensor]) -> torch.Tensor:
        out = hidden.clone()
        out[0, -1] = states[at][0, -1]
        return out

    return change


def leave_out(at: int, hidden: torch.Tensor, seen: dict[int, torch.Tensor]) -> torch.Tensor:
    out = hidden.clone()
    out[0, -1] = seen[at - 1][0, -1]
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_handover_equals_the_literal_loop(kind: str) -> None:
    lm = tiny_lm(kind)
    pairs = make_pairs(lm)
    table = handover(lm, pairs, batch_cells=60 * (2 * lm.n_layers + 2)).to_pylist()
    found = {(r["item_id"], r["intervention"], r["layer"]): r["log_odds"] for r in table}
    for one in pairs:
        assert one.first_ids is not None
        own, english = one.first_ids

        def check(
            name: str, at: int, prompt: list[int], change: Change,
            key: str = one.item_id, own: int = own, english: int = english,
        ) -> None:  # fmt: skip
            logits = literal(lm, prompt, at, change)
            expected = float(logits[own] - logits[english])
            assert found[key, name, at] == pytest.approx(expected, abs=2e-4), (name, at)

        sides = {
            "to_english": (one.prompt_ids, one.english_ids),
            "from_english": (one.english_ids, one.prompt_ids),
        }
        for name, (into, donor) in sides.items():
            change = exchange(lm.block_outputs(torch.tensor([donor])))
            for layer in range(-1, lm.n_layers + 1):
                check(name, layer, into, change)
        for block in range(1, lm.n_layers + 1):
            check("skip", block, one.prompt_ids, leave_out)


def test_the_last_layer_hands_the_log_odds_over() -> None:
    """Exchanging the last layer's state is exchanging everything: both directions meet."""
    lm = tiny_lm("llama")
    one = make_pairs(lm)[0]
    rows = handover(lm, [one]).to_pylist()
    found = {(r["intervention"], r["layer"]): r["log_odds"] for r in rows}
    assert found["to_english", lm.n_layers] == pytest.approx(found["from_english", -1], abs=1e-4)
    assert found["from_english", lm.n_layers] == pytest.approx(found["to_english", -1], abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2"])
def test_probabilities_of_the_next_token_equal_whole_forward_passes(kind: str) -> None:
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
            probs = (found.own[layer], found.english[layer])
            assert probs == pytest.approx([float(patched[own]), float(patched[other])], abs=1e-5)
        assert found.english[-1] == pytest.approx(float(twin[other]), abs=1e-5)
    assert tells_apart


def test_pairs_that_go_on_alike_have_no_curve() -> None:
    lm = tiny_lm("llama")
    ids = make_pairs(lm)[0].prompt_ids
    assert next_tokens(lm, PromptPair("i", "g", "open", "es", ids, ids)) is None


def test_rows_of_the_table() -> None:
    lm = tiny_lm("llama")
    pairs = make_pairs(lm)
    same = PromptPair("same", "g", "open", "es", *(2 * [pairs[0].prompt_ids]), (7, 7))
    table = handover(lm, [*pairs, same])
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
    assert "same" not in {row["item_id"] for row in rows}  # its two answers begin alike


def test_without_known_answers_the_prompts_own_next_tokens_are_read() -> None:
    lm = tiny_lm("gpt2")
    pair = make_pairs(lm)[2]
    plain = PromptPair("i2", "g2", "open", "ar", pair.prompt_ids, pair.english_ids)
    with torch.no_grad():
        own, english = (
            int(lm.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            for ids in (pair.prompt_ids, pair.english_ids)
        )
    assert own != english
    known = PromptPair("i2", "g2", "open", "ar", pair.prompt_ids, pair.english_ids, (own, english))
    assert handover(lm, [plain]).equals(handover(lm, [known]))


def items(
    odds: dict[str, list[float]], intervention: str = "to_english"
) -> list[dict[str, object]]:
    return [
        {"item_id": item, "group": item, "kind": "open", "language": "es",
         "intervention": intervention, "layer": layer, "log_odds": value}
        for item, values in odds.items()
        for layer, value in enumerate(values, -1)
    ]  # fmt: skip


def test_curves_by_hand() -> None:
    """Moves of 0, 1, 5, 10 and 0, 1, 3, 6: of 16 together 0, 2, 8, 16."""
    odds = {"a": [6.0, 5.0, 1.0, -4.0], "b": [3.0, 2.0, 0.0, -3.0]}
    back = {"a": [-4.0, -4.0, 6.0, 6.0], "b": [-3.0, -3.0, 0.0, 3.0]}
    skip = {"a": [6.0, 4.0, 6.0, 1.0], "b": [3.0, 3.0, 3.0, 0.0]}
    rows = items(odds) + items(back, "from_english") + items(skip, "skip")
    curves = handover_curves(pa.Table.from_pylist(rows, ITEMS_SCHEMA)).to_pylist()
    shifts: dict[str, list[float]] = {}
    for row in curves:
        shifts.setdefault(row["intervention"], []).append(row["shift"])
    assert shifts["to_english"] == [0, 2 / 16, 8 / 16, 1]
    assert shifts["from_english"] == [0, 0, 13 / 16, 1]
    assert shifts["skip"] == [0, 2 / 16, 0, 8 / 16]  # of what the whole exchange does
    second = next(r for r in curves if (r["intervention"], r["layer"]) == ("to_english", 1))
    assert (second["log_odds"], second["n"]) == (0.5, 2)
    # Each item alone a quarter of the time: 5 / 10 and 3 / 6.
    assert (second["low"], second["high"]) == (0.5, 0.5)


def test_an_exchange_that_does_not_clearly_move_anything_has_no_curve() -> None:
    """One pair moves to the English token, the other away from it."""
    rows = items({"a": [1.0, 0.5, -1.0], "b": [1.0, 1.5, 2.0]})
    curves = handover_curves(pa.Table.from_pylist(rows, ITEMS_SCHEMA)).to_pylist()
    assert {row["shift"] for row in curves} == {None}
    assert [row["log_odds"] for row in curves] == [1.0, 1.0, 0.5]


def test_a_model_without_such_a_cache_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert supports_handover(tiny_lm("llama"))
    assert not supports_handover(tiny_lm("mamba"))
    assert not supports_handover(tiny_lm("jamba"))
    monkeypatch.setattr("linguamap.probes.handover.cache_fault", lambda lm: "planted")
    assert not supports_handover(tiny_lm("llama"))
