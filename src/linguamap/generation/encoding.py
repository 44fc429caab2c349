"""Prompts in the form that a model reads: chat messages, token ids, and what ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linguamap.generation.shared_prefix import SharedPrefix, shared_prefixes
from linguamap.generation.thinking import LINE_END
from linguamap.records import Prompt, UserError

if TYPE_CHECKING:
    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.models.language_model import LanguageModel


@dataclass(frozen=True)
class Encoded:
    """A prompt ready for the model.

    Attributes:
        token_ids: starting with the tokens that open a text.
        prefix: its first tokens, where other prompts have them too.
    """

    prompt: Prompt
    token_ids: list[int]
    prefix: SharedPrefix | None = None


def encode(
    lm: LanguageModel, prompts: Sequence[Prompt], model_config: ModelConfig | None = None
) -> list[Encoded]:
    """Turn prompts into token ids: plain text for base models, the chat template for chat models."""
    options: dict[str, Any] = {}
    thinking = model_config.thinking if model_config else "auto"
    if thinking != "auto":
        options["enable_thinking"] = thinking == "yes"
    if not prompts:
        return []
    if lm.is_chat:
        texts = [chat_token_ids(lm, prompt, options) for prompt in prompts]
    else:
        texts = lm.tokenizer([prompt.text for prompt in prompts])["input_ids"]
    return [Encoded(*fields) for fields in zip(prompts, texts, shared_prefixes(texts), strict=True)]


def chat_token_ids(lm: LanguageModel, prompt: Prompt, options: dict[str, Any]) -> list[int]:
    """The prompt under the model's chat template; a template without a system role gets one turn."""
    messages = render_chat(prompt)
    try:
        text = lm.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **options
        )
    except Exception as error:  # the template's own raise_exception arrives as a Jinja error
        if type(error).__name__ != "TemplateError":
            raise
        text = lm.tokenizer.apply_chat_template(
            without_system(messages),
            add_generation_prompt=True,
            tokenize=False,
            **options,
        )
    return list(lm.tokenizer(text, add_special_tokens=False)["input_ids"])


def render_chat(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as chat messages: preamble as system, the rest without the answer label as user.

    Worked examples in front are earlier turns, each question answered by its reference. A request
    of the Language Confusion Benchmark has no preamble, and so no system message.
    """
    system = "".join(part.text for part in prompt.parts if part.role == "P").strip()
    messages = []
    for shot in prompt.shots:
        messages.append({"role": "user", "content": _user_turn(shot)})
        messages.append({"role": "assistant", "content": shot.answer.strip()})
    messages.append({"role": "user", "content": _user_turn(prompt)})
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return messages


def without_system(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The same messages for a chat template without a system role: the first user turn takes it in."""
    if messages[0]["role"] != "system":
        return list(messages)
    system, first, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n{first['content']}"}, *rest]


def _user_turn(prompt: Prompt) -> str:
    roles = ("Q",) if prompt.bare else ("I", "Q")  # its only frame is Q: and A:
    return "".join(part.text for part in prompt.parts[:-1] if part.role in roles).strip()


def stop_strings(lm: LanguageModel, config: EvaluateConfig) -> tuple[str, ...]:
    """Where an answer ends, besides the end token.

    In the plain-text layout every field is one line, so a base model's answer ends with its line.
    A chat model ends its own turn.
    """
    if config.stop is not None:
        return tuple(config.stop)
    return () if lm.is_chat else LINE_END


def check_length(
    lm: LanguageModel,
    encoded: Sequence[Encoded],
    max_new_tokens: int,
    *,
    advice: str = "lower evaluate.max_new_tokens, leave the item out, or take a model that reads more",
    stage: str = "generate",
) -> None:
    """Refuse the longest prompt that would run past the model's last position with its answer.

    Raises:
        UserError: it names the prompt, what it takes and what the model reads.
    """
    limit = lm.max_positions
    if limit is None or not encoded:
        return
    longest = max(encoded, key=lambda text: len(text.token_ids))
    tokens = len(longest.token_ids)
    if tokens + max_new_tokens > limit:
        raise UserError(
            f"{stage}: {longest.prompt.prompt_id} takes {tokens + max_new_tokens} tokens ({tokens} "
            f"and {max_new_tokens} for its answer), the model reads {limit}; {advice}"
        )
