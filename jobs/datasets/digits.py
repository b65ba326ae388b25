"""``digits``: the 1,797 handwritten digits of 8×8 pixels that scikit-learn carries."""

from __future__ import annotations

import functools

import numpy as np

from jobs.datasets.images import EmbeddedImages, Images
from jobs.datasets.source import Shape


class Digits(EmbeddedImages):
    """In scikit-learn's order; all constants of a normalization are those of the first 1,297."""

    shape = Shape((1, 8, 8), outputs=10)
    pool, tested = 1_297, 500
    white = 16
    name, package, known = "digits", "sklearn", "2e79711928ab887c"

    def read(self) -> Images:
        """All 1,797 images."""
        return _read()


@functools.cache
def _read() -> Images:
    rows = Digits().rows_of("datasets/data/digits.csv.gz")
    return Images(rows[:, :-1].astype(np.uint8), rows[:, -1].astype(np.int64))
