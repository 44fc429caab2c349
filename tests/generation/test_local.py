"""Generation: the same greedy tokens as Hugging Face's own ``generate``, stops, resume, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import STATE_SPACE, save_tiny

from linguamap.config import EvaluateConfig, ModelConfig
from linguamap.generation.cache_check import cache_fault
from linguamap.generation.decoder import Decoder
from linguamap.generation.encoding import Encoded, encode
from linguamap.generation.kv_cache import Rows, SharedPrefixStates
from linguamap.generation.local import chunks, generate
from linguamap.generation.shared_prefix import SharedPrefix, shared_prefixes
from linguamap.generation.thinking import MarkedText, cut_at_stop, ends_in_thinking, split_thinking
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.records import Completion, Part, Prompt, UserError

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


KINDS = ["llama", "gemma3_text", "bloom", "gpt2", "falcon", "opt", "mistral"]


def by_hugging_face(lm: LanguageModel, encoded: list[Encoded], n: int) -> list[tuple[str, int]]:
    """Text and number of tokens of each answer, generated alone."""
    found = []
    for one in encoded:
        ids = torch.tensor([one.token_ids])
        new = lm.model.generate(ids, max_new_tokens=n, do_sample=False)[0, ids.shape[1] :]
        found.append((lm.tokenizer.decode(new, skip_special_tokens=True).strip(), len(new)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_batched_greedy_equals_hugging_face_one_by_one(tmp_path: Path, kind: str) -> None:
    lm = load(tmp_path, kind)
    encoded = encode(lm, prompts(TEXTS))
    found = Decoder(lm, EvaluateConfig(max_new_tokens=12, stop=[]), (), 0).run([encoded])
    assert [(c.answer, c.n_tokens) for c in found] == by_hugging_face(lm, encoded, 12)


@pytest.mark.parametrize("kind", STATE_SPACE)
def test_a_model_without_a_usable_cache_equals_hugging_face(tmp_path: Path, kind: str) -> None:
    """Regression: a traceback, and words without sense from rwkv, whose state was not passed on.

    Some texts share a beginning. None is of one token: RecurrentGemma keeps a state inside, and
    Hugging Face begins such a text with the state that the text before it left.
    """
    lm = load(tmp_path, kind)
    assert cache_fault(lm) is not None
    asked = prompts(["The cat sat on the mat. " + text for text in TEXTS[:2]] + TEXTS[:4])
    encoded = encode(lm, asked)
    assert {one.prefix is None for one in encoded} == {True, False}
    expected = by_hugging_face(lm, encoded, 8)
    found: dict[str, Completion] = {}
    said: list[str] = []
    generate(
        lm,
        asked,
        EvaluateConfig(max_new_tokens=8, batch_size=2, stop=[]),
        save=lambda part: found.update({one.prompt_id: one for one in part}),
        progress=lambda label, done, total, detail: said.append(detail),
    )
    assert [(found[p.prompt_id].answer, found[p.prompt_id].n_tokens) for p in asked] == expected
    assert said[-1].endswith("slowly: no cache")


def test_answers_without_a_cache_stop_and_are_those_with_one(tmp_path: Path) -> None:
    lm = load(tmp_path, "llama")
    encoded = encode(lm, prompts(TEXTS))
    text = by_hugging_face(lm, encoded, 12)[0][0]
    config = EvaluateConfig(max_new_tokens=12, stop=[])
    stops = (next(c for c in text if not c.isspace()),)
    cached = Decoder(lm, config, stops, 0).run([encoded])
    uncached = Decoder(lm, config, stops, 0, SharedPrefixStates(lm, False), use_cache=False)
    assert uncached.run([encoded]) == cached
    assert cached[0].finish == "stop"


@pytest.mark.parametrize("kind", KINDS)
def test_shared_prefixes_and_joined_tails_change_no_answer(tmp_path: Path, kind: str) -> None:
    """Texts of several openings and one of its own, two batches, rows that end at different times."""
    lm = load(tmp_path, kind)
    opening = "The cat sat on the mat and ate twelve red apples. "
    texts = [opening + text for text in TEXTS] + ["Ana tiene doce libros y da cuatro. " * 2 + text
             for text in TEXTS[:3]] + ["A lone text"]  # fmt: skip
    encoded = encode(lm, prompts(texts))
    assert {one.prefix is None for one in encoded} == {True, False}
    expected = by_hugging_face(lm, encoded, 20)
    stop = next(c for c in expected[2][0] if not c.isspace())
    states = SharedPrefixStates(lm)
    config = EvaluateConfig(max_new_tokens=20, batch_size=7)  # the second batch joins two rows
    read: list[int] = []
    lm.structure.trunk.register_forward_pre_hook(
        lambda module, args, kw: read.append((args or [kw["input_ids"]])[0].shape[1]),
        with_kwargs=True,
    )
    for stops in ((), (stop,)):
        found = Decoder(lm, config, stops, 0, states).run([encoded[:5], encoded[5:]])
        for completion, (text, n_tokens) in zip(found, expected, strict=True):
            place = text.find(stop) if stops else -1
            assert completion.answer == (text if place < 0 else text[:place].strip())
            assert completion.n_tokens == n_tokens or place >= 0
    longest = max(len(one.token_ids) for one in encoded)
    assert max(read[1:]) < longest  # no whole prompt was read beside its beginning


def test_window_shorter_than_the_texts(tmp_path: Path) -> None:
    """Beginnings and tails of a sliding-window model whose window is full."""
    lm = load(tmp_path, "gemma3_text")
    window = lm.model.config.sliding_window
    opening = "the cat sat on the mat " * window
    encoded = encode(lm, prompts([opening + text for text in TEXTS] + TEXTS))
    assert min(len(one.token_ids) for one in encoded[: len(TEXTS)]) > window
    assert any(one.prefix and len(one.prefix.token_ids) >= window for one in encoded)
    states = SharedPrefixStates(lm)
    config = EvaluateConfig(max_new_tokens=10, batch_size=10)
    found = Decoder(lm, config, (), 0, states).run([encoded[:4], encoded[4:]])
    assert [(c.answer, c.n_tokens) for c in found] == by_hugging_face(lm, encoded, 10)


def test_prefixes_save_the_most_tokens() -> None:
    """By hand: two texts share 12 tokens, all four 9; 12 + 9 are saved apart, 3 * 9 together."""
    nine = list(range(100, 109))
    twelve = [*nine, 1, 2, 3]
    texts = [[*twelve, 7, 8], [*twelve, 9, 8], [*nine, 50, 51], [*nine, 60, 61], [5, 6]]
    assert shared_prefixes(texts) == [SharedPrefix(tuple(nine))] * 4 + [None]
    # With ten more in the first pair, 22 + 9 saved apart are more than 27.
    long = [*nine, *range(200, 213)]
    texts[:2] = [[*long, 7, 8], [*long, 9, 8]]
    found = shared_prefixes(texts)
    assert found[:2] == [SharedPrefix(tuple(long))] * 2
    assert found[2:] == [SharedPrefix(tuple(nine))] * 2 + [None]
    assert shared_prefixes([nine, nine]) == [SharedPrefix(tuple(nine[:-1]))] * 2
    assert shared_prefixes([]) == []


def test_units_keep_the_token_bound_and_every_prompt(tmp_path: Path) -> None:
    lm = load(tmp_path, "llama")
    encoded = encode(lm, prompts(TEXTS * 3))
    config = EvaluateConfig(batch_size=4, batch_tokens=200, max_new_tokens=10)
    cut = chunks(encoded, config, SharedPrefixStates(lm))
    assert sorted(id(one) for chunk in cut for batch in chunk for one in batch) == sorted(
        map(id, encoded)
    )
    for batch in [batch for chunk in cut for batch in chunk]:
        assert len(batch) <= 4
        longest = max(len(one.token_ids) for one in batch)
        assert len(batch) == 1 or len(batch) * (longest + 10) <= 200


def test_resume_answers_only_what_is_missing_and_alike(tmp_path: Path) -> None:
    lm = load(tmp_path, "llama")
    asked = prompts(TEXTS)
    config = EvaluateConfig(max_new_tokens=8, batch_size=2)
    whole: list[list[Completion]] = []
    generate(lm, asked, config, save=whole.append)
    assert [len(part) for part in whole] == [4, 2]
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
    read = Decoder.read
    limit, rows = 2, []

    def limited(self: Decoder, batch: list[Encoded], start: int) -> tuple[Rows, torch.Tensor]:
        if len(batch) > limit:
            raise torch.OutOfMemoryError("planted")
        rows.append(len(batch))
        return read(self, batch, start)

    monkeypatch.setattr(Decoder, "read", limited)
    found: list[Completion] = []
    generate(lm, prompts(TEXTS), config, save=found.extend)
    assert found == expected
    assert sum(rows) == len(TEXTS)
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
        ("[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."),
        ("[THINK]no end", "no end", ""),
        ("<thought>\nHm.\n</thought>\n\nYes.", "Hm.", "Yes."),
        ("<seed:think>Hm.</seed:think>Yes.", "Hm.", "Yes."),
        ("<seed:think>no end", "no end", ""),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Hm.", "Yes."),
        ("<|START_THINKING|>no end", "no end", ""),
        ("<|channel>thought\nHm.<channel|>Yes.", "Hm.", "Yes."),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
         "Hm.", "Yes."),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Ye", "Hm.", "Ye"),
        ("<|channel|>analysis<|message|>no end", "no end", ""),
        ("<|channel|>final<|message|>Yes.", None, "Yes."),
        ("Yes.<|end|>", None, "Yes."),
    ],
)  # fmt: skip
def test_reasoning_is_split_off(text: str, thinking: str | None, answer: str) -> None:
    assert split_thinking(text) == (thinking, answer)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("Hm, the limit cuts th", "Hm, the limit cuts th", ""),
        ("Hm.</think> Yes.", "Hm.", "Yes."),
        ("<think>Hm.</think> Yes.", "Hm.", "Yes."),
        ("Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Hm.", "Yes."),
    ],
)
def test_a_block_that_the_prompt_opened(text: str, thinking: str, answer: str) -> None:
    """DeepSeek-R1 and Qwen3-Thinking: no opening mark is in the answer."""
    assert split_thinking(text, opened=True) == (thinking, answer)


@pytest.mark.parametrize(
    ("prompt", "open"),
    [
        ("<｜User｜>2 + 2?<｜Assistant｜><think>\n", True),  # DeepSeek-R1
        ("<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n<think>\n", True),  # Qwen3-Thinking
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),  # Qwen3 without thinking
        ("<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n", False),
        ("[|assistant|]<thought>\n", True),  # EXAONE Deep
        ("<|turn>model\n<|channel>thought\n<channel|>", False),  # Gemma 4 without thinking
        ("", False),
    ],
)  # fmt: skip
def test_whether_a_prompt_opens_the_reasoning(prompt: str, open: bool) -> None:
    assert ends_in_thinking(prompt) is open


def thinker(folder: Path) -> LanguageModel:
    """A tiny chat model with marks that are special tokens, as Magistral has them."""
    lm = load(folder, "llama")
    lm.tokenizer.add_special_tokens(
        {"additional_special_tokens": ["[THINK]", "[/THINK]", "<|end|>"]}
    )
    lm.is_chat = True
    return lm


def test_special_marks_are_split_at_before_they_are_left_out(tmp_path: Path) -> None:
    lm = thinker(tmp_path)
    marked = MarkedText(lm.tokenizer)
    for text in ("[THINK]The cat</s>[/THINK]the mat<|end|>", "The cat sat on the mat."):
        ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
        shown = marked.decode(ids)
        assert shown == text.replace("</s>", "")
        plain = lm.tokenizer.decode(ids, skip_special_tokens=True)
        assert "[" not in plain  # what was split before
    prompt = prompts(["x"])[0]

    def answered(text: str, opening: str = "") -> Completion:
        ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
        config = EvaluateConfig(max_new_tokens=len(ids), stop=[])
        decoder = Decoder(lm, config, (), 0)
        asked = lm.tokenizer("The cat" + opening, add_special_tokens=False)["input_ids"]
        assert decoder._ended(Encoded(prompt, asked), ids)
        return decoder.answers[prompt.prompt_id]

    found = answered("[THINK]The cat[/THINK]the mat")
    assert (found.thinking, found.answer, found.finish) == ("The cat", "the mat", "length")
    assert answered("the mat<|end|>").answer == "the mat"
    for opening in ("[THINK]", "<think>\n"):
        cut = answered("The cat sat", opening)
        assert (cut.thinking, cut.answer) == ("The cat sat", "")
    lm.is_chat = False
    assert answered("The cat sat", "<think>\n").answer == "The cat sat"


def test_stop_strings_of_words_count_from_the_first_character_on() -> None:
    """A base model that asks itself the next question at once has answered nothing."""
    assert cut_at_stop("\n\nQ: next?\nA: no", ("\nQ:",)) == "\n"
    assert cut_at_stop("\n one\ntwo", ("\n",)) == "\n one"
    assert cut_at_stop("one\ntwo\nQ: x", ("\nQ:",)) == "one\ntwo"


def test_a_prompt_past_the_last_position_is_refused_by_name(tmp_path: Path) -> None:
    """It ended in an IndexError of the position table (256 rows here)."""
    lm = load(tmp_path, "gpt2")
    long = "A" * 250
    tokens = len(encode(lm, prompts(["A", long]))[1].token_ids)
    room = EvaluateConfig(max_new_tokens=256 - tokens, stop=[])
    generate(lm, prompts(["A", long]), room, save=lambda found: None)
    with pytest.raises(
        UserError, match=rf"1 takes 257 tokens \({tokens} and {257 - tokens} for its"
    ):
        generate(
            lm,
            prompts(["A", long]),
            EvaluateConfig(max_new_tokens=257 - tokens, stop=[]),
            save=lambda found: None,
        )
