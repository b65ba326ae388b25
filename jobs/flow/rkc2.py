"""``rkc2``: the second-order Runge-Kutta-Chebyshev method with error control."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from torch import Tensor

from jobs.flow.integrator import Candidate, Integrator
from jobs.objective import Objective

TOLERANCE = 1e-4
"""Of the estimated error of a step, relative to ‖θ‖."""

RADIUS_MARGIN = 1.15
"""The spectral radius is taken as this much more than the last measured sharpness."""

DAMPING = 2 / 13
MOST_STAGES = 100
SHORTER, LONGER, SAFETY = 0.1, 5.0, 0.8


class RungeKuttaChebyshev2(Integrator):
    """Steps limited by accuracy, with as many stages as stability asks for.

    The flow is stiff and its spectrum is real: with s stages the method is stable up to
    h ρ ≈ 0.65 s², so the gradients of a stretch of flow grow with the square root of the spectral
    radius ρ instead of with ρ. Formulas, error estimate and number of stages: Sommeijer, Shampine
    and Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math. 88 (1997).

    Where accuracy asks for steps so short that RK4 with h = 1/S costs less, RK4 it is.
    """

    def __init__(self, objective: Objective, measure_every: int) -> None:
        super().__init__(objective, measure_every)
        self._h: float | None = None

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {**super().state(), "h": -1.0 if self._h is None else self._h}

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        super().restore(state)
        self._h = None if state["h"] < 0 else state["h"]

    def _take(self, theta: Tensor) -> Candidate:
        unit = self._stable_step()
        h = unit if self._h is None else self._h
        longest = LONGER
        while True:
            stages = self._stages(h)
            h = min(h, self._reach(stages))
            cheaper = 4 * h <= stages * unit
            candidate = (
                self._runge_kutta_4(theta, unit) if cheaper else self._chebyshev(theta, h, stages)
            )
            change = self._change_of_step(theta, candidate)
            rises = self._rises(candidate)
            if not rises and (cheaper or change >= SAFETY):
                break
            if rises:
                self._remaining = 1  # S may be out of date: look at it after this step
            h, longest = candidate.h * min(change, 0.5), 1.0
            if cheaper:
                unit = h
        self._h = candidate.h * min(change, longest)
        return candidate

    def _exactly(self, theta: Tensor, h: float, taken: Candidate) -> Candidate:
        if taken.stages == 0:
            return self._runge_kutta_4(theta, h)
        return self._chebyshev(theta, h, taken.stages)

    def _looks(self) -> tuple[float, float]:
        """A long step passes over much of the flow: S is looked at more often than by default."""
        long = self._h is not None and self._h > self._stable_step()
        return (0.01, 0.03) if long else super()._looks()

    def _stages(self, h: float) -> int:
        """The fewest stages with which a step of length h is stable."""
        radius = RADIUS_MARGIN / self._stable_step()
        return min(max(2, 1 + math.floor(math.sqrt(1 + 1.54 * h * radius))), MOST_STAGES)

    def _reach(self, stages: int) -> float:
        """The longest step that so many stages keep stable."""
        return (stages * stages - 1) * self._stable_step() / (1.54 * RADIUS_MARGIN)

    def _chebyshev(self, theta: Tensor, h: float, stages: int) -> Candidate:
        """A step of the Runge-Kutta-Chebyshev method, in its three-term recurrence."""
        g0 = self._gradient
        assert g0 is not None
        first, rest = _coefficients(stages)
        before, current = theta, theta.sub(g0, alpha=first * h)
        for c in rest:
            _, g = self._objective.gradient(current)
            after = theta.mul(1 - c.mu - c.nu).add_(current, alpha=c.mu).add_(before, alpha=c.nu)
            after.sub_(g, alpha=c.mu_tilde * h).sub_(g0, alpha=c.gamma_tilde * h)
            before, current = current, after
        return Candidate(h, current, *self._objective.gradient(current), stages)

    def _change_of_step(self, theta: Tensor, candidate: Candidate) -> float:
        """The factor on h with which the next step is expected to meet the tolerance."""
        assert self._gradient is not None
        estimate = theta.sub(candidate.theta).mul_(0.8)
        estimate.sub_(self._gradient + candidate.gradient, alpha=0.4 * candidate.h)
        error = float(estimate.double().norm() / theta.double().norm()) / TOLERANCE
        if not math.isfinite(error):
            return SHORTER
        wanted = SAFETY * math.pow(max(error, 1e-12), -1 / 3)
        return min(max(wanted, SHORTER), LONGER)


@dataclass(frozen=True)
class _Stage:
    mu: float
    nu: float
    mu_tilde: float
    gamma_tilde: float


@functools.cache
def _coefficients(stages: int) -> tuple[float, tuple[_Stage, ...]]:
    """μ̃₁, and the coefficients of the stages from the second on."""
    w0 = 1 + DAMPING / stages**2
    t, dt, d2t = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, stages + 1):
        t.append(2 * w0 * t[-1] - t[-2])
        dt.append(2 * t[-2] + 2 * w0 * dt[-1] - dt[-2])
        d2t.append(4 * dt[-2] + 2 * w0 * d2t[-1] - d2t[-2])
    w1 = dt[stages] / d2t[stages]
    b = [0.0, 0.0, *(d2t[j] / dt[j] ** 2 for j in range(2, stages + 1))]
    b[0] = b[1] = b[2]
    rest = tuple(
        _Stage(
            mu=2 * b[j] * w0 / b[j - 1],
            nu=-b[j] / b[j - 2],
            mu_tilde=2 * b[j] * w1 / b[j - 1],
            gamma_tilde=-(1 - b[j - 1] * t[j - 1]) * 2 * b[j] * w1 / b[j - 1],
        )
        for j in range(2, stages + 1)
    )
    return b[1] * w1, rest
