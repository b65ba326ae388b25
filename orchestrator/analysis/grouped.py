"""Statistics of many groups at once: medians, lines, ranks, each without a loop over groups.

``group`` numbers the group of each value, both of shape (values,); results have shape (groups,)
and are NaN where a group has too few values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik, ndtr, stdtrit

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

CONFIDENCE = 0.95

MOST_EXACT = 60
"""Values up to which the test of rank counts permutations; of more their number is normal."""

_AT_ONCE = 1_000_000

_ROUNDING = 1e-12


def codes(column: Any) -> Codes:
    """A number for each value of an Arrow column, NULL being a value of its own.

    >>> codes(pa.array(["a", None, "a"])).tolist()
    [0, 1, 0]
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = whole.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def together(parts: Iterable[Codes], length: int) -> Codes:
    """A number from 0 on for each distinct combination of several codes.

    >>> together([np.array([0, 0, 1]), np.array([5, 5, 5])], 3).tolist()
    [0, 0, 1]
    """
    combined = np.zeros(length, dtype=np.int64)
    for part in parts:
        if len(part):
            _, combined = np.unique(combined * (int(part.max()) + 1) + part, return_inverse=True)
    return combined


def numbers(column: Any) -> Numbers:
    """An Arrow column as float64, NaN where it is NULL."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def numbers_or_null(values: Numbers) -> Any:
    """An Arrow column of float64, NULL where a value is not finite."""
    return pa.array(values, mask=~np.isfinite(values), type=pa.float64())


def flags_or_null(values: Numbers) -> Any:
    """An Arrow column: true for 1, false for 0, NULL for NaN."""
    return pa.array(values == 1, mask=np.isnan(values), type=pa.bool_())


def with_interval(name: str, value: Numbers, low: Numbers, high: Numbers) -> dict[str, Numbers]:
    """A number and the ends of its interval, by the names of their columns."""
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def distinct_per_group(group: Codes, value: Codes, n_groups: int) -> Codes:
    """How many distinct values each group has; both of shape (rows,), the result (n_groups,).

    >>> distinct_per_group(np.array([0, 0, 1]), np.array([3, 4, 4]), 2).tolist()
    [2, 1]
    """
    _, first = np.unique(together([group, value], len(group)), return_index=True)
    return np.bincount(group[first], minlength=n_groups)


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


def firsts(keys: Sequence[Numbers | Codes], group: Codes, n_groups: int) -> Codes:
    """The place of the value that comes first in each group by some keys, −1 where it has none.

    >>> firsts([np.array([3.0, 1, 2])], np.array([0, 0, 2]), 3).tolist()
    [1, -1, 2]
    """
    order = np.lexsort((*reversed(keys), group))
    which, start = np.unique(group[order], return_index=True)
    found = np.full(n_groups, -1)
    found[which] = order[start]
    return found


def at(values: Numbers, places: Codes) -> Numbers:
    """The values at these places, NaN at −1.

    >>> at(np.array([5.0, 6.0]), np.array([1, -1])).tolist()
    [6.0, nan]
    """
    return np.append(values, np.nan)[places]


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
