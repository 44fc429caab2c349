"""Base + delta = a folder that plain Transformers loads."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from linguamap.config import ModelConfig
from linguamap.models.language_model import LanguageModel
from linguamap.models.loading import load_model
from linguamap.records import UserError
from linguamap.run.file_modes import take_usual_mode
from linguamap.tuning.delta import UNTRAINED, apply_delta, read_delta


def merge(base: ModelConfig | LanguageModel, delta: Path, out: Path) -> Path:
    """Write the tuned model with its tokenizer as an ordinary model folder.

    ``AutoModelForCausalLM.from_pretrained(out)`` then gives the same logits as the base with the
    delta applied. The folder appears under its name only when it is complete.

    Args:
        base: how to load the base (its dtype becomes the folder's), or a loaded base, which is
            changed in place.
        delta: a delta of that base.
        out: a folder that does not exist yet, or is empty.
    Raises:
        UserError: wrong base, broken delta, a method that changes no weight, ``out`` holds
            something, or a full disk.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"merge: {out} exists and is not empty; name a new folder")
    found = read_delta(delta)
    if found.method in UNTRAINED:
        raise UserError(
            f"merge: {delta} is of the method {found.method}, which changes no weight, so there is "
            "nothing to merge; use selective, full or lora, or load the delta with linguamap"
        )
    lm = apply_delta(base if isinstance(base, LanguageModel) else load_model(base), delta)
    need = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < need:
        raise UserError(
            f"merge: the model needs {need / 1e9:.1f} GB in {out.parent}, {free / 1e9:.1f} GB are "
            "free; free some or name another folder"
        )
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "model"
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
        take_usual_mode(folder)
        if out.exists():
            out.rmdir()
        os.replace(folder, out)
    return out
