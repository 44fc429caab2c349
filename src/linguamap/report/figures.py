"""Figures for papers: SVG, PDF and PNG at the width of a column, with the numbers behind each as CSV.

Needs Matplotlib (the extra ``figures``). The drawing functions return a figure and its rows and touch
neither disk nor screen.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linguamap.records import UserError
from linguamap.report.loading import RunData, read_run

if TYPE_CHECKING:
    from linguamap.report.drawings import Drawing, Style

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
        from linguamap.report import drawings
    except ImportError as error:
        if error.name != "matplotlib" and not str(error.name).startswith("matplotlib."):
            raise
        raise UserError(
            "figures: Matplotlib is not installed; install it with: pip install 'linguamap[figures]'"
        ) from None
    chosen = _style(drawings.STYLES, style)
    folder = data.folder / "figures"
    written: list[Path] = []
    for name, draw in drawings.DRAWINGS.items():
        written += _write(folder, name, draw, data, chosen)
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

    with matplotlib.rc_context(style.settings):
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
            with _replacing(path) as temporary:
                drawing.figure.savefig(temporary, format=suffix, dpi=PNG_DPI, metadata=metadata)
            paths.append(path)
    path = folder / f"{name}.csv"
    with _replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(drawing.columns)
        writer.writerows(drawing.rows)
    return [*paths, path]


class _replacing:
    """A temporary path that takes the place of ``path`` when the block ends well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            os.replace(self.temporary, self.path)
        with suppress(FileNotFoundError):
            self.temporary.unlink()
