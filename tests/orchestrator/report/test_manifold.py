"""The manifold of a run is that of the theory: its β are recovered from what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.diagonal import OnePoint, TrainingLoss, descend
from orchestrator.report.figures.manifold import manifold, plane, recovered, sweep_of

PROBLEM = {
    "dataset": "point(x=[2, 1], truth=[0.5, 0.5])",
    "n_train": 1,
    "architecture": "diagonal",
    "width": None,
    "activation": None,
    "weight_decay": None,
    "optimizer": "gd",
    "momentum": None,
    "beta2": None,
    "damping": None,
    "start": None,
    "init_scale": 0.01,
    "normalization": "none",
}


@pytest.fixture(scope="module")
def runs():
    return descend(TrainingLoss([[2, 1]], [1.5]), [0.01, 0.01], [0.05, 0.15, 0.2, 0.25, 0.6])


@pytest.fixture
def rows(column, runs):
    """What ``trials`` would have of these runs."""
    found = column(etas=runs.learning_rates.tolist(), epsilons=(1e-12,), flow=False, **PROBLEM)
    for number, row in enumerate(found):
        row["status"] = str(runs.status[number])
        for name in ("sharpness", "l1_norm", "l2_norm"):
            value = float(getattr(runs, name)[number])
            row[name] = value if np.isfinite(value) else None
        row["eta_c"], row["steps"] = 0.16715, int(runs.steps[number])
    return found


def test_beta_is_recovered_from_sharpness_and_norm(runs) -> None:
    point = OnePoint.labelled_by([0.5, 0.5], [2, 1])
    reached = runs.reached()
    found = recovered(point, runs.sharpness[reached], runs.l2_norm[reached])
    assert found == pytest.approx(runs.predictors[reached], abs=2e-5)  # √ε is 1e-6


def test_the_figure_holds_the_runs_and_the_theory(run, rows, runs) -> None:
    run.add(rows)
    (drawn,) = manifold(run.tables())
    plane_axes, curvature = drawn.figure.axes[:2]
    (ends,) = plane_axes.collections
    reached = runs.reached()
    assert reached.sum() == 4
    assert np.asarray(ends.get_offsets()) == pytest.approx(runs.predictors[reached], abs=2e-5)
    points = [line for line in curvature.lines if line.get_marker() == "o"][1]
    assert np.array_equal(points.get_ydata(), runs.sharpness[reached])
    assert drawn.name == "manifold-c0ffee"
    assert "least norm (sharpness 12)" in drawn.alternative
    assert "least sharpness (6)" in drawn.alternative


def test_excluded_runs_are_grey_and_hollow_and_named_with_their_reason(run, rows, runs) -> None:
    rows[2]["sharpness_converged"] = False
    run.add(rows)
    (drawn,) = manifold(run.tables())
    plane_axes, curvature = drawn.figure.axes[:2]
    assert len(plane_axes.collections[0].get_offsets()) == 3
    hollow, filled = [line for line in curvature.lines if line.get_marker() == "o"]
    assert hollow.get_markerfacecolor() == "white"
    assert list(hollow.get_xdata()) == [runs.learning_rates[2]]
    assert list(filled.get_xdata()) == [*runs.learning_rates[:2], runs.learning_rates[3]]
    shown = [text.get_text() for text in curvature.get_legend().get_texts()]
    assert "excluded (S not converged)" in shown


def test_a_run_without_all_its_numbers_is_no_end(run, rows) -> None:
    rows[1]["l2_norm"] = None
    run.add(rows)
    tables = run.tables()
    sweep = sweep_of(tables.columns[0], tables.trials(tables.columns[0]))
    assert sweep.runs.reached().sum() == 3


@pytest.mark.parametrize(
    "other",
    [
        {"architecture": "fcn"},
        {"depth": 3},
        {"loss": "ce"},
        {"parameterization": "mup"},
        {"init_scale": 0.0},
        {"normalization": "pixel"},
        {"dataset": "point(x=[2, 1, 3], truth=[0.5, 0.5, 0.5])"},
        {"dataset": "point(x=[2, 2], truth=[0.5, 0.5])"},
        {"dataset": "point(x=[2, -1], truth=[0.5, 0.5])"},
        {"dataset": "point(x=[2, 1], truth=[0, 0])"},
        {"dataset": "point(x=__import__('os'), truth=[1, 1])"},
        {"dataset": "points(x=[[2, 1]], truth=[0.5, 0.5])"},
        {"dataset": None},
    ],
    ids=str,
)
def test_other_problems_have_no_such_plane(column, other) -> None:
    (row,) = column(etas=(0.1,), epsilons=(0.1,), flow=False, **{**PROBLEM, **other})
    assert plane(row) is None


def test_without_solutions_nothing_is_drawn(run, rows) -> None:
    run.add([{**row, "status": "diverged", "sharpness": None} for row in rows])
    assert "no column is a diagonal network on one point" in run.missing("manifold")
