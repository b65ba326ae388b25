"""What a source of samples offers, and the errors of asking for what is not there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
    """What of a dataset shapes a network.

    Attributes:
        input: of one sample: (features,), or (channels, height, width) of an image.
        outputs: of the network.
        kind: what the labels are: class numbers, numbers to be met, or ±1.
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

    ``digest`` names their numbers: that of the float64 inputs and of the labels of both sets, with
    their shapes; where the last bit of a number depends on the machine, as of synthetic samples,
    that of the recipe.
    """

    train: Samples
    test: Samples
    digest: str


class Source(Protocol):
    """One dataset, its options settled. Making one looks at nothing."""

    @property
    def shape(self) -> Shape:
        """Of its samples."""

    @property
    def pool(self) -> int:
        """How many samples training subsets are taken from."""

    @property
    def tested(self) -> int:
        """How many samples the test set has."""

    @property
    def where(self) -> str:
        """Where it comes from: a folder, a package, or ``computed``."""

    def check_there(self) -> None:
        """Make sure that it can be read, by sizes and headers only.

        Raises:
            DatasetError: it is not there, not complete or damaged.
        """

    def check_content(self) -> None:
        """Make sure that files hold the very samples that the name stands for, by reading them.

        Raises:
            DatasetError: they do not, or nothing proves it.
        """

    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Make sure that it has this subset, ``n_train`` being in the pool, and normalization.

        Raises:
            DatasetError: it has not.
        """

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """The samples that were checked for.

        Raises:
            DatasetError: the samples turn out to be damaged.
        """
