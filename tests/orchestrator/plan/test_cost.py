"""What trials are expected to cost before anything was timed."""

from __future__ import annotations

import pytest

from jobs.spec import Problem, Protocol
from orchestrator.plan import (
    ColumnProgress,
    SettledTrial,
    Threshold,
    predict,
    seconds_per_gradient,
)
from orchestrator.plan.cost import PRIOR_FLOW_GRADIENTS, PRIOR_SECONDS_PER_FLOP
from orchestrator.sweep import Column, EtaGrid, Resources

PLAIN = Protocol(epsilons=(0.1,))


def progress(protocol: Protocol = PLAIN, **problem: object) -> ColumnProgress:
    column = Column(
        problem=Problem(**{"dataset": "digits", "n_train": 100, **problem}),
        protocol=protocol,
        etas=(EtaGrid(unit="eta_c", rates=(1.0,)),),
        stop_after_divergences=None,
        resources=Resources(),
    )
    return ColumnProgress(column, {})


def flow_of(column: ColumnProgress, *, gradients: int, hvps: int) -> SettledTrial:
    reached = Threshold(epsilon=0.1, status="reached", time=10.0, max_sharpness=50.0)
    return SettledTrial(column.flow_trial.trial_id, (reached,), gradients, hvps, wall_s=100.0)


def test_a_gradient_takes_six_operations_for_each_weight_and_sample() -> None:
    weights = 64 * 8 + 8 * 8 + 8 * 10  # digits have 64 pixels and 10 classes
    seconds = seconds_per_gradient(progress(width=8, depth=2))
    assert seconds == pytest.approx(6 * weights * 100 * PRIOR_SECONDS_PER_FLOP, rel=1e-12)


def test_data_with_more_features_cost_more() -> None:
    small, large = (progress(width=8, depth=1, dataset=d) for d in ("digits", "mnist-mini"))
    ratio = seconds_per_gradient(large) / seconds_per_gradient(small)
    assert ratio == pytest.approx((784 + 10) / (64 + 10), rel=1e-12)


def test_what_is_assumed_is_called_a_guess() -> None:
    cost = predict(progress(architecture="diagonal"))
    assert cost.guess
    assert cost.seconds == pytest.approx(
        cost.gradients * 6 * 2 * 64 * 100 * PRIOR_SECONDS_PER_FLOP, rel=1e-12
    )


def test_measures_at_thresholds_cost_their_products() -> None:
    """A hundred probes at two thresholds, of the flow once and of the GD trial at two points."""
    plain = Protocol(epsilons=(0.1, 0.2))
    asked = Protocol(epsilons=(0.1, 0.2), also=("trace", "frobenius"), probes=100, midpoint=True)
    more = predict(progress(asked)).gradients - predict(progress(plain)).gradients
    assert more == pytest.approx(2 * 100 + 2 * 2 * 100)


def test_a_flow_beside_gd_costs_a_flow() -> None:
    beside = Protocol(epsilons=(0.1,), also=("distance_from_flow",))
    more = predict(progress(beside)).gradients - predict(progress()).gradients
    assert more == pytest.approx(PRIOR_FLOW_GRADIENTS["rkc2"])


def test_a_flow_beside_gd_costs_what_the_flow_of_the_column_took() -> None:
    costs = []
    for also in ((), ("distance_from_flow",)):
        column = progress(Protocol(epsilons=(0.1,), also=also))
        column.settle(flow_of(column, gradients=60_000, hvps=5_000))
        (descent,) = column.ready()
        costs.append(column.gradients_of(descent))
    assert costs[1] - costs[0] == pytest.approx(65_000)
