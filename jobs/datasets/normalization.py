"""How images become numbers: x = (pixel / white − mean) / deviation, in float64.

The mean and the deviation are those of the whole training pool, never of the subset: published
constants where there are some, else computed. ``scalar``: one of each over all pixels; ``channel``:
one for each colour; ``feature``: one for each pixel and colour; ``none``: pixel / white. Deviations
are those of the population (÷ n, not n − 1), and where a feature is constant its deviation counts
as 1, so that it becomes 0 in training and its difference from there in a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Constants = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and deviations of pixels on the scale from 0 to 1: one of each, or one for each channel."""

ROWS = 1_000
"""Images whose pixels are widened for a sum at a time."""


@dataclass(frozen=True)
class Scale:
    """What a pixel is divided by, and then the mean and deviation of each feature."""

    white: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def standardised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Pixels of shape (samples, features) as float64."""
        inputs = pixels.astype(np.float64)
        inputs /= self.white
        inputs -= self.mean
        inputs /= self.deviation
        return inputs


def scale(
    normalization: str,
    pool: NDArray[np.uint8],
    channels: int,
    white: int,
    published: Mapping[str, Constants],
) -> Scale:
    """How to standardise images, given those of the training pool, of shape (pool, features).

    Sums are taken in whole numbers, so the result is the same on every machine.
    """
    features = pool.shape[1]
    if normalization == "none":
        return Scale(white, np.zeros(features), np.ones(features))
    if normalization in published:
        means, deviations = published[normalization]
    else:
        groups = {"scalar": 1, "channel": channels, "feature": features}[normalization]
        means, deviations = _moments(pool, groups, white)
    width = features // len(means)
    return Scale(white, np.repeat(means, width), np.repeat(deviations, width))


def _moments(pool: NDArray[np.uint8], groups: int, white: int) -> Constants:
    """Mean and deviation of each of so many runs of features, from exact sums."""
    features = pool.shape[1]
    sums, squares = np.zeros(features, np.int64), np.zeros(features, np.int64)
    for begin in range(0, len(pool), ROWS):
        part = pool[begin : begin + ROWS].astype(np.int64)
        sums += part.sum(axis=0)
        squares += np.square(part, out=part).sum(axis=0)
    count = len(pool) * (features // groups)
    means, deviations = [], []
    totals = sums.reshape(groups, -1).sum(axis=1), squares.reshape(groups, -1).sum(axis=1)
    # Python's whole numbers: count · Σx² of all pixels of a dataset is beyond 64 bits.
    for total, square in zip(*(each.tolist() for each in totals), strict=True):
        means.append(total / count / white)
        deviations.append(math.sqrt(count * square - total**2) / count / white or 1.0)
    return tuple(means), tuple(deviations)
