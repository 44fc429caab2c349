"""Selective tuning from a notebook: texts in, a tuned model out, without a run folder."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap import charts
from linguamap.api.functions import load
from linguamap.api.typed_results import Result
from linguamap.config import TuneConfig
from linguamap.records import UserError
from linguamap.run.files import write_rows

if TYPE_CHECKING:
    from linguamap.models.language_model import LanguageModel


@dataclass(frozen=True, repr=False)
class Tuned(Result):
    """A model after tuning: a small delta, and the base that it belongs to.

    Attributes:
        folder: holds ``delta.safetensors``, ``tuning.json`` and ``log.jsonl``.
        facts: what ``tuning.json`` says: blocks, parameters, losses by epoch.
    """

    folder: Path
    facts: Mapping[str, Any]
    base: Callable[[], LanguageModel]

    @property
    def rows(self) -> list[dict[str, Any]]:
        curves = {"training": "train_loss", "validation": "validation_loss"}
        return [
            {"curve": curve, "epoch": epoch, "loss": value}
            for curve, name in curves.items()
            for epoch, value in enumerate(self.facts.get(name) or (), 1)
        ]

    def plot(self) -> charts.Chart:
        return charts.loss(self.rows, kept_epoch=self.facts.get("best_epoch"))

    def load(self) -> LanguageModel:
        """The tuned model, for :func:`linguamap.lens`, :func:`linguamap.check` and the others."""
        from linguamap.tuning.delta import apply_delta

        return apply_delta(self.base(), self.folder / "delta.safetensors")

    def merge(self, to: str | Path) -> Path:
        """Write the tuned model as a folder that Transformers, vLLM and llama.cpp's converter read.

        Raises:
            UserError: the folder holds something, or the method changed no weight.
        """
        from linguamap.tuning.serve import merge

        return merge(self.base, self.folder / "delta.safetensors", Path(to))

    def __repr__(self) -> str:
        blocks = ", ".join(map(str, self.facts["layers"])) or "all"
        return f"<Tuned: {self.facts['method']}, blocks {blocks}; .load(), .merge(folder), .plot()>"


def tune(
    model: Any, texts: str | Path | Sequence[Mapping[str, Any]], *, out: str | Path,
    layers: str = "last:2", seed: int = 0, **settings: Any,
) -> Tuned:  # fmt: skip
    """Train a few blocks on texts in the language asked for.

    Args:
        model: of :func:`linguamap.load`, or what that takes. A loaded one is copied, and stays as it is.
        texts: a ``.jsonl`` file or rows with ``prompt`` and ``completion``, ``messages``, or another
            form of :mod:`linguamap.tuning.data.user_texts`; ``language`` may be added.
        out: folder for the delta; a call that was killed goes on there.
        layers: ``last:2``, ``first:2``, ``middle:2``, ``random:2``, ``all``, or numbers as ``17,18``.
        settings: of :class:`linguamap.config.TuneConfig`, e.g. ``epochs=1``, ``method="lora"``.
    Raises:
        UserError: a text in no form, blocks that are not there, an unknown setting.
    """
    from linguamap.tuning.blocks import parse_layers
    from linguamap.tuning.data.user_texts import read_jsonl
    from linguamap.tuning.run_tuning import tune as train

    unknown = settings.keys() - TuneConfig.model_fields.keys()
    if unknown:
        raise UserError(f"tune: {', '.join(sorted(unknown))} is no setting of tuning")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(texts, str | Path):
        path = Path(texts)
    else:
        path = folder / "texts.jsonl"
        write_rows(path, [dict(row) for row in texts])

    def base() -> LanguageModel:
        if isinstance(model, str | Path):
            return load(model)
        held: LanguageModel = model
        return load_copy(held)

    lm = base()
    config = TuneConfig.model_validate({"layers": layers, **settings})
    blocks = parse_layers(layers, lm.n_layers, seed)
    facts = train(lm, read_jsonl(path, lm), config, blocks, folder, seed=seed)
    return Tuned(folder, facts, base)


def load_copy(lm: LanguageModel) -> LanguageModel:
    """A model with weights of its own; tuning uses its model up."""
    twin = load(copy.deepcopy(lm.model), lm.tokenizer)
    return dataclasses.replace(twin, name=lm.name, revision=lm.revision, is_chat=lm.is_chat)
