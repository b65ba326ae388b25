"""What trials are expected to cost before anything was timed."""

from __future__ import annotations

import pytest
from support.outcomes import outcome

from jobs.spec import Problem, Protocol
from orchestrator.plan import ColumnPlan, Prediction, RunState, predict
from orchestrator.plan.cost import PRIOR_FLOW_GRADIENTS, PRIOR_SECONDS_PER_FLOP
from orchestrator.sweep import Column, EtaGrid, Resources

PLAIN = Protocol(epsilons=(0.1,))


def a_column(protocol: Protocol = PLAIN, **problem: object) -> Column:
    return Column(
        problem=Problem(**{"dataset": "digits", "n_train": 100, **problem}),
        protocol=protocol,
        etas=(EtaGrid(unit="eta_c", multiples=(1.0,)),),
        stop_after_divergences=None,
        resources=Resources(),
    )


def cost_of(column: Column) -> Prediction:
    return predict(RunState.of([column]))


def test_a_gradient_takes_six_operations_for_each_weight_and_sample() -> None:
    weights = 64 * 8 + 8 * 8 + 8 * 10  # digits have 64 pixels and 10 classes
    seconds = ColumnPlan(a_column(width=8, depth=2)).seconds_per_gradient
    assert seconds == pytest.approx(6 * weights * 100 * PRIOR_SECONDS_PER_FLOP, rel=1e-12)


def test_data_with_more_features_cost_more() -> None:
    small, large = (
        ColumnPlan(a_column(width=8, depth=1, dataset=name)).seconds_per_gradient
        for name in ("digits", "mnist-mini")
    )
    ratio = large / small
    assert ratio == pytest.approx((784 + 10) / (64 + 10), rel=1e-12)


def test_what_is_assumed_is_called_a_guess() -> None:
    cost = cost_of(a_column(architecture="diagonal"))
    assert cost.guess.all()
    assert cost.seconds == pytest.approx(
        cost.gradients * 6 * 2 * 64 * 100 * PRIOR_SECONDS_PER_FLOP, rel=1e-12
    )


def test_measures_at_thresholds_cost_their_products() -> None:
    """A hundred probes at two thresholds, of the flow once and of the GD trial at two points."""
    plain = Protocol(epsilons=(0.1, 0.2))
    asked = Protocol(epsilons=(0.1, 0.2), also=("trace", "frobenius"), probes=100, midpoint=True)
    more = float((cost_of(a_column(asked)).gradients - cost_of(a_column(plain)).gradients)[0])
    assert more == pytest.approx(2 * 100 + 2 * 2 * 100)


def test_a_flow_beside_gd_costs_a_flow() -> None:
    beside = Protocol(epsilons=(0.1,), also=("distance_from_flow",))
    more = float((cost_of(a_column(beside)).gradients - cost_of(a_column()).gradients)[0])
    assert more == pytest.approx(PRIOR_FLOW_GRADIENTS["rkc2"])


def test_a_flow_beside_gd_costs_what_the_flow_of_the_column_took() -> None:
    costs = []
    for also in ((), ("distance_from_flow",)):
        column = a_column(Protocol(epsilons=(0.1,), also=also))
        flow = outcome(column.flow(), gradients=60_000, hvps=5_000, wall_s=100.0)
        costs.append(float(predict(RunState.of([column]).settled(flow)).gradients[0]))
    assert costs[1] - costs[0] == pytest.approx(65_000)
