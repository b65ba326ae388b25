"""The networks of a sweep: whether they can be made, and the copies that a run directory keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobs import datasets
from jobs.spec import Problem, SpecError
from jobs.spec.digest import digest_of
from jobs.spec.network_name import own_network
from orchestrator.store import write_bytes_whole
from orchestrator.sweep import Column, Sweep, SweepError
from orchestrator.sweep.own_networks import MODELS

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
    from jobs.admission import NetworkError
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


def keep_networks(run: Path, sweep: Sweep) -> None:
    """Copy the files of a sweep's own networks into the run directory, and use the copies.

    Raises:
        SweepError: a file has changed since the sweep was read.
        StoreError: the directory cannot be written to.
    """
    digests = _digests(column.problem for column in sweep.columns)
    if not digests:
        return
    from jobs.models import own  # with torch, which other sweeps need not wait for

    folder = run.resolve() / MODELS
    for digest, name in digests.items():
        path, copy = own.path_of(digest), folder / f"{digest}.py"
        content = path.read_bytes() if path.is_file() else b""
        if digest_of(content) != digest:
            raise SweepError(
                f"problem.architecture is {name!r}; {path} must be the file with this digest, but "
                "it has changed since the sweep was read"
            )
        if path != copy:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_bytes_whole(copy, content)
            own.register(digest, copy)


def find_networks(run: Path, problems: Iterable[Problem]) -> None:
    """Let this process find the networks of these problems that a run directory keeps."""
    for digest in _digests(problems):
        from jobs.models import own

        path = run / MODELS / f"{digest}.py"
        if path.is_file():
            own.register(digest, path)


def _digests(problems: Iterable[Problem]) -> dict[str, str]:
    """The files of the own networks of these problems by digest, and a network of each."""
    names = sorted({problem.architecture for problem in problems})
    found = {name: own_network(name) for name in names}
    return {own.digest: name for name, own in found.items() if own and own.digest}
