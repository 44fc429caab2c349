"""Figures of similarity, handover and the loss; see :mod:`linguamap.report.drawings`."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linguamap.report.colours import language_inks
from linguamap.report.curve_data import curve_data
from linguamap.report.drawings import Drawing, Style, _layer_axis, _line, _points
from linguamap.report.loading import RunData
from linguamap.report.naming import language_name
