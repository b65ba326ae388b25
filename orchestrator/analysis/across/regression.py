"""Least-squares lines of many groups at once, with the 95 % intervals of their slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from orchestrator.analysis.across.codes import Codes, Numbers

CONFIDENCE = 0.95

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Lines:
    """y = intercept + slope · x in each group, all of shape (groups,), NaN where undefined.

    ``low`` and ``high`` are the two-sided interval of the slope by Student's t with n − 2 degrees
    of freedom, which takes the points' deviations for independent and of one size. ``r2`` is the
    explained share of the variance of y, where y varies.
    """

    slope: Numbers
    low: Numbers
    high: Numbers
    intercept: Numbers
    r2: Numbers


def lines(x: Numbers, y: Numbers, group: Codes, n_groups: int) -> Lines:
    """The line through the points of each group; it takes three, and two distinct x.

    >>> one = lines(np.array([1.0, 2, 3]), np.array([5.0, 7, 9]), np.zeros(3, int), 1)
    >>> one.slope.tolist(), one.intercept.tolist(), one.r2.tolist()
    ([2.0], [3.0], [1.0])
    """

    def total(values: Numbers) -> Numbers:
        sums: Numbers = np.bincount(group, values, n_groups).astype(np.float64)
        return sums

    n = np.bincount(group, minlength=n_groups).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre_x, centre_y = total(x) / n, total(y) / n
        across, up = x - centre_x[group], y - centre_y[group]
        xx, yy, xy = total(across**2), total(up**2), total(across * up)
        size = np.zeros(n_groups)
        np.maximum.at(size, group, np.abs(x))
        defined = (n >= 3) & (np.sqrt(xx) > _ROUNDING * size)
        slope = np.where(defined, xy / xx, np.nan)
        rest = total((up - slope[group] * across) ** 2)
        half = stdtrit(np.maximum(n - 2, 1), (1 + CONFIDENCE) / 2)
        half = half * np.sqrt(rest / (n - 2) / xx)
        height = np.zeros(n_groups)
        np.maximum.at(height, group, np.abs(y))
        varies = np.sqrt(yy) > _ROUNDING * height
        r2 = np.where(defined & varies, 1 - rest / yy, np.nan)
    return Lines(slope, slope - half, slope + half, centre_y - slope * centre_x, r2)
