"""How long gradients of networks take whose operations say little about it: timed before a run."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable

from orchestrator.plan import cost
from orchestrator.sweep import Column

SECONDS, SECONDS_EACH = 20.0, 3.0
"""For all networks together, and for one of them, beyond what its first gradients take."""

PRODUCTS_PER_GRADIENT = 0.4
"""Of a GD trial: a measurement of the sharpness in every fifty steps."""

COUNTED = ("fcn", "diagonal", "diagonal-difference")
"""Networks of matrix products alone: the number of these says enough."""


def seconds_per_gradient(columns: Iterable[Column]) -> dict[str, float]:
    """Seconds of a gradient on this machine's CPU, by column_id, of those not of :data:`COUNTED`.

    Of each distinct network one gradient and one Hessian product are timed, the largest first.
    Where time runs out, the others are taken to be as fast as those that were timed, for each
    operation. Of a network that cannot be timed nothing is said.
    """
    alike: dict[tuple[object, ...], list[Column]] = defaultdict(list)
    for column in columns:
        if column.problem.architecture not in COUNTED:
            alike[_work(column)].append(column)
    if not alike:
        return {}
    assumed = {work: cost.prior_seconds_per_gradient(some[0]) for work, some in alike.items()}
    end, timed = time.monotonic() + SECONDS, dict[tuple[object, ...], float]()
    for work in sorted(alike, key=lambda work: -assumed[work]):
        if time.monotonic() >= end:
            break
        seconds = _timed(alike[work][0], assumed[work])
        if seconds is not None:
            timed[work] = seconds
    if not timed:
        return {}
    ratio = statistics.median(seconds / assumed[work] for work, seconds in timed.items())
    return {
        column.column_id: timed.get(work, ratio * assumed[work])
        for work, some in alike.items()
        for column in some
    }


def _work(column: Column) -> tuple[object, ...]:
    """What the time of a gradient depends on."""
    problem = column.problem
    return (
        *(problem.dataset, problem.n_train, problem.dtype, column.resources.cpus_per_worker),
        *(problem.architecture, problem.width, problem.depth, problem.activation),
    )


def _timed(column: Column, assumed: float) -> float | None:
    """Seconds of a gradient; None of a network that cannot be timed or whose first gradients would
    take too long.
    """
    from jobs.timing import FEWEST_SAMPLES, time_problem  # with torch

    if assumed * FEWEST_SAMPLES / column.problem.n_train > SECONDS_EACH:
        return None
    try:
        found = time_problem(column.problem, SECONDS_EACH, column.resources.cpus_per_worker)
    except (ValueError, RuntimeError):  # whoever asks for the network itself is told
        return None
    products = PRODUCTS_PER_GRADIENT
    return (found.gradient + products * found.product) / (1 + products)
