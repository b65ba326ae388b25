"""``digits``: the 1,797 handwritten digits of 8×8 pixels that scikit-learn carries."""

from __future__ import annotations

from jobs.datasets.images import EmbeddedImages
from jobs.datasets.source import Shape


class Digits(EmbeddedImages):
    """In scikit-learn's order; all constants of a normalization are those of the first 1,297."""

    shape = Shape((1, 8, 8), outputs=10)
    pool, tested = 1_297, 500
    white = 16
    name, package, file = "digits", "sklearn", "datasets/data/digits.csv.gz"
    known = "2e79711928ab887c"
