"""From the tables of a run directory to the files of its figures."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

from orchestrator.report.figures import FIGURES, ReportFigure
from orchestrator.report.figures.transition import transition
from orchestrator.report.tables import Tables
from orchestrator.store import Store, atomic_write
from orchestrator.store.files import file_errors

MOST_FIGURES = 12
"""Of one kind: what a person looks through; a sweep of thousands of columns has figures across all
of them, and ``eos query``."""

DOTS_PER_INCH = 180

FORMATS = ("png", "svg")
"""Of every figure; ``pdf`` is another, which takes as long as both."""

Warn = Callable[[str], object]


def draw_figures(
    run: Path,
    destination: Path | None = None,
    *,
    names: Collection[str] | None = None,
    formats: Collection[str] = FORMATS,
    warn: Warn = warnings.warn,
) -> list[Path]:
    """Draw the figures of a run, each in all formats; say where.

    The files go to ``destination``, or to the run's ``report/``, and each appears whole. See
    :func:`figures_of` for the rest.
    """
    return [
        path
        for one in figures_of(run, names=names, warn=warn)
        for path in save(one, _folder(run, destination), formats)
    ]


def figures_of(
    run: Path, *, names: Collection[str] | None = None, warn: Warn = warnings.warn
) -> Iterator[ReportFigure]:
    """The figures of a run, one after the other, from its tables alone.

    ``names`` are of :data:`FIGURES`, None for all. Of more than :data:`MOST_FIGURES` columns, so
    many have figures of their own, chosen to show every value of every field as far as they can,
    and ``warn`` is told which; so it is of each figure that is left out, with the reason.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
        ValueError: there is no figure of a name.
    """
    for name in names or ():
        if name not in FIGURES:
            raise ValueError(f"figure is {name!r}; it must be one of {', '.join(FIGURES)}")
    tables = Tables(run, MOST_FIGURES)
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


def draw_transition(
    run: Path, destination: Path | None = None, *, warn: Warn = warnings.warn
) -> list[Path]:
    """Draw the transition at η_c of each column as ``transition-<column_id>.png``; say where.

    Unlike :func:`draw_figures`, this is quick enough for the end of a run.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
    """
    Store(run)
    tables = Tables(run, MOST_FIGURES)
    if len(tables.shown) < len(tables.columns):
        warn(_cut(tables))
    folder = _folder(run, destination)
    return [path for one in transition(tables) for path in save(one, folder, ("png",))]


def save(drawn: ReportFigure, folder: Path, formats: Collection[str] = FORMATS) -> list[Path]:
    """Write a figure to a folder, which is made, with its words in each file; say where.

    Each file appears whole, and the same figure gives the same bytes.

    Raises:
        StoreError: the file system refused.
    """
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _file_name(drawn)
    _lay_out(drawn)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        atomic_write(path, partial(_write, drawn, suffix))
    return paths


def as_bytes(drawn: ReportFigure, suffix: str) -> bytes:
    """A figure as the content of a file; the same figure gives the same bytes."""
    content = io.BytesIO()
    _lay_out(drawn)
    _write(drawn, suffix, content)
    return content.getvalue()


def _lay_out(drawn: ReportFigure) -> None:
    """Find room for all text: it takes as long as drawing, and comes out alike in every format."""
    drawn.figure.draw_without_rendering()
    drawn.figure.set_layout_engine("none")


def _file_name(drawn: ReportFigure) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", drawn.name)


def _write(drawn: ReportFigure, suffix: str, to: Path | io.BytesIO) -> None:
    # Without a salt of its own, the names of clip paths in SVG are random.
    with mpl.rc_context({"svg.hashsalt": _file_name(drawn), "pdf.fonttype": 42}):
        drawn.figure.savefig(
            to, format=suffix, dpi=DOTS_PER_INCH, metadata=_metadata(drawn, suffix)
        )


def _metadata(drawn: ReportFigure, suffix: str) -> dict[str, Any]:
    """What readers of the format show; no dates, which would make every file a new one."""
    if suffix == "svg":
        return {"Title": drawn.title, "Description": drawn.alternative, "Date": None}
    if suffix == "pdf":
        return {"Title": drawn.title, "Subject": drawn.alternative, "CreationDate": None}
    return {"Title": drawn.title, "Description": drawn.alternative}


def _folder(run: Path, destination: Path | None) -> Path:
    return run / "report" if destination is None else destination


def _cut(tables: Tables) -> str:
    names = ", ".join(column["column_id"] for column in tables.shown)
    count = f"{len(tables.shown)} of {len(tables.columns)}"
    return f"only {count} columns have figures of their own: {names}"
