"""The model card of a tuned model: what was tuned, what it changed with n and intervals, how to load it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from linguamap.records import UserError
from linguamap.report.words import Words, environment
from linguamap.run.read_run import read_run

if TYPE_CHECKING:
    from linguamap.config import RunConfig

STARTER_BASE = "google/gemma-3-270m"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def write_card(folder: Path, config: RunConfig, repo: str, merged: bool) -> str:
    """The text of ``README.md`` for a run's delta or merged model.

    Args:
        folder: a run folder that was evaluated before and after tuning.
        repo: ``user/name`` on the hub.
        merged: whether the folder holds a whole model rather than the delta.
    Raises:
        UserError: the run has no answers after tuning, or a file is broken.
    """
    run = dataclasses.replace(read_run(folder), config=config)
    if run.faults:
        raise UserError(f"push: {folder}: {run.faults[0]}")
    before, after = run.before.summary, run.after.summary
    if before is None or after is None or run.tuning is None:
        lacking = "after" if before else "before"
        raise UserError(
            f"push: {folder} has no answers {lacking} tuning, and the card shows what tuning changed; "
            f"run: linguamap after --out {folder}"
        )
    base, linked = base_model(config)
    return (
        environment(html=False)
        .get_template("card.md.j2")
        .render(
            run=run, words=Words(html=False, run=run), before=before, after=after, base=base,
            linked=linked, merged=merged, repo=repo, title=repo.partition("/")[2] or repo,
            starter=config.model.name == "starter", facts=_front_matter(config, merged),
        ).rstrip()
        + "\n"
    )  # fmt: skip


def base_model(config: RunConfig) -> tuple[str, bool]:
    """The base's name, fit for publication, and whether it is one on the hub.

    Of a local folder or file only the last part of the path is told.
    """
    name = config.model.name
    if name == "starter":
        return STARTER_BASE, True
    path = Path(name).expanduser()
    if HUB_NAME.fullmatch(name) and not path.exists():
        return name, True
    return path.name, False


def _front_matter(config: RunConfig, merged: bool) -> str:
    """The card's facts as the hub reads them, in YAML."""
    base, linked = base_model(config)
    facts: dict[str, Any] = {
        "language": list(config.languages),
        "tags": ["linguamap", "multilingual", "language-consistency"],
    }
    if linked:
        facts |= {"base_model": base, "base_model_relation": "finetune" if merged else "adapter"}
    if merged:
        facts |= {"library_name": "transformers", "pipeline_tag": "text-generation"}
    facts["license"] = "gemma" if config.model.name == "starter" else "other"
    if facts["license"] == "other":
        facts["license_name"] = "that-of-the-base-model"
        if linked:
            facts["license_link"] = f"https://huggingface.co/{base}"
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
