"""What made a run: seeds, versions, the model's identity, the machine. Written last."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap import __version__
from linguamap.run.files import read_json, write_json
from linguamap.run.memory import peak_memory_bytes

if TYPE_CHECKING:
    from linguamap.run.folder import Run

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "lingua-language-detector",
    "icu4py",
    "pyarrow",
)


def write_manifest(run: Run) -> dict[str, Any]:
    """Write ``manifest.json`` from the finished stages."""
    manifest = {
        "linguamap": __version__,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "seed": run.config.seed,
        "model": _model(run),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "accelerator": _accelerator(),
        },
        "stages": {
            name: {key: getattr(entry, key) for key in ("seconds", "peak_memory_bytes", "finished")}
            for name, entry in run.stages().items()
        },
        "peak_memory_bytes": peak_memory_bytes(),
    }
    write_json(run.path("manifest.json"), manifest)
    return manifest


def _model(run: Run) -> dict[str, Any]:
    path = run.folder / "probe" / "probe.json"
    identity = read_json(path).get("model") if path.exists() else None
    asked = run.folder / "before" / "endpoint.json"
    server = {"endpoint": read_json(asked)} if asked.exists() else {}
    return {
        "name": run.config.model.name,
        "revision": run.config.model.revision,
        **(identity or {}),
        **server,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _accelerator() -> str | None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return None
