"""Whether the networks of a sweep can be made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from jobs import datasets
from jobs.spec import Problem, SpecError
from orchestrator.sweep import Column

USUAL_SCALES = 1e-20, 1e20
"""Initial values times numbers between these are numbers of float32."""


def network_errors(columns: Iterable[Column]) -> Iterator[tuple[ValueError, list[Column]]]:
    """Why networks of these columns cannot be made, or have no such parameterization, and whose.

    Each distinct network is tried once. Fully connected and diagonal networks in the standard
    parameterization need no trial, and no torch.

    Raises:
        DatasetError: there is no such dataset.
    """
    alike: dict[tuple[object, ...], list[Column]] = defaultdict(list)
    for column in columns:
        if _may_fail(column.problem):
            alike[_network(column.problem)].append(column)
    if not alike:
        return
    from jobs import models
    from jobs.network_requirements import NetworkError
    from jobs.parameterization import initial_parameters, scalings

    for of_network in alike.values():
        problem = of_network[0].problem
        shape = datasets.shape(problem.dataset)
        try:
            models.build(problem, shape)
            if _usual_scale(problem):
                scalings(problem, shape)
            else:
                initial_parameters(problem, shape)
        except (NetworkError, SpecError) as error:
            yield error, of_network


def _may_fail(problem: Problem) -> bool:
    simple = problem.architecture in ("fcn", "diagonal", "diagonal-difference")
    return not (simple and problem.parameterization == "standard" and _usual_scale(problem))


def _usual_scale(problem: Problem) -> bool:
    least, most = USUAL_SCALES
    return least <= problem.init_scale <= most


def _network(problem: Problem) -> tuple[object, ...]:
    """What of a problem makes its network."""
    return (
        problem.dataset,
        problem.architecture,
        problem.width,
        problem.depth,
        problem.activation,
        problem.parameterization,
        problem.base_width,
        problem.dtype,
        _usual_scale(problem) or problem.init_scale,
    )
