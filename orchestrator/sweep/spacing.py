"""Learning rates spread evenly between two ends, by ratio or by difference."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate


def geometric(low: float, high: float, count: int) -> tuple[float, ...]:
    """``count`` rates from ``low`` to ``high``, both exact, with a constant ratio between them.

    Rates between the ends are rounded to 15 significant digits, so that the last bit of a
    machine's power function does not give the same trial another name elsewhere.

    Raises:
        ValueError: the numbers are not ``0 < low < high``, or ``low == high`` with a count of 1.
    """
    return _spread(low, high, count, lambda share: low ** (1 - share) * high**share)


def linear(low: float, high: float, count: int) -> tuple[float, ...]:
    """``count`` rates from ``low`` to ``high``, both exact, with a constant difference.

    Rounded like :func:`geometric`.

    Raises:
        ValueError: the numbers are not ``0 < low < high``, or ``low == high`` with a count of 1.
    """
    return _spread(low, high, count, lambda share: low + (high - low) * share)


def _spread(low: float, high: float, count: int, at: Callable[[float], float]) -> tuple[float, ...]:
    if count == 1 and 0 < low == high:
        return (low,)
    if count < 2 or not 0 < low < high:
        raise ValueError(f"no {count} rates lie evenly from {low} to {high}")
    between = (float(f"{at(i / (count - 1)):.15g}") for i in range(1, count - 1))
    # Ends a few bits apart lie closer than the roundings between them: none may go back.
    rising = accumulate((min(max(rate, low), high) for rate in between), max)
    return (low, *rising, high)
