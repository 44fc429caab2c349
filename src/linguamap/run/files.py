"""Files that are whole or not there, and the one door through which JSON comes back in.

``answers.jsonl`` grows by whole lines; a line torn by a kill is dropped on reading.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.outside import parse_json
from linguamap.records import UserError

if TYPE_CHECKING:
    from torch import Tensor

HEADER_LENGTH_BYTES = 8
"""At the head of a safetensors file: the header's length, little-endian; then the header, JSON."""


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogatepass")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused, missing is null."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder; nesting and digits without bound are refused.

    Raises:
        UserError: it is missing or broken.
    """
    if not path.is_file():
        raise UserError(f"run folder: {path} is missing; run the stage that makes it first")
    try:
        return parse_json(path.read_text(encoding="utf-8", errors="surrogateescape"), path)
    except UserError as error:
        raise UserError(f"run folder: {error}; delete it and run the stage again") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON lines in one write, and see them to the disk.

    Only ASCII is written: JSON escapes keep lone surrogates and line separators of untrusted text
    from breaking the file.
    """
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    with open(path, "ab") as file:
        if file.tell() > 0 and not _ends_with_newline(path):
            file.write(b"\n")
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """JSON lines of a file; a torn line is left out, a missing file has none."""
    if not path.exists():
        return []
    rows = []
    with open(path, encoding="ascii", errors="replace", newline="\n") as file:
        for line in file:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with ``facts`` as its metadata; equal content, equal bytes."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            save_file(contiguous, temporary, metadata=dict(facts))
        except (
            SafetensorError
        ) as error:  # the library's words hold the system's number of the fault
            found = re.search(r"os error (\d+)", str(error))
            if found is None:
                raise
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from None
        _sort_header(temporary)
        take_usual_mode(temporary)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts: dict[str, str] = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118


def _sort_header(path: Path) -> None:
    """Put the header's entries in order: the library writes the metadata in one that chance decides.

    The sorted header is as long as the old one, so the tensors behind it stay where they are.
    """
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        sorted_header = text.encode().ljust(length)
        if len(sorted_header) != length:
            raise ValueError(f"{path}: the sorted header has another length than {length} bytes")
        file.seek(HEADER_LENGTH_BYTES)
        file.write(sorted_header)
