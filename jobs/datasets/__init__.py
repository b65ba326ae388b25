"""Datasets by name: a training subset of a fixed pool, and a test set that never changes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from jobs.datasets import cifar10, embedded, mnist, own, synthetic
from jobs.datasets.root import data_root, named_root, reading
from jobs.datasets.source import Dataset, DatasetError, Samples, Shape, Source
from jobs.spec import Problem
from jobs.spec.dataset_name import DatasetName, is_own, parse
from jobs.spec.loss_name import LossName, loss_name

__all__ = [
    "SOURCES",
    "Dataset",
    "DatasetError",
    "Samples",
    "Shape",
    "Source",
    "check",
    "check_files",
    "data_root",
    "errors_of",
    "find",
    "load",
    "named_root",
    "reading",
    "shape",
]

SOURCES: dict[str, Callable[[DatasetName], Source]] = {
    "mnist-mini": lambda name: embedded.MnistMini(),
    "digits": lambda name: embedded.Digits(),
    **dict.fromkeys(
        ("mnist", "fashion-mnist"), lambda name: mnist.IdxImages(name.base, **name.options)
    ),
    "cifar10": lambda name: cifar10.Cifar10(**name.options),
    **dict.fromkeys(("point", "points", "signs", "regression", "classification"), synthetic.source),
}
"""Constructors of sources by the name without options."""

IMAGE_NETWORKS = {"cnn", "resnet", "vit"}
ONE_OUTPUT = {"diagonal", "diagonal-difference"}
LOSSES_OF = {
    "classes": ("mse", "mse_mean", "ce", "huber"),
    "numbers": ("mse", "mse_mean", "huber"),
    "signs": ("logistic", "mse", "mse_mean", "huber"),
}
"""The losses of this package that have a meaning for each kind of labels."""

KEPT = 2
"""Loaded datasets that a process keeps: its next trial usually needs one of them."""


def find(name: str) -> Source:
    """The source of a dataset, by its name with options; no file is read, but the head of one that
    a run directory keeps.

    Raises:
        DatasetError: the name is unknown, or is that of own data which this process does not know.
        SpecError: the dataset has no such options.
    """
    parsed = parse(name)
    if is_own(parsed.base):
        return own.OwnData(parsed)
    if parsed.base not in SOURCES:
        raise DatasetError(f"dataset is {name!r}; it must be one of {', '.join(SOURCES)}")
    return SOURCES[parsed.base](parsed)


def check(problem: Problem, *, unseen: bool = False) -> None:
    """Make sure that a problem's data can be loaded, by reading its files.

    With ``unseen`` the files are not read, and are assumed to be there.

    Raises:
        DatasetError: the dataset is unknown, not there, damaged, has too few samples or not such a
            subset or normalization, or is not for the problem's architecture or loss.
    """
    source = find(problem.dataset)
    if not unseen:
        check_files(problem.dataset)
    if problem.n_train > source.pool:
        raise DatasetError(
            f"n_train is {problem.n_train}; it must be at most {source.pool} for dataset "
            f"{problem.dataset}, whose other {source.tested} samples are the test set"
        )
    assert problem.normalization is not None
    source.check_part(problem.n_train, problem.subset, problem.normalization)
    _refuse_unlike(problem, source.shape)


def check_files(name: str) -> None:
    """Make sure that the files of a dataset are there, and are those that its name stands for.

    Raises:
        DatasetError: they are not.
    """
    source = find(name)
    with reading(name):
        source.check_there()
        source.check_content()


def errors_of(problems: Iterable[Problem], *, unseen: bool = False) -> Iterator[DatasetError]:
    """The errors of :func:`check`, one for all problems that need the same data."""
    for problem in {_checked_fields(problem): problem for problem in problems}.values():
        try:
            check(problem, unseen=unseen)
        except DatasetError as error:
            yield error


_checked_fields = attrgetter(
    "dataset", "n_train", "subset", "normalization", "architecture", "loss"
)


def _refuse_unlike(problem: Problem, found: Shape) -> None:
    """Make sure that the network and the loss are for data of this kind."""
    named = problem.dataset
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
    loss = loss_name(problem.loss)
    if isinstance(loss, LossName) and loss.base not in LOSSES_OF[found.kind]:
        raise DatasetError(
            f"loss is {problem.loss!r}; it must be one of {', '.join(LOSSES_OF[found.kind])} for "
            f"dataset {named}"
        )


def load(problem: Problem) -> Dataset:
    """A problem's training samples, and the dataset's fixed test samples.

    The arrays may be shared with earlier and later calls: they are not to be changed.

    Raises:
        DatasetError: as in :func:`check`, or the samples turn out to be damaged.
    """
    check(problem)
    assert problem.normalization is not None
    source = find(problem.dataset)
    with reading(problem.dataset):
        return _load(
            problem.dataset, problem.n_train, problem.subset, problem.normalization, source.where
        )


def shape(name: str) -> Shape:
    """The shapes of a dataset that determine those of a network.

    Raises:
        DatasetError, SpecError: as in :func:`find`.
    """
    return find(name).shape


@functools.lru_cache(maxsize=KEPT)
def _load(name: str, n_train: int, subset: str, normalization: str, where: str) -> Dataset:
    """The data; ``where`` is part of the key: another folder has other data."""
    return find(name).load(n_train, subset, normalization)
