"""What a source of samples offers, its values, and the digests of samples and files."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


class DatasetError(ValueError):
    """A dataset that is unknown, not there, damaged or too small; says what would be right."""


@dataclass(frozen=True)
class Samples:
    """Labelled samples in the order in which training subsets are taken.

    ``inputs`` is float64 of shape (samples, features), already standardised, images by channel,
    row and column. ``labels`` is, by the :class:`Shape`'s kind, int64 of shape (samples,) with
    values below the number of outputs, or float64 of shape (samples, outputs).
    """

    inputs: NDArray[np.float64]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """The shapes of a dataset that determine those of a network.

    Attributes:
        input: of one sample: (features,), or (channels, height, width) of an image.
        outputs: of the network.
        kind: what the labels are: class numbers, numbers to be fitted, or ±1.
    """

    input: tuple[int, ...]
    outputs: int
    kind: Literal["classes", "numbers", "signs"] = "classes"

    @property
    def features(self) -> int:
        """How many numbers a sample has."""
        return math.prod(self.input)


@dataclass(frozen=True)
class Dataset:
    """A training set and a test set that share no sample.

    ``digest`` is that of their numbers, :func:`digest_of_arrays` of the float64 inputs and of the
    labels of both sets; where the last bit of a number depends on the machine, as of synthetic
    samples, that of the recipe.
    """

    train: Samples
    test: Samples
    digest: str


class Source(ABC):
    """One dataset, its options settled. Making one reads nothing."""

    shape: Shape
    pool: int
    """How many samples training subsets are taken from."""
    tested: int
    """How many samples the test set has."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it comes from: a folder, a package, or ``computed``."""

    @abstractmethod
    def check_there(self) -> None:
        """Make sure that it can be read, by sizes and headers only.

        Raises:
            DatasetError: it is not there, not complete or damaged.
        """

    @abstractmethod
    def check_content(self) -> None:
        """Make sure that files hold the very samples that the name stands for, by reading them.

        Raises:
            DatasetError: they do not, or nothing proves it.
        """

    @abstractmethod
    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Make sure that it has this subset, ``n_train`` being in the pool, and normalization.

        Raises:
            DatasetError: it has not.
        """

    @abstractmethod
    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """The samples that were checked for.

        Raises:
            DatasetError: the samples turn out to be damaged.
        """


def digest_of_arrays(*arrays: NDArray[Any]) -> str:
    """The first 16 hex digits of the SHA-256 of arrays, each with its type and shape before it.

    Equal numbers have the same digest on every machine. There are two digests of a dataset: that of
    its content, the images and labels of its pool and its test set as they lie in files, in
    whichever format, which a name can have (``mnist(train=300, digest=…)``); and that of what a
    problem reads, its training and test samples, subset and normalisation included.
    """
    found = hashlib.sha256()
    for array in arrays:
        ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        found.update(f"{ordered.dtype.str}{list(ordered.shape)}".encode())
        found.update(ordered.reshape(-1).data)
    return found.hexdigest()[:16]


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
