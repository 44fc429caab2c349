"""The report: one self-contained page, figures for papers, and the terminal's summary.

Everything here is drawn from the files of a run folder alone; no model is loaded.
"""

from linguamap.report.run_page import write_report

__all__ = ["write_report"]
