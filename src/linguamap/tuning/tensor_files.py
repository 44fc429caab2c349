"""Tensors in safetensors files: the same tensors and facts always give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from linguamap.run.files import replacing, take_usual_mode

LENGTH_BYTES = 8
"""At the head of the file: the header's length, little-endian; then the header, JSON."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with ``facts`` as its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata=dict(facts))
        _sort_header(temporary)
        take_usual_mode(temporary)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and its metadata."""
    with safe_open(path, framework="pt") as file:
        facts: dict[str, str] = file.metadata() or {}
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118


def _sort_header(path: Path) -> None:
    """Put the header's entries in order: the library writes the metadata in one that chance decides.

    The sorted header is as long as the old one, so the tensors behind it stay where they are.
    """
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        text = json.dumps(header, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        sorted_header = text.encode().ljust(length)
        if len(sorted_header) != length:
            raise ValueError(f"{path}: the sorted header has another length than {length} bytes")
        file.seek(LENGTH_BYTES)
        file.write(sorted_header)
