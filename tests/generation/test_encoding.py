"""A prompt reaches the model whole, or one line says what is lost."""

from __future__ import annotations

import dataclasses

import pytest
from tiny import tiny_lm
from tuning_cases import some_prompts

from linguamap.generation.encoding import encode
from linguamap.models.language_model import LanguageModel
from linguamap.records import UserError

OPEN, MARK = (
    "{% for m in messages %}<s>{{ m['role'] }}\n",
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}",
)
CHAT = OPEN + "{{ m['content'] }}</s>\n{% endfor %}" + MARK


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_lm("llama")


def _chat(lm: LanguageModel, template: str, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    return dataclasses.replace(lm, is_chat=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            CHAT.replace("m['content']", "''"),
            "the preamble is not in",
        ),
        (CHAT.replace("m['content']", "m['content'][:9]"), "is not in what the model would read"),
        (CHAT.replace(MARK, ""), "it ends with '</s>'"),
        (CHAT + "</s>", "it ends with '</s>'"),
        (CHAT + "</s>\n\n", "it ends with '</s>'"),
    ],
)
def test_what_a_template_loses_is_told(
    template: str, message: str, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _chat(lm, template, monkeypatch)
    prompt = some_prompts(1)[0]
    with pytest.raises(UserError, match=message) as error:
        encode(model, [prompt])
    assert prompt.prompt_id in str(error.value)
    assert "model.chat=no" in str(error.value)


def test_a_system_message_left_out_without_a_word_goes_into_the_turn(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = CHAT.replace("in messages", "in messages if m['role'] != 'system'")
    (encoded,) = encode(_chat(lm, silent, monkeypatch), some_prompts(1)[:1])
    text = lm.tokenizer.decode(encoded.token_ids)
    assert text.startswith("<s>user\nResponde en español.\nCuenta las manzanas.")


def test_tokens_without_a_row_are_told(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_lm("llama").tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<mark>"]})
    model = dataclasses.replace(lm, tokenizer=tokenizer)
    model = _chat(model, CHAT.replace("<s>", "<mark>"), monkeypatch)
    with pytest.raises(UserError, match="'<mark>' has number 384, and the embedding has 384 rows"):
        encode(model, some_prompts(1)[:1])


def test_a_tokenizer_that_cannot_write_the_language_is_told(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<u>": 0, "</s>": 1, "Answer": 2}, unk_token="<u>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<u>", eos_token="</s>", pad_token="</s>"
    )
    with pytest.raises(UserError, match=r"the tokenizer loses \d+ of its \d+ different letters"):
        encode(dataclasses.replace(lm, tokenizer=tokenizer), some_prompts(1)[:1])
