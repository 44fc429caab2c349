"""Prompts as a model reads them, chat messages or token ids, and proof that nothing is lost on the way."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linguamap.generation.shared_prefix import SharedPrefix, shared_prefixes
from linguamap.generation.thinking import LINE_END, end_token_ids
from linguamap.models.chat_template import (
    WAY_OUT,
    Messages,
    TemplateRefusal,
    render_conversation,
    without_system,
)
from linguamap.models.prepared_tokenizer import OTHERS, id_fault
from linguamap.records import Prompt, UserError

if TYPE_CHECKING:
    from linguamap.config import EvaluateConfig, ModelConfig
    from linguamap.models.language_model import LanguageModel


NAMES = {
    "prompt": "the prompt",
    "system": "the preamble",
    "user": "the instruction, the question or the options",
    "assistant": "a worked example",
}
LOST_SHARE = 0.5
"""Of a prompt's different letters; a tokenizer that loses more cannot write the language."""


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
        UserError: a prompt does not reach the model whole, see :func:`prompt_fault`.
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


def prompt_tokens(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    conversations: Sequence[Messages] | None,
    options: Mapping[str, Any],
) -> list[list[int]]:
    """The token ids of each prompt: of its text, or of its conversation under the chat template.

    A template that refuses a system message, or leaves it out without a word, gets its text in the
    user's turn.

    Args:
        conversations: of a chat model, each prompt as messages; None for a base model.
        options: further variables of the chat template.
    Raises:
        UserError: the template fails, or the prompt does not arrive whole; it names the prompt.
    """
    texts = [prompt.text for prompt in prompts]
    if conversations is not None:
        texts = [chat_text(lm.tokenizer, messages, options) for messages in conversations]
    encoded = lm.tokenizer(texts, add_special_tokens=conversations is None)["input_ids"]
    languages: set[str] = set()
    for number, (prompt, text, ids) in enumerate(zip(prompts, texts, encoded, strict=True)):
        wanted = [("prompt", prompt.text)]
        if conversations is not None:
            wanted = [(one["role"], one["content"]) for one in conversations[number]]
        fault = prompt_fault(lm, wanted, text, ids, prompt.language not in languages)
        if fault is not None:
            way_out = WAY_OUT if conversations is not None else OTHERS
            raise UserError(f"model: {lm.name}: {prompt.prompt_id}: {fault}; {way_out}")
        languages.add(prompt.language)
    return [list(ids) for ids in encoded]


def chat_text(tokenizer: Any, messages: Messages, options: Mapping[str, Any]) -> str:
    """A conversation under the chat template, up to where the model goes on."""
    try:
        text = render_conversation(tokenizer, messages, ask=True, **options)
        if messages[0]["role"] != "system" or _squeezed(messages[0]["content"]) in _squeezed(text):
            return text
    except TemplateRefusal:
        if messages[0]["role"] != "system":
            raise
    return render_conversation(tokenizer, without_system(messages), ask=True, **options)


def prompt_fault(
    lm: LanguageModel,
    wanted: Sequence[tuple[str, str]],
    text: str,
    token_ids: Sequence[int],
    read_back: bool = True,
) -> str | None:
    """What is wrong with a rendered prompt, or None.

    Args:
        wanted: (whose, text): what must be in it, blanks aside.
        text: as rendered.
        token_ids: of the text.
        read_back: also decode the tokens and see whether the prompt's letters are in them.
    """
    whole = _squeezed(text)
    for whose, part in wanted:
        if _squeezed(part) not in whole:
            return f"{NAMES[whose]} is not in what the model would read"
    if fault := id_fault(lm.tokenizer, list(token_ids), _n_rows(lm)):
        return fault
    if end := _end_token(lm, token_ids):
        return f"it ends with '{end}', so that the model is asked to go on after the end"
    if read_back:
        letters = _letters("".join(part for _, part in wanted))
        lost = letters - _letters(lm.tokenizer.decode(list(token_ids)))
        if len(lost) > LOST_SHARE * len(letters):
            return f"the tokenizer loses {len(lost)} of its {len(letters)} different letters"
    return None


def _n_rows(lm: LanguageModel) -> int:
    return int(lm.model.get_input_embeddings().weight.shape[0])


def _end_token(lm: LanguageModel, token_ids: Sequence[int]) -> str | None:
    """The end token that a prompt ends with, blanks aside."""
    ends = end_token_ids(lm)
    for number in reversed(token_ids):
        shown = str(lm.tokenizer.decode([number], skip_special_tokens=False))
        if number in ends:
            return shown
        if shown.strip():
            break
    return None


def _letters(text: str) -> set[str]:
    return set(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _squeezed(text: str) -> str:
    return "".join(text.split())
