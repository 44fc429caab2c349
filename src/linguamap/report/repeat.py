"""What to type to do a run again, for someone who was sent its page alone."""

from __future__ import annotations

from linguamap.report.run_values import RunData


def commands(data: RunData, config: str = "config.yaml", to: str = "again") -> list[str]:
    """What to type to do the same again: no stage more than this run has had.

    Args:
        config: file that the run's config was saved as.
        to: folder of the new run.
    """
    if data.tuning is not None:
        return [f"linguamap run --config {config} --out {to}"]
    found = [f"linguamap evaluate --config {config} --out {to}"]
    if data.lens:
        found.append(f"linguamap {'locate' if data.layers is not None else 'probe'} --out {to}")
    return found
