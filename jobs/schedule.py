"""At which steps a trial records a point of its trajectory."""

from __future__ import annotations

import math

DENSE = 100
"""Unless a number of steps is given, every step up to this one is recorded."""

PER_DOUBLING = 10
"""And from there on so many, equally spaced, each time that their number doubles."""


def is_recorded(step: int, every: int | None) -> bool:
    """Whether a step is recorded.

    With a number, each ``every``-th step is. With None, the points suit runs of any length: every
    step up to ``DENSE``, then ``PER_DOUBLING`` of each doubling: 110, 120, …, 200, 220, …, 400,
    440, …. A run of N ≥ 100 steps then has 100 + 10 log₂(N/100) points after θ0: 133 for 1,000
    steps and 200 for 100,000. The rule knows the number of the step alone, so that a resumed run
    records what an undisturbed one does.
    """
    return step % _gap(step, every) == 0


def steps_to_record(step: int, every: int | None) -> int:
    """Steps from one to the next that is recorded, at least 1."""
    gap = _gap(step, every)
    return gap - step % gap


def points(steps: float, every: int | None) -> float:
    """About how many of so many steps are recorded."""
    if every is not None:
        return steps / every
    return steps if steps <= DENSE else DENSE + PER_DOUBLING * math.log2(steps / DENSE)


def _gap(step: int, every: int | None) -> int:
    """Steps between points from ``step`` on. The ends of a doubling are multiples of either gap."""
    if every is not None:
        return every
    doublings = (step // DENSE).bit_length() - 1
    return 1 if doublings < 0 else (DENSE // PER_DOUBLING) << doublings
