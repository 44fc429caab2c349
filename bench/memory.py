"""How much memory a contender takes while it works, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Row = dict[str, Any]
PAGE_BYTES = 4096


class Memory:
    """Peak memory from now on, above the weights of a model."""

    def __init__(self, model: Any) -> None:
        import torch

        tensors = {tensor.data_ptr(): tensor for tensor in model.parameters()}
        self.weights = sum(t.numel() * t.element_size() for t in tensors.values())
        for tensor in tensors.values():  # weights that a loader only maps are read now, not later
            tensor.detach().flatten()[:: PAGE_BYTES // tensor.element_size()].sum()
        self.on_gpu = torch.cuda.is_available()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
        self.before = torch.cuda.memory_allocated() if self.on_gpu else self._status("VmRSS")

    def end(self) -> Row:
        import torch

        peak = torch.cuda.max_memory_allocated() if self.on_gpu else self._status("VmHWM")
        return {
            "weights_bytes": self.weights,
            "peak_bytes": peak,
            "memory": peak - self.weights,
            "rise": peak - self.before,
        }

    def _status(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
