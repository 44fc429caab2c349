"""Generation: the same greedy tokens as Hugging Face's own ``generate``, stops, resume, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from linguamap import generate as module
from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generate import Decoder, encode, generate, groups
from linguamap.model import LanguageModel, load_model
from linguamap.records import Completion, Part, Prompt, UserError
from tiny import save_tiny

TEXTS = [
    "The cat sat on the mat.",
    "Ana tiene doce libros y da cuatro",
    "القط ينام",
    "猫は家で眠り、夕方に赤いりんごを三つ食べます。 The cat",
    "A",
    "बिल्ली घर में",
]


def prompts(texts: list[str]) -> list[Prompt]:
    return [
        Prompt(str(i), "sums", "sums", "en", "monolingual", (Part("P", text),), ("1",))
        for i, text in enumerate(texts)
    ]


def load(folder: Path, kind: str) -> LanguageModel:
    return load_model(ModelConfig(name=str(save_tiny(folder / kind, kind)), dtype="float32"))


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "bloom", "gpt2", "falcon", "opt"])
def test_batched_greedy_equals_hugging_face_one_by_one(tmp_path: Path, kind: str) -> None:
    lm = load(tmp_path, kind)
    encoded = encode(lm, prompts(TEXTS))
    config = EvaluateConfig(max_new_tokens=12, stop=[])
    found = Decoder(lm, config, (), 0).run(encoded)
    for one, completion in zip(encoded, found, strict=True):
        expected = lm.model.generate(
            torch.tensor([one.token_ids]), max_new_tokens=12, do_sample=False
        )[0, len(one.token_ids) :]
        text = lm.tokenizer.decode(expected, skip_special_tokens=True).strip()
        assert completion.answer == text
        assert completion.n_tokens == len(expected)


def test_rows_that_end_early_do_not_change_the_others(tmp_path: Path) -> None:
    """Compacting the batch used key-value rows of the right prompts."""
    lm = load(tmp_path, "llama")
    encoded = encode(lm, prompts(TEXTS))
    config = EvaluateConfig(max_new_tokens=16)
    free = Decoder(lm, config, (), 0).run(encoded)
    # Stop on a character that some answers hold: those rows leave the batch early.
    stop = next(c for c in free[0].answer[1:] if not c.isspace())
    stopped = Decoder(lm, config, (stop,), 0).run(encoded)
    assert len({one.n_tokens for one in stopped}) > 1
    for whole, part in zip(free, stopped, strict=True):
        place = whole.answer.find(stop)
        assert part.answer == (whole.answer if place < 0 else whole.answer[:place].strip())
        assert part.finish == ("length" if place < 0 else "stop") or whole.finish == "stop"


def test_groups_keep_the_token_bound_and_every_prompt(tmp_path: Path) -> None:
    encoded = encode(load(tmp_path, "llama"), prompts(TEXTS * 3))
    config = EvaluateConfig(batch_size=4, batch_tokens=200, max_new_tokens=10)
    batches = groups(encoded, config)
    assert sorted(id(one) for batch in batches for one in batch) == sorted(map(id, encoded))
    for batch in batches:
        assert len(batch) <= 4
        longest = max(len(one.token_ids) for one in batch)
        assert len(batch) == 1 or len(batch) * (longest + 10) <= 200


def test_resume_answers_only_what_is_missing_and_alike(tmp_path: Path) -> None:
    lm = load(tmp_path, "llama")
    asked = prompts(TEXTS)
    config = EvaluateConfig(max_new_tokens=8, batch_size=2)
    whole: list[list[Completion]] = []
    generate(lm, asked, config, save=whole.append)
    assert len(whole) == 3
    done = frozenset(one.prompt_id for one in whole[0])
    rest: list[list[Completion]] = []
    generate(lm, asked, config, save=rest.append, done=done)
    assert rest == whole[1:]


def test_sampling_is_seeded(tmp_path: Path) -> None:
    lm = load(tmp_path, "llama")
    config = EvaluateConfig(max_new_tokens=12, temperature=1.0, stop=[])
    drawn = []
    for seed in (1, 1, 2):
        out: list[Completion] = []
        generate(lm, prompts(TEXTS), config, save=out.extend, seed=seed)
        drawn.append([one.answer for one in out])
    assert drawn[0] == drawn[1] != drawn[2]


def test_out_of_memory_halves_the_batch_and_ends_in_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load(tmp_path, "llama")
    config = EvaluateConfig(max_new_tokens=6)
    expected: list[Completion] = []
    generate(lm, prompts(TEXTS), config, save=expected.extend)
    run = Decoder.run
    limit = 2

    def limited(self: Decoder, batch: list[module.Encoded]) -> list[Completion]:
        if len(batch) > limit:
            raise torch.OutOfMemoryError("planted")
        return run(self, batch)

    monkeypatch.setattr(Decoder, "run", limited)
    found: list[Completion] = []
    generate(lm, prompts(TEXTS), config, save=found.extend)
    assert found == expected
    limit = 0
    with pytest.raises(UserError, match="out of memory for a single prompt"):
        generate(lm, prompts(TEXTS), config, save=found.extend)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("Hm.</think> Yes.", "Hm.", "Yes."),
        ("<think> no end", "no end", ""),
        (" plain ", None, "plain"),
    ],
)
def test_reasoning_is_split_off(text: str, thinking: str | None, answer: str) -> None:
    assert module.split_thinking(text) == (thinking, answer)
