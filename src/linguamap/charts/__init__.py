"""Charts: one function a chart, data in, a picture out; for pages, papers, notebooks and the explorer.

Every function takes a frame (a pandas data frame, an Arrow table, columns or rows), whose columns its
docstring lists, and returns a :class:`Chart`, which shows itself in Jupyter, writes itself with
``save("lens.svg")`` (or ``.pdf``, ``.png``, ``.csv``) and needs no run folder.
"""

from linguamap.charts.chart import FORMATS, STYLES, Chart
from linguamap.charts.curve_panel import LayerMarks
from linguamap.charts.dots import change, sweep
from linguamap.charts.layer_maps import language_map, token_grid
from linguamap.charts.outcome_map import outcome_map, outcomes
from linguamap.charts.probe_charts import (
    fitted_lens,
    handover,
    lens,
    lens_outcomes,
    next_token_handover,
    similarity,
    token_set_probability,
)
from linguamap.charts.svg import Control
from linguamap.charts.training_charts import layer_change, loss, rule_front, rule_scores

__all__ = [
    "FORMATS", "STYLES", "Chart", "Control", "LayerMarks", "change", "fitted_lens", "handover", "language_map", "layer_change",
    "lens", "lens_outcomes", "loss", "next_token_handover", "outcome_map", "outcomes", "rule_front", "rule_scores",
    "similarity", "sweep", "token_grid", "token_set_probability",
]  # fmt: skip
