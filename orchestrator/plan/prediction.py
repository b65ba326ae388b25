"""What is left of columns, and what it is expected to cost."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.plan.column_progress import ColumnProgress, State
from orchestrator.plan.cost import flow_gradients, prior_seconds_per_gradient, unknown_gradients
from orchestrator.plan.timed import NONE_TIMED, Timed, gradient_seconds
from orchestrator.sweep import Resources

LEAST_LEFT = 1 / 20
"""Of a running trial, as a fraction of what was predicted for it."""

NONE_DONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Prediction:
    """What is left of a column; ``guess`` says that it rests on priors, not on the flow.

    ``timed`` says that the seconds rest on trials that were timed, of this column or of others, or
    on a gradient of this one.
    """

    gradients: float
    seconds: float
    guess: bool
    timed: bool


def seconds_per_gradient(progress: ColumnProgress) -> float:
    """As the column's flow took, or as is assumed of it before it has run.

    That is of a trial by itself; among others in a pack it takes less.
    """
    if progress.flow is None:
        return prior_seconds_per_gradient(progress.column)
    return progress.flow.seconds_per_gradient


def predict_all(
    columns: Iterable[ColumnProgress],
    steps_done: Mapping[str, int] = NONE_DONE,
    timed: Timed = NONE_TIMED,
) -> list[Prediction]:
    """The cost of what is left of each column, in their order.

    A column whose flow has not run is reckoned with the seconds that others turned out to take, in
    units of what was assumed of them: with the median over those of the same resources. Where there
    are none, with the gradients that were ``timed``.
    """
    columns = list(columns)
    predictions = [predict(progress, steps_done) for progress in columns]
    if not any(prediction.guess for prediction in predictions):
        return predictions
    measured: dict[Resources, list[float]] = defaultdict(list)
    for progress in columns:
        ratio = _measured_ratio(progress)
        if ratio is not None:
            measured[progress.column.resources].append(ratio)
    ratios = {resources: statistics.median(several) for resources, several in measured.items()}
    seconds = gradient_seconds((progress.column for progress in columns), timed)
    return [
        _timed(
            prediction,
            ratios.get(progress.column.resources),
            seconds.get(progress.column_id),
        )
        for progress, prediction in zip(columns, predictions, strict=True)
    ]


def seconds_to_go(
    columns: Iterable[ColumnProgress],
    steps_done: Mapping[str, int] = NONE_DONE,
    timed: Timed = NONE_TIMED,
) -> float | None:
    """What is left of all columns, in seconds of one worker, by :func:`predict_all`.

    None as long as it would rest on what was assumed of a column, and nothing that was timed.
    """
    left = predict_all(columns, steps_done, timed)
    return sum(one.seconds for one in left) if all(one.timed for one in left) else None


def predict(progress: ColumnProgress, steps_done: Mapping[str, int] = NONE_DONE) -> Prediction:
    """The cost of all trials of a column that are not settled, failed or skipped.

    ``steps_done`` are those of running trials, by trial_id. A trial that took longer than predicted
    still counts a little.
    """
    if progress.blocked or progress.complete:
        return Prediction(0.0, 0.0, guess=False, timed=True)
    gradients = unknown_gradients(progress.column) if progress.flow is None else 0.0
    states = progress.states()
    for trial in progress.trials:
        if states[trial.trial_id] in (State.TO_DO, State.RUNNING):
            whole = progress.gradients_of(trial)
            gradients += max(whole - steps_done.get(trial.trial_id, 0), LEAST_LEFT * whole)
    seconds = gradients * seconds_per_gradient(progress)
    begun = progress.flow is not None
    return Prediction(gradients, seconds, guess=not begun, timed=begun)


def _timed(prediction: Prediction, ratio: float | None, gradient: float | None) -> Prediction:
    if not prediction.guess or (ratio is None and gradient is None):
        return prediction
    if ratio is not None:
        seconds = ratio * prediction.seconds
    else:
        assert gradient is not None
        seconds = prediction.gradients * gradient
    return dataclasses.replace(prediction, seconds=seconds, timed=True)


def _measured_ratio(progress: ColumnProgress) -> float | None:
    """Seconds that a whole column takes, in units of what was assumed of it before.

    They are known of its settled trials, and follow from its flow for the others. None unless its
    flow has run, and of columns that will never be whole.
    """
    if progress.flow is None or progress.blocked or progress.has_failures:
        return None
    column = progress.column
    assumed = flow_gradients(column) + unknown_gradients(column)
    real = progress.settled_seconds + predict(progress).seconds
    return real / (assumed * prior_seconds_per_gradient(column))
