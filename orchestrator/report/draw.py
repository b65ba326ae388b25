"""From the trials of a run directory to its figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from orchestrator.report.series import PROBLEM, READ
from orchestrator.report.transition import transition_figure
from orchestrator.store import Store, atomic_write
from orchestrator.store.write import file_errors

MOST_FIGURES = 12
"""What a person looks through; a sweep of thousands of columns is a matter for ``eos query``."""

DOTS_PER_INCH = 180


def draw_transition(
    run: Path,
    destination: Path | None = None,
    *,
    warn: Callable[[str], object] = warnings.warn,
) -> list[Path]:
    """Draw the transition at η_c of each column as ``transition-<column_id>.png``; say where.

    The files go to ``destination``, or to the run's ``report/``, and each appears whole. Of more
    than :data:`MOST_FIGURES` columns, the first in the order of their problems are drawn, and
    ``warn`` is told.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
    """
    columns = _columns(Store(run).table("trials", READ).to_pylist())
    if len(columns) > MOST_FIGURES:
        warn(f"only the first {MOST_FIGURES} of {len(columns)} columns are drawn")
    folder = run / "report" if destination is None else destination
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [_save(transition_figure(rows), folder, rows[0]) for rows in columns[:MOST_FIGURES]]


def _columns(trials: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each column, the columns in the order of their problems."""
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in trials:
        columns.setdefault(row["column_id"], []).append(row)
    return sorted(columns.values(), key=lambda rows: _order(rows[0]))


def _order(row: dict[str, Any]) -> list[tuple[bool, Any]]:
    return [(row[name] is not None, row[name] or 0) for name in (*PROBLEM, "column_id")]


def _save(figure: Figure, folder: Path, row: dict[str, Any]) -> Path:
    path = folder / f"transition-{re.sub(r'[^A-Za-z0-9_-]', '-', row['column_id'])}.png"
    atomic_write(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH))
    return path
