"""The verdict on a statement, by how many of the places that decide it bear it out."""

from __future__ import annotations

from scipy.special import betaincinv

from orchestrator.analysis.grouped import CONFIDENCE

HOLDS, MOSTLY_HOLDS, FAILS, UNDECIDED = "holds", "mostly holds", "does not hold", "undecided"

LEAST_SHARE = 0.5
"""A statement mostly holds if it is right in more than this share of places beyond doubt."""

ENOUGH = 6
"""Places from which on an interval lies above LEAST_SHARE if all bear a statement out."""


def verdict(right: int, decided: int) -> str:
    """The verdict on a statement that is right at ``right`` of ``decided`` places.

    It ``holds`` if it is right at all of them, and ``mostly holds`` if the whole
    :func:`share_interval` lies above :data:`LEAST_SHARE`; else it ``does not hold``. It is
    ``undecided`` where no place decides it.

    >>> [verdict(*one) for one in [(4, 4), (22, 23), (6, 7), (5, 7), (0, 1), (0, 0)]]
    ['holds', 'mostly holds', 'does not hold', 'does not hold', 'does not hold', 'undecided']
    """
    if not decided:
        return UNDECIDED
    if right == decided:
        return HOLDS
    return MOSTLY_HOLDS if share_interval(right, decided)[0] > LEAST_SHARE else FAILS


def share_interval(right: int, decided: int) -> tuple[float, float]:
    """The 95 % interval of the share of places at which a statement is right (Clopper and Pearson).

    It takes places for independent; those of one column at several thresholds are so in part only.

    >>> [round(end, 3) for end in share_interval(22, 23)]
    [0.781, 0.999]
    """
    tail, wrong = (1 - CONFIDENCE) / 2, decided - right
    low = 0.0 if not right else float(betaincinv(right, wrong + 1, tail))
    high = 1.0 if not wrong else float(betaincinv(right + 1, wrong, 1 - tail))
    return low, high


def share_in_words(right: int, decided: int) -> str:
    """The share in per cent, 0 or 100 only if it is so exactly; its interval, where it says much.

    >>> share_in_words(22, 23)
    '96 %, 95 % interval 78 to 99 %'
    """
    low, high = share_interval(right, decided)
    ends = f", 95 % interval {_percent(low)} to {_percent(high)} %" if decided >= ENOUGH else ""
    return f"{_percent(right / decided)} %{ends}"


def _percent(share: float) -> int:
    whole = round(100 * share)
    return whole if share in (0, 1) else min(max(whole, 1), 99)
