"""What a source of samples offers, and the errors of asking for what is not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class DatasetError(ValueError):
    """A dataset that is unknown, not installed or too small; says what would be right."""


@dataclass(frozen=True)
class Samples:
    """Labelled samples in the order in which training subsets are taken.

    ``inputs`` is float64 of shape (samples, features), already standardised; ``labels`` is int64
    of shape (samples,) with values below ``classes``.
    """

    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: int


@dataclass(frozen=True)
class Dataset:
    """A training set and a test set that share no sample."""

    train: Samples
    test: Samples
