"""Selective tuning: training only the chosen blocks, with everything below them run once."""

from linguamap.tuning.delta import apply_delta
from linguamap.tuning.layers import parse_layers
from linguamap.tuning.merge import merge
from linguamap.tuning.run_tuning import tune
from linguamap.tuning.untrained import few_shot

__all__ = ["apply_delta", "few_shot", "merge", "parse_layers", "tune"]
