"""What trials are expected to cost, from what the column's flow took."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jobs.batch_bounds import MOST_TRIALS
from jobs.device_speed import DeviceSpeed
from jobs.dynamics.schedule import MEASUREMENT, cost_of_point, points
from jobs.multiplications import FLOPS_PER_MULTIPLICATION, layer_sizes, multiplications
from jobs.spec import GD
from orchestrator.plan.settled_trials import FlowSummary
from orchestrator.sweep import Column

LAMBDA_MIN = 50
"""Products that λ_min takes besides at a ``lambda_min_rtol`` of 1e-3: 47 with 13,002 parameters."""

PRODUCTS_PER_EIGENVALUE = 10
EVALUATION = 1 / 3
"""Gradients that a leading eigenvalue takes, and an evaluation of the loss."""

PRIOR_FLOW_GRADIENTS = {"rkc2": 1_500, "rk4": 13_000}
PRIOR_DESCENT_STEPS = 2_000
"""Assumed of a column whose flow has not run: the gradients and products of its flow, by method,
and the steps of GD at η_c. MNIST with 1,000 samples and ε = 0.02 needs about that; a prediction
based on them is called a guess."""

CENTRAL_GRADIENTS = 8_000
"""Gradients that a central flow takes for each η_c that its rate is above η_c, of which third
derivatives are the most: on the quickstart's problem 2,600 at 1.3 η_c, 14,000 at 2.8, 26,000 at
4."""

PRIOR_SECONDS_PER_FLOP = 1 / 30e9
"""Assumed of one CPU core where neither trials were timed nor the speed of the device is known. It
is taken for GPUs as well; whoever prints what rests on it must say so."""


def flow_gradients(column: Column) -> float:
    """Gradients of a flow that has not run."""
    return PRIOR_FLOW_GRADIENTS[column.protocol.flow_method] + further_gradients(column)


def descent_gradients(column: Column, learning_rate: float, flow: FlowSummary | None) -> float:
    """Gradients of a GD run: the flow's time to the last threshold, in steps of its length.

    A central flow costs :data:`CENTRAL_GRADIENTS` as well, the more the further η is above η_c.
    Without the flow, η is taken in units of η_c, with the prior number of steps at η_c; that is
    also assumed of an adaptive optimiser, which does not follow the flow. A flow beside GD costs
    what the column's flow took, or is assumed to take.
    """
    optimizer, time = column.optimizer, None if flow is None else flow.time
    limit, step_time = float(column.protocol.max_steps), optimizer.time_per_step(learning_rate)
    if (bound := column.protocol.time_bound(time)) is not None:
        limit = min(limit, bound / step_time)
    if optimizer.is_adaptive:
        steps = min(PRIOR_DESCENT_STEPS, limit)
    elif time is not None:
        steps = min(time / step_time, limit)
    else:
        scale = step_time * optimizer.edge / GD.edge
        steps = min(PRIOR_DESCENT_STEPS / scale, limit)
    each = cost_of_point(column.protocol.trajectory_every)
    each += PRODUCTS_PER_EIGENVALUE * column.protocol.trajectory_eigenvalues
    each += MEASUREMENT if optimizer.is_adaptive else 0
    gradients = steps + each * points(steps, column.protocol.trajectory_every, step_time)
    gradients += further_gradients(column, places=2 if column.protocol.midpoint else 1)
    if "distance_from_flow" in column.protocol.also:
        prior = PRIOR_FLOW_GRADIENTS[column.protocol.flow_method]
        gradients += prior if flow is None else flow.gradients + flow.hvps
    if column.kind == "central":
        eta_c = 1.0 if flow is None else flow.critical_rate(column.protocol.epsilons[-1]) or 1.0
        gradients += CENTRAL_GRADIENTS * min(max(learning_rate / eta_c - 1, 0.1), 4.0)
    return gradients


def further_gradients(column: Column, places: int = 1) -> float:
    """What the measures at every threshold cost, each taken at this number of ``places``."""
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


def seconds_at_speed(column: Column, speed: DeviceSpeed) -> float:
    """Seconds of a gradient on a device, where the rates of a column go in batches."""
    rates = sum(len(eta.multiples) for eta in column.etas)
    together = min(rates, MOST_TRIALS[column.resources.device])
    return speed.seconds_per_gradient(column.problem, together)


@dataclass(frozen=True)
class GradientKind:
    """What the time of a gradient depends on."""

    dataset: str
    n_train: int
    dtype: str
    architecture: str
    width: int | None
    depth: int | None
    activation: str | None
    cpus: int

    @classmethod
    def of(cls, column: Column) -> GradientKind:
        """The gradient of a column."""
        problem = column.problem
        return cls(
            dataset=problem.dataset,
            n_train=problem.n_train,
            dtype=problem.dtype,
            architecture=problem.architecture,
            width=problem.width,
            depth=problem.depth,
            activation=problem.activation,
            cpus=column.resources.cpus_per_worker,
        )


GradientSeconds = Mapping[GradientKind, float]
"""Seconds of a gradient."""

NO_GRADIENT_SECONDS: GradientSeconds = MappingProxyType({})


def seconds_by_column(columns: Iterable[Column], timed: GradientSeconds) -> dict[str, float]:
    """Seconds of a gradient by column_id, for networks that are :func:`worth_timing`.

    Gradients that were not timed are assumed to be as fast, per operation, as those that were.
    """
    kinds = {c.column_id: (GradientKind.of(c), c) for c in columns if worth_timing(c)}
    assumed = {kind: prior_seconds_per_gradient(column) for kind, column in kinds.values()}
    ratios = [timed[kind] / seconds for kind, seconds in assumed.items() if kind in timed]
    if not ratios:
        return {}
    ratio = statistics.median(ratios)
    return {name: timed.get(kind, ratio * assumed[kind]) for name, (kind, _) in kinds.items()}


def worth_timing(column: Column) -> bool:
    """Whether the operations of a column's network say little of how long they take."""
    return not layer_sizes(column.problem)
