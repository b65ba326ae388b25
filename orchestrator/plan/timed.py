"""What gradients took that were timed by themselves, before any trial was."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.plan.cost import prior_seconds_per_gradient
from orchestrator.sweep import Column

COUNTED = ("fcn", "diagonal", "diagonal-difference")
"""Networks of matrix products alone: the number of these says enough."""


@dataclass(frozen=True)
class Gradient:
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
    def of(cls, column: Column) -> Gradient:
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


Timed = Mapping[Gradient, float]
"""Seconds of a gradient."""

NONE_TIMED: Timed = MappingProxyType({})


def gradient_seconds(columns: Iterable[Column], timed: Timed) -> dict[str, float]:
    """Seconds of a gradient by column_id, of those not of :data:`COUNTED`.

    Those that were not timed are taken to be as fast as those that were, for each operation.
    """
    works = {c.column_id: (Gradient.of(c), c) for c in columns if may_be_timed(c)}
    if not timed or not works:
        return {}
    assumed = {work: prior_seconds_per_gradient(column) for work, column in works.values()}
    ratios = [timed[work] / seconds for work, seconds in assumed.items() if work in timed]
    if not ratios:
        return {}
    ratio = statistics.median(ratios)
    return {name: timed.get(work, ratio * assumed[work]) for name, (work, _) in works.items()}


def may_be_timed(column: Column) -> bool:
    """Whether the operations of a column's network say little of how long they take."""
    return column.problem.architecture not in COUNTED
