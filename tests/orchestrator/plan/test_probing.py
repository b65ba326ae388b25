"""Probes: which rate comes next, what it may cost at most, and what of a sweep stays in them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator import sweep as sweeps
from orchestrator.plan import ColumnPlan, FlowSummary
from orchestrator.plan.probing import (
    Probe,
    Spending,
    best_probe,
    dearest,
    dense_columns,
    grid_cost,
    next_affordable,
    next_probe,
    sparse,
    stays,
    with_rates,
)

GRID = np.geomspace(0.5, 16, 21).tolist()
TEXT = """
name: s
problem: {dataset: digits, n_train: 40, width: 8, depth: 1, activation: tanh, loss: [mse, ce]}
optimizer: {name: [gd, heavy_ball]}
eta: {values: {geometric: [0.5, 8, 13]}, refine: {most: 5}, stop_after_divergences: 1}
stop: {epsilon: [0.3, 0.1], max_steps: 4000}
measure: {trajectory_every: 1, also: [trace], eigenvalues: 3, trajectory_eigenvalues: 2}
when:
  - match: {problem.loss: ce}
    measure: {trajectory_every: 5}
    stop: {max_steps: 3000}
"""


def walk(largest: float, best: float, grid=GRID, eta_c: float = 1.0) -> list[float]:
    """All that is tried of a column whose test loss is least at ``best``, GD failing above
    ``largest``.
    """
    probes: list[Probe] = []
    while (eta := next_probe(grid, eta_c, probes)) is not None:
        reached = eta <= largest
        probes.append(Probe(eta, reached, abs(math.log(eta / best)) if reached else math.nan))
    return [probe.eta for probe in probes]


@pytest.mark.parametrize("largest", [0.6, 1.5, 3.0, 7.0, 100.0])
@pytest.mark.parametrize("best", [0.5, 2.0, 6.0, 16.0])
def test_all_rates_are_tried_in_the_end_but_those_above_one_that_failed(largest, best) -> None:
    tried = walk(largest, best)
    assert len(tried) == len(set(tried))
    assert sorted(eta for eta in tried if eta <= largest) == [eta for eta in GRID if eta <= largest]
    failed = [eta for eta in tried if eta > largest]
    assert failed == sorted(failed, reverse=True)
    assert tried[0] == pytest.approx(2.0, rel=1e-12)


def test_a_valley_between_1_and_8_eta_c_is_found_with_half_of_the_grid() -> None:
    for best in (eta for eta in GRID if 1 < eta < 8):
        assert walk(13.0, best).index(best) < 11


def test_without_test_data_the_largest_stable_rate_is_looked_for() -> None:
    probes: list[Probe] = []
    for _ in range(8):
        eta = next_probe(GRID, 1.0, probes)
        assert eta is not None
        probes.append(Probe(eta, eta <= 9.0))
    assert best_probe([p for p in probes if p.reached]).eta == max(e for e in GRID if e <= 9.0)


def test_nothing_is_tried_where_all_that_is_left_is_above_a_failure() -> None:
    assert next_probe([], 1.0, []) is None
    assert next_probe([2.0, 4.0], 1.0, [Probe(2.0, False)]) is None


@pytest.mark.parametrize(("sharpness", "expected"), [(20.0, True), (29.0, True), (31.0, False)])
def test_a_crossing_far_off_the_edge_is_no_place_to_stay(sharpness, expected) -> None:
    assert stays(0.1, sharpness) is expected
    assert not stays(0.1, None)


def test_a_sparse_sweep_measures_at_its_thresholds_alone() -> None:
    sweep = sweeps.parse(TEXT)
    thin = sparse(sweep)
    assert len(thin.columns) == len(sweep.columns) == 4
    for column in thin.columns:
        protocol = column.protocol
        assert (protocol.epsilons, protocol.max_time) == ((0.3, 0.1), "flow 3")
        assert (protocol.also, protocol.eigenvalues, protocol.trajectory_eigenvalues) == ((), 0, 0)
        assert protocol.trajectory_every == "factor 1000"
        assert column.refine is None
        assert protocol.max_steps == (3000 if column.problem.loss == "ce" else 4000)
    known = dense_columns(sweep.columns)
    plain = [column for column in thin.columns if (column.problem, column.protocol) in known]
    assert len(known) == 2  # of plain GD
    assert {column.problem for column in plain} == {column.problem for column in known.values()}
    assert sparse(sweeps.parse(TEXT, ["stop.max_time=2"])).columns[0].protocol.max_time == 2.0


def _plan(flow_time: float = 40.0) -> ColumnPlan:
    column = sparse(sweeps.parse(TEXT)).columns[0]
    flow = FlowSummary(
        sharpness={0.3: 20.0, 0.1: 20.0}, time=flow_time, gradients=100, hvps=200,
        seconds_per_gradient=1.0,
    )  # fmt: skip
    return ColumnPlan(column, flow=flow)


def test_a_probe_that_might_cost_more_than_is_left_is_not_tried() -> None:
    plan = _plan()
    dense = next(iter(dense_columns(sweeps.parse(TEXT).columns).values()))
    grid = grid_cost(dense, plan, [])
    assert grid == pytest.approx(ColumnPlan(dense, flow=plan.flow).costs[1:].sum())
    known = [Probe(0.2, True), Probe(0.25, False, diverged=True), Probe(0.3, False)]
    stable = ColumnPlan(dense, flow=plan.flow).costs[1:8].sum()
    assert grid_cost(dense, plan, known) == pytest.approx(stable)
    assert grid_cost(dense, plan, [Probe(0.25, False)]) == grid  # GD may wander there for long
    # 3 times the flow's time, 40, at η = 2 η_c = 0.2; S at θ0, one step, and twice at each ε.
    assert dearest(plan, 0.2) == 600 + 20 * 6
    first = Spending(grid=grid, flow=300.0, probes=0.0)
    enough = (300 + 720) / grid
    assert next_affordable(plan, [], first, 1.001 * enough) == pytest.approx(0.2)
    assert next_affordable(plan, [], first, 0.999 * enough) is None
    assert next_affordable(ColumnPlan(plan.column), [], first, 1.0) is None  # no flow yet


def test_what_was_spent_is_relative_to_the_grid() -> None:
    spending = Spending(grid=1000.0, flow=50.0, probes=100.0)
    assert (spending.spent, spending.share) == (150.0, 0.15)
    assert Spending(grid=0.0, flow=1.0, probes=0.0).share == math.inf


def test_rates_that_are_asked_for_keep_the_name_of_the_column_and_of_its_trials() -> None:
    plan = _plan()
    etas = list(plan.learning_rates)[3:5]
    few = with_rates(plan.column, plan, etas)
    assert few.column_id == plan.column.column_id
    assert few.stop_after_divergences is None
    assert ColumnPlan(few, flow=plan.flow).trials == (plan.trials[0], *plan.trials[4:6])
    assert with_rates(plan.column, plan, ()).n_rates == 0
