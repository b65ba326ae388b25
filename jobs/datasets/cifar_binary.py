"""Files of CIFAR-10's binary version: records of one label and 3×32×32 bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jobs.datasets.images import Images
from jobs.datasets.source import DatasetError

SUFFIX = ".bin"
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS


def most_images(path: Path) -> int:
    """How many images the file has, by its size.

    Raises:
        DatasetError: the last record is not whole.
    """
    size = path.stat().st_size
    if size % RECORD:
        raise DatasetError(
            f"{path} has {size} bytes; it must have a multiple of {RECORD}, the size of an image "
            "with its label"
        )
    return size // RECORD


def read(path: Path, count: int) -> Images:
    """The first ``count`` images, by channel, row and column; the file has as many."""
    records = np.fromfile(path, np.uint8, count=count * RECORD).reshape(count, RECORD)
    return Images(records[:, 1:], records[:, 0].astype(np.int64))
