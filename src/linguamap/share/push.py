"""A tuned model to the Hugging Face hub: the delta or the merged model, with its model card.

Nothing of the user's machine goes along: no config, no paths, no answers.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.records import UserError
from linguamap.run.files import read_json, write_json, write_text
from linguamap.run.record import note_written, remove_recorded
from linguamap.share.model_card import base_model, write_card

if TYPE_CHECKING:
    from linguamap.run.folder import Run
    from linguamap.tuning.delta import Delta

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
FOLDER = "push"


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
