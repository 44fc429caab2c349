"""Users' own training data: JSON lines in one of two forms.

    {"id": "1", "language": "fr", "P": "...", "I": "...", "Q": "...", "R": "...", "A": "..."}
    {"id": "2", "language": "fr", "messages": [{"role": "user", "content": "..."}, ...]}

Of the parts only Q and A must be there; they are put together as they stand, so blanks and line breaks
belong into the texts. Of a conversation the assistant's turns are trained on. ``group`` (optional)
keeps lines that belong together on one side of the validation split; it defaults to ``id``, and that to
the line's number. Steering needs ``language``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from linguamap.records import Part, Prompt, Role, UserError
from linguamap.tuning.data.batches import TrainingExample
from linguamap.tuning.data.training_examples import chat_end, spans_mask

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel

ROLES: tuple[Role, ...] = get_args(Role)


def read_jsonl(path: Path, lm: LanguageModel) -> list[Prompt | TrainingExample]:
    """Read a file of either form; the lines may be mixed.

    Raises:
        UserError: missing file, or a line that is neither form, with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"tune: {path} cannot be read ({error}); give a JSONL file") from None
    found: list[Prompt | TrainingExample] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"tune: {path}, line {number} is not JSON ({error.msg})") from None
        where = f"{path}, line {number}"
        if isinstance(row, dict) and "messages" in row:
            found.append(_conversation(row, number, where, lm))
        elif isinstance(row, dict) and "Q" in row and "A" in row:
            found.append(_parts(row, number, where))
        else:
            raise UserError(
                f"tune: {where} has neither 'messages' nor the parts 'Q' and 'A' "
                "(P, I and R may be added)"
            )
    if not found:
        raise UserError(f"tune: {path} holds no line")
    return found


def _parts(row: dict[str, Any], number: int, where: str) -> Prompt:
    wrong = [role for role in ROLES if not isinstance(row.get(role, ""), str)]
    if wrong:
        raise UserError(f"tune: {where}: part '{wrong[0]}' must be a text")
    parts = [Part(role, row[role]) for role in ROLES if row.get(role)]
    name = str(row.get("id", f"line {number}"))
    return Prompt(
        item_id=name,
        benchmark="jsonl",
        kind="open",
        language=str(row.get("language", "")),
        scenario="monolingual",
        parts=tuple(part for part in parts if part.role in ("P", "I", "Q")),
        gold=(row["A"],),
        reference=tuple(part for part in parts if part.role in ("R", "A")),
        group=str(row.get("group", name)),
    )


def _conversation(
    row: dict[str, Any], number: int, where: str, lm: LanguageModel
) -> TrainingExample:
    messages = row["messages"]
    if not getattr(lm.tokenizer, "chat_template", None):
        raise UserError(
            f"tune: {where} has 'messages', but the tokenizer of {lm.name} has no chat template; "
            "use the form with P, I, Q, R and A"
        )
    is_list = isinstance(messages, list) and bool(messages)
    if not is_list or not all(
        isinstance(m, dict) and isinstance(m.get("content"), str) and "role" in m for m in messages
    ):
        raise UserError(f"tune: {where}: 'messages' must be a list of role and content")
    text = _rendered(lm, messages, where)
    encoded = lm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = spans_mask(text, encoded["offset_mapping"], _spoken(lm, text, messages, where))
    ids = list(encoded["input_ids"])
    for place, end in _turn_ends(ids, mask, chat_end(lm)):
        mask[place:end] = [True] * (end - place)
    name = str(row.get("id", f"line {number}"))
    return TrainingExample(
        example_id=f"jsonl/{name}",
        token_ids=tuple(ids),
        loss_mask=(False, *mask[1:]),
        group=f"jsonl/{row.get('group', name)}",
        language=row.get("language"),
    )


def _rendered(
    lm: LanguageModel, messages: list[dict[str, str]], where: str, *, ask: bool = False
) -> str:
    """The conversation under the chat template; with ``ask`` also what opens the next answer."""
    try:
        return str(
            lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        )
    except Exception as error:  # the template's own raise_exception arrives as a Jinja error
        if type(error).__name__ != "TemplateError":
            raise
        raise UserError(f"tune: {where}: the chat template refuses it ({error})") from None


def _spoken(
    lm: LanguageModel, text: str, messages: list[dict[str, str]], where: str
) -> list[tuple[int, int]]:
    """Character spans of the assistant's words in the rendered conversation.

    Raises:
        UserError: a turn whose words are not in the text, or cannot be told from the template's.
    """
    spans = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and message["content"].strip():
            span = _turn(lm, text, messages, place, where)
            if span is None:
                raise UserError(
                    f"tune: {where}: the answer in message {place + 1} is not found in the text that "
                    "the chat template makes; cut the conversation after it, or leave the line out"
                )
            spans.append(span)
    return spans


def _turn(
    lm: LanguageModel, text: str, messages: list[dict[str, str]], place: int, where: str
) -> tuple[int, int] | None:
    """Where the words of one message stand: between what the template puts around any words.

    That is seen by rendering the whole conversation with a stand-in for this message, since a
    template may write a turn otherwise when others follow (Qwen3 takes earlier thinking out). Words
    that change their own header (the last turn's thinking) begin where the template's own opening
    of an answer ends.
    """
    stand_in = "standin"
    while stand_in in text:
        stand_in += "x"
    replaced = [*messages[:place], {**messages[place], "content": stand_in}, *messages[place + 1 :]]
    before, found, after = _rendered(lm, replaced, where).partition(stand_in)
    end = len(text) - len(after)
    if not found or not text.endswith(after):
        return None
    if not text.startswith(before):
        before = _rendered(lm, messages[:place], where, ask=True) if place else ""
        if not before or not text.startswith(before):
            return None
    return (len(before), end) if text[len(before) : end].strip() else None


def _turn_ends(ids: list[int], mask: list[bool], end: list[int]) -> list[tuple[int, int]]:
    """Where the template's end of turn follows trained tokens."""
    return [
        (place, place + len(end))
        for place in range(1, len(ids) - len(end) + 1)
        if mask[place - 1] and not mask[place] and ids[place : place + len(end)] == end
    ]
