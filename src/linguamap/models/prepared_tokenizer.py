"""A tokenizer as the stages need it: padding on the left, nothing behind a text, ids that have a row."""

from __future__ import annotations

import json
from typing import Any

from linguamap.records import UserError

OTHERS = "take the tokenizer that belongs to the weights, or add the rows (resize_token_embeddings)"


def prepare_tokenizer(tokenizer: Any, n_rows: int) -> Any:
    """The tokenizer, padding on the left and without an end token behind each text.

    Some base models' tokenizers close every text (``add_eos_token``); a prompt that ends so asks for
    what follows after the end of a text.

    Args:
        n_rows: of the embedding. Further entries may be there (Gemma's image token) as long as nothing
            uses them; a padding token without a row gives way to another, since padding is never read.
    Raises:
        UserError: no token can pad; the start, end or unknown token has no row; something stands behind
            every text and cannot be taken off.
    """
    tokenizer.padding_side = "left"
    for name in ("bos", "eos", "unk"):
        number = getattr(tokenizer, f"{name}_token_id", None)
        if isinstance(number, int) and number >= n_rows:
            token = getattr(tokenizer, f"{name}_token")
            raise UserError(f"model: {_without_row(token, number, n_rows)}; {OTHERS}")
    pad = tokenizer.pad_token_id
    if pad is None or pad >= n_rows:
        spare = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        if spare is None:
            raise UserError("model: the tokenizer has no pad, end, unknown or start token")
        tokenizer.pad_token = spare
    if _n_behind(tokenizer):
        _take_off_end(tokenizer)
    return tokenizer


def id_fault(tokenizer: Any, token_ids: list[int], n_rows: int) -> str | None:
    """Which token of a text has no row in the embedding; None if all have."""
    number = max(token_ids, default=0)
    if number < n_rows:
        return None
    return _without_row(tokenizer.convert_ids_to_tokens(number), number, n_rows)


def _without_row(token: str, number: int, n_rows: int) -> str:
    return (
        f"the tokenizer's token '{token}' has number {number}, and the embedding has {n_rows} rows: "
        "it was added without a row"
    )


def _n_behind(tokenizer: Any) -> int:
    """Tokens that the tokenizer puts behind a text by itself."""
    ids, bare = (
        list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (True, False)
    )
    for start in range(len(ids) - len(bare), -1, -1):
        if ids[start : start + len(bare)] == bare:
            return len(ids) - start - len(bare)
    return 0


def _take_off_end(tokenizer: Any) -> None:
    end = tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"][-1])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        tokenizer.add_eos_token = False
    else:
        processor = backend.post_processor
        state = json.loads(processor.__getstate__())
        for one in state.get("processors", [state]):
            while one.get("single") and "SpecialToken" in one["single"][-1]:
                one["single"].pop()
        processor.__setstate__(json.dumps(state).encode())
        backend.post_processor = processor
    if _n_behind(tokenizer):
        raise UserError(
            f"model: the tokenizer puts '{end}' behind every text, so that a prompt would end with it; "
            "set add_eos_token to false in its tokenizer_config.json"
        )
