"""Probes: the few rates of a column that are tried for a share of what its grid would cost.

They are measured at the thresholds alone, and end at a few times the flow's time. Which one comes
next is a function of what those before found.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.dynamics.schedule import MEASUREMENT
from jobs.records import OFF_THE_EDGE
from jobs.spec import GD, Problem, Protocol
from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.sweep import Column, EtaGrid, Sweep
from orchestrator.sweep.grid import PROTOCOL_FIELDS

FIRST = 2.0
"""In units of η_c: the first rate that is tried, or the one of the grid that is next to it."""

STRIDE = 2
"""Places of the grid from one probe to the next, as long as none is next to the best one."""

LONGEST = 3.0
"""In units of the flow's time: when a probe ends. GD that comes to ε takes 1 to 2.7 of them up to
4 η_c."""

DEFAULT_SHARE = 0.2
"""Of the cost of a column's GD trials: what may be spent unless something else is said."""

_SPARSE: dict[str, Any] = {
    "trajectory_every": "factor 1000",
    "trajectory_eigenvalues": 0,
    "also": (),
    "eigenvalues": 0,
    "midpoint": False,
    "lambda_min_rtol": None,
}
_HANDLED = (*(key for key, field in PROTOCOL_FIELDS.items() if field in _SPARSE), "eta.refine")


def sparse(sweep: Sweep) -> Sweep:
    """The problems and rates of a sweep, with trials that measure at their thresholds alone, and GD
    that ends after :data:`LONGEST` where the sweep does not bound its time.
    """
    grids = (
        dataclasses.replace(
            grid,
            protocol=_sparse(grid.protocol),
            eta=dataclasses.replace(grid.eta, refine=None),
            when=tuple(filter(None, (condition.without(*_HANDLED) for condition in grid.when))),
        )
        for grid in sweep.grids
    )
    return Sweep(name=sweep.name, grids=tuple(grids))


def _sparse(protocol: Protocol) -> Protocol:
    max_time = protocol.max_time or f"flow {LONGEST:g}"
    return dataclasses.replace(protocol, **_SPARSE, max_time=max_time)


def can_be_probed(column: Column) -> bool:
    """Whether it is of plain GD that begins at θ0."""
    return (column.optimizer, column.start, column.kind) == (GD, None, "gd")


def dense_columns(columns: Sequence[Column]) -> dict[tuple[Problem, Protocol], Column]:
    """Of columns those that can be probed, by problem and :func:`sparse` protocol."""
    return {
        (column.problem, _sparse(column.protocol)): column
        for column in columns
        if can_be_probed(column)
    }


@dataclass(frozen=True)
class Probe:
    """A rate that was tried: whether GD came to the smallest ε in time, and not by chance, and its
    test loss there, NaN where it is not known; or whether it diverged.
    """

    eta: float
    reached: bool
    test_loss: float = math.nan
    diverged: bool = False


def stays(eta: float, sharpness: float | None) -> bool:
    """Whether GD that came to ε may stay where its sharpness is this: it has not crossed ε in the
    middle of an oscillation.
    """
    return sharpness is not None and eta * sharpness / GD.edge <= OFF_THE_EDGE


def next_probe(rates: Sequence[float], eta_c: float, probes: Sequence[Probe]) -> float | None:
    """The rate to try next; None where none is left that may reach ε.

    The first is next to 2 η_c. From there it goes up, until GD no longer comes to ε in time, or
    down, until it does; then come the rates next to the one with the least test loss. A rate above
    one that did not come to ε is not tried.

    >>> grid = [1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0]
    >>> next_probe(grid, 1.0, [])
    2.0
    >>> next_probe(grid, 1.0, [Probe(2.0, True, 0.3), Probe(4.0, True, 0.2)])
    8.0
    >>> next_probe(grid, 1.0, [Probe(2.0, True, 0.3), Probe(4.0, True, 0.2), Probe(8.0, False)])
    5.6
    """
    rates = sorted(rates)
    if not probes:
        return min(rates, key=lambda rate: abs(math.log(rate / (FIRST * eta_c))), default=None)
    beyond = min((probe.eta for probe in probes if not probe.reached), default=math.inf)
    stable = [probe for probe in probes if probe.reached]
    tried = {probe.eta for probe in probes}
    left = [rate for rate in rates if rate not in tried and rate < beyond]
    if not left:
        return None
    if not stable:
        return left[-min(STRIDE, len(left))]
    largest = max(probe.eta for probe in stable)
    above = [rate for rate in left if rate > largest]
    if above and beyond == math.inf:
        return above[min(STRIDE, len(above)) - 1]
    best = rates.index(best_probe(stable).eta)
    return min(left, key=lambda rate: (abs(rates.index(rate) - best), -rate))


def best_probe(stable: Sequence[Probe]) -> Probe:
    """Of probes that came to ε that of the least test loss; the largest where none is known."""
    known = [probe for probe in stable if not math.isnan(probe.test_loss)]
    if not known:
        return max(stable, key=lambda probe: probe.eta)
    return min(known, key=lambda probe: probe.test_loss)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Gradients and products of one column: what its GD trials would take (:func:`grid_cost`), and
    what its flow and its probes took.
    """

    grid: float
    flow: float
    probes: float

    @property
    def spent(self) -> float:
        """All that was."""
        return self.flow + self.probes

    @property
    def share(self) -> float:
        """What was spent, relative to the grid."""
        return self.spent / self.grid if self.grid else math.inf


def next_affordable(
    plan: ColumnPlan, probes: Sequence[Probe], spending: Spending, share: float
) -> float | None:
    """The rate to try next; None where more than the ``share`` might be spent with it.

    Args:
        plan: of the sparse column, with its flow and all its rates.
        probes: what was tried.
        spending: what that took.
        share: of the grid's cost, the most that may be spent.
    """
    if plan.critical_rate is None:
        return None
    eta = next_probe(list(plan.learning_rates), plan.critical_rate, probes)
    if eta is None:
        return None
    return eta if spending.spent + dearest(plan, eta) <= share * spending.grid else None


def dearest(plan: ColumnPlan, eta: float) -> float:
    """The most gradients and products that a probe takes."""
    trial = plan.trials[1 + list(plan.learning_rates).index(eta)]
    return trial.most_steps + measuring(len(trial.protocol.epsilons))


def measuring(thresholds: int) -> float:
    """What a probe measures: at θ0 and after the first step, and at each ε the last iterate and the
    mean of the last two.
    """
    return MEASUREMENT * (2 + 2 * thresholds)


def grid_cost(column: Column, plan: ColumnPlan, probes: Sequence[Probe]) -> float:
    """What the GD trials of a column are predicted to take, by the flow of the same problem.

    From the smallest rate on at which GD diverges nothing is counted: that takes a few steps.
    """
    whole = ColumnPlan(column, flow=plan.flow)
    smallest = min((probe.eta for probe in probes if probe.diverged), default=math.inf)
    costs = zip(whole.learning_rates, whole.costs[1:].tolist(), strict=True)
    return float(sum(cost for eta, cost in costs if eta < smallest))


def with_rates(column: Column, plan: ColumnPlan, rates: Collection[float]) -> Column:
    """The column with these of its rates alone, each of which is tried."""
    asked = [plan.learning_rates[eta] for eta in rates]
    etas = (
        EtaGrid(unit=one.unit, multiples=tuple(a.multiple for a in asked if a.unit == one.unit))
        for one in column.etas
    )
    return dataclasses.replace(column, etas=tuple(etas), stop_after_divergences=None)
