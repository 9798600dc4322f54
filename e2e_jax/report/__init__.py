"""The report of a run: report.html, figures/ and tables/, from its results and scores."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e_jax.report.runs import read_runs
from e2e_jax.runs.folder import owned

REPORT, FIGURES, TABLES = "report.html", "figures", "tables"


def write_report(workdir: str | os.PathLike, compare: Sequence[str | os.PathLike] = ()) -> Path:
    """Writes the report of a run into its folder, completely or not at all.

    Writes report.html, a self-contained file; figures/ with each figure as PNG and PDF; and tables/ with the
    results and the paper's values as results.md, results.tex and results.html.

    Args:
      workdir: folder of an evaluated run.
      compare: folders of other runs to include in tables and curves.

    Returns:
      The path of report.html.

    Raises:
      WorkdirError: a run has no usable results, another process owns the folder, or the folder is not
        writable. Existing content is not changed then.
    """
    # Imported here, because matplotlib loads slowly.
    from e2e_jax.report import decorrelation, events, page, quality, regression, roc, tables

    workdir = Path(workdir)
    runs = read_runs([workdir, *compare])
    curves = roc.pictures(runs) if runs[0].task.classifies else []
    targets = regression.pictures(runs[0])
    maps, checks = decorrelation.pictures(runs), quality.pictures(runs[0])
    try:
        displays, absent = events.pictures(runs[0]), ""
    except events.NotFound as error:
        displays, absent = [], str(error)
    made = tables.tables(runs)
    with owned(workdir):
        for left in workdir.glob(".report-*"):
            # Left by a killed process.
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=workdir) as folder:
            part = Path(folder)
            for name in (FIGURES, TABLES):
                (part / name).mkdir()
            for picture in (*curves, *targets, *maps, *displays, *checks):
                picture.write(part / FIGURES)
            for kind in ("markdown", "latex", "html"):
                ending = {"markdown": "md", "latex": "tex"}.get(kind, kind)
                (part / TABLES / f"results.{ending}").write_text(getattr(tables, kind)(made))
            text = page.page(runs, made, curves, targets, maps, displays, checks, absent)
            (part / REPORT).write_text(text)
            _move(part, workdir)
    return workdir / REPORT


def _move(part: Path, workdir: Path) -> None:
    """Moves the new files into the run's folder, the page last; removes figures of an earlier report."""
    for name in (FIGURES, TABLES):
        old = part / f"old-{name}"
        if (workdir / name).exists():
            os.replace(workdir / name, old)
        os.replace(part / name, workdir / name)
        shutil.rmtree(old, ignore_errors=True)
    os.replace(part / REPORT, workdir / REPORT)
