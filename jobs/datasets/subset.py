"""Which samples of the pool are the training set, and in which order.

``first``: the first n. ``balanced``: the first n / classes of each class, in the order of the
pool. ``seeded-K``: the first n of a random order of the pool, drawn by numpy's ``default_rng(K)``.
So for ``first`` and ``seeded-K`` a smaller training set is the beginning of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.source import DatasetError


def rows(rule: str, n_train: int, labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The indices of the training samples in the pool, of shape (n_train,).

    Args:
        rule: ``first``, ``balanced`` or ``seeded-K``.
        n_train: at most as many as the pool has.
        labels: of the pool.
        classes: how many there are.

    Raises:
        DatasetError: as in :func:`check_balanced`.
    """
    if rule == "first":
        return np.arange(n_train)
    if rule == "balanced":
        check_balanced(n_train, classes, lambda: labels)
        parts = [np.flatnonzero(labels == label)[: n_train // classes] for label in range(classes)]
        return np.sort(np.concatenate(parts))
    seed = int(rule.removeprefix("seeded-"))
    return np.random.default_rng(seed).permutation(len(labels))[:n_train]


def check_balanced(
    n_train: int, classes: int, labels: Callable[[], NDArray[np.int64]], surely: int = 0
) -> None:
    """Make sure that the pool has n_train / classes samples of each class.

    ``labels`` reads those of the pool; ``surely`` is how many every class is known to have, and up
    to there none is read.

    Raises:
        DatasetError: n_train is no multiple of the number of classes, or a class is too small.
    """
    if n_train % classes:
        raise DatasetError(
            f"n_train is {n_train}; it must be a multiple of {classes}, the number of classes, for "
            "the subset balanced"
        )
    each = n_train // classes
    if each <= surely:
        return
    smallest = int(np.bincount(labels(), minlength=classes).min())
    if each > smallest:
        raise DatasetError(
            f"n_train is {n_train}; it must be at most {smallest * classes} for the subset "
            f"balanced, as the smallest class has {smallest} samples"
        )
