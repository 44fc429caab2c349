"""Files that are whole or not there, and the one door through which JSON comes back in.

``answers.jsonl`` grows by whole lines; a line torn by a kill is dropped on reading.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from linguamap.outside import parse_json
from linguamap.records import Answer, Phase, Summary, UserError
from linguamap.run.contents import StageEntry, WrittenFile, as_json, as_type
from linguamap.run.record import note_written

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

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


def read_as(kind: type[T], path: Path) -> T:
    """A JSON file of a run as its type.

    Raises:
        UserError: it is missing, broken, or holds something else.
    """
    value = read_json(path)
    return as_type(kind, value, str(path), f"delete it and run{_command(path)}")


COMMANDS = {
    "probe.json": "probe", "located.json": "locate", "layers.json": "choose", "tuning.json": "tune", "change.json": "after",
    "comparison.json": "after",
}  # fmt: skip
"""File -> the command that makes it again."""


def _command(path: Path) -> str:
    inner = path.parent.name in ("before", "after", "probe", "tuned")
    folder = path.parent.parent if inner else path.parent
    name = "after" if path.parent.name == "after" else "evaluate"
    name = COMMANDS.get(path.name, name if path.name == "summary.json" else "")
    return f": linguamap {name} --out {folder}" if name else " the stage again"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well."""
    note_written(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
        _to_disk(path.parent)  # the new name, too
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON lines in one write, and see them to the disk.

    Only ASCII is written: JSON escapes keep lone surrogates and line separators of untrusted text
    from breaking the file.
    """
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    note_written(path)
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
                row = parse_json(line, path)
            except UserError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_answers(path: Path, *, growing: bool = False) -> list[Answer]:
    """The answers of a file; none if there is no file.

    Args:
        growing: the file is still written to, so that a kill may have torn a line: it is left out,
            and its prompt asked again.
    Raises:
        UserError: a line is torn, or is no answer.
    """
    if not path.exists():
        return []
    answers = []
    with open(path, encoding="ascii", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = parse_json(line, f"{path}, line {number},")
            except UserError as error:
                if growing:
                    continue
                raise UserError(
                    f"run folder: {error}; put the whole file back, or delete it and evaluate again"
                ) from None
            answers.append(
                as_type(Answer, row, f"{path}, line {number},", "put the whole file back")
            )
    return answers


@dataclass(frozen=True)
class Evaluation:
    """The answers of one phase and the rates made from them."""

    answers: list[Answer]
    summary: Summary


def read_evaluation(folder: Path, phase: Phase) -> Evaluation:
    """A finished evaluation of a run.

    Raises:
        UserError: there is none, or answers are missing from it.
    """
    stage = "evaluate" if phase == "before" else "after"
    if not (folder / phase / "summary.json").exists():
        raise UserError(
            f"{folder} has no finished answers {phase} tuning; "
            f"run: linguamap {stage} --out {folder}"
        )
    stages = folder / "stages.json"
    entry = read_as(dict[str, StageEntry], stages).get(phase) if stages.exists() else None
    for name, left in entry.outputs.items() if entry else ():
        if WrittenFile.of(folder / name) != left:
            raise UserError(
                f"run folder: {folder / name} changed since the run wrote it; put it back, or run: "
                f"linguamap {stage} --out {folder}"
            )
    answers = read_answers(folder / phase / "answers.jsonl")
    summary = read_as(Summary, folder / phase / "summary.json")
    if (n := sum(cell.n for cell in summary.cells)) != len(answers):
        raise UserError(
            f"run folder: {folder / phase / 'answers.jsonl'} holds {len(answers)} of {n} answers; put "
            f"the whole file back, or run: linguamap {stage} --out {folder}"
        )
    return Evaluation(answers, summary)


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers atomically, a line each."""
    write_rows(path, map(as_json, answers))


def append_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Append answers, a line each."""
    append_rows(path, map(as_json, answers))


def take_usual_mode(path: Path) -> None:
    """Give a file, or the files of a folder, the mode that any new file beside them gets."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            file.chmod(0o666 & ~mask)


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
