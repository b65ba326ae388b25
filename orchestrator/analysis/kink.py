"""The learning rates where sharpnesses that were constant begin to fall like 1/η."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from orchestrator.analysis.grouped import CONFIDENCE, Codes, Flags, Numbers, blocks

SCALE = 0.02
"""Deviations of log S beyond this, or beyond the typical ones of their column where these are
larger, count linearly, not squared: the sharpness itself is good to about 1e-3, and trials that
stop off the edge for reasons of their own must not move the kink."""

NORMAL = 1.4826
"""The standard deviation of normal deviates over the median of their sizes."""

CLEARANCE = 0.05
"""How far from the kink, in log η, both regimes must reach: trials at the edge scatter by a
few per cent around 2/η, so whatever is nearer could belong to either."""

STEEPEST_FLAT = -0.5
"""Halfway between the slopes of the two regimes, 0 and −1: less than this is no fall."""

LEAST_FOR_KINK = 3
"""Distinct rates: one below the kink, and two above it that show the fall."""

FEW = 3
"""Runs on one side of the kink whose scatter is taken together with that of the other side."""

_REWEIGHTED = 12


@dataclass(frozen=True)
class Kinks:
    """η_c of each group with its 95 % interval, all of shape (groups,), NaN where it shows none."""

    eta_c: Numbers
    low: Numbers
    high: Numbers


def fitted_kinks(eta: Numbers, sharpness: Numbers, group: Codes, n_groups: int) -> Kinks:
    """The best log S = log s0 − max(0, log η − log η_c) of each group, by a robust fit.

    ``eta`` and ``sharpness`` must be positive and, like ``group``, of shape (rows,). For each
    split of a group's rates, log η_c is the difference of two robust centres: of log S + log η
    above and of log S below. It counts if it lies between the two rates of the split, else one of
    these does; the split of the least pseudo-Huber loss wins. The interval is that of the
    difference of the centres. A kink counts only if there are at least three distinct η, of which
    at least one is below it and two above, if S really falls above, and if its interval lies within
    the rates: beyond them, nothing was seen of one of the regimes.

    >>> eta, s = np.array([1.0, 2.0, 4.0, 8.0]), np.array([6.0, 6.0, 4.5, 2.25])
    >>> fitted_kinks(eta, s, np.zeros(4, int), 1).eta_c.round(6).tolist()
    [3.0]
    """
    x, y = np.log(eta), np.log(sharpness)
    found = Kinks(*(np.full(n_groups, np.nan) for _ in range(3)))
    for which, rows in blocks(x, group, n_groups, least=LEAST_FOR_KINK):
        kink, low, high = _fit(x[rows], y[rows])
        found.eta_c[which], found.low[which], found.high[which] = kink, low, high
    return found


def _fit(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The kink of each row and its interval; x and y of shape (groups, rates), x ascending."""
    kink = _scan(x, y)
    above = x > kink[:, np.newaxis]
    below = ~above
    scale = _scale(np.where(below, _off(y, below), _off(x + y, above)))
    low_centre, low_variance = _centres(y, below, scale)
    high_centre, high_variance = _centres(x + y, above, scale)
    refined = high_centre - low_centre
    floor = np.max(np.where(below, x, -np.inf), axis=1)
    ceiling = np.min(np.where(above, x, np.inf), axis=1)
    kink = np.clip(np.where(np.isfinite(refined), refined, kink), floor, ceiling)
    n_below, n_above = np.sum(below, axis=1), np.sum(above, axis=1)
    half = _half_width(low_variance, n_below, high_variance, n_above)
    bad = ~_shows(x, y, kink, half, above)
    kink[bad] = half[bad] = np.nan
    return np.exp(kink), np.exp(kink - half), np.exp(kink + half)


def _scan(x: Numbers, y: Numbers) -> Numbers:
    """The kink of the least loss among those of all splits and those at the rates."""
    best, kink = np.full(len(x), np.inf), np.full(len(x), np.nan)
    for k in range(x.shape[1]):
        at_rate = x[:, k]
        level = _median(y + np.maximum(0.0, x - at_rate[:, np.newaxis]))
        candidates = [(at_rate, level)]
        if k:
            flat, edge = _median(y[:, :k]), _median((x + y)[:, k:])
            between = edge - flat
            inside = (between > x[:, k - 1]) & (between < at_rate)
            candidates.append((np.where(inside, between, np.nan), flat))
        for where, height in candidates:
            rest = y + np.maximum(0.0, x - where[:, np.newaxis]) - height[:, np.newaxis]
            loss = np.sum(np.hypot(1, rest / SCALE) - 1, axis=1)
            better = loss < best
            best, kink = np.where(better, loss, best), np.where(better, where, kink)
    return kink


