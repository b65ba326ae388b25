"""The integrators of the gradient flow dθ/dt = −∇L(θ), by name.

``rk4`` is the textbook reference; ``rkc2`` reaches the same points with a fraction of the
gradients, because its stability region grows with the square of its stages.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.dynamics.integrator import (
    Asking,
    Candidate,
    Integrator,
    evaluated,
    inverse,
    runge_kutta_4,
)
from jobs.dynamics.iterate import Iterate
from jobs.objective import Objective

DAMPING = 2 / 13
MOST_STAGES = 100

REACH = 1 / 1.54
"""A method of s stages is stable for h ρ ≤ REACH (s² − 1), ρ the spectral radius."""

TOLERANCE = 1e-4
"""Of the estimated error of a Chebyshev step, relative to ‖θ‖."""

RADIUS_MARGIN = 1.15
"""The spectral radius is taken as this much more than the sharpness that is expected."""

SHORTER, LONGER, SAFETY = 0.1, 5.0, 0.8

RK4_TOLERANCE = 3e-4
"""Of the estimated error of a step of RK4, relative to ‖θ‖: twice that is not accepted."""

RK4_SHORTEST, RK4_LONGEST = 0.5, 1.2
"""The bounds of h S of RK4. The lower one is for where S grows as fast as θ moves; the upper one
leaves S room to double, and makes up for the shorter steps."""

ADVANCE = 12
"""Gradients that a flow may need more than RK4 with h = 1/S, for steps of RK4 shorter than that."""

RK4_TO_CHEBYSHEV = 3.0
"""The same estimate on a Chebyshev step, of two stages and the same length, is larger by this."""

WORTH = 0.7
"""A Chebyshev step is tried where it is expected to need less than this share of RK4's gradients
for the same time: near 1 it would often be tried in vain, and RK4 is the more accurate."""

LONGEST_WAIT = 32
"""Steps of RK4 until the Chebyshev method is tried again."""


class RungeKutta4(Integrator):
    """Steps of length h = 1/S, S the sharpness (Cohen et al. 2021).

    The method is stable on the real axis up to h S ≈ 2.785, so that h = 1/S leaves room for S to
    grow between measurements.
    """

    def _take(self, at: Iterate) -> Asking[Candidate]:
        h = self._unit
        candidate, _ = yield from runge_kutta_4(at, h)
        while self._rises(at, candidate):
            self._schedule.measure_next()
            h /= 2
            candidate, _ = yield from runge_kutta_4(at, h)
        return candidate

    def _step(self, at: Iterate, h: float) -> Asking[Candidate]:
        end, _ = yield from runge_kutta_4(at, h)
        return end


class RungeKuttaChebyshev2(Integrator):
    """Steps limited by accuracy, with as many stages as stability asks for.

    Where the flow is stiff its spectrum is real: with s stages the method is stable up to
    h ρ ≈ 0.65 s², so the gradients of a stretch of flow grow with the square root of the spectral
    radius ρ instead of with ρ. Formulas, error estimate and number of stages: Sommeijer, Shampine
    and Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math. 88 (1997).

    Where accuracy asks for steps so short that RK4 costs less, RK4 it is: in the fast beginning of
    a flow, and between the kinks of ReLU, at which no method has an order higher than 1 and the
    estimate no longer falls as h³. A Chebyshev step that was refused there is tried again after 1,
    2, 4 … ``LONGEST_WAIT`` steps of RK4, so that refusals cost a few per cent at most. The error of
    RK4 is estimated too, by h/10 ‖k₄ − ∇L(θ₁)‖, the distance to an embedded method of third order.

    What is promised at a crossing of ε, as a fraction of each value:

    =================  ========  ================  =================
    at a crossing      smooth    ReLU with ``ce``  ReLU with ``mse``
    =================  ========  ================  =================
    time               10⁻³      5·10⁻³            2·10⁻²
    largest S so far   5·10⁻³    10⁻²              5·10⁻²
    ‖θ‖₁ and ‖θ‖₂      2·10⁻⁴    10⁻³              2·10⁻³
    ‖θ − θ0‖₂          5·10⁻⁴    10⁻³              5·10⁻³
    =================  ========  ================  =================

    Nothing proves it: the estimate bounds the error of a step, and not what the flow makes of it
    later. It is what was measured, rounded up, against RK4 with h between 0.025/S and 0.1/S, on
    networks of 16 units and 100 or 200 samples. S of ReLU jumps wherever a sample passes a kink;
    with more samples each jump is smaller. The loss at a crossing is at most
    :data:`~jobs.dynamics.integrator.CROSSING_RTOL` below ε.

    RK4 with h = 1/S needs 4 ∫S dt gradients. Those that were saved are counted, and steps of RK4
    may be shorter than 1/S only as long as they are paid for by them, or by an advance of
    ``ADVANCE`` gradients at the start.

    ``tolerance`` is of the estimated error of a Chebyshev step, relative to ‖θ‖.
    """

    def __init__(self, objective: Objective, tolerance: float = TOLERANCE) -> None:
        super().__init__(objective)
        self._tolerance = tolerance
        self._chebyshev_h, self._rk4_h = -1.0, 0.0  # not known
        self._wait, self._refusals = 0, 0
        self._saved = float(ADVANCE)
        self._longest = math.inf

    def take(self, at: Iterate, longest: float) -> Asking[Candidate]:
        """A step of at most that length, whose error is small enough."""
        self._longest = longest
        return (yield from self._take(at))

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {
            **super().state(),
            "h": self._chebyshev_h,
            "rk4_h": self._rk4_h,
            "wait": self._wait,
            "refusals": self._refusals,
            "saved": self._saved,
        }

    def restore(self, state: dict[str, float], vectors: Tensor | None = None) -> None:
        """Take up the state that :meth:`state` gave."""
        super().restore(state)
        self._chebyshev_h, self._rk4_h = state["h"], state["rk4_h"]
        self._wait, self._refusals = int(state["wait"]), int(state["refusals"])
        self._saved = state["saved"]

    def _take(self, at: Iterate) -> Asking[Candidate]:
        candidate = yield from self._accepted(at)
        self._saved += 4 * candidate.h / self._unit
        return candidate

    def _step(self, at: Iterate, h: float) -> Asking[Candidate]:
        if h <= RK4_LONGEST * self._unit:
            end, _ = yield from runge_kutta_4(at, h)
            return end
        return (yield from _chebyshev(at, h, self._stages(h)))

    def _accepted(self, at: Iterate) -> Asking[Candidate]:
        """A step whose error is small enough."""
        while True:
            h = self._wanted()
            if self._wait > 0 or not self._is_worth(h):
                return (yield from self._by_rk4(at))
            stages = self._stages(h)
            candidate = yield from _chebyshev(at, h, stages)
            self._saved -= stages
            error = self._chebyshev_error(at, candidate)
            self._chebyshev_h = h * _change(error)
            rises = self._rises(at, candidate)
            if error <= 1 and not rises:
                self._rk4_h, self._refusals = 2 * h, max(self._refusals - 1, 0)
                return candidate
            if rises:  # S is out of date, or was not the norm: RK4 stands twice of it
                self._schedule.measure_next()
                self._wait = 1
            elif not self._is_worth(self._wanted()):
                self._wait = min(2**self._refusals, LONGEST_WAIT)
                self._refusals += 1

    def _by_rk4(self, at: Iterate) -> Asking[Candidate]:
        """A step of RK4, which also tells how long one of either method may be next."""
        self._wait = max(self._wait - 1, 0)
        h, shortest = self._rk4_step(), self._shortest()
        while True:
            candidate, last = yield from runge_kutta_4(at, h)
            self._saved -= 4
            if self._rises(at, candidate):
                self._schedule.measure_next()
                h /= 2
                continue
            chebyshev, own = self._rk4_errors(at, candidate, last)
            self._chebyshev_h = h * _change(RK4_TO_CHEBYSHEV * chebyshev)
            self._rk4_h = h * min(max((2 * own) ** (-1 / 3), 0.3), 2.0) if own > 0 else 2 * h
            if own <= 2 or h <= shortest:
                return candidate
            h = max(self._rk4_h, shortest)

    def _rk4_step(self) -> float:
        """The length of a step of RK4."""
        return min(max(self._rk4_h, self._shortest()), RK4_LONGEST * self._unit, self._longest)

    def _shortest(self) -> float:
        """What a step of RK4 is not shortened below for accuracy."""
        return self._unit if self._saved < 0 else RK4_SHORTEST * self._unit

    def _wanted(self) -> float:
        """The length of a Chebyshev step that accuracy allows.

        It ends at the next measurement of S, or is one of some equal steps on the way there.
        """
        h = min(self._chebyshev_h, REACH * (MOST_STAGES**2 - 1) / self._radius(self._chebyshev_h))
        h, left = min(h, self._longest), self._schedule.time_left
        return left / math.ceil(left / h) if 0 < left < 4 * h else h

    def _is_worth(self, h: float) -> bool:
        """Whether a Chebyshev step of length h is expected to need fewer gradients than RK4."""
        return h > 0 and self._stages(h) / h <= WORTH * 4 / self._rk4_step()

    def _radius(self, h: float) -> float:
        """The spectral radius during a step of length h."""
        return RADIUS_MARGIN / inverse(self._schedule.expected(h))

    def _stages(self, h: float) -> int:
        """The fewest stages with which a step of length h is stable."""
        return min(max(2, 1 + math.floor(math.sqrt(1 + h * self._radius(h) / REACH))), MOST_STAGES)

    def _chebyshev_error(self, at: Iterate, end: Candidate) -> float:
        """The estimated error of a Chebyshev step, in units of the tolerance."""
        return self._in_units(at, (_smooth_error(at, end), self._tolerance))[0]

    def _rk4_errors(self, at: Iterate, end: Candidate, last: Tensor) -> tuple[float, float]:
        """The estimate of a Chebyshev step on a step of RK4, and RK4's own."""
        own = (last - end.gradient).mul_(end.h / 10)
        chebyshev = _smooth_error(at, end)
        first, second = self._in_units(at, (chebyshev, self._tolerance), (own, RK4_TOLERANCE))
        return first, second

    def _in_units(self, at: Iterate, *errors: tuple[Tensor, float]) -> list[float]:
        """‖error‖ / (tolerance ‖θ‖) of each, the same on every rank; infinite where it is NaN."""
        vectors = [*(error for error, _ in errors), at.theta]
        norms = [torch.linalg.vector_norm(vector, dtype=torch.float64) for vector in vectors]
        *found, scale = self.objective.agree(torch.stack(norms)).tolist()
        units = [
            norm / max(tolerance * scale, 1e-300)
            for norm, (_, tolerance) in zip(found, errors, strict=True)
        ]
        return [unit if math.isfinite(unit) else math.inf for unit in units]


