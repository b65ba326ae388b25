"""Images with class labels, from wherever: what their sources share."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import subset as subsets
from jobs.datasets.normalization import Constants, scale
from jobs.datasets.source import Dataset, DatasetError, Samples, Shape


@dataclass(frozen=True)
class Images:
    """Pixels, uint8 of shape (samples, features) by channel, row and column, and int64 classes."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


class ImageSource(ABC):
    """Training and test images; the pixels of the pool are held only while a subset is taken."""

    shape: Shape
    pool: int
    tested: int
    white: int = 255
    """The greatest value of a pixel."""
    published: Mapping[str, Constants] = {}
    """Constants by normalization."""
    smallest_class: int = 0
    """How many samples every class of the pool is known to have."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it comes from."""

    @abstractmethod
    def check_there(self) -> None:
        """Make sure that it can be read."""

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
            outputs = self.shape.outputs
            subsets.check_balanced(n_train, outputs, self.labels, self.smallest_class)

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """A subset of the pool and all test images, standardised."""
        pool = self.read_pool()
        chosen = subsets.rows(subset, n_train, pool.labels, self.shape.outputs)
        scaled = scale(
            normalization, pool.pixels, self.shape.input[0], self.white, self.published
        ).standardised
        train = Samples(scaled(pool.pixels[chosen]), pool.labels[chosen])
        del pool  # before the test images are widened
        test = self.read_test()
        return Dataset(train, Samples(scaled(test.pixels), test.labels))


class EmbeddedImages(ImageSource):
    """Images that a package carries, the test set being what follows the pool."""

    name: str
    package: str

    @property
    def where(self) -> str:
        """The package."""
        return f"package {self.package}"

    @abstractmethod
    def read(self) -> Images:
        """All images, the pool first."""

    def check_there(self) -> None:
        """Make sure that the package is installed."""
        if importlib.util.find_spec(self.package) is None:
            raise DatasetError(
                f"dataset {self.name} comes with the package {self.package}, which is not "
                "installed; install eos-sweep with its dependencies"
            )

    def read_pool(self) -> Images:
        """The first images."""
        return self._part(slice(0, self.pool))

    def read_test(self) -> Images:
        """Those that follow the pool."""
        return self._part(slice(self.pool, self.pool + self.tested))

    def _part(self, rows: slice) -> Images:
        images = self.read()
        return Images(images.pixels[rows], images.labels[rows])
