"""The learning rate where a sharpness that was constant begins to fall like 1/η."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from orchestrator.analysis.line import line_through

SCALE = 0.02
"""Deviations of log S beyond this count linearly, not squared: the sharpness itself is good to
about 1e-3, and runs that stop off the edge for reasons of their own must not move the kink."""

CLEARANCE = 0.05
"""How far from the kink, in log η, both regimes must reach: settled runs at the edge scatter by a
few per cent around 2/η, so whatever is nearer could belong to either."""

STEEPEST_FLAT = -0.5
"""Halfway between the slopes of the two regimes, 0 and −1: less than this is no fall."""

_SCANNED = 8
_TOLERANCE = 1e-9
_MOST_REWEIGHTED = 100

_Array = NDArray[np.float64]


def fitted_kink(learning_rates: Sequence[float], sharpnesses: Sequence[float]) -> float | None:
    """The η_c of the best log S = log s0 − max(0, log η − log η_c), or None if it shows none.

    Both values of all points must be positive. The fit minimises the pseudo-Huber loss of log S.
    It counts only if there are at least three distinct η, of which at least one is below η_c and
    two above, and S really falls above.

    >>> round(fitted_kink([1.0, 2.0, 4.0, 8.0], [6.0, 6.0, 4.5, 2.25]), 6)
    3.0
    """
    x, y = np.log(np.asarray(learning_rates)), np.log(np.asarray(sharpnesses))
    distinct = np.unique(x)
    if len(distinct) < 3:
        return None
    kink = _best_kink(x, y, distinct)
    if kink - distinct[0] < CLEARANCE or distinct[-1] - kink < CLEARANCE:
        return None
    above = x > kink
    fall = line_through(x[above], y[above])
    if fall is None or fall.slope > STEEPEST_FLAT:
        return None
    return float(np.exp(kink))


def _best_kink(x: _Array, y: _Array, distinct: _Array) -> float:
    """Scan between all neighbours, where the loss is convex, and refine around the best."""
    steps = np.arange(_SCANNED) / _SCANNED
    scan = np.concatenate([low + (high - low) * steps for low, high in _neighbours(distinct)])
    scan = np.append(scan, distinct[-1])
    best = int(np.argmin(_misfit(scan, x, y)))
    bounds = scan[max(best - 1, 0)], scan[min(best + 1, len(scan) - 1)]
    refined = minimize_scalar(
        lambda kink: float(_misfit(np.array([kink]), x, y)[0]),
        bounds=bounds,
        method="bounded",
        options={"xatol": _TOLERANCE},
    )
    return float(refined.x)


def _neighbours(ascending: _Array) -> list[tuple[float, float]]:
    return list(zip(ascending[:-1].tolist(), ascending[1:].tolist(), strict=True))


def _misfit(kinks: _Array, x: _Array, y: _Array) -> _Array:
    """The loss that remains at each kink with the level log s0 that suits it best."""
    levels = y + np.maximum(0.0, x - kinks[:, np.newaxis])
    distances: _Array = np.hypot(1, (levels - _centres(levels)) / SCALE)
    loss: _Array = np.sum(distances - 1, axis=1)
    return loss


def _centres(levels: _Array) -> _Array:
    """The pseudo-Huber mean of each row, by reweighting from its median; the loss is convex."""
    centres: _Array = np.median(levels, axis=1, keepdims=True)
    for _ in range(_MOST_REWEIGHTED):
        weights = 1 / np.hypot(1, (levels - centres) / SCALE)
        before = centres
        centres = np.sum(weights * levels, axis=1, keepdims=True)
        centres /= np.sum(weights, axis=1, keepdims=True)
        if np.max(np.abs(centres - before)) < _TOLERANCE:
            break
    return centres
