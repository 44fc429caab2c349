"""The token x layer grid: arg-max and probability by Hugging Face, words and languages by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_identifier import FakeIdentifier, by_script
from tiny import TEXT, tiny_lm

from linguamap.config import RunConfig
from linguamap.models.language_model import LanguageModel
from linguamap.probes import logit_scan as headscan
from linguamap.probes.run_probes import own_answers
from linguamap.probes.texts import LensText, encode_texts
from linguamap.probes.token_grid import (
    MAX_PROMPTS,
    Cell,
    TokenGrid,
    Turn,
    as_json,
    grid_prompts,
    token_grid,
    token_grids,
    turn_of,
    write_grids,
)
from linguamap.probes.token_grid import _read as read
from linguamap.probes.token_grid import _token_words as token_words
from linguamap.records import Answer, Part, Prompt, UserError

IDENTIFIER = FakeIdentifier(("en", "es", "ar", "hi"), by_script)
HINDI = LensText("q1", "q1", "hi", "monolingual", "open", TEXT[0][:20], TEXT[6])

TAILS = {
    "llama": ["model.norm"],
    "gemma2": ["model.norm"],
    "opt": ["model.decoder.final_layer_norm", "model.decoder.project_out"],
    "cohere": ["model.norm"],
}


@pytest.mark.parametrize("kind", TAILS)
def test_tokens_and_probabilities_are_those_of_hugging_face(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headscan, "BLOCK_VOCAB", 100)  # 384 tokens: several stretches of logits
    lm = tiny_lm(kind)
    grid = token_grid(lm, HINDI, IDENTIFIER, max_positions=99)
    ((found, _),) = read(lm, encode_texts(lm, [HINDI]))
    ids = lm.tokenizer(HINDI.prompt_text + HINDI.answer_text, return_tensors="pt")["input_ids"]
    n_prompt = len(lm.tokenizer(HINDI.prompt_text)["input_ids"])
    with torch.no_grad():
        out = lm.model(ids, output_hidden_states=True)
    model = lm.model
    for layer, row in enumerate(grid.cells):
        states = out.hidden_states[layer][0, n_prompt - 1 : -1]
        if layer < lm.n_layers:  # the last entry has been through them already
            for name in TAILS[kind]:
                states = model.get_submodule(name)(states)
        logits = model.lm_head(states)
        if kind == "cohere":
            logits = logits * model.config.logit_scale
        if kind == "gemma2":
            cap = model.config.final_logit_softcapping
            logits = cap * torch.tanh(logits / cap)
        probs, top = torch.softmax(logits.float(), -1).max(-1)
        assert [c.probability for c in row] == pytest.approx(probs.tolist(), abs=1e-4)
        assert found[layer].tolist() == top.tolist()
    assert len(grid.cells) == lm.n_layers + 1
    last = torch.softmax(out.logits[0, n_prompt - 1 : -1].float(), -1).amax(-1)
    assert [c.probability for c in grid.cells[-1]] == pytest.approx(last.tolist(), abs=1e-4)


def test_the_last_layer_writes_what_the_model_would_write() -> None:
    lm = tiny_lm("llama")
    ids = lm.tokenizer(HINDI.prompt_text + HINDI.answer_text, return_tensors="pt")["input_ids"]
    grid = token_grid(lm, HINDI, IDENTIFIER, max_positions=99)
    with torch.no_grad():
        top = lm.model(ids).logits[0].argmax(-1)[-len(grid.tokens) - 1 : -1]
    for cell, token in zip(grid.cells[-1], top.tolist(), strict=True):
        assert cell.text == lm.tokenizer.decode([token]) or "\ufffd" in lm.tokenizer.decode([token])
    assert "".join(t for t in grid.tokens if "\ufffd" not in t).strip() == HINDI.answer_text


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "gpt2", "bloom"])
def test_texts_read_together_are_as_each_alone(kind: str) -> None:
    lm = tiny_lm(kind)
    texts = [
        LensText(f"q{i}", "g", "es", "monolingual", "open", text[:10], text[10:])
        for i, text in enumerate(TEXT[:5])
    ]
    together = token_grids(lm, texts, IDENTIFIER, max_positions=20)
    for text, grid in zip(texts, together, strict=True):
        alone = token_grid(lm, text, IDENTIFIER, max_positions=20)
        assert grid.tokens == alone.tokens
        assert grid.n_left_out == alone.n_left_out
        for row, expected in zip(grid.cells, alone.cells, strict=True):
            assert [c[:3] for c in row] == [c[:3] for c in expected]
            assert [c.probability for c in row] == pytest.approx(
                [c.probability for c in expected], abs=1e-5
            )


def ids_of(lm: LanguageModel, *pieces: str) -> list[int]:
    return [
        token for piece in pieces for token in lm.tokenizer.encode(piece, add_special_tokens=False)
    ]


def test_words_span_tokens_and_marks_belong_to_none() -> None:
    lm = tiny_lm("llama")
    letters = ids_of(lm, *"gato, 12!")
    assert len(letters) == 9  # one token a character
    assert token_words(lm, letters) == [
        ("g", "gato"), ("a", "gato"), ("t", "gato"), ("o", "gato"), (",", None), (" ", None),
        ("1", None), ("2", None), ("!", None),
    ]  # fmt: skip
    glued = ids_of(lm, *"gato12")  # one word to ICU, but digits are in no language
    assert [word for _, word in token_words(lm, glued)] == ["gato12"] * 4 + [None] * 2


def test_pieces_of_a_letter_belong_to_its_word_and_specials_to_none() -> None:
    lm = tiny_lm("llama")
    pieces = [lm.tokenizer.convert_tokens_to_ids(p) for p in ("Ø", "¨")]  # the bytes of one letter
    assert lm.tokenizer.decode(pieces) == "ب"
    found = token_words(lm, [*pieces, lm.tokenizer.eos_token_id, *ids_of(lm, "a")])
    # The special token is not text, so that the letters on its sides touch.
    assert found == [("\ufffd", "بa"), ("ب", "بa"), ("</s>", None), ("a", "بa")]
    broken = [pieces[0], *ids_of(lm, " ", "a")]  # a first byte that nothing completes
    assert token_words(lm, broken) == [("\ufffd", None), (" ", None), ("a", "a")]


def test_the_language_is_that_of_the_word_not_of_the_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny_lm("llama")
    written = ids_of(lm, *"gato cat")
    monkeypatch.setattr(
        "linguamap.probes.token_grid._read",
        lambda lm, texts, known: [(torch.tensor([written]), torch.full((1, len(written)), 0.5))],
    )
    (row,) = token_grid(lm, HINDI, IDENTIFIER).cells
    # "g" alone would be English by the rule of the identifier: only words with o are Spanish.
    assert [c.language for c in row] == ["es"] * 4 + [None] + ["en"] * 3
    assert {c.word for c in row} == {"gato", None, "cat"}


def test_long_answers_are_cut_and_say_so() -> None:
    lm = tiny_lm("llama")
    whole = token_grid(lm, HINDI, IDENTIFIER, max_positions=500)
    short = token_grid(lm, HINDI, IDENTIFIER, max_positions=5)
    assert short.n_left_out == len(whole.tokens) - 5
    assert [len(row) for row in short.cells] == [5] * (lm.n_layers + 1)
    assert [c.probability for c in short.cells[2]] == pytest.approx(
        [c.probability for c in whole.cells[2][:5]], abs=1e-5
    )
    with pytest.raises(UserError, match="0 positions; ask for at least 1"):
        token_grid(lm, HINDI, IDENTIFIER, max_positions=0)


def make_prompts(n_items: int = 3) -> list[Prompt]:
    found = []
    for code, text in zip(("en", "es", "hi", "ar"), (TEXT[0], TEXT[2], TEXT[6], TEXT[5])):
        for kind in ("sums", "choice"):
            for scenario in ("monolingual", "code_mixed"):
                for item in range(n_items):
                    found.append(
                        Prompt(
                            item_id=f"{kind}-{item}",
                            benchmark=kind,
                            kind=kind,
                            language=code,
                            scenario=scenario,
                            parts=(Part("Q", f"{scenario} {item} {text[:14]}"),),
                            gold=("1",),
                            reference=(Part("R", text[14:]),),
                            coincides_with="monolingual"
                            if code == "en" and scenario == "code_mixed"
                            else None,
                        )
                    )
    return found


def test_a_text_turns_at_the_first_token_that_the_last_layer_writes_in_another_language() -> None:
    def cells(*codes: str | None) -> list[Cell]:
        return [Cell("x", "x", code, 0.5) for code in codes]

    layers = [cells("en", "en", "en"), cells("hi", "hi", "en"), cells(None, "en", "en"), cells("hi", "en", "en")]  # fmt: skip
    grid = TokenGrid(["a", "b", "c"], layers)
    # The first token stays Hindi; the second is English from layer 2 on, as the third was from 0 on.
    assert turn_of(grid, "hi") == Turn(2, 2, "en")
    assert turn_of(TokenGrid(["a"], [cells("en"), cells("hi")]), "hi") is None
    assert turn_of(TokenGrid(["a"], [cells("en"), cells(None)]), "hi") is None
    assert as_json(grid, "hi")["turn"] == {"position": 2, "layer": 2, "language": "en"}


def test_the_choice_covers_languages_kinds_and_scenarios() -> None:
    prompts = make_prompts()
    chosen = grid_prompts(prompts, seed=3)
    assert chosen == grid_prompts(prompts, seed=3)
    assert len(chosen) == 8 <= MAX_PROMPTS
    assert len({p.prompt_id for p in chosen}) == 8
    assert [p.language for p in chosen] == ["en", "es", "hi", "ar"] * 2
    assert {p.kind for p in chosen} == {"sums", "choice"}
    assert {p.scenario for p in chosen} == {"monolingual", "code_mixed"}
    assert all(p.coincides_with is None for p in chosen)
    assert {p.item_id for p in chosen} != {p.item_id for p in grid_prompts(prompts, seed=4)}


def test_the_file_has_the_schema_and_the_same_texts_are_read_again(tmp_path: Path) -> None:
    lm, config = tiny_lm("llama"), RunConfig()
    before, after = tmp_path / "probe.json", tmp_path / "after.json"
    write_grids(lm, make_prompts(), config, IDENTIFIER, before, own_answers=own_answers(lm, config))
    first = json.loads(before.read_text(encoding="utf-8"))
    assert first["layers"] == [0, 1, 2, 3, 4]
    assert len(first["prompts"]) == 8
    for row in first["prompts"]:
        assert set(row) == {
            "prompt_id", "item_id", "kind", "scenario", "language", "prompt", "answer", "tokens",
            "cells", "turn", "source", "answer_language",
        }  # fmt: skip
        assert [len(cells) for cells in row["cells"]] == [len(row["tokens"])] * 5
        assert {key for cells in row["cells"] for cell in cells for key in cell} == set("twlp")
        assert 1 <= len(row["tokens"]) <= 48
    with torch.no_grad():
        lm.model.model.layers[3].mlp.down_proj.weight.mul_(4)
    config.probe.texts = "generated"  # the changed model's own answers would be other texts
    write_grids(
        lm,
        make_prompts(),
        config,
        IDENTIFIER,
        after,
        own_answers=own_answers(lm, config),
        same_as=before,
    )
    second = json.loads(after.read_text(encoding="utf-8"))
    for one, two in zip(first["prompts"], second["prompts"], strict=True):
        for key in ("prompt_id", "prompt", "answer", "tokens"):
            assert one[key] == two[key]
        assert one["cells"][:4] == two["cells"][:4]
    assert any(a["cells"][4] != b["cells"][4] for a, b in zip(first["prompts"], second["prompts"]))


def test_stand_ins_for_answers_are_read_again_as_they_were(tmp_path: Path) -> None:
    lm = tiny_lm("llama")
    parts = (Part("P", "Read."), Part("Q", TEXT[2]), Part("I", "Answer:"))
    prompt = Prompt("p", "passages", "passage", "es", "monolingual", parts, ("x",))
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    write_grids(
        lm, [prompt], RunConfig(), IDENTIFIER, paths[0], own_answers=own_answers(lm, RunConfig())
    )
    write_grids(
        lm,
        [prompt],
        RunConfig(),
        IDENTIFIER,
        paths[1],
        own_answers=own_answers(lm, RunConfig()),
        same_as=paths[0],
    )
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    assert first == second
    assert (first["prompts"][0]["prompt"], first["prompts"][0]["answer"]) == ("Read.", TEXT[2])


def test_answers_in_another_language_are_among_the_texts(tmp_path: Path) -> None:
    lm, config, prompts = tiny_lm("llama"), RunConfig(), make_prompts()
    asked = [replace(p, item_id=f"test-{p.item_id}") for p in prompts if p.language != "en"]
    answers = [
        Answer(
            p.prompt_id, p.item_id, p.item_id, p.benchmark, p.kind, p.language, p.scenario, p.text,
            "The cat said so.", None, p.item_id.endswith("0"), "unscored", answer_language="en",
        )
        for p in asked
    ]  # fmt: skip
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    own, answered = own_answers(lm, config), (answers, asked)
    write_grids(lm, prompts, config, IDENTIFIER, before, own_answers=own, answered=answered)
    rows = json.loads(before.read_text(encoding="utf-8"))["prompts"]
    turned = [row for row in rows if row["item_id"].startswith("test-")]
    assert [row["language"] for row in turned] == ["ar", "es", "hi"] * 2
    assert {row["answer"] for row in turned} == {" The cat said so."}
    assert {(row["source"], row["answer_language"]) for row in turned} == {("answer", "en")}
    given = [row for row in rows if row not in turned]
    assert {(row["source"], row["answer_language"]) for row in given} == {("reference", None)}
    assert not any(row["item_id"].endswith("0") for row in turned)  # those kept to the language
    assert len(rows) == MAX_PROMPTS
    write_grids(
        lm, prompts, config, IDENTIFIER, after, own_answers=own, same_as=before, answered=answered
    )
    assert json.loads(after.read_text(encoding="utf-8"))["prompts"] == rows
