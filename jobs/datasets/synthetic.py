"""Synthetic samples for diagonal networks: targets are those of one truth β*, a linear map.

The test set is one Gaussian sample for all truths, shifted and turned so that its mean is 0 and its
covariance exactly the identity. So for a linear predictor β with noiseless targets the test loss
½ mean (⟨β, x⟩ − ⟨β*, x⟩)² is ½ ‖β − β*‖², half the risk R(β) under N(0, I), to rounding.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.source import (
    Dataset,
    DatasetError,
    Samples,
    Shape,
    Source,
    digest_of_arrays,
)
from jobs.spec.dataset_name import DatasetName

TESTED = 10_000
MOST_DRAWN = 1_000_000
"""Training samples of a dataset that draws them."""
TEST_STREAM, TRAIN_STREAM = 0, 1
"""First words of the generators' seeds, which keep the streams apart."""

Array = NDArray[np.float64]


class Synthetic(Source):
    """Training samples that are given, or Gaussian ones that are drawn.

    Args:
        kind: of the labels: numbers ⟨β*, x⟩, or their signs, where 0 counts as positive.
        truth: β*, of shape (features,).
        pool: training samples there can be.
        x: the given training samples, of shape (pool, features); None where they are drawn.
        y: their labels where they are given too, of shape (pool,).
        seed: of the training samples that are drawn.
    """

    tested = TESTED
    where = "computed"

    def __init__(
        self,
        kind: Literal["numbers", "signs"],
        truth: Array,
        pool: int,
        x: Array | None = None,
        y: Array | None = None,
        seed: int = 0,
    ) -> None:
        self.shape = Shape(truth.shape, outputs=1, kind=kind)
        self.truth, self.pool, self.x, self.y, self.seed = truth, pool, x, y, seed

    def check_there(self) -> None:
        """It always is."""

    def check_content(self) -> None:
        """There are no files."""

    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Synthetic samples are taken as they come."""
        for field, value, only in (
            ("subset", subset, "first"),
            ("normalization", normalization, "none"),
        ):
            if value != only:
                raise DatasetError(
                    f"{field} is {value!r}; it must be {only} for a synthetic dataset"
                )

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """The first training samples, and the test sample."""
        if self.x is None:
            generator = np.random.default_rng([TRAIN_STREAM, self.seed])
            x = generator.standard_normal((n_train, len(self.truth)))
        else:
            x = self.x[:n_train]
        y = None if self.y is None else self.y[:n_train]
        test = self._samples(isotropic(len(self.truth)), None)
        return Dataset(self._samples(x, y), test, self._digest(n_train))

    def _digest(self, n_train: int) -> str:
        """The digest of the given numbers and of how the rest is drawn: the test inputs come from a
        factorisation, whose rounding depends on the machine.
        """
        given = [each for each in (self.truth, self.x, self.y) if each is not None]
        counts = np.array([n_train, self.seed, TESTED], np.int64)
        kind = np.frombuffer(self.shape.kind.encode(), np.uint8)
        return digest_of_arrays(*given, counts, kind)

    def _samples(self, x: Array, y: Array | None) -> Samples:
        if y is None:
            y = (x * self.truth).sum(axis=1)  # row by row: the same for fewer rows, to the bit
            if self.shape.kind == "signs":
                y = np.where(y >= 0, 1.0, -1.0)
        return Samples(x, y[:, None])


def isotropic(features: int) -> Array:
    """The test inputs, of shape (10,000, features): mean 0, and mean of x xᵀ the identity."""
    x = np.random.default_rng([TEST_STREAM]).standard_normal((TESTED, features))
    x -= x.mean(axis=0)
    factor = np.linalg.cholesky(x.T @ x / TESTED)
    return np.ascontiguousarray(np.linalg.solve(factor, x.T).T)


def source(name: DatasetName) -> Synthetic:
    """The dataset of a name whose base is one of the synthetic ones."""
    kind: Literal["numbers", "signs"] = (
        "signs" if name.base in ("signs", "classification") else "numbers"
    )
    options: dict[str, Any] = dict(name.options)
    if "features" in options:
        truth = np.zeros(options["features"])
        truth[: options["informative"]] = 1 / math.sqrt(options["informative"])
        return Synthetic(kind, truth, MOST_DRAWN, seed=options["seed"])
    x = np.atleast_2d(np.array(options["x"]))
    y = None if options.get("y") is None else np.array(options["y"])
    return Synthetic(kind, np.array(options["truth"]), len(x), x, y)
