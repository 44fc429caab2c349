"""A tuned model to the Hugging Face hub: the delta or the merged model, with its model card: what was tuned,
what it changed with n and intervals, how to load it.

Nothing of the user's machine goes along: no config, no paths, no answers.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from linguamap.records import UserError
from linguamap.report.words import Words, environment
from linguamap.run.files import read_json, write_json, write_text
from linguamap.run.read_run import read_run
from linguamap.run.record import note_written, remove_recorded

if TYPE_CHECKING:
    from linguamap.config import RunConfig
    from linguamap.run.folder import Run
    from linguamap.tuning.delta import Delta

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
FOLDER = "push"
STARTER_BASE = "google/gemma-3-270m"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def write_upload(run: Run, repo: str, *, merged: bool = False) -> Path:
    """Write what would be uploaded into ``RUN/push``: ``README.md`` and the delta or the merged model.

    Args:
        repo: ``user/name`` on the hub, for the card.
        merged: a whole model that plain Transformers loads, instead of the delta.
    Returns:
        The folder; one of an earlier call is replaced.
    Raises:
        UserError: a bad name, nothing was tuned, no answers after tuning, or a method with nothing to
            publish.
    """
    from linguamap.models.loading import load_model
    from linguamap.tuning.delta import read_delta, save_delta
    from linguamap.tuning.methods import method_of
    from linguamap.tuning.serve import merge

    if not REPO.fullmatch(repo):
        raise UserError(f"push: {repo!r} is no name on the hub; write --to user/name")
    path = run.folder / "tuned" / "delta.safetensors"
    delta = read_delta(path)
    if method_of(delta.method).applies == "examples":
        raise UserError(
            f"push: {delta.method} changes nothing in the model, so there is nothing to publish"
        )
    card = write_card(run.folder, run.config, repo, merged)
    folder = run.folder / FOLDER
    if folder.exists():
        remove_recorded(run.folder, f"{FOLDER}/")
    tuning = read_json(run.folder / "tuned" / "tuning.json")
    if merged:
        merge(lambda: load_model(run.config.model), path, folder)
        for file in folder.iterdir():
            note_written(file)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        tuning |= save_delta(folder / "delta.safetensors", _without_path(run, delta))
    write_json(folder / "tuning.json", {k: v for k, v in tuning.items() if k != "data"})
    write_text(folder / "README.md", card)
    return folder


def push(run: Run, repo: str, *, merged: bool = False, private: bool = False) -> str:
    """Upload a run's tuned model; the token is huggingface_hub's own (``hf auth login``, HF_TOKEN).

    Returns:
        The address of the model's page.
    Raises:
        UserError: as :func:`write_upload`, or the hub cannot be reached or says no.
    """
    folder = write_upload(run, repo, merged=merged)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api: Any = HfApi()
    kind = "merged model" if merged else "delta"
    try:
        api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            repo_type="model",
            folder_path=folder,
            commit_message=f"Upload {kind} with linguamap",
        )
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = "; log in with: hf auth login" if status in (401, 403) else ""
        raise UserError(f"push: the hub answered: {_one_line(error)}{advice}") from None
    except (OSError, HFValidationError) as error:
        raise UserError(
            f"push: {repo} cannot be uploaded ({_one_line(error)}); is there a network, and a token "
            f"(hf auth login)? The folder is ready in {folder}"
        ) from None
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        raise UserError(
            f"push: the hub cannot be reached ({_one_line(error)}); the folder is ready in {folder}"
        ) from None
    return f"{api.endpoint}/{repo}"


def _without_path(run: Run, delta: Delta) -> Delta:
    """The same delta; a base that is a local folder is named by the folder alone."""
    name, _ = base_model(run.config)
    return dataclasses.replace(delta, base={**delta.base, "name": name})


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")


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
