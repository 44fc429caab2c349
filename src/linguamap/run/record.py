"""Whose files a run folder's files are: a record of every file that a run writes, and a lock.

A file's name enters the record before the file is made, so that a clean-up removes what the run wrote,
killed or not, and nothing that a user put beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from linguamap.records import UserError

RECORD = ".linguamap-files"
"""In a run folder: one JSON string a line, the name of a file from there, in the order of their making."""
LOCK = ".linguamap-lock"
GRACE_SECONDS = 3.0
"""How long a killed process may take until it is gone and its lock with it."""
TEMPORARY = re.compile(r"\.(.+)\.[0-9]+\.tmp")
"""A file on its way to its name, see :func:`linguamap.run.files.replacing`."""


_HELD: set[BaseFileLock] = set()
"""Locks until the process ends; one that nobody refers to lets go."""


def start_record(folder: Path) -> None:
    """Make a folder one whose files are recorded from here on."""
    (folder / RECORD).touch()


def note_written(path: Path) -> None:
    """Note a file that is about to be written, in each folder with a record that it lies in."""
    path = Path(os.path.abspath(path))
    for folder in path.parents:
        name = path.relative_to(folder).as_posix()
        if (folder / RECORD).is_file() and name not in recorded(folder):
            with open(folder / RECORD, "ab") as file:
                file.write(f"\n{json.dumps(name)}\n".encode("ascii"))  # after a line torn by a kill


def recorded(folder: Path) -> list[str]:
    """The names of a folder's own files, of those that are there and of others."""
    names: dict[str, None] = {}
    for line in (folder / RECORD).read_text("ascii", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            name = json.loads(line)
            if isinstance(name, str) and name and not {"..", "/"} & set(Path(name).parts):
                names[name] = None
    return list(names)


def remove_recorded(folder: Path, below: str = "") -> None:
    """Remove a folder's own files, and the folders that are empty after that.

    Args:
        below: only what lies in this folder of it.
    Raises:
        UserError: nothing is known of its files.
    """
    if not (folder / RECORD).is_file():
        raise UserError(
            f"run folder: {folder} has no record of its files ({RECORD}), so none can be told from "
            "yours; use another --out"
        )
    parents = set()
    for name in sorted(recorded(folder), key=lambda one: one != "stages.json"):
        path = folder / name
        if not name.startswith(below) or not _is_inside(path, folder):
            continue
        for own in (path, *_unfinished(path)):
            own.unlink(missing_ok=True)
        parents |= {one for one in path.parents if folder in one.parents}
    for parent in sorted(parents, key=lambda one: -len(one.parts)):
        with contextlib.suppress(OSError):  # a user's files are in it
            parent.rmdir()


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for name in recorded(folder):
        for path in _unfinished(folder / name):
            path.unlink(missing_ok=True)


def _unfinished(path: Path) -> Iterator[Path]:
    """Temporary files on their way to a name."""
    if not path.parent.is_dir():
        return
    with os.scandir(path.parent) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if found and found[1] == path.name and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether no link on the way to a file leads out of the folder."""
    return path.parent.resolve().is_relative_to(folder.resolve())


def lock(folder: Path) -> None:
    """Keep other processes from writing into a folder until this one ends.

    On file systems that know no locks nothing is kept.

    Raises:
        UserError: another process has it.
    """
    try:
        held = FileLock(folder / LOCK, timeout=GRACE_SECONDS, is_singleton=True)
        held.acquire()
    except Timeout:
        raise UserError(
            f"run folder: another process is writing into {folder}; wait for it, or use another --out"
        ) from None
    _HELD.add(held)


def is_new(folder: Path) -> bool:
    """Whether a folder is missing, empty, or of a run that was killed before it had its config."""
    if not folder.exists():
        return True
    kept = {RECORD, LOCK}
    return all(
        one.name in kept or (TEMPORARY.fullmatch(one.name) and (folder / RECORD).is_file())
        for one in folder.iterdir()
    )


def remove_files(folder: Path, *patterns: str) -> None:
    """Remove the files of these names, and the folder if nothing else is in it."""
    for path in (path for pattern in patterns for path in folder.glob(pattern)):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
