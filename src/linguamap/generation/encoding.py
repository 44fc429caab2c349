"""Prompts in the form that a model reads: chat messages, token ids, and what ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linguamap.generation.prompt_check import prompt_tokens
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
    """Turn prompts into token ids: plain text for base models, the chat template for chat models.

    Raises:
        UserError: a prompt does not reach the model whole, see :func:`~linguamap.generation.prompt_check.prompt_fault`.
    """
    options: dict[str, Any] = {}
    thinking = model_config.thinking if model_config else "auto"
    if thinking != "auto":
        options["enable_thinking"] = thinking == "yes"
    if not prompts:
        return []
    conversations = [render_chat(prompt) for prompt in prompts] if lm.is_chat else None
    texts = prompt_tokens(lm, prompts, conversations, options)
    return [Encoded(*fields) for fields in zip(prompts, texts, shared_prefixes(texts), strict=True)]


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


def _user_turn(prompt: Prompt) -> str:
    roles = ("Q",) if prompt.bare else ("I", "Q")  # its only frame is Q: and A:
    # A prompt of items ends with the label of its answer; a user's own text ends with its question.
    parts = prompt.parts[:-1] if prompt.parts[-1].role == "I" else prompt.parts
    return "".join(part.text for part in parts if part.role in roles).strip()


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
