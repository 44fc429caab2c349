"""Many ways of tuning one model, from one evaluation and one cache of boundary states."""

from linguamap.sweep.run_variants import SweepRequest, run_sweep
from linguamap.sweep.variants import DEFAULT, Variant, expand

__all__ = ["DEFAULT", "SweepRequest", "Variant", "expand", "run_sweep"]
