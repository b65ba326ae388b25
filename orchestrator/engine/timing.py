"""Gradients timed before a run, of networks whose number of operations predicts no time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from jobs.dynamics.schedule import PRODUCTS_PER_GRADIENT
from orchestrator.plan import GradientKind, GradientSeconds, RunState, predict
from orchestrator.plan.cost import prior_seconds_per_gradient, worth_timing
from orchestrator.sweep import Column

SECONDS, SECONDS_EACH = 20.0, 3.0
"""The most for all networks together, and for one of them after its first gradients."""


def timed_for(
    state: RunState, known: GradientSeconds, abandoned: Callable[[], bool] = lambda: False
) -> dict[GradientKind, float]:
    """Seconds of the gradients on which the prediction of the work left is based.

    These are the ``known`` ones, and others timed here for columns that neither they nor finished
    trials predict.
    """
    predicted = predict(state, gradient_seconds=known).timed
    untimed = [state.columns[i] for i in np.flatnonzero(~predicted)]
    return {**known, **time_gradients(untimed, abandoned)}


def time_gradients(
    columns: Iterable[Column], abandoned: Callable[[], bool] = lambda: False
) -> dict[GradientKind, float]:
    """Seconds of a gradient on this machine's CPU, of networks of more than matrix products that
    are to be computed on one.

    One gradient and one Hessian-vector product of each distinct network are timed, the largest
    first, until time runs out or ``abandoned`` is true. Networks that cannot be timed are left out.
    """
    alike: dict[GradientKind, Column] = {}
    for column in columns:
        if not worth_timing(column) or column.resources.device != "cpu":
            continue
        alike.setdefault(GradientKind.of(column), column)
    assumed = {work: prior_seconds_per_gradient(column) for work, column in alike.items()}
    end, timed = time.monotonic() + SECONDS, dict[GradientKind, float]()
    for work in sorted(alike, key=lambda work: -assumed[work]):
        if abandoned() or time.monotonic() >= end:
            break
        seconds = _timed(alike[work], assumed[work])
        if seconds is not None:
            timed[work] = seconds
    return timed


def _timed(column: Column, assumed: float) -> float | None:
    """Seconds of a gradient; None where the network cannot be timed or would take too long."""
    from jobs.problem import FEWEST_SAMPLES, time_problem  # with torch

    if assumed * FEWEST_SAMPLES / column.problem.n_train > SECONDS_EACH:
        return None
    try:
        found = time_problem(column.problem, SECONDS_EACH, column.resources.cpus_per_worker)
    except (ValueError, RuntimeError):  # the trial itself will raise it
        return None
    products = PRODUCTS_PER_GRADIENT
    return (found.gradient + products * found.product) / (1 + products)
