"""The trials of one column: its flow first, then GD by ascending η, once η is known."""

from __future__ import annotations

import bisect
import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.spec import Trial
from orchestrator.plan.cost import descent_gradients, flow_gradients, prior_seconds_per_gradient
from orchestrator.plan.settled_trials import FlowSummary, as_number
from orchestrator.sweep import AskedRate, Column, Unit

STABLE_LIMIT = 2.0
"""In units of η_c: below it, ``stop_after_divergences`` never applies, so that the bulk of a grid
runs in parallel without waiting for its neighbours."""


@dataclass(frozen=True, eq=False)
class ColumnPlan:
    """A column, the summary of its flow, None before it has settled, and of a column with a start
    the trial from which it starts, None before its η is known; and the multiples by which it has
    refined its rates, in the unit of its own, round by round.

    A trial has a place in its column: 0 is the flow, and GD follows by ascending η; then come the
    rates of the rounds.
    """

    column: Column
    flow: FlowSummary | None = None
    parent: Trial | None = None
    refined: tuple[float, ...] = ()

    @property
    def critical_rate(self) -> float | None:
        """η_c of the smallest threshold, which lays the grid; None unless the flow reached it."""
        if self.flow is None:
            return None
        return self.flow.critical_rate(self.column.protocol.epsilons[-1], self.column.optimizer)

    @property
    def initial_rate(self) -> float | None:
        """The η at whose edge the sharpness at θ0 is; None where that is 0 or not known."""
        return None if self.flow is None else self.flow.initial_rate(self.column.optimizer)

    def scale(self, unit: Unit) -> float:
        """η of the multiple 1 of a unit; NaN where it is not known."""
        if unit == "absolute":
            return 1.0
        scale = self.critical_rate if unit == "eta_c" else self.initial_rate
        return math.nan if scale is None else scale

    @property
    def blocked(self) -> str | None:
        """Why the flow's result gives no learning rates, if that is so."""
        if self.flow is None:
            return None
        if self.critical_rate is None and self.column.needs("eta_c"):
            epsilon = self.column.protocol.epsilons[-1]
            return (
                f"its flow did not reach loss {epsilon:g} within stop.max_steps = "
                f"{self.column.protocol.max_steps}, so η_c is unknown; raise stop.max_steps or "
                "stop.epsilon, or give eta.values with unit: absolute"
            )
        if self.initial_rate is None and self.column.needs("init_sharpness"):
            return (
                "its flow found no sharpness above 0 at the initial point, which is the unit of "
                "the learning rates; give eta.values with unit: absolute"
            )
        return None

    @functools.cached_property
    def learning_rates(self) -> dict[float, AskedRate]:
        """The learning rates by their places; none before the flow has settled, or where it blocks.

        Those of the file ascend, and those of the rounds follow.
        """
        if self.flow is None or self.blocked:
            return {}
        rates = self.column.learning_rates(self.critical_rate, self.initial_rate)
        for multiple in self.refined:
            rates.setdefault(multiple * self.scale(self.unit), AskedRate(self.unit, multiple))
        return rates

    @property
    def n_rates(self) -> int:
        """The number of its rates: as the sweep asks, until the flow has settled."""
        if self.flow is None or self.blocked:
            return self.column.n_rates
        return len(self.learning_rates)

    @property
    def n_asked(self) -> int:
        """How many of these the file asks for."""
        return self.n_rates - len(self.refined)

    @property
    def unit(self) -> Unit:
        """The unit in which its rates refine themselves: that of its first ones."""
        return self.column.etas[0].unit

    @functools.cached_property
    def first_above(self) -> int:
        """The place of the first GD trial above 2 η_c."""
        limit = STABLE_LIMIT * (self.critical_rate or 0.0)
        by_file = list(self.learning_rates)[: self.n_asked]
        return 1 + bisect.bisect_right(by_file, limit)

    @functools.cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The trials that are known, by their places."""
        known = self.learning_rates if self.column.start is None or self.parent else ()
        return (self.column.flow(), *map(self._at, known))

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """The place of each known trial, by its trial_id."""
        return {trial.trial_id: place for place, trial in enumerate(self.trials)}

    @functools.cached_property
    def names(self) -> npt.NDArray[np.uint64]:
        """The trial_id of each known trial as a number, by its place."""
        return np.array([as_number(name) for name in self.places], dtype=np.uint64)

    @functools.cached_property
    def costs(self) -> npt.NDArray[np.float64]:
        """The predicted cost of each known trial in gradients, by its place."""
        descents = (descent_gradients(self.column, rate, self.flow) for rate in self.learning_rates)
        return np.array([flow_gradients(self.column), *descents])

    def trial_at(self, rate: AskedRate) -> Trial | None:
        """The trial of GD at a learning rate as a sweep file asks for it; None of one that is not
        known.
        """
        if self.flow is None or self.blocked or (self.column.start and self.parent is None):
            return None
        eta = rate.multiple * self.scale(rate.unit)
        return self._at(eta) if math.isfinite(eta) else None

    def _at(self, eta: float) -> Trial:
        return self.column.at(eta, self.parent, self._flow_time)

    @functools.cached_property
    def _flow_time(self) -> float | None:
        """The flow's time to the smallest ε; None where it has not come there."""
        reached = self.critical_rate is not None
        return self.flow.time if self.flow is not None and reached else None

    def asked_rate(self, trial: Trial) -> AskedRate | None:
        """What the sweep file asks for where the trial stands; None for a flow."""
        return None if trial.learning_rate is None else self.learning_rates[trial.learning_rate]

    @property
    def seconds_per_gradient(self) -> float:
        """As the column's flow took, or as is assumed before it has run.

        This holds for a trial computed alone; in a batch it takes less.
        """
        if self.flow is None:
            return prior_seconds_per_gradient(self.column)
        return self.flow.seconds_per_gradient

    def seconds_of(self, trial: Trial) -> float:
        """The predicted seconds of a trial by itself."""
        return float(self.costs[self.places[trial.trial_id]]) * self.seconds_per_gradient
