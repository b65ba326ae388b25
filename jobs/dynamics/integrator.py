"""What integrators of the flow share: the measured sharpness, crossings, and rising losses."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.dynamics.iterate import Bounds, Move, Stepper
from jobs.dynamics.schedule import SharpnessSchedule
from jobs.objective import Objective

LARGEST_STEP = 1e3
"""What 1/S is taken for where the loss is almost flat (S near 0), in units of time."""

SMALLEST_STEP = 1e-3
"""In units of 1/S: a step this short is taken whatever it does to the loss."""

CROSSING_RTOL = 1e-4
"""How far below its threshold the loss may be at a crossing, as a fraction of the threshold."""

CROSSING_TRIES = 20

LOSS_RISE = 1e-4
"""The flow never raises the loss. A step that raises it by more than this fraction, which float32
rounding cannot do, was too long."""


@dataclass(frozen=True)
class Candidate:
    """Where a step of length ``h`` would end: θ, with its loss and gradient."""

    h: float
    theta: Tensor
    loss: float
    gradient: Tensor


class Integrator(Stepper):
    """Advances θ along the flow in steps whose length follows the sharpness S.

    S is measured again when :class:`~jobs.dynamics.schedule.SharpnessSchedule` asks for it.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._looks = SharpnessSchedule()

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return self._looks.due

    def see_sharpness(self, sharpness: float) -> None:
        """Take in a measurement of S at the current θ."""
        self._looks.see(sharpness)

    def move(self, theta: Tensor, bounds: Bounds) -> Move:
        """One step from θ, which ends where the loss reaches the threshold if it does."""
        taken = self._take(theta)
        if self._loss > bounds.threshold > taken.loss:
            taken = self._crossing(theta, taken, bounds.threshold)
        self._loss, self._gradient = taken.loss, taken.gradient
        self._looks.passed(taken.h)
        return Move(taken.theta, 1, taken.h)

    def part(self, theta: Tensor, gradient: Tensor, h: float) -> Tensor:
        """θ a time h after ``theta``, where the gradient is given; the integrator stays as it is.

        ``theta`` is where the last step began, and h no longer than it: what the step's length was
        checked for, it serves here too.
        """
        kept, self._gradient = self._gradient, gradient
        try:
            return self._step(theta, h).theta
        finally:
            self._gradient = kept

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return self._looks.state()

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        super().restore(state)
        self._looks.restore(state)

    @abstractmethod
    def _take(self, theta: Tensor) -> Candidate:
        """The step to take from θ."""

    @abstractmethod
    def _step(self, theta: Tensor, h: float) -> Candidate:
        """A step of length h, which is stable and accurate, from where ``_gradient`` is that of θ.

        Nothing is learned from it.
        """

    def _crossing(self, theta: Tensor, beyond: Candidate, threshold: float) -> Candidate:
        """The point of a step from θ where the loss has just reached the threshold.

        Within the step θ follows the cubic polynomial that has the step's ends and their gradients.
        The loss falls along the flow, so the point is found by the Illinois variant of regula falsi
        in the logarithm of the loss.
        """
        goal = math.log(threshold * (1 - CROSSING_RTOL / 2))
        low, at_low = 0.0, math.log(self._loss) - goal
        high, at_high = 1.0, _log(beyond.loss) - goal
        best = beyond
        for _ in range(CROSSING_TRIES):
            if threshold * (1 - CROSSING_RTOL) <= best.loss <= threshold:
                break
            share = low + (high - low) * min(max(at_low / (at_low - at_high), 0.02), 0.98)
            point = self._within(theta, beyond, share)
            tried = Candidate(share * beyond.h, point, *self._objective.gradient(point))
            value = _log(tried.loss) - goal
            if tried.loss <= threshold:
                best = tried
                high, at_high, at_low = share, value, at_low / 2
            else:
                low, at_low, at_high = share, value, at_high / 2
        return best

    def _within(self, theta: Tensor, end: Candidate, share: float) -> Tensor:
        """θ at a fraction of a step: the cubic Hermite interpolant."""
        assert self._gradient is not None
        rest = 1 - share
        point = theta.lerp(end.theta, share * share * (3 - 2 * share))
        point.sub_(self._gradient, alpha=end.h * share * rest * rest)
        return point.add_(end.gradient, alpha=end.h * share * share * rest)

    def _unit(self, sharpness: float) -> float:
        """1/S, within bounds."""
        return min(1 / sharpness, LARGEST_STEP) if sharpness > 0 else LARGEST_STEP

    def _rises(self, candidate: Candidate) -> bool:
        """Whether a step raised the loss, and can still be shortened."""
        if candidate.loss <= self._loss * (1 + LOSS_RISE):
            return False
        return candidate.h > SMALLEST_STEP * self._unit(self._looks.latest)

    def _runge_kutta_4(self, theta: Tensor, h: float) -> tuple[Candidate, Tensor]:
        """A step of the classical fourth-order method, and its last slope."""
        k1 = self._gradient
        assert k1 is not None
        _, k2 = self._objective.gradient(theta.sub(k1, alpha=h / 2))
        _, k3 = self._objective.gradient(theta.sub(k2, alpha=h / 2))
        _, k4 = self._objective.gradient(theta.sub(k3, alpha=h))
        slope = (k2 + k3).mul_(2).add_(k1).add_(k4)
        end = theta.sub(slope, alpha=h / 6)
        return Candidate(h, end, *self._objective.gradient(end)), k4

    def _norms(self, *vectors: Tensor) -> list[float]:
        """‖v‖₂ of each vector, the same on every rank."""
        norms = [torch.linalg.vector_norm(vector, dtype=torch.float64) for vector in vectors]
        return self._objective.agree(torch.stack(norms)).tolist()


def _log(loss: float) -> float:
    return math.log(max(loss, 1e-300))
