"""What a source of samples offers, and the errors of asking for what is not there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


class DatasetError(ValueError):
    """A dataset that is unknown, not installed or too small; says what would be right."""


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
    """A training set and a test set that share no sample."""

    train: Samples
    test: Samples
