"""Datasets by name: a training subset of the first n samples, and a test set that never changes."""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType

from jobs.datasets import digits, mnist_mini
from jobs.datasets.source import Dataset, DatasetError, Samples

__all__ = ["SOURCES", "Dataset", "DatasetError", "Samples", "check", "load", "shape"]

SOURCES: dict[str, ModuleType] = {"mnist-mini": mnist_mini, "digits": digits}


def check(name: str, n_train: int) -> None:
    """Make sure that a dataset can be loaded, without loading it.

    Raises:
        DatasetError: the name is unknown, its package is missing, or it has too few samples.
    """
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


def load(name: str, n_train: int) -> Dataset:
    """The first ``n_train`` samples for training, and the dataset's fixed test samples.

    Raises:
        DatasetError: as in :func:`check`.
    """
    check(name, n_train)
    source, samples = SOURCES[name], _read(name)
    return Dataset(
        train=_part(samples, slice(0, n_train)),
        test=_part(samples, slice(source.POOL, source.POOL + source.TEST)),
    )


def shape(name: str) -> tuple[int, int]:
    """Features of a sample, and classes, of a dataset that :func:`check` accepts."""
    return SOURCES[name].FEATURES, SOURCES[name].CLASSES


@functools.cache
def _read(name: str) -> Samples:
    samples: Samples = SOURCES[name].read()
    return samples


def _part(samples: Samples, rows: slice) -> Samples:
    return Samples(samples.inputs[rows], samples.labels[rows], samples.classes)
