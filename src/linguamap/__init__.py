"""linguamap: which language a language model answers in, in which layers, and training a few of them.

    import linguamap as lm

    model = lm.load("Qwen/Qwen3-0.6B")
    lm.lens(model, ["..."], language="hi").plot()

Everything is loaded on first use; the import itself costs nothing and loads no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linguamap import charts
    from linguamap.api.finished_run import Run, choose
    from linguamap.api.functions import check, handover, identify, lens, load, score, similarity
    from linguamap.api.tuned_model import tune
    from linguamap.records import UserError

__version__ = "0.1.0"

_HOMES = {
    "UserError": "records", "Run": "api.finished_run", "choose": "api.finished_run", "load": "api.functions",
    "identify": "api.functions", "score": "api.functions", "check": "api.functions",
    "lens": "api.functions", "similarity": "api.functions", "handover": "api.functions",
    "tune": "api.tuned_model",
}  # fmt: skip
"""Public name -> the module that it is loaded from when it is first asked for."""

__all__ = [
    "Run", "UserError", "charts", "check", "choose", "handover", "identify", "lens", "load", "score",
    "similarity", "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "charts":
        return import_module("linguamap.charts")
    if name not in _HOMES:
        raise AttributeError(f"module 'linguamap' has no attribute '{name}'")
    value = getattr(import_module(f"linguamap.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
