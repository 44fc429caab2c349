"""The check after each epoch: which language the model would write in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tuning_cases import spoken_examples, tiny_lm

from linguamap.config import TuneConfig
from linguamap.records import Identification
from linguamap.run.files import read_rows
from linguamap.tuning.check import Checker, best_tokens, make_checker
from linguamap.tuning.data.batches import TrainingExample
from linguamap.tuning.run_tuning import tune


class Words:
    """English words are those that begin with a vowel, Spanish the others."""

    name = "words"
    languages = ("en", "es")

    def identify(self, text: str, asked: str | None = None) -> Identification:
        return Identification(None, "empty")

    def identify_words(self, words: Any) -> list[str | None]:
        return ["en" if word[0] in "aeiou" else "es" for word in words]


class Letters:
    """A tokenizer of whole words."""

    words = ("<pad>", "apple ", "one ", "casa ", "tres ")

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return "".join(self.words[i] for i in ids)


def test_a_check_counts_words_and_tokens_by_hand() -> None:
    examples = [
        TrainingExample("a", (3, 4, 1, 2, 2), (False, True, False, True, True), "g", "en"),
        TrainingExample("b", (1, 1, 3), (False, True, True), "g", "es"),
        TrainingExample("c", (1, 1, 3), (False, True, True), "g", None),
    ]
    checker = make_checker(examples, [0, 1, 2], 2, Letters(), lambda languages: Words())
    assert isinstance(checker, Checker)
    # the example's last trained stretch is its answer
    assert {i: one.loss_mask for i, one in checker.items.items()} == {
        0: (False, False, False, True, True), 1: (False, True, True)
    }  # fmt: skip
    found = torch.tensor([2, 3, 1, 4])  # a: "one casa", b: "apple tres"
    checker.add([0, 1], torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 1, 3]), found)
    summary = checker.summary(4, checker.numbers())
    assert summary["epoch"] == 4
    assert (summary["teacher_forced_consistency"], summary["n_words"]) == (0.5, 4)
    assert (summary["teacher_forced_accuracy"], summary["n_positions"]) == (0.5, 4)
    assert summary["languages"]["en"]["teacher_forced_consistency"] == 0.5
    assert summary["languages"]["es"]["n_items"] == 1
    assert make_checker(examples, [2], 2, Letters(), lambda languages: Words()) == (
        "the validation examples name no known language"
    )
    assert (
        make_checker(examples, [], 2, Letters(), lambda languages: Words())
        == "there are no validation examples"
    )
    assert (
        make_checker(examples, [0], 0, Letters(), lambda languages: Words())
        == "tune.check_items is 0"
    )


def test_the_check_reads_what_the_whole_model_would_write(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path / "m", "gemma2")
    examples = spoken_examples(16)
    config = TuneConfig(epochs=1, batch_size=4, dtype="float32", learning_rate=1e-30)
    seen: list[list[int]] = []

    plain = Checker.add

    def note(self: Checker, indices: Any, rows: Any, targets: Any, found: Any) -> None:
        for row, index in enumerate(indices):
            seen.append([index, *found[rows == row].tolist()])
        plain(self, indices, rows, targets, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checker, "add", note)
        result = tune(lm, examples, config, (3, 4), tmp_path / "t", seed=0, identifier=Words())
    assert [one["epoch"] for one in result["checks"]] == [0, 1]
    assert result["checks"][0]["n_items"] == len({one[0] for one in seen}) > 0
    reference = tiny_lm(tmp_path / "m", "gemma2").model
    for index, *tokens in seen:
        example = examples[index]
        logits = reference(input_ids=torch.tensor([example.token_ids])).logits[0]
        places = [place - 1 for place, trained in enumerate(example.loss_mask) if trained]
        assert tokens == logits[places].argmax(-1).tolist()
    (epoch,) = [row for row in read_rows(tmp_path / "t" / "log.jsonl") if "train_loss" in row]
    for key in ("teacher_forced_consistency", "n_words", "teacher_forced_accuracy"):
        assert epoch[key] == result["checks"][1][key]


def test_best_tokens_go_by_blocks(tmp_path: Path) -> None:
    lm = tiny_lm(tmp_path, "llama")
    hidden = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
    wanted = (hidden @ lm.structure.head.weight.T).argmax(-1)
    assert torch.equal(best_tokens(hidden, lm.structure), wanted)
