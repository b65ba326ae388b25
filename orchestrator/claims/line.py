"""A straight line by least squares, and how much it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Line:
    """``r2`` is the explained share of the variance of y, None where y does not vary."""

    slope: float
    r2: float | None


def line_through(
    x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64]
) -> Line | None:
    """The least-squares line, or None where x does not take two values.

    >>> line_through([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    Line(slope=2.0, r2=1.0)
    """
    if len(set(map(float, x))) < 2:
        return None
    across, up = np.asarray(x) - np.mean(x), np.asarray(y) - np.mean(y)
    slope = float(across @ up / (across @ across))
    total = float(up @ up)
    if total <= (_ROUNDING * float(np.max(np.abs(y)))) ** 2:
        return Line(slope, None)
    rest = up - slope * across
    return Line(slope, float(1 - rest @ rest / total))
