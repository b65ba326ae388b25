"""The diagonal network on one point: its trials on the segment of zero loss, beside the theory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jobs.diagonal import Descents, Flow, OnePoint, PlaneSweep
from jobs.spec import SpecError
from jobs.spec.dataset_name import parse
from orchestrator.analysis.crossings import INCLUDED
from orchestrator.report.diagonal import alternative, diagonal_figure
from orchestrator.report.labels import in_one_line, title
from orchestrator.report.markers import CAPTION, FRAME_CAPTION, excluded_name
from orchestrator.report.places import EXCLUDED, Row
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Array, Column, Tables

_CAPTION = (
    "The diagonal network f = ⟨w∘w, x⟩ on one point in two dimensions. Points: gradient descent of "
    "the run, at its smallest ε; β is recovered from the measured sharpness and norm, "
    "S = 4 Σ xᵢ²βᵢ and ‖w‖₂² = Σ βᵢ, and the risk is that of this β. Lines: theory, in closed "
    f"form. Grey: {CAPTION[0].lower()}{CAPTION[1:]} {FRAME_CAPTION}"
)


def manifold(tables: Tables) -> Iterator[ReportFigure]:
    """The manifold of each column that is a diagonal network on a point in the plane."""
    for column in [one for one in tables.columns if plane(one)][: len(tables.shown)]:
        rows = tables.trials(column)
        sweep = sweep_of(column, rows)
        if sweep is None:
            continue
        exclusions = [row["exclusion"] for row in _descents(rows)]
        excluded = excluded_name(set(EXCLUDED).intersection(exclusions))
        counted = np.array([exclusion == INCLUDED for exclusion in exclusions])
        yield ReportFigure(
            f"manifold-{column['column_id']}",
            f"The manifold of zero loss: {in_one_line(title(column))}",
            _CAPTION,
            alternative(sweep),
            diagonal_figure(sweep, counted, excluded),
        )


def plane(column: Column) -> tuple[OnePoint, Array] | None:
    """The point of a column and the truth, where the closed forms are about it."""
    expected = {
        "architecture": "diagonal",
        "depth": 2,
        "loss": "mse",
        "n_train": 1,
        "normalization": "none",
        "parameterization": "standard",
    }
    if any(column[name] != value for name, value in expected.items()):
        return None
    try:
        dataset = parse(column["dataset"] or "")
    except SpecError:
        return None
    if dataset.base != "point" or not (column["init_scale"] or 0) > 0:
        return None
    x, truth = (np.array(dataset.options[name]) for name in ("x", "truth"))
    if len(x) != 2 or x[0] == x[1] or np.any(x <= 0) or np.any(truth < 0) or not np.any(truth):
        return None
    return OnePoint.labelled_by(truth, x), truth


def sweep_of(column: Column, rows: Sequence[Row]) -> PlaneSweep | None:
    """The trials of a column at the smallest ε in the plane; None if none has an end."""
    found = plane(column)
    if found is None:
        return None
    point, truth = found
    epsilon, runs = min(row["epsilon"] for row in rows), _descents(rows)
    measured = ("sharpness", "l1_norm", "l2_norm")
    if not any(row["status"] == "reached" and _known(row, measured) for row in runs):
        return None
    values = {name: _column(runs, name) for name in (*measured, "eta", "train_loss")}
    # A trial that reached ε without all its numbers cannot be drawn as one.
    status = [
        row["status"] if row["status"] != "reached" or _known(row, measured) else "unmeasured"
        for row in runs
    ]
    beta = recovered(point, values["sharpness"], values["l2_norm"])
    flow = Flow(point.x, point.y, np.full(2, column["init_scale"]))
    ends = Descents(
        learning_rates=values["eta"],
        status=np.array(status),
        steps=np.array([row["steps"] or 0 for row in runs]),
        losses=values["train_loss"],
        weights=np.sqrt(np.maximum(beta, 0)),
        predictors=beta,
        sharpness=values["sharpness"],
        l1_norm=values["l1_norm"],
        l2_norm=values["l2_norm"],
    )
    return PlaneSweep(point, truth, flow, epsilon, ends)


def _descents(rows: Sequence[Row]) -> list[Row]:
    """The trials of GD at the smallest ε in ascending η."""
    epsilon = min(row["epsilon"] for row in rows)
    found = [row for row in rows if row["kind"] == "gd" and row["epsilon"] == epsilon]
    return sorted(found, key=lambda row: row["eta"])


def recovered(point: OnePoint, sharpness: Array, l2_norm: Array) -> Array:
    """β of shape (m, 2) from ‖w‖₂² = Σ βᵢ and S = 4 Σ xᵢ²βᵢ, which holds where the loss is 0."""
    matrix = np.stack([4 * point.x**2, np.ones(2)])
    return np.linalg.solve(matrix, np.stack([sharpness, l2_norm**2])).T


def _known(row: Row, names: Sequence[str]) -> bool:
    return all(row[name] is not None for name in names)


def _column(rows: Sequence[Row], name: str) -> Array:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
