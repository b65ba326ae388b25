"""Medians, their intervals and tests of rank of many groups at once.

``group`` numbers the group of each value, both of shape (values,); results have shape (groups,)
and are NaN where a group has too few values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import bdtr, bdtrik, ndtr

from orchestrator.analysis.across.codes import Codes, Numbers
from orchestrator.analysis.across.regression import CONFIDENCE

MOST_EXACT = 60
"""Values up to which the test of rank counts permutations; of more their number is normal."""

_AT_ONCE = 1_000_000


def medians(values: Numbers, group: Codes, n_groups: int) -> Numbers:
    """The median of each group.

    >>> medians(np.array([1.0, 5, 3, 4]), np.array([0, 0, 0, 2]), 3).tolist()
    [3.0, nan, 4.0]
    """
    n, start, sorted_ = _sorted(values, group, n_groups)
    found, some = np.full(n_groups, np.nan), n > 0
    low, high = (start + (n - 1) // 2)[some], (start + n // 2)[some]
    found[some] = (sorted_[low] + sorted_[high]) / 2
    return found


def _binomial_quantile(chance: float, n: Codes) -> Codes:
    """The smallest k of which n fair coins show at most k heads with at least this chance.

    As scipy.stats.binom.ppf, the import of which takes every command half a second.
    """
    above = np.ceil(bdtrik(chance, np.maximum(n, 1), 0.5))
    below = np.maximum(above - 1, 0)
    quantile: Codes = np.where(bdtr(below, n, 0.5) >= chance, below, above).astype(np.int64)
    return quantile


def median_intervals(values: Numbers, group: Codes, n_groups: int) -> tuple[Numbers, Numbers]:
    """The 95 % intervals of the medians between two order statistics; it takes six values.

    How many values lie below the true median is binomial, whatever their distribution.
    """
    n, start, sorted_ = _sorted(values, group, n_groups)
    rank = _binomial_quantile((1 - CONFIDENCE) / 2, n)
    low, high, some = np.full(n_groups, np.nan), np.full(n_groups, np.nan), rank > 0
    low[some] = sorted_[(start + rank - 1)[some]]
    high[some] = sorted_[(start + n - rank)[some]]
    return low, high


def extremes(values: Numbers, group: Codes, n_groups: int) -> tuple[Numbers, Numbers]:
    """The least and the largest value of each group."""
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    none = low > high
    low[none] = high[none] = np.nan
    return low, high


def chance_of_rise(x: Numbers, y: Numbers, group: Codes, n_groups: int) -> Numbers:
    """The probability that y in random order has as large a Kendall's S against x as it has.

    S is the number of pairs that rise less that of pairs that fall. It asks for order alone, so
    that a curve which saturates rises as surely as a line. A pair with a tie counts as
    half a rise and half a fall, and an S between two possible ones as the smaller of them.
    """
    chance = np.full(n_groups, np.nan)
    for which, rows in blocks(x, group, n_groups, least=2):
        across, up, n = x[rows], y[rows], rows.shape[1]
        total = np.zeros(len(rows))
        for k in range(1, n):
            steps = np.sign(across[:, k:] - across[:, :-k]) * np.sign(up[:, k:] - up[:, :-k])
            total += np.sum(steps, axis=1)
        chance[which] = _chances(total, n)
    return chance


def _chances(score: Numbers, n: int) -> Numbers:
    """The probability that n values in random order have at least this S."""
    pairs = n * (n - 1) // 2
    if n > MOST_EXACT:
        return np.asarray(ndtr((1 - score) / np.sqrt(pairs * (2 * n + 5) / 9)), dtype=np.float64)
    share = np.ones(1)
    for k in range(2, n + 1):
        share = np.convolve(share, np.full(k, 1 / k))
    inversions = np.ceil((pairs - score) / 2).astype(np.int64)
    return np.asarray(np.cumsum(share)[inversions])


def blocks(x: Numbers, group: Codes, n_groups: int, least: int) -> Iterator[tuple[Codes, Codes]]:
    """Groups of one size together, as their numbers (m,) and the places of their values (m, size).

    In each row x ascends. Groups of fewer than ``least`` values are left out.
    """
    order = np.lexsort((x, group))
    n = np.bincount(group, minlength=n_groups)
    start = np.cumsum(n) - n
    for size in np.unique(n[n >= least]).tolist():
        which, step = np.flatnonzero(n == size), max(1, _AT_ONCE // size)
        for first in range(0, len(which), step):
            part = which[first : first + step]
            yield part, order[start[part][:, np.newaxis] + np.arange(size)]


def _sorted(values: Numbers, group: Codes, n_groups: int) -> tuple[Codes, Codes, Numbers]:
    """The size and the start of each group among the values sorted by group and size."""
    n = np.bincount(group, minlength=n_groups)
    return n, np.cumsum(n) - n, values[np.lexsort((values, group))]