def _chebyshev(at: Iterate, h: float, stages: int) -> Asking[Candidate]:
    """A step of the Runge-Kutta-Chebyshev method, in its three-term recurrence."""
    theta, g0 = at.theta, at.gradient
    first, rest = coefficients(stages)
    before, current = theta, theta.sub(g0, alpha=first * h)
    for c in rest:
        _, g = yield current
        after = theta.mul(1 - c.mu - c.nu).add_(current, alpha=c.mu).add_(before, alpha=c.nu)
        after.sub_(g, alpha=c.mu_tilde * h).sub_(g0, alpha=c.gamma_tilde * h)
        before, current = current, after
    return (yield from evaluated(h, current))


def _smooth_error(at: Iterate, end: Candidate) -> Tensor:
    """h³θ‴/15 of a smooth step."""
    estimate = at.theta.sub(end.theta).mul_(0.8)
    return estimate.sub_(at.gradient + end.gradient, alpha=0.4 * end.h)


METHODS: dict[str, Callable[[Objective], Integrator]] = {
    "rk4": RungeKutta4,
    "rkc2": RungeKuttaChebyshev2,
}


@dataclass(frozen=True)
class Stage:
    """μ, ν, μ̃ and γ̃ of one stage after the first."""

    mu: float
    nu: float
    mu_tilde: float
    gamma_tilde: float


@functools.cache
def coefficients(stages: int) -> tuple[float, tuple[Stage, ...]]:
    """μ̃₁, and the coefficients of the stages from the second on (Sommeijer et al. 1997)."""
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
        Stage(
            mu=2 * b[j] * w0 / b[j - 1],
            nu=-b[j] / b[j - 2],
            mu_tilde=2 * b[j] * w1 / b[j - 1],
            gamma_tilde=-(1 - b[j - 1] * t[j - 1]) * 2 * b[j] * w1 / b[j - 1],
        )
        for j in range(2, stages + 1)
    )
    return b[1] * w1, rest


def _change(error: float) -> float:
    """The factor on h with which the next step is expected to meet the tolerance."""
    wanted = SAFETY * math.pow(max(error, 1e-12), -1 / 3)
    return min(max(wanted, SHORTER), LONGER)
