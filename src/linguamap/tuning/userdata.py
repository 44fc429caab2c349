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
from typing import Any, get_args

from linguamap.model import LanguageModel
from linguamap.records import Part, Prompt, Role, UserError
from linguamap.tuning.batches import TrainingExample
from linguamap.tuning.examples import chat_end, spans_mask

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
    text = str(lm.tokenizer.apply_chat_template(messages, tokenize=False))
    encoded = lm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = spans_mask(text, encoded["offset_mapping"], _spoken(text, messages))
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


def _spoken(text: str, messages: list[dict[str, str]]) -> list[tuple[int, int]]:
    """Character spans of the assistant's words in the rendered conversation."""
    spans, cursor = [], 0
    for message in messages:
        words = message["content"].strip()
        start = text.find(words, cursor)
        if start >= 0 and words:
            cursor = start + len(words)
            if message["role"] == "assistant":
                spans.append((start, cursor))
    return spans


def _turn_ends(ids: list[int], mask: list[bool], end: list[int]) -> list[tuple[int, int]]:
    """Where the template's end of turn follows trained tokens."""
    return [
        (place, place + len(end))
        for place in range(1, len(ids) - len(end) + 1)
        if mask[place - 1] and not mask[place] and ids[place : place + len(end)] == end
    ]
