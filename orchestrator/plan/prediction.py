"""What is left of a column, and what it is expected to cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.plan.column_progress import ColumnProgress, State
from orchestrator.plan.cost import prior_seconds_per_gradient, unknown_gradients

LEAST_LEFT = 1 / 20
"""Of a running trial, as a fraction of what was predicted for it."""


@dataclass(frozen=True)
class Prediction:
    """What is left of a column; ``guess`` says that it rests on priors, not on the flow."""

    gradients: float
    seconds: float
    guess: bool


def seconds_per_gradient(progress: ColumnProgress) -> float:
    """As the column's flow took, or as is assumed of it before it has run.

    That is of a trial by itself; among others in a pack it takes less.
    """
    if progress.flow is None:
        return prior_seconds_per_gradient(progress.column)
    return progress.flow.seconds_per_gradient


def predict(
    progress: ColumnProgress, steps_done: Mapping[str, int] = MappingProxyType({})
) -> Prediction:
    """The cost of all trials of a column that are not settled, failed or skipped.

    ``steps_done`` are those of running trials, by trial_id. A trial that took longer than predicted
    still counts a little.
    """
    if progress.blocked or progress.complete:
        return Prediction(0.0, 0.0, guess=False)
    gradients = unknown_gradients(progress.column) if progress.flow is None else 0.0
    states = progress.states()
    for trial in progress.trials:
        if states[trial.trial_id] in (State.TO_DO, State.RUNNING):
            whole = progress.gradients_of(trial)
            gradients += max(whole - steps_done.get(trial.trial_id, 0), LEAST_LEFT * whole)
    seconds = gradients * seconds_per_gradient(progress)
    return Prediction(gradients, seconds, guess=progress.flow is None)
