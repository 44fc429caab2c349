"""Users' own prompts, without right answers: a file in any of the usual forms -> prompts.

=================  ============================================================================
file, line         what is read
=================  ============================================================================
``.txt``           a prompt a line
``.csv``           the column ``prompt`` (or ``question``, ``text``, ``instruction``)
``.jsonl``         the same keys; Alpaca: ``instruction`` and ``input``, ``system``
... conversation   ``messages`` (role, content) or ShareGPT's ``conversations`` (from, value)
=================  ============================================================================

A row may add ``id`` and ``language``. Of a conversation the last turn of the user is asked, with what
stands before it; answers that the file already has are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.languages import get_language, language_code
from linguamap.outside import as_text, csv_table, json_rows, lines, shown
from linguamap.prompts.sampling import Halves, split_items
from linguamap.records import Benchmark, Item, Part, Prompt, Split, UserError

if TYPE_CHECKING:
    from linguamap.config import RunConfig

TEXT_KEYS = ("prompt", "question", "instruction", "text", "Q")
"""Where the text of a prompt stands, the likeliest first."""
TALKS = ("messages", "conversations")
ANSWERED = ("options", "passage")
"""Keys of items with an answer to be scored, which would be lost here."""
SPEAKERS = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
    "bot": "assistant", "ai": "assistant",
}  # fmt: skip
"""Names of those who speak, in small letters -> the name that chat templates know."""
SUFFIXES = (".jsonl", ".csv", ".txt")


def plain_prompt(
    text: str, language: str, *, name: str = "typed", system: str = "",
    turns: Sequence[tuple[str, str]] = (), benchmark: str = "prompts",
) -> Prompt:  # fmt: skip
    """A prompt about which nothing is known but the language wanted.

    Args:
        turns: what user and assistant said before.
    """
    head = (Part("P", f"{system.strip()}\n"),) if system.strip() else ()
    shots = [
        Prompt(name, benchmark, "open", language, "monolingual", (Part("Q", f"{asked.strip()}\n"),),
               (), reference=(Part("A", said.strip()),))
        for asked, said in turns
    ]  # fmt: skip
    parts = (*head, Part("Q", f"{text.strip()}\n"), Part("I", ""))
    return Prompt(name, benchmark, "open", language, "monolingual", parts, (), shots=tuple(shots))


def read_prompts(path: Path, language: str | None = None) -> list[Prompt]:
    """The prompts of a file, see :func:`prompts_of`.

    Raises:
        UserError: no such file, or another suffix.
    """
    return prompts_of(_rows(path), language, path.stem)


def prompts_of(
    rows: Iterable[tuple[str, Mapping[str, Any]]], language: str | None = None,
    benchmark: str = "prompts",
) -> list[Prompt]:  # fmt: skip
    """Prompts of rows in any of the forms.

    Args:
        rows: each with the place that is named where it is at fault.
        language: wanted of the rows that name none.
    Raises:
        UserError: no row, a row without prompt or language, or with another one's id.
    """
    prompts: dict[tuple[str, str], Prompt] = {}
    for number, (place, row) in enumerate(rows, 1):
        try:
            prompt = _prompt(row, f"line {number}", language, benchmark)
        except (UserError, ValueError) as error:
            raise UserError(f"prompts: {place}: {error}") from None
        key = prompt.item_id, prompt.language
        if key in prompts:
            raise UserError(f"prompts: {place}: the id {prompt.item_id} is there already")
        prompts[key] = prompt
    if not prompts:
        raise UserError("prompts: there is none; give one a line")
    return list(prompts.values())


LEAST = 8
"""Prompts for a run: half of them are asked, and the other half is for probing and tuning."""


def in_halves(path: Path, config: RunConfig) -> Halves:
    """A file's prompts cut in two by id, the same in every language: to train on, and to ask.

    Raises:
        UserError: the file is broken or short, or a prompt is in none of the run's languages.
    """
    prompts = read_prompts(path, config.data.prompts_language)
    if len(prompts) < LEAST:
        raise UserError(
            f"prompts: {path} has {len(prompts)}, and a run takes {LEAST} at least (half are asked, half "
            "are for tuning); add some, or see what is answered with: linguamap check"
        )
    if others := {prompt.language for prompt in prompts} - set(config.languages):
        raise UserError(
            f"prompts: {path} asks for {', '.join(sorted(others))}, which --languages "
            f"{','.join(config.languages)} leaves out; add them there"
        )
    return split_items(prompts, 0.5, config.seed)


def open_benchmark(prompts: Sequence[Prompt], path: Path, split: Split) -> Benchmark:
    """Own prompts as what a run says of its items, and keeps apart from what it trains on."""
    items: dict[str, list[Item]] = {}
    for one in prompts:
        question = next(part.text.strip() for part in one.parts if part.role == "Q")
        item = Item(one.item_id, path.stem, "open", one.language, split, question, ())
        items.setdefault(one.language, []).append(item)
    return Benchmark(
        path.stem, "open", split, {code: tuple(own) for code, own in items.items()},
        rows_read={code: len(own) for code, own in items.items()}, source=str(path), aligned=False,
    )  # fmt: skip


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix not in SUFFIXES:
        raise UserError(f"prompts: {path} is no {', '.join(SUFFIXES)} file")
    if path.suffix == ".jsonl":
        yield from json_rows(path)
    elif path.suffix == ".csv":
        yield from csv_table(path, ())
    else:
        yield from ((f"{path} line {n}", {"prompt": text}) for n, text in lines(path, gaps=True))


def _prompt(row: Mapping[str, Any], number: str, language: str | None, stem: str) -> Prompt:
    if lost := [key for key in ANSWERED if row.get(key)]:
        raise ValueError(
            f"has {' and '.join(lost)}, so it is an item; run: linguamap evaluate --benchmarks FILE"
        )
    name = as_text(row.get("id")) or as_text(row.get("item_id")) or number
    wanted = row.get("language") or language
    if not isinstance(wanted, str):
        raise ValueError("names no language; add one, or give --language")
    code = get_language(language_code(wanted) or wanted).code
    key = next((key for key in (*TALKS, *TEXT_KEYS) if row.get(key)), None)
    if key in TALKS or (key == "prompt" and isinstance(row[key], list)):
        return _conversation(row[key], key, code, name, stem)
    text = as_text(row[key]) if key else None
    if not text or not text.strip():
        raise ValueError(
            f"has no prompt but {', '.join(map(shown, row)) or 'nothing'}; a row has one of "
            f"{', '.join(TEXT_KEYS)}, messages, conversations"
        )
    more = as_text(row.get("input")) if key == "instruction" else None
    system = as_text(row.get("system")) or ""
    asked = "\n\n".join(filter(None, (text, more)))
    return plain_prompt(asked, code, name=name, system=system, benchmark=stem)


def _conversation(values: object, key: str, code: str, name: str, stem: str) -> Prompt:
    """The user's last words, with system text and earlier turns before them."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"'{key}' must be a list of messages, each a role and a content")
    said = [_message(value, number) for number, value in enumerate(values, 1)]
    system = "\n".join(text for role, text in said if role == "system")
    turns = [one for one in said if one[0] != "system"]
    while turns and turns[-1][0] == "assistant":
        turns.pop()
    roles = [role for role, _ in turns]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise ValueError(
            f"'{key}' has the roles {', '.join(roles) or 'none'}; user and assistant must take turns"
        )
    pairs = [(asked[1], said[1]) for asked, said in zip(turns[0:-1:2], turns[1::2], strict=True)]
    return plain_prompt(turns[-1][1], code, name=name, system=system, turns=pairs, benchmark=stem)


def _message(value: object, number: int) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"message {number} is no table of role and content: {shown(value)}")
    role = value.get("role", value.get("from"))
    known = SPEAKERS.get(role.strip().lower()) if isinstance(role, str) else None
    content = value.get("content", value.get("value"))
    if isinstance(content, list):
        content = "".join(str(one.get("text", "")) for one in content if isinstance(one, dict))
    if known is None or not isinstance(content, str):
        raise ValueError(
            f"message {number} must have a text and a role of {', '.join(SPEAKERS)}; its role is "
            f"{shown(role)}"
        )
    return known, content
