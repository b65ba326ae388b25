"""How long gradients of networks take whose operations say little about it: timed before a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from orchestrator.plan import GradientKind, GradientSeconds, RunState, predict
from orchestrator.plan.cost import prior_seconds_per_gradient, worth_timing
from orchestrator.sweep import Column

SECONDS, SECONDS_EACH = 20.0, 3.0
"""For all networks together, and for one of them, beyond what its first gradients take."""

PRODUCTS_PER_GRADIENT = 0.4
"""Of a GD trial: a measurement of the sharpness in every fifty steps."""


def timed_for(
    state: RunState, known: GradientSeconds, abandoned: Callable[[], bool] = lambda: False
) -> dict[GradientKind, float]:
    """The gradients that a prediction of what is left rests on.

    Those that are ``known``, and of columns of which neither they nor trials say anything, others
    that are timed here.
    """
    untimed = [
        state.columns[i] for i in np.flatnonzero(~predict(state, gradient_seconds=known).timed)
    ]
    return {**known, **time_gradients(untimed, abandoned)}


def time_gradients(
    columns: Iterable[Column], abandoned: Callable[[], bool] = lambda: False
) -> dict[GradientKind, float]:
    """Seconds of a gradient on this machine's CPU, of networks of more than matrix products.

    Of each distinct network one gradient and one Hessian product are timed, the largest first,
    until time runs out or that is ``abandoned``. Of a network that cannot be timed nothing is said.
    """
    alike: dict[GradientKind, Column] = {}
    for column in filter(worth_timing, columns):
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
    """Seconds of a gradient; None of a network that cannot be timed or whose first gradients would
    take too long.
    """
    from jobs.problem import FEWEST_SAMPLES, time_problem  # with torch

    if assumed * FEWEST_SAMPLES / column.problem.n_train > SECONDS_EACH:
        return None
    try:
        found = time_problem(column.problem, SECONDS_EACH, column.resources.cpus_per_worker)
    except (ValueError, RuntimeError):  # whoever asks for the network itself is told
        return None
    products = PRODUCTS_PER_GRADIENT
    return (found.gradient + products * found.product) / (1 + products)
