"""Files that other users may read: safetensors writes its own for the owner alone."""

from __future__ import annotations

from pathlib import Path


def take_usual_mode(path: Path) -> None:
    """Give a file, or the files of a folder, the mode that any new file beside them gets."""
    probe = path.with_name(f".{path.name}.mode")
    probe.touch()
    try:
        mode = probe.stat().st_mode
    finally:
        probe.unlink()
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            file.chmod(mode)
