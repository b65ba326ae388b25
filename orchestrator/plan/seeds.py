"""The valley of the test loss over the seeds of a problem: rates that all of them are to have.

Each seed has refined its own rates first. Between the rates of a seed its test loss is interpolated
in log η; the least of the median over seeds says where all of them are measured next, until each
has rates close to it on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.plan.refining import SAME, Found, Precision

NEAR = 0.95
"""Of the asked distance: how far from the best rate its neighbours are measured, so that rounding
does not take them beyond."""


@dataclass(frozen=True)
class OverSeeds:
    """The bracket of the least median test loss over so many seeds, and the multiples at which all
    of them are measured next.
    """

    seeds: int
    valley: Precision
    following: tuple[float, ...] = ()

    @property
    def said(self) -> str:
        """What is known, in words."""
        return f"over {self.seeds} seeds {self.valley.said}"


def over_seeds(found: Sequence[Found], asked: float, left: int) -> OverSeeds:
    """What the seeds of a problem say together.

    Args:
        found: what each has found.
        asked: how close, in log η, the neighbours of the best rate are to be.
        left: the further rates that each seed may have.
    """
    seeds, found = len(found), [one.ascending for one in found]
    known = [one.reached & np.isfinite(one.test_loss) for one in found]
    if not all(each.any() for each in known):
        return OverSeeds(seeds, Precision(reason="some seed reached ε at no rate"))
    logs = [np.log(one.multiple[each]) for one, each in zip(found, known, strict=True)]
    low, high = max(float(each[0]) for each in logs), min(float(each[-1]) for each in logs)
    every = np.unique(np.concatenate(logs))
    points = every[(every >= low) & (every <= high)]
    if not len(points):
        return OverSeeds(seeds, Precision(reason="no rate is within what all seeds reached"))
    curves = [
        np.interp(points, log, one.test_loss[each])
        for one, each, log in zip(found, known, logs, strict=True)
    ]
    place = int(np.argmin(np.median(curves, axis=0)))
    best = float(points[place])
    if place == 0:
        reason = "the median test loss is least at the smallest rate"
        return OverSeeds(seeds, Precision(high=math.exp(best), reason=reason))
    tried = [np.log(one.multiple) for one in found]
    below = min(max(each[each < best - SAME].tolist(), default=-math.inf) for each in tried)
    above = max(min(each[each > best + SAME].tolist(), default=math.inf) for each in tried)
    bracket = Precision(math.exp(below), math.exp(above) if above < math.inf else math.nan)
    at_best = all((abs(each - best) <= SAME).any() for each in tried)
    if above == math.inf:
        reason = "the median test loss is least at the largest rate"
        return OverSeeds(seeds, Precision(low=bracket.low, reason=reason))
    if at_best and best - below <= asked and above - best <= asked:
        return OverSeeds(seeds, Precision(bracket.low, bracket.high, met=True))
    if left <= 0:
        reason = "a seed has used all further rates"
        return OverSeeds(seeds, Precision(bracket.low, bracket.high, reason=reason))
    wanted = [best, best - NEAR * asked, best + NEAR * asked][:left]
    return OverSeeds(seeds, bracket, tuple(math.exp(each) for each in wanted))
