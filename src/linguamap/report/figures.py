"""Figures for papers: SVG, PDF and PNG at the width of a column, with the numbers behind each as CSV.

Needs Matplotlib (the extra ``figures``). The drawing functions return a figure and its rows and touch
neither disk nor screen.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.records import UserError
from linguamap.report.run_values import RunData, read_run
from linguamap.run.files import replacing

if TYPE_CHECKING:
    from linguamap.report.plotting import Drawing, Style

PNG_DPI = 300
FORMATS = ("svg", "pdf", "png")


def write_figures(run_dir: Path, style: str = "paper") -> list[Path]:
    """Write every figure that the run has the data for into its folder ``figures``.

    Args:
        run_dir: the run folder.
        style: ``paper`` (column 3.3 in, page 6.9 in, 7.5 pt) or ``slides`` (larger type, wider).
    Returns:
        The files written: for each figure SVG, PDF, PNG and CSV.
    Raises:
        UserError: the folder is not a run or has no results, the style is unknown, or Matplotlib is
            not installed.
    """
    data = read_run(Path(run_dir))
    try:
        from linguamap.report import answer_drawings, grid_drawings, plotting, probe_drawings
    except ImportError as error:
        if error.name != "matplotlib" and not str(error.name).startswith("matplotlib."):
            raise
        raise UserError(
            "figures: Matplotlib is not installed; install it with: pip install 'linguamap[figures]'"
        ) from None
    chosen = _style(plotting.STYLES, style)
    drawings: dict[str, Callable[[RunData, Style], Drawing | None]] = {
        "outcomes": answer_drawings.outcomes,
        "outcome_map": answer_drawings.outcome_map,
        "change": answer_drawings.change,
        "loss": answer_drawings.loss,
        "lens": probe_drawings.lens,
        "language_map": probe_drawings.language_map,
        "mass": probe_drawings.mass,
        "token_grid": grid_drawings.token_grid,
        "similarity": probe_drawings.similarity,
        "handover": probe_drawings.handover,
    }
    written: list[Path] = []
    for name, draw in drawings.items():
        written += _write(data.folder / "figures", name, draw, data, chosen)
    if not written:
        raise UserError(
            f"figures: {data.folder} holds no results to draw yet; "
            f"run: linguamap run --out {data.folder}"
        )
    return written


def _style(styles: dict[str, Style], name: str) -> Style:
    if name in styles:
        return styles[name]
    near = difflib.get_close_matches(name, styles, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(f"figures: style '{name}' is unknown; {hint}Known: {', '.join(styles)}")


def _write(
    folder: Path,
    name: str,
    draw: Callable[[RunData, Style], Drawing | None],
    data: RunData,
    style: Style,
) -> list[Path]:
    import matplotlib

    with matplotlib.rc_context(style.settings):  # type: ignore[arg-type]
        drawing = draw(data, style)
        if drawing is None:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for suffix in FORMATS:
            path = folder / f"{name}.{suffix}"
            # No date in the file: the same run gives the same bytes.
            dated = {"svg": "Date", "pdf": "CreationDate"}.get(suffix)
            metadata: dict[str, Any] | None = {dated: None} if dated else None
            with replacing(path) as temporary, matplotlib.rc_context(drawing.settings):  # type: ignore[arg-type]
                drawing.figure.savefig(temporary, format=suffix, dpi=PNG_DPI, metadata=metadata)
            paths.append(path)
    path = folder / f"{name}.csv"
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(drawing.columns)
        writer.writerows(drawing.rows)
    return [*paths, path]
