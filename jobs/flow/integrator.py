"""What integrators of the flow share: the measured sharpness, crossings, and rising losses."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from jobs.objective import Objective
from jobs.stepper import Bounds, Move, Stepper

LARGEST_STEP = 1e3
"""What 1/S is taken for where the loss is almost flat (S near 0), in units of time."""

SMALLEST_STEP = 1e-3
"""In units of 1/S: a step this short is taken whatever it does to the loss."""

CROSSING_RTOL = 1e-3
"""How far below its threshold the loss may be at a crossing, as a fraction of the threshold."""

CROSSING_TRIES = 20

LOSS_RISE = 1e-4
"""The flow never raises the loss. A step that raises it by more than this fraction, which float32
rounding cannot do, was too long."""


@dataclass
class Candidate:
    """Where a step of length ``h`` would end: θ, with its loss and gradient.

    ``stages`` are those of the Chebyshev method; 0 says that the step was one of RK4.
    """

    h: float
    theta: Tensor
    loss: float
    gradient: Tensor
    stages: int = 0


class Integrator(Stepper):
    """Advances θ along the flow in steps whose length follows the sharpness S.

    S is measured again after at most ``measure_every`` steps, sooner while it changes fast: the
    number of steps between measurements doubles when S changed little, and halves when it changed
    much.
    """

    def __init__(self, objective: Objective, measure_every: int) -> None:
        super().__init__(objective)
        self._measure_every = measure_every
        self._sharpness: float | None = None
        self._interval, self._remaining = 1, 0

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return self._remaining == 0

    def see_sharpness(self, sharpness: float) -> None:
        """Take in a measurement of S at the current θ."""
        if self._sharpness is not None:
            change = abs(sharpness - self._sharpness) / max(sharpness, self._sharpness, 1e-300)
            steady, moved = self._looks()
            if change < steady:
                self._interval = min(2 * self._interval, self._measure_every)
            elif change > moved:
                self._interval = max(self._interval // 2, 1)
        self._sharpness = sharpness
        self._remaining = self._interval

    def move(self, theta: Tensor, bounds: Bounds) -> Move:
        """Move θ in place by one step, which ends at the threshold if it gets there."""
        time = self.step(theta, bounds.threshold)
        return Move(theta, 1, time)

    def step(self, theta: Tensor, threshold: float) -> float:
        """Move θ in place by one step, which ends where the loss reaches ``threshold`` if it does.

        Returns the step's length h, in units of time.
        """
        assert self._gradient is not None
        taken = self._take(theta)
        if self._loss > threshold > taken.loss:
            taken = self._crossing(theta, taken, threshold)
        theta.copy_(taken.theta)
        self._loss, self._gradient = taken.loss, taken.gradient
        self._remaining = max(self._remaining - 1, 0)
        return taken.h

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {
            "sharpness": -1.0 if self._sharpness is None else self._sharpness,
            "interval": self._interval,
            "remaining": self._remaining,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        super().restore(state)
        self._sharpness = None if state["sharpness"] < 0 else state["sharpness"]
        self._interval, self._remaining = int(state["interval"]), int(state["remaining"])

    def _looks(self) -> tuple[float, float]:
        """The changes of S, as fractions, that count as little and as much."""
        return 0.02, 0.05

    @abstractmethod
    def _take(self, theta: Tensor) -> Candidate:
        """The step to take from θ."""

    @abstractmethod
    def _exactly(self, theta: Tensor, h: float, taken: Candidate) -> Candidate:
        """A step of this length from θ by the formula of a longer one that was taken."""

    def _crossing(self, theta: Tensor, beyond: Candidate, threshold: float) -> Candidate:
        """The step from θ that ends where the loss has just reached the threshold.

        The loss falls along the flow, so the step's length is found by the Illinois variant of
        regula falsi in the logarithm of the loss.
        """
        goal = math.log(threshold * (1 - CROSSING_RTOL / 2))
        low, at_low = 0.0, math.log(self._loss) - goal
        high, at_high = beyond.h, _log(beyond.loss) - goal
        best = beyond
        for _ in range(CROSSING_TRIES):
            if threshold * (1 - CROSSING_RTOL) <= best.loss <= threshold:
                break
            share = at_low / (at_low - at_high)
            h = low + (high - low) * min(max(share, 0.02), 0.98)
            tried = self._exactly(theta, h, beyond)
            value = _log(tried.loss) - goal
            if tried.loss <= threshold:
                best = tried
                high, at_high, at_low = h, value, at_low / 2
            else:
                low, at_low, at_high = h, value, at_high / 2
        return best

    def _stable_step(self) -> float:
        """1/S, within bounds."""
        if self._sharpness is None or not math.isfinite(self._sharpness):
            raise ValueError(f"sharpness is {self._sharpness}; it must be measured and finite")
        return min(1 / self._sharpness, LARGEST_STEP) if self._sharpness > 0 else LARGEST_STEP

    def _rises(self, candidate: Candidate) -> bool:
        """Whether a step raised the loss, and can still be shortened."""
        if candidate.loss <= self._loss * (1 + LOSS_RISE):
            return False
        return candidate.h > SMALLEST_STEP * self._stable_step()

    def _runge_kutta_4(self, theta: Tensor, h: float) -> Candidate:
        """A step of the classical fourth-order method."""
        k1 = self._gradient
        assert k1 is not None
        _, k2 = self._objective.gradient(theta.sub(k1, alpha=h / 2))
        _, k3 = self._objective.gradient(theta.sub(k2, alpha=h / 2))
        _, k4 = self._objective.gradient(theta.sub(k3, alpha=h))
        slope = (k2 + k3).mul_(2).add_(k1).add_(k4)
        end = theta.sub(slope, alpha=h / 6)
        return Candidate(h, end, *self._objective.gradient(end))


def _log(loss: float) -> float:
    return math.log(max(loss, 1e-300))
