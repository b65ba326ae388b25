"""What trials are expected to cost, from what the column's flow took."""

from __future__ import annotations

from jobs.dynamics.schedule import points
from jobs.multiplications import multiplications
from orchestrator.plan.flow_summary import FlowSummary
from orchestrator.sweep import Column

MEASUREMENT = 20
"""Gradients that one measurement of the sharpness is worth: the products that Lanczos typically
needs at a relative residual of 1e-3."""

LAMBDA_MIN = 50
"""Products that λ_min takes besides at a ``lambda_min_rtol`` of 1e-3: 47 with 13,002 parameters."""

PRODUCTS_PER_EIGENVALUE = 10
EVALUATION = 1 / 3
"""Gradients that a leading eigenvalue takes, and an evaluation of the loss."""

PRIOR_FLOW_GRADIENTS = {"rkc2": 1_500, "rk4": 13_000}
PRIOR_DESCENT_STEPS = 2_000
"""Assumed of a column whose flow has not run: the gradients and products of its flow, by method,
and the steps of GD at η_c. MNIST with 1,000 samples and ε = 0.02 needs about as many; what rests on
them is called a guess."""

PRIOR_SECONDS_PER_FLOP = 1 / 30e9
"""Assumed of one CPU core until a trial has been timed. It is taken for workers with a GPU as well,
of which nothing was measured; whoever prints what rests on it must say so."""

FLOPS_PER_MULTIPLICATION = 6
"""Of a gradient, for each multiplication of the forward pass: that and an addition there, and twice
as many on the way back."""


def flow_gradients(column: Column) -> float:
    """Gradients of a flow that has not run."""
    return PRIOR_FLOW_GRADIENTS[column.protocol.flow_method] + further_gradients(column)


def descent_gradients(column: Column, learning_rate: float, flow: FlowSummary | None) -> float:
    """Gradients of a GD run: the flow's time to the last threshold, in steps of length η.

    Without the flow, η is taken in units of η_c, with the prior number of steps at η_c. A flow
    beside GD costs what the column's flow took, or is assumed to take.
    """
    limit = column.protocol.max_steps
    if flow is not None and flow.time is not None:
        steps = min(flow.time / learning_rate, limit)
    else:
        steps = min(PRIOR_DESCENT_STEPS / learning_rate, limit)
    gradients = steps + MEASUREMENT * points(steps, column.protocol.trajectory_every)
    gradients += further_gradients(column, places=2 if column.protocol.midpoint else 1)
    if "distance_from_flow" in column.protocol.also:
        prior = PRIOR_FLOW_GRADIENTS[column.protocol.flow_method]
        gradients += prior if flow is None else flow.gradients + flow.hvps
    return gradients


def further_gradients(column: Column, places: int = 1) -> float:
    """What the measures cost that are asked for at every threshold, in so many places each."""
    protocol = column.protocol
    also, probes = set(protocol.also), protocol.probes or 0
    each = float(PRODUCTS_PER_EIGENVALUE * protocol.eigenvalues)
    each += probes if also & {"trace", "frobenius"} else 0
    each += MEASUREMENT if "adaptive_sharpness" in also else 0
    each += 2 * probes * EVALUATION if "average_sharpness" in also else 0
    once = LAMBDA_MIN if protocol.lambda_min_rtol is not None else 0
    return len(protocol.epsilons) * (places * each + once)


def unknown_gradients(column: Column) -> float:
    """Gradients of the GD trials of a column whose flow has not run."""
    multiples = [multiple for eta in column.etas for multiple in eta.multiples]
    return sum(descent_gradients(column, multiple, None) for multiple in multiples)


def prior_seconds_per_gradient(column: Column) -> float:
    """Seconds of a gradient, by the multiplications that the network makes for each sample."""
    each = FLOPS_PER_MULTIPLICATION * multiplications(column.problem)
    return each * column.problem.n_train * PRIOR_SECONDS_PER_FLOP
