"""What is left of a column, and what it is expected to cost."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.plan.column_progress import ColumnProgress, State
from orchestrator.plan.cost import prior_seconds_per_gradient, unknown_gradients


@dataclass(frozen=True)
class Prediction:
    """What is left of a column; ``guess`` says that it rests on priors, not on the flow."""

    gradients: float
    seconds: float
    guess: bool


def predict(progress: ColumnProgress) -> Prediction:
    """The cost of all trials of a column that are not settled, failed or skipped."""
    if progress.blocked:
        return Prediction(0.0, 0.0, guess=False)
    open_states = (State.TO_DO, State.RUNNING)
    states = progress.states()
    left = [trial for trial in progress.trials if states[trial.trial_id] in open_states]
    gradients = sum(progress.gradients_of(trial) for trial in left)
    if progress.flow is None:
        gradients += unknown_gradients(progress.column)
        rate = prior_seconds_per_gradient(progress.column)
    else:
        rate = progress.flow.seconds_per_gradient
    return Prediction(gradients, gradients * rate, guess=progress.flow is None)
