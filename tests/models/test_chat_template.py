"""Chat templates are foreign programs: whatever they do ends in a text or in one line, and soon."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import tiny_tokenizer

from linguamap.models.chat_template import TemplateRefusal, render_conversation, without_system
from linguamap.models.prepared_tokenizer import prepare_tokenizer
from linguamap.records import UserError

SAYS = [{"role": "user", "content": "Hola\u2028ana"}]


def _under(template: Any, **options: Any) -> str:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return render_conversation(tokenizer, SAYS, **options)


def test_a_conversation_is_rendered_as_transformers_does() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m['content'] }}{{ eos_token }}"
        "{% endfor %}{% if add_generation_prompt %}{{ x }}>{% endif %}"
    )
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    expected = tokenizer.apply_chat_template(
        SAYS, tokenize=False, add_generation_prompt=True, x="y"
    )
    assert render_conversation(tokenizer, SAYS, ask=True, x="y") == expected
    assert expected == "<s>user: Hola\u2028ana</s>y>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in %}", "TemplateSyntaxError: Expected an expression"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ nothing(1) }}", "UndefinedError: 'nothing' is undefined"),
        ("{{ 'x' * 10 ** 10 }}", "more memory than a text can need"),
        ("{{ 'x' * 5000000 }}", "it writes 5000000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ({"rag": "a", "tool_use": "b"}, "has the chat templates rag, tool_use and no default"),
    ],
)
def test_a_broken_template_is_one_line_with_the_way_out(template: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        _under(template)
    assert "model.chat=no" in str(error.value)
    assert _under("{{ messages[0].content }}") == "Hola\u2028ana"  # the next one works


def test_a_template_without_end_is_stopped() -> None:
    loop = "{% for a in range(99999) %}"
    with pytest.raises(UserError, match="longer than 10 seconds"):
        _under(loop * 3 + "{% endfor %}" * 3)
    assert _under("ok") == "ok"


def test_a_refusal_is_told_apart_from_a_fault() -> None:
    with pytest.raises(TemplateRefusal, match="no system here"):
        _under("{{ raise_exception('no system here') }}")
    system = {"role": "system", "content": "Be brief."}
    assert without_system([system, *SAYS]) == [
        {"role": "user", "content": "Be brief.\nHola\u2028ana"}
    ]


def test_an_end_token_behind_every_text_is_taken_off() -> None:
    from tokenizers import processors

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    before = tokenizer("Ana")["input_ids"]
    assert (before[0], before[-1]) == (1, 2)
    assert prepare_tokenizer(tokenizer, 384)("Ana")["input_ids"] == before[:-1]


def test_added_tokens_without_a_row_are_refused_or_replaced() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new pad>"})
    assert tokenizer.pad_token_id >= 384
    assert prepare_tokenizer(tokenizer, 384).pad_token == "</s>"  # padding is never read
    tokenizer.add_special_tokens({"bos_token": "<new start>"})
    with pytest.raises(
        UserError, match=r"'<new start>' has number \d+, and the embedding has 384 rows"
    ):
        prepare_tokenizer(tokenizer, 384)
