"""From the command's options to a ready explorer: config, model, delta, items."""

from __future__ import annotations

import os
from pathlib import Path

from linguamap.config import RunConfig, load_config
from linguamap.explore.explorer_page import Explorer
from linguamap.explore.items import Items
from linguamap.explore.variants import Variants
from linguamap.languages import get_language
from linguamap.models.loading import load_model
from linguamap.prompts.run_prompts import RunItems
from linguamap.records import UserError
from linguamap.run.folder import open_run
from linguamap.scoring.language_id import make_identifier


def open_explorer(model: str | None, folder: Path | None, languages: str | None) -> Explorer:
    """Load what the page needs.

    Args:
        model: as ``--model``; None takes the run's, or the starter model without a run.
        folder: a run folder, or None: then the starter items can be picked.
        languages: comma-separated codes in place of the run's.
    Raises:
        UserError: no run there, no such model or language, a delta of another model.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    config = load_config() if folder is None else open_run(folder, None).config
    config = config.model_copy(deep=True)
    if model is not None and model != config.model.name:
        config.model = config.model.model_copy(update={"name": model, "revision": None})
    if languages is not None:
        config.languages = [code.strip() for code in languages.split(",") if code.strip()]
    if not config.languages:
        raise UserError("explore: --languages names none; give codes, e.g. en,fr,hi")
    for code in config.languages:
        get_language(code)
    identifier = make_identifier(config.score.identifier, config.languages)
    delta = None if folder is None else folder / "tuned" / "delta.safetensors"
    variants = Variants(
        load_model(config.model), delta if delta is not None and delta.is_file() else None
    )
    items, note = _items(config)
    return Explorer(variants, config, identifier, items, note)


def _items(config: RunConfig) -> tuple[Items, str]:
    """The run's evaluated prompts; without them, why."""
    try:
        return Items(RunItems(config).test_prompts), ""
    except UserError as error:
        return Items(), f"No item can be picked: {error}"
