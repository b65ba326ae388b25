"""Whether the networks of a sweep can be made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter

from jobs import datasets
from jobs.spec import Problem, SpecError
from jobs.spec.loss_name import own_loss
from orchestrator.sweep import Column

LEAST_SAFE_SCALE, MOST_SAFE_SCALE = 1e-20, 1e20
"""Initial values times numbers between these are numbers of float32."""

_network_of = attrgetter(
    "dataset",
    "architecture",
    "width",
    "depth",
    "activation",
    "parameterization",
    "base_width",
    "dtype",
    "loss",
)
"""The fields of a problem that determine its network, except the initial scale, and its loss."""


def network_errors(columns: Iterable[Column]) -> Iterator[tuple[ValueError, list[Column]]]:
    """Why networks cannot be made or have no such parameterization, or losses cannot be used, each
    with its columns.

    Each distinct network is tried once. Fully connected and diagonal networks in the standard
    parameterization need no trial, and no torch.

    Raises:
        DatasetError: there is no such dataset.
    """
    alike: dict[tuple[object, ...], list[Column]] = defaultdict(list)
    for column in columns:
        problem = column.problem
        if _may_fail(problem):
            scale = None if _safe_scale(problem) else problem.init_scale
            alike[*_network_of(problem), scale].append(column)
    if not alike:
        return
    from jobs import models
    from jobs.custom_loss import LossError, loss_of
    from jobs.network_requirements import NetworkError
    from jobs.parameterization import initial_parameters, scalings

    for of_network in alike.values():
        problem = of_network[0].problem
        shape = datasets.shape(problem.dataset)
        try:
            models.build(problem, shape)
            loss_of(problem.loss, shape)
            if _safe_scale(problem):
                scalings(problem, shape)
            else:
                initial_parameters(problem, shape)
        except (NetworkError, LossError, SpecError) as error:
            yield error, of_network


def _may_fail(problem: Problem) -> bool:
    simple = problem.architecture in ("fcn", "diagonal", "diagonal-difference")
    simple = simple and own_loss(problem.loss) is None
    return not (simple and problem.parameterization == "standard" and _safe_scale(problem))


def _safe_scale(problem: Problem) -> bool:
    return LEAST_SAFE_SCALE <= problem.init_scale <= MOST_SAFE_SCALE