def _median(values: Numbers) -> Numbers:
    ascending, n = np.sort(values, axis=1), values.shape[1]
    middle: Numbers = (ascending[:, (n - 1) // 2] + ascending[:, n // 2]) / 2
    return middle


def _middles(values: Numbers, chosen: Flags) -> Numbers:
    """The median of the chosen values of each row."""
    n = np.sum(chosen, axis=1)
    masked = np.sort(np.where(chosen, values, np.inf), axis=1)
    rows, last = np.arange(len(values)), values.shape[1] - 1
    middle = masked[rows, np.clip((n - 1) // 2, 0, last)] + masked[rows, np.clip(n // 2, 0, last)]
    return np.asarray(middle / 2)


def _off(values: Numbers, chosen: Flags) -> Numbers:
    """How far each value is from the median of the chosen ones of its row."""
    return np.abs(values - _middles(values, chosen)[:, np.newaxis])


def _scale(off: Numbers) -> Numbers:
    """What is typical of the deviations of each row, but no less than SCALE.

    The two smallest are left out: two medians were fitted to them.
    """
    return np.fmax(SCALE, NORMAL * _median(np.sort(off, axis=1)[:, 2:]))


def _centres(values: Numbers, chosen: Flags, scale: Numbers) -> tuple[Numbers, Numbers]:
    """The pseudo-Huber mean of the chosen values of each row, and n times its variance."""
    n, width = np.sum(chosen, axis=1), scale[:, np.newaxis]
    centre = _middles(values, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_REWEIGHTED):
            weight = chosen / np.hypot(1, (values - centre[:, np.newaxis]) / width)
            centre = np.sum(weight * values, axis=1) / np.sum(weight, axis=1)
        rest = values - centre[:, np.newaxis]
        bent = np.hypot(1, rest / width)
        score = np.sum(chosen * (rest / bent) ** 2, axis=1) / (n - 1)
        variance = score / (np.sum(chosen / bent**3, axis=1) / n) ** 2
    return centre, np.where(n > 1, variance, np.nan)


def _half_width(a: Numbers, n_a: Codes, b: Numbers, n_b: Codes) -> Numbers:
    """The interval of a difference: Welch's, but where a side has few points, both scatter alike.

    Kinks are shown by their intervals, so a side that scatters little by chance would be shown
    more often, with an interval too narrow: of two or three points, the scatter is no guide.
    """
    alone_a, alone_b = np.isnan(a), np.isnan(b)
    a, b = np.where(alone_a, b, a), np.where(alone_b, a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        square_a, square_b = a / n_a, b / n_b
        square = square_a + square_b
        freedom = square**2 / (square_a**2 / (n_a - 1) + square_b**2 / (n_b - 1))
        few = np.minimum(n_a, n_b) <= FEW
        pooled = ((n_a - 1) * a + (n_b - 1) * b) / (n_a + n_b - 2)
        square = np.where(few, pooled * (1 / n_a + 1 / n_b), square)
        freedom = np.where(few, n_a + n_b - 2.0, freedom)
        freedom = np.where(np.isfinite(freedom), freedom, 1.0)
        half: Numbers = stdtrit(np.maximum(freedom, 1), (1 + CONFIDENCE) / 2) * np.sqrt(square)
    return half


def _shows(x: Numbers, y: Numbers, kink: Numbers, half: Numbers, above: Flags) -> Flags:
    """Whether both regimes reach beyond the kink's interval, and S falls above it."""
    reach = np.fmax(half, CLEARANCE)
    clear = (kink - x[:, 0] >= reach) & (x[:, -1] - kink >= reach)
    distinct = 1 + np.sum(np.diff(x, axis=1) > 0, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.sum(above, axis=1)
        across = above * (x - (np.sum(above * x, axis=1) / n)[:, np.newaxis])
        spread = np.sum(across**2, axis=1)
        slope = np.sum(across * y, axis=1) / np.where(spread > 1e-18, spread, np.nan)
    found: Flags = clear & (distinct >= LEAST_FOR_KINK) & (slope <= STEEPEST_FLAT)
    return found
