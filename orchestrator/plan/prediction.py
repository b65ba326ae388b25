"""What is left of columns, and what it is expected to cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from jobs.device_speed import DeviceSpeed
from orchestrator.plan.cost import (
    NO_GRADIENT_SECONDS,
    GradientSeconds,
    seconds_at_speed,
    seconds_by_column,
)
from orchestrator.plan.run_state import RunState
from orchestrator.plan.states import State

LEAST_LEFT = 1 / 20
"""Of a running trial, as a fraction of what was predicted for it."""

NONE_DONE: Mapping[str, int] = MappingProxyType({})
NO_SPEEDS: Mapping[str, DeviceSpeed] = MappingProxyType({})

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is left of each column: ``gradients``, and ``seconds`` of one worker.

    ``guess`` says of each that it rests on priors, not on the column's flow; ``timed``, that the
    seconds rest on trials that were timed, of this column or of others, or on a gradient of it.
    """

    gradients: Floats
    seconds: Floats
    guess: Flags
    timed: Flags

    def only(self, columns: Flags) -> Prediction:
        """Nothing is left of the columns but these."""
        return Prediction(
            np.where(columns, self.gradients, 0.0),
            np.where(columns, self.seconds, 0.0),
            self.guess & columns,
            self.timed | ~columns,
        )


def predict(
    state: RunState,
    steps_done: Mapping[str, int] = NONE_DONE,
    gradient_seconds: GradientSeconds = NO_GRADIENT_SECONDS,
    speeds: Mapping[str, DeviceSpeed] = NO_SPEEDS,
) -> Prediction:
    """The cost of all trials that are not settled, failed, skipped or blocked.

    ``steps_done`` are those of running trials, by trial_id. A trial that took longer than predicted
    still counts a little.

    A column whose flow has run is reckoned by its seconds per gradient, and by what settled GD
    trials of such columns took in units of that: in a batch they take less.

    A column whose flow has not run is reckoned with the seconds that others turned out to take, in
    units of what was assumed of them: with the median over those of the same resources. Where there
    are none, with ``gradient_seconds``, which were timed on a CPU, or by the ``speeds`` of devices,
    as far as they are known.
    """
    layout, left = state.layout, ~state.complete
    begun = np.array([plan.flow is not None for plan in state.plans], dtype=bool)
    guess = left & ~begun
    gradients = np.where(guess, layout.assumed_gradients, 0.0)
    seconds = gradients * layout.assumed_seconds
    under_way = np.flatnonzero(left & begun)
    for i in under_way.tolist():
        gradients[i] = _left(state, i, steps_done)
        seconds[i] = gradients[i] * state.plans[i].seconds_per_gradient
    seconds[under_way] *= _pace(state, under_way)
    known = ~guess
    if guess.any():
        known |= _by_others(state, begun, guess, gradients, seconds, gradient_seconds)
        for i in np.flatnonzero(guess & ~known).tolist():
            column = state.columns[i]
            if (speed := speeds.get(column.resources.device)) is not None:
                seconds[i] = gradients[i] * seconds_at_speed(column, speed)
    return Prediction(gradients, seconds, guess, known)


def seconds_to_go(
    state: RunState,
    steps_done: Mapping[str, int] = NONE_DONE,
    gradient_seconds: GradientSeconds = NO_GRADIENT_SECONDS,
) -> float | None:
    """What is left of all columns, in seconds of one worker, by :func:`predict`.

    None as long as it would rest on what was assumed of a column, and nothing that was timed.
    """
    left = predict(state, steps_done, gradient_seconds)
    return float(left.seconds.sum()) if left.timed.all() else None


def _left(state: RunState, i: int, steps_done: Mapping[str, int]) -> float:
    """Gradients that are left of a column whose flow has run."""
    first = int(state.layout.first[i])
    plan, states = state.plans[i], state.states[first : first + len(state.plans[i].costs)]
    total = float(plan.costs[states == State.TO_DO].sum())
    for place in np.flatnonzero(states == State.RUNNING).tolist():
        whole = float(plan.costs[place])
        done = steps_done.get(plan.trials[place].trial_id, 0)
        total += max(whole - done, LEAST_LEFT * whole)
    return total


def _pace(state: RunState, columns: Numbers) -> Floats:
    """What the settled GD trials of columns took, in units of what their flow foretells; of one
    that has none, as in others of the same resources, and 1 where there are none.
    """
    layout, pace = state.layout, np.full(len(columns), np.nan)
    for place, i in enumerate(columns.tolist()):
        first, plan = int(layout.first[i]), state.plans[i]
        of_gd = slice(first + 1, first + len(plan.costs))
        settled = state.states[of_gd] == State.SETTLED
        if settled.any():
            foretold = float(plan.costs[1:][settled].sum()) * plan.seconds_per_gradient
            taken = float(state.seconds[of_gd][settled].sum())
            pace[place] = taken / foretold if taken and foretold else np.nan
    others = _median_of_alike(layout.resources[columns], pace)
    return np.nan_to_num(np.where(np.isnan(pace), others, pace), nan=1.0)


def _by_others(
    state: RunState,
    begun: Flags,
    guess: Flags,
    gradients: Floats,
    seconds: Floats,
    gradient_seconds: GradientSeconds,
) -> Flags:
    """Put the seconds of guesses right by what was timed; for which that could be done."""
    layout, counts = state.layout, state.counts
    bad = counts[:, State.FAILED] + counts[:, State.BLOCKED] > 0
    measured = begun & ~bad
    # Seconds that a whole column takes, in units of what was assumed of it before: they are known
    # of its settled trials, and follow from its flow for the others.
    settled = np.add.reduceat(state.seconds, layout.first[:-1])
    ratios = (settled + seconds) / (layout.assumed_gradients * layout.assumed_seconds)
    median = _median_of_alike(layout.resources, np.where(measured, ratios, np.nan))
    known = guess & ~np.isnan(median)
    seconds[known] *= median[known]
    on_cpus = [i for i in np.flatnonzero(guess) if state.columns[i].resources.device == "cpu"]
    if gradient_seconds and not known[on_cpus].all():
        each = seconds_by_column((state.columns[i] for i in on_cpus), gradient_seconds)
        for i in on_cpus:
            gradient = each.get(state.columns[i].column_id)
            if gradient is not None and not known[i]:
                seconds[i] = gradients[i] * gradient
                known[i] = True
    return known


def _median_of_alike(resources: Numbers, values: Floats) -> Floats:
    """For each place the median of the values of the same resources, but for NaN; NaN for none."""
    median = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    for kind in np.unique(resources[known]).tolist():
        alike = resources == kind
        median[alike] = np.median(values[alike & known])
    return median
