"""One point in two dimensions, where all solutions lie on a segment: GD at many learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jobs.diagonal.flow import Flow
from jobs.diagonal.loss import Array, TrainingLoss
from jobs.diagonal.manifold import OnePoint
from jobs.diagonal.sweep import Descents, descend
from jobs.records import OFF_THE_EDGE

_RATES = 2000
_RANGE = (0.15, 1.12)
"""The learning rates unless given: in units of η_c from below, of η_max above."""


@dataclass(frozen=True, eq=False)
class PlaneSweep:
    """GD on f = ⟨w∘w, x⟩ at many rates, with what theory knows of it.

    ``point`` is the point in two dimensions, ``truth`` the β* that labels it, ``flow`` the gradient
    flow from the start of all runs, ``epsilon`` where they stop, and ``runs`` how they ended.
    """

    point: OnePoint
    truth: Array
    flow: Flow
    epsilon: float
    runs: Descents

    @property
    def critical_rate(self) -> float:
        """η_c = 2/s_GF."""
        return self.flow.critical_rate(self.epsilon)

    @property
    def stable(self) -> NDArray[np.bool_]:
        """Which runs reached ε where they may have come to rest, and not in passing.

        GD rests where S < 2/η, but at the loss ε it still oscillates: |r| is up to √(2ε). With
        k = η max(x) √(2ε), its next step changes no β by more than a factor (1 + 2k)², and r alone
        adds up to 2k/η to S. So S·η/2 is at most (1 + 2k)² + k, which a tight ε lets come to 1.

        A chaotic orbit that passes where S is below that is not told from one that rests.
        """
        largest_step = self.runs.learning_rates * self.point.x.max() * math.sqrt(2 * self.epsilon)
        bound = np.minimum((1 + 2 * largest_step) ** 2 + largest_step, OFF_THE_EDGE)
        return np.asarray(self.runs.reached() & (self.runs.edge_ratio <= bound))

    def predicted(self, learning_rates: ArrayLike) -> Array:
        """β where theory sees the end of GD, of shape (..., 2).

        Where the flow ends, as long as that is stable; above η_c, the point of zero loss with
        S = 2/η.
        """
        flow = self.point.position(self.flow.weights(self.flow.end()) ** 2)
        edge = self.point.position(self.point.edge(learning_rates))
        return self.point.segment(np.maximum(flow, edge))


def sweep_plane(
    x: Sequence[float] = (2.0, 1.0),
    truth: Sequence[float] = (0.5, 0.5),
    start: Sequence[float] = (0.01, 0.01),
    *,
    epsilon: float = 1e-12,
    rates: ArrayLike | None = None,
    max_steps: int = 20_000,
) -> PlaneSweep:
    """GD at many learning rates on one point in two dimensions, labelled by β* = truth.

    Args:
        x: the point, two different positive numbers.
        truth: β*, of shape (2,), not negative.
        start: w(0), of shape (2,).
        epsilon: the loss threshold.
        rates: η; None for 2,000 from 0.15 η_c to 1.12 η_max.
        max_steps: of a run.

    Raises:
        ValueError: an argument is not as said.
    """
    entries, beta = np.asarray(x, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if entries.shape != (2,) or not np.all(entries > 0) or entries[0] == entries[1]:
        raise ValueError(f"x is {list(x)}; it must be two different positive numbers")
    if beta.shape != (2,) or not np.all(beta >= 0):
        raise ValueError(f"truth is {list(truth)}; it must be two numbers, neither negative")
    point = OnePoint.labelled_by(beta, entries)
    flow = Flow(point.x, point.y, start)
    if rates is None:
        low = _RANGE[0] * flow.critical_rate(epsilon)
        rates = np.linspace(low, _RANGE[1] * point.largest_stable_rate, _RATES)
    runs = descend(
        TrainingLoss([point.x], [point.y]), start, rates, epsilon=epsilon, max_steps=max_steps
    )
    return PlaneSweep(point, beta, flow, epsilon, runs)
