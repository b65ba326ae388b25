"""``digits``: the 1,797 handwritten digits of 8×8 pixels that scikit-learn carries."""

from __future__ import annotations

import numpy as np

from jobs.datasets.source import Samples, Shape

PACKAGE = "sklearn"
SHAPE = Shape((1, 8, 8), outputs=10)
POOL, TEST = 1_297, 500


def read() -> Samples:
    """All samples in scikit-learn's order, standardised by one mean and one deviation."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pool = pixels[:POOL]
    inputs = (pixels - pool.mean()) / pool.std()
    return Samples(inputs.astype(np.float64), labels.astype(np.int64))
