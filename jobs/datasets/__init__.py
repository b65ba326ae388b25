"""Datasets by name: a training subset of the first n samples, and a test set that never changes."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator
from types import ModuleType

from jobs.datasets import digits, mnist_mini
from jobs.datasets.source import Dataset, DatasetError, Samples, Shape
from jobs.spec import Problem

__all__ = [
    "SOURCES",
    "Dataset",
    "DatasetError",
    "Samples",
    "Shape",
    "check",
    "errors_of",
    "load",
    "shape",
]

SOURCES: dict[str, ModuleType] = {"mnist-mini": mnist_mini, "digits": digits}


IMAGE_NETWORKS = {"cnn", "resnet", "vit"}
ONE_OUTPUT = {"diagonal", "diagonal-difference"}
LOSSES_OF = {
    "classes": ("mse", "mse_mean", "ce"),
    "numbers": ("mse", "mse_mean"),
    "signs": ("logistic", "mse", "mse_mean"),
}
"""By kind of labels, the losses that mean something."""


def check(problem: Problem) -> None:
    """Make sure that a problem's dataset can be loaded, without loading it.

    Raises:
        DatasetError: the name is unknown, its package is missing, or it has too few samples.
    """
    name, n_train = problem.dataset, problem.n_train
    if name not in SOURCES:
        raise DatasetError(f"dataset is {name!r}; it must be one of {', '.join(SOURCES)}")
    source = SOURCES[name]
    if importlib.util.find_spec(source.PACKAGE) is None:
        raise DatasetError(
            f"dataset {name} comes with the package {source.PACKAGE}, which is not installed; "
            "install eos-sweep with its dependencies"
        )
    if n_train > source.POOL:
        raise DatasetError(
            f"n_train is {n_train}; it must be at most {source.POOL} for dataset {name}, "
            f"whose other {source.TEST} samples are the test set"
        )
    _refuse_unlike(problem)


def errors_of(problems: Iterable[Problem]) -> Iterator[DatasetError]:
    """What :func:`check` says of problems, once for all that ask for the same data."""
    for problem in {_demand(problem): problem for problem in problems}.values():
        try:
            check(problem)
        except DatasetError as error:
            yield error


def _demand(problem: Problem) -> tuple[object, ...]:
    """What of a problem :func:`check` looks at."""
    return (
        problem.dataset,
        problem.n_train,
        problem.subset,
        problem.normalization,
        problem.architecture,
        problem.loss,
    )


def _refuse_unlike(problem: Problem) -> None:
    """Make sure that the network and the loss are for data of this kind."""
    found, named = shape(problem.dataset), problem.dataset
    if problem.architecture in IMAGE_NETWORKS and len(found.input) != 3:
        raise DatasetError(
            f"architecture is {problem.architecture!r}; it must be another for dataset {named}, "
            "whose samples are no images"
        )
    if problem.architecture in ONE_OUTPUT and found.outputs != 1:
        raise DatasetError(
            f"architecture is {problem.architecture!r}, with one output; it must be another for "
            f"dataset {named}, which needs {found.outputs}"
        )
    if problem.loss not in LOSSES_OF[found.kind]:
        raise DatasetError(
            f"loss is {problem.loss!r}; it must be one of {', '.join(LOSSES_OF[found.kind])} for "
            f"dataset {named}"
        )


def load(problem: Problem) -> Dataset:
    """A problem's training samples, and the dataset's fixed test samples.

    Raises:
        DatasetError: as in :func:`check`.
    """
    check(problem)
    source, samples = SOURCES[problem.dataset], _read(problem.dataset)
    return Dataset(
        train=_part(samples, slice(0, problem.n_train)),
        test=_part(samples, slice(source.POOL, source.POOL + source.TEST)),
    )


def shape(name: str) -> Shape:
    """What of a dataset that :func:`check` accepts shapes a network."""
    found: Shape = SOURCES[name].SHAPE
    return found


@functools.cache
def _read(name: str) -> Samples:
    samples: Samples = SOURCES[name].read()
    return samples


def _part(samples: Samples, rows: slice) -> Samples:
    return Samples(samples.inputs[rows], samples.labels[rows])
