"""From the tables of a run directory to the files of its figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from orchestrator.report.figures import FIGURES
from orchestrator.report.report_figure import FORMATS, ReportFigure, save
from orchestrator.report.tables import Tables

MOST_FIGURES = 12
"""Of one kind: what a person looks through; a sweep of thousands of columns has figures across all
of them, and ``eos query``."""

Warn = Callable[[str], object]


def draw_figures(
    run: Path,
    destination: Path | None = None,
    *,
    names: Collection[str] | None = None,
    formats: Collection[str] = FORMATS,
    warn: Warn = warnings.warn,
    probes: Path | None = None,
) -> list[Path]:
    """Draw the figures of a run, each in all formats; say where.

    The files go to ``destination``, or to the run's ``report/``, and each appears whole. See
    :func:`figures_of` for the rest.
    """
    return [
        path
        for one in figures_of(run, names=names, warn=warn, probes=probes)
        for path in save(one, destination or run / "report", formats)
    ]


def figures_of(
    run: Path,
    *,
    names: Collection[str] | None = None,
    warn: Warn = warnings.warn,
    probes: Path | None = None,
) -> Iterator[ReportFigure]:
    """The figures of a run, one after the other, from its tables alone.

    ``names`` are of :data:`FIGURES`, None for all. At most :data:`MOST_FIGURES` columns have
    figures of their own, chosen to show as many values of all fields as they can; ``warn`` is told
    which, and which figures are left out for what reason. ``probes`` is the run directory of what
    ``eos predict`` tried; unless given, that in the run.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
        ValueError: there is no figure of a name.
    """
    for name in names or ():
        if name not in FIGURES:
            raise ValueError(f"figure is {name!r}; it must be one of {', '.join(FIGURES)}")
    tables = Tables(run, MOST_FIGURES, probes)
    if not tables.columns:
        warn("no figure is drawn: no trial has settled yet")
        return
    asked = [name for name in FIGURES if names is None or name in names]
    if len(tables.shown) < len(tables.columns) and any(FIGURES[name].of_a_column for name in asked):
        warn(_cut(tables))
    for name in asked:
        drawn = False
        for figure in FIGURES[name].draw(tables):
            drawn = True
            yield figure
        if not drawn:
            warn(f"figure {name} is left out: {FIGURES[name].missing}")


def _cut(tables: Tables) -> str:
    names = ", ".join(column["column_id"] for column in tables.shown)
    count = f"{len(tables.shown)} of {len(tables.columns)}"
    return f"only {count} columns have figures of their own: {names}"
