"""The report: one self-contained page, figures for papers, and the terminal's summary.

Everything here is drawn from the files of a run folder alone; no model is loaded.
"""

from importlib.util import find_spec

from linguamap.report.run_page import write_report
from linguamap.run.folder import Run
from linguamap.run.manifest import write_manifest

__all__ = ["write_all", "write_report"]


def write_all(run: Run) -> None:
    """The manifest, the page, and the figures where vl-convert is there."""
    write_manifest(run)
    write_report(run.folder)
    if find_spec("vl_convert") is not None:
        from linguamap.report.run_charts import write_figures

        write_figures(run.folder)
