"""Images with class labels: which of them are the training set, and how they become numbers.

The training subset, of n samples of the pool: ``first``, the first n; ``balanced``, the first
n / classes of each class, in the order of the pool; ``seeded-K``, the first n of a random order of
the pool, drawn by numpy's ``default_rng(K)``. So for ``first`` and ``seeded-K`` a smaller training
set is the beginning of a larger one.

The numbers: x = (pixel / white − mean) / deviation, in float64. The mean and the deviation are
those of the whole training pool, never of the subset: published constants where there are some,
else computed. ``scalar``: one of each over all pixels; ``channel``: one for each colour;
``feature``: one for each pixel and colour; ``none``: pixel / white. Deviations are those of the
population (÷ n, not n − 1), and where a feature is constant its deviation counts as 1, so that it
becomes 0 in training and its difference from there in a test.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.root import get
from jobs.datasets.source import Dataset, DatasetError, Samples, Source, digest_of_arrays
from jobs.spec.dataset_name import DatasetName

Constants = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and deviations of pixels on the scale from 0 to 1: one of each, or one for each channel."""

ROWS = 1_000
"""Images whose pixels are widened for a sum at a time."""


@dataclass(frozen=True)
class Images:
    """Pixels, uint8 of shape (samples, features) by channel, row and column, and int64 classes."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


class ImageSource(Source):
    """Training and test images; the pixels of the pool are held only while a subset is taken."""

    name: str
    white: int = 255
    """The greatest value of a pixel."""
    published: Mapping[str, Constants] = {}
    """Constants by normalization."""
    smallest_class: int = 0
    """How many samples every class of the pool is known to have."""

    @abstractmethod
    def read_pool(self) -> Images:
        """The images that training subsets are taken from."""

    @abstractmethod
    def read_test(self) -> Images:
        """The test images."""

    def labels(self) -> NDArray[np.int64]:
        """The classes of the pool."""
        return self.read_pool().labels

    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Make sure that the pool has such a subset; every normalization is possible."""
        if subset == "balanced":
            check_balanced(n_train, self.shape.outputs, self.labels, self.smallest_class)

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """A subset of the pool and all test images, standardised."""
        pool = self.read_pool()
        chosen = rows(subset, n_train, pool.labels, self.shape.outputs)
        scaled = scale(
            normalization, pool.pixels, self.shape.input[0], self.white, self.published
        ).standardised
        train = Samples(scaled(pool.pixels[chosen]), pool.labels[chosen])
        del pool  # before the test images are widened
        images = self.read_test()
        test = Samples(scaled(images.pixels), images.labels)
        digest = digest_of_arrays(train.inputs, train.labels, test.inputs, test.labels)
        return Dataset(train, test, digest)


class ImageFiles(ImageSource):
    """Images that are read from files: the official ones, or those whose digest the name has."""

    declared: str | None

    @abstractmethod
    def files(self) -> list[Path]:
        """Those that are read."""

    @abstractmethod
    def why_not_official(self, path: Path) -> str | None:
        """What is wrong with a file that is not proved to be the official one; None where it is."""

    def check_content(self) -> None:
        """Make sure that the files are official, or have the content whose digest the name has.

        Files are read once in a process, as long as they do not change.
        """
        if self.declared is None:
            for path in self.files():
                self._check_official(path)
        elif (found := self.content()) != self.declared:
            raise DatasetError(
                f"dataset {self.called(self.declared)} is not what lies in {self.where}, whose "
                f"digest is {found}; it must be {self.declared}"
            )

    def content(self) -> str:
        """The digest of the images that count."""

        def read() -> str:
            return content_digest(self.read_pool(), self.read_test())

        return str(once(self.files(), ("content", self.called(None)), read))

    def called(self, digest: str | None) -> str:
        """The dataset's name with a digest."""
        options = {"train": self.pool, "test": self.tested, "digest": digest}
        return str(DatasetName(self.name, options))

    def _check_official(self, path: Path) -> None:
        ask = functools.partial(self.why_not_official, path)
        wrong = once([path], ("official", self.name), ask)
        if wrong is not None:
            raise DatasetError(
                f"{path} is not known to be the official file of dataset {self.name}: {wrong}. "
                f"For the official files, {get(self.name)}. To compute with what lies there, "
                f"name it by its digest, as {self.called(self.content())}"
            )


def content_digest(pool: Images, test: Images) -> str:
    """The digest of all that a dataset has, in whichever files it lies."""
    return digest_of_arrays(pool.pixels, pool.labels, test.pixels, test.labels)


def once(files: list[Path], what: tuple[str, str], ask: Callable[[], Any]) -> Any:
    """The answer of ``ask`` about files, computed once until one of them changes."""
    states = ((str(path), path.stat()) for path in files)
    key = (*what, *((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in states))
    if key not in _answers:
        _answers[key] = ask()
    return _answers[key]


_answers: dict[tuple[Any, ...], Any] = {}


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


@dataclass(frozen=True)
class Scale:
    """What a pixel is divided by, and then the mean and deviation of each feature."""

    white: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def standardised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Pixels of shape (samples, features) as float64."""
        inputs = pixels.astype(np.float64)
        inputs /= self.white
        inputs -= self.mean
        inputs /= self.deviation
        return inputs


def scale(
    normalization: str,
    pool: NDArray[np.uint8],
    channels: int,
    white: int,
    published: Mapping[str, Constants],
) -> Scale:
    """How to standardise images, given those of the training pool, of shape (pool, features).

    Sums are taken in whole numbers, so the result is the same on every machine.
    """
    features = pool.shape[1]
    if normalization == "none":
        return Scale(white, np.zeros(features), np.ones(features))
    if normalization in published:
        means, deviations = published[normalization]
    else:
        groups = {"scalar": 1, "channel": channels, "feature": features}[normalization]
        means, deviations = _moments(pool, groups, white)
    width = features // len(means)
    return Scale(white, np.repeat(means, width), np.repeat(deviations, width))


def _moments(pool: NDArray[np.uint8], groups: int, white: int) -> Constants:
    """Mean and deviation of each of ``groups`` equal runs of features, from exact sums."""
    features = pool.shape[1]
    sums, squares = np.zeros(features, np.int64), np.zeros(features, np.int64)
    for begin in range(0, len(pool), ROWS):
        part = pool[begin : begin + ROWS].astype(np.int64)
        sums += part.sum(axis=0)
        squares += np.square(part, out=part).sum(axis=0)
    count = len(pool) * (features // groups)
    means, deviations = [], []
    totals = sums.reshape(groups, -1).sum(axis=1), squares.reshape(groups, -1).sum(axis=1)
    # Python's whole numbers: count · Σx² of all pixels of a dataset is beyond 64 bits.
    for total, square in zip(*(each.tolist() for each in totals), strict=True):
        means.append(total / count / white)
        deviations.append(math.sqrt(count * square - total**2) / count / white or 1.0)
    return tuple(means), tuple(deviations)
