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
class GradientKind:
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
    def of(cls, column: Column) -> GradientKind:
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


GradientSeconds = Mapping[GradientKind, float]
"""Seconds of a gradient."""

NO_GRADIENT_SECONDS: GradientSeconds = MappingProxyType({})


def seconds_by_column(columns: Iterable[Column], timed: GradientSeconds) -> dict[str, float]:
    """Seconds of a gradient by column_id, for networks that are :func:`worth_timing`.

    Gradients that were not timed are assumed to be as fast, per operation, as those that were.
    """
    kinds = {c.column_id: (GradientKind.of(c), c) for c in columns if worth_timing(c)}
    assumed = {kind: prior_seconds_per_gradient(column) for kind, column in kinds.values()}
    ratios = [timed[kind] / seconds for kind, seconds in assumed.items() if kind in timed]
    if not ratios:
        return {}
    ratio = statistics.median(ratios)
    return {name: timed.get(kind, ratio * assumed[kind]) for name, (kind, _) in kinds.items()}


def worth_timing(column: Column) -> bool:
    """Whether the operations of a column's network say little of how long they take."""
    return column.problem.architecture not in COUNTED
