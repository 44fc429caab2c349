"""Prompts with their reference answers -> token ids and the mask of what is trained on.

The rules:

* The prompt's tokens are those that generation feeds to the model, so that training continues what
  the model will really see. The answer's tokens are those that follow when prompt and answer are
  tokenised together; where that would merge the last prompt token with the answer's first, the
  answer is tokenised by itself.
* A prompt token belongs to the part (P, I or Q) of its first character that is not blank: most
  vocabularies glue the blank before a word to it.
* After the answer comes what ends it (a line break; a chat model's end of turn), trained on with it,
  so that the model learns to stop.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from linguamap.generation.encoding import encode
from linguamap.prompts.sampling import split_items
from linguamap.records import Part, Prompt, UserError
from linguamap.tuning.data.batches import TrainingData, TrainingExample, split_groups
from linguamap.tuning.data.trained_tokens import chat_end, plain_ids, spans_mask, text_end

if TYPE_CHECKING:
    from linguamap.config import ModelConfig, TuneConfig
    from linguamap.models.language_model import LanguageModel

TRAINED_START, TRAINED_END = "⟦", "⟧"
"""Around trained text in a decoded sample."""
SCREEN_LINES, SCREEN_WIDTH = 8, 200
"""What of a decoded sample is shown on the screen, at most; the answer is at its end."""


def examples_from_prompts(
    lm: LanguageModel,
    prompts: Sequence[Prompt | TrainingExample],
    config: TuneConfig,
    model_config: ModelConfig | None = None,
) -> list[TrainingExample]:
    """Tokenise prompts with their references.

    Prompts that coincide with another scenario's are left out, and so are those without a reference;
    with ``tasks`` off also those that have a task to solve. Examples already tokenised pass through.

    Raises:
        UserError: nothing is left.
    """
    chosen = [p for p in prompts if isinstance(p, TrainingExample) or _is_usable(p, config)]
    if not chosen:
        wanted = "a reference answer" + ("" if config.tasks else " and no task (tasks=false)")
        raise UserError(
            f"tune: none of the {len(prompts)} prompts has {wanted}, nothing can be trained on; "
            "give training items with worked answers"
        )
    encoded = iter(
        encode(lm, [prompt for prompt in chosen if isinstance(prompt, Prompt)], model_config)
    )
    return [
        prompt
        if isinstance(prompt, TrainingExample)
        else make_example(lm, prompt, next(encoded).token_ids, config.loss_on)
        for prompt in chosen
    ]


def training_data(
    lm: LanguageModel,
    prompts: Sequence[Prompt | TrainingExample],
    config: TuneConfig,
    model_config: ModelConfig | None,
    seed: int,
) -> TrainingData:
    """Examples to train and to validate on, divided by item before languages.

    Raises:
        UserError: nothing is left, or an example is too long or has nothing to train on.
    """
    examples = examples_from_prompts(lm, prompts, config, model_config)
    check_examples(examples, lm)
    share = config.validation_share
    rendered = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    held_out = {prompt.prompt_id for prompt in split_items(rendered, share, seed).validation}
    tokenised = [example for example in prompts if isinstance(example, TrainingExample)]
    held_out |= split_groups(tokenised, share, seed)
    validates = [example.example_id in held_out for example in examples]
    return TrainingData(
        examples,
        training=[index for index, held in enumerate(validates) if not held],
        validation=[index for index, held in enumerate(validates) if held],
    )


def make_example(
    lm: LanguageModel, prompt: Prompt, prompt_ids: Sequence[int], loss_on: Literal["QRA", "RA"]
) -> TrainingExample:
    """One prompt with its reference answer.

    Args:
        prompt_ids: the prompt's tokens as generation makes them.
        loss_on: which parts are trained on.
    """
    answer = "".join(part.text for part in prompt.reference)
    if lm.is_chat:
        answer_ids = plain_ids(lm.tokenizer, answer.strip()) + chat_end(lm)
    else:
        answer_ids = answer_token_ids(lm.tokenizer, prompt.text, prompt_ids, answer) + text_end(lm)
    mask = [False] * len(prompt_ids)
    if loss_on == "QRA":
        mask = question_mask(lm, prompt, prompt_ids)
        mask[0] = False  # nothing comes before it
    return TrainingExample(
        example_id=prompt.prompt_id,
        token_ids=(*prompt_ids, *answer_ids),
        loss_mask=(*mask, *([True] * len(answer_ids))),
        group=f"{prompt.benchmark}/{prompt.group or prompt.item_id}",
        language=prompt.language,
    )


def answer_token_ids(
    tokenizer: Any, prompt_text: str, prompt_ids: Sequence[int], answer: str
) -> list[int]:
    """The tokens that continue ``prompt_ids`` with ``answer``."""
    joint = list(tokenizer(prompt_text + answer)["input_ids"])
    if joint[: len(prompt_ids)] == list(prompt_ids) and len(joint) > len(prompt_ids):
        return joint[len(prompt_ids) :]
    return plain_ids(tokenizer, answer)


def question_mask(lm: LanguageModel, prompt: Prompt, prompt_ids: Sequence[int]) -> list[bool]:
    """Which prompt tokens are question text (Q).

    Raises:
        UserError: the prompt's tokens cannot be traced back to its text.
    """
    text = prompt.text
    options = {"return_offsets_mapping": True, "add_special_tokens": not lm.is_chat}
    if lm.is_chat:
        text = str(lm.tokenizer.decode(prompt_ids, skip_special_tokens=False))
    encoded = lm.tokenizer(text, **options) if lm.tokenizer.is_fast else {}
    if list(encoded.get("input_ids", [])) != list(prompt_ids):
        raise UserError(
            f"tune: the tokens of {prompt.prompt_id} cannot be traced to its question's "
            "characters with this tokenizer; use tune.loss_on=RA"
        )
    spans = _part_spans(text, prompt.parts)
    return spans_mask(text, encoded["offset_mapping"], [s for role, *s in spans if role == "Q"])


def check_examples(examples: Sequence[TrainingExample], lm: LanguageModel) -> None:
    """Refuse, by name, examples with nothing to train on and those longer than the model reads.

    Raises:
        UserError: the first few such examples.
    """
    limit = lm.max_positions
    empty = [e.example_id for e in examples if not any(e.loss_mask[1:])]
    if empty:
        raise UserError(f"tune: no token to train on in {_some(empty)}; give them an answer")
    long = [e for e in examples if limit is not None and len(e.token_ids) > limit]
    if long:
        raise UserError(
            f"tune: {_some([e.example_id for e in long])} would be cut ({len(long[0].token_ids)} "
            f"tokens, the model reads {limit}); shorten or leave out"
        )


def decoded_sample(example: TrainingExample, tokenizer: Any) -> str:
    """The example as text, trained stretches between ⟦ and ⟧."""
    pieces = [f"# {example.example_id}\n"]
    stretches = itertools.groupby(range(len(example.token_ids)), key=lambda i: example.loss_mask[i])
    for trained, group in stretches:
        text = str(tokenizer.decode([example.token_ids[i] for i in group]))
        pieces.append(f"{TRAINED_START}{text}{TRAINED_END}" if trained else text)
    return "".join(pieces)


def shortened(sample: str) -> str:
    """A decoded sample for the screen: its first and last lines, without their middles where long."""
    visible = "".join(c for c in sample if c == "\n" or unicodedata.category(c) != "Cc")
    lines = [line for line in visible.split("\n") if line.strip()]
    if len(lines) > SCREEN_LINES:
        lines = [*lines[:2], "...", *lines[3 - SCREEN_LINES :]]
    half = SCREEN_WIDTH // 2
    return "\n".join(
        line if len(line) <= SCREEN_WIDTH else f"{line[:half]} ... {line[-half:]}" for line in lines
    )


def _is_usable(prompt: Prompt, config: TuneConfig) -> bool:
    if not prompt.reference or prompt.coincides_with is not None:
        return False
    return config.tasks or prompt.kind == "open"


def _part_spans(text: str, parts: Sequence[Part]) -> list[tuple[str, int, int]]:
    """(role, start, end) of each part in a text that holds them in this order; a chat template may
    have taken outer blanks off."""
    spans: list[tuple[str, int, int]] = []
    cursor = 0
    for part in parts:
        words = part.text if text.startswith(part.text, cursor) else part.text.strip()
        start = text.find(words, cursor)
        if words and start >= 0:
            cursor = start + len(words)
            spans.append((part.role, start, cursor))
    return spans


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
