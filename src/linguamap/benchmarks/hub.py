"""Rows from the Hugging Face hub, through the library ``datasets``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from linguamap.records import UserError

REPOSITORIES = {
    "mgsm": "juletxara/mgsm",
    "xquad": "google/xquad",
    "global_mmlu_lite": "CohereLabs/Global-MMLU-Lite",
    "global_mmlu": "CohereLabs/Global-MMLU",
    "mmmlu": "openai/MMMLU",
    "mmlu": "cais/mmlu",
}

Revisions = str | Mapping[str, str] | None
"""One revision for every data set, or one for each by its name in :data:`REPOSITORIES`."""

CONVERTED = "refs/convert/parquet"
"""Branch with the hub's own Parquet copy, for data sets that are still a Python script."""

_IS_SCRIPT = "scripts are no longer supported"


def hub_description(name: str, revisions: Revisions) -> str:
    """A data set and its revision, for a summary."""
    at = revision_of(name, revisions)
    return REPOSITORIES[name] + (f" at {at}" if at else "")


def revision_of(name: str, revisions: Revisions) -> str | None:
    """The revision of one data set.

    Raises:
        UserError: a revision is given for a data set that there is not.
    """
    if revisions is None or isinstance(revisions, str):
        return revisions
    if unknown := sorted(set(revisions) - set(REPOSITORIES)):
        raise UserError(
            f"data.revision: no data set is called {', '.join(unknown)}; there are "
            f"{', '.join(REPOSITORIES)}"
        )
    return revisions.get(name)


def configurations(name: str, revisions: Revisions) -> list[str]:
    """The names of a data set's parts, mostly languages."""
    revision = revision_of(name, revisions)
    try:
        names: list[str] = _library().get_dataset_config_names(
            REPOSITORIES[name], revision=revision
        )
    except (OSError, ValueError, RuntimeError) as error:
        if revision is None and _IS_SCRIPT in str(error):
            return configurations(name, CONVERTED)
        raise _refused(name, error) from None
    return names


def hub_rows(
    name: str, configuration: str, split: str, revisions: Revisions
) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows of one part of a data set, each with its place.

    Raises:
        UserError: the library is missing, or the data set cannot be read.
    """
    datasets, revision, repository = _library(), revision_of(name, revisions), REPOSITORIES[name]
    try:
        try:
            rows = datasets.load_dataset(repository, configuration, split=split, revision=revision)
        except RuntimeError as error:
            if revision is not None or _IS_SCRIPT not in str(error):
                raise
            rows = datasets.load_dataset(
                repository, data_dir=configuration, split=split, revision=CONVERTED
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _refused(name, error) from None
    return [(f"{repository} {configuration} {split} row {n}", row) for n, row in enumerate(rows, 1)]


def _refused(name: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(
        f"{name}: {REPOSITORIES[name]} cannot be read from the hub ({reason}); check the network "
        "and the revision, or give a local folder with --data"
    )


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            "benchmarks from the hub need the package datasets: pip install 'linguamap[hub]', "
            "or give a local folder with --data"
        ) from None
