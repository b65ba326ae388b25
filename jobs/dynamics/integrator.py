"""What integrators of the flow share: the measured sharpness, crossings, and rising losses."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from torch import Tensor

from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.dynamics.schedule import SharpnessSchedule
from jobs.objective import Objective, gradients_at

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


Result = TypeVar("Result")

Asking = Generator[Tensor, tuple[float, Tensor], Result]
"""A computation that asks for L and ∇L at a θ by yielding it; so several can be answered at once,
whatever the number of their stages."""


class Integrator(Stepper):
    """Advances θ along the flow in steps whose length follows the sharpness S.

    S is measured again when :class:`~jobs.dynamics.schedule.SharpnessSchedule` asks for it.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._schedule = SharpnessSchedule()

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return self._schedule.due

    def see_sharpness(self, sharpness: float) -> None:
        """Take in a measurement of S at the current θ."""
        self._schedule.add(sharpness)

    def advance(self, time: float) -> None:
        """Count a step that took so much time."""
        self._schedule.advance(time)

    @classmethod
    def move_together(
        cls, moving: Sequence[tuple[Self, Iterate, Bounds]], until: Callable[[], bool]
    ) -> list[Iterate]:
        """A step of each, with the gradients of all at once.

        A step ends where the loss reaches the threshold if it does.
        """
        return answered([(flow.objective, flow._move(at, bounds)) for flow, at, bounds in moving])

    def _move(self, at: Iterate, bounds: Bounds) -> Asking[Iterate]:
        taken = yield from self._take(at)
        if at.loss > bounds.threshold > taken.loss:
            taken = yield from crossing(at, taken, bounds.threshold)
        self.advance(taken.h)
        end = at.step + 1, at.time + taken.h
        return Iterate(taken.theta, *end, loss=taken.loss, gradient=taken.gradient)

    def part(self, at: Iterate, h: float) -> Tensor:
        """θ a time h after an evaluated iterate; the integrator stays as it is.

        The last step began at that iterate, and h is no longer than it: what the step's length was
        checked for, it serves here too.
        """
        (end,) = answered([(self.objective, self._step(at, h))])
        return end.theta

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides the iterate."""
        return self._schedule.state()

    def restore(self, state: dict[str, float], vectors: Tensor | None = None) -> None:
        """Continue from the state that :meth:`state` gave."""
        self._schedule.restore(state)

    @abstractmethod
    def _take(self, at: Iterate) -> Asking[Candidate]:
        """The step to take."""

    @abstractmethod
    def _step(self, at: Iterate, h: float) -> Asking[Candidate]:
        """A step of length h, which is stable and accurate; nothing is learned from it."""

    @property
    def _unit(self) -> float:
        """1/S where it was measured last, within bounds: the natural length of a step."""
        return inverse(self._schedule.latest)

    def _rises(self, at: Iterate, candidate: Candidate) -> bool:
        """Whether a step raised the loss, and can still be shortened."""
        if candidate.loss <= at.loss * (1 + LOSS_RISE):
            return False
        return candidate.h > SMALLEST_STEP * self._unit


def runge_kutta_4(at: Iterate, h: float) -> Asking[tuple[Candidate, Tensor]]:
    """A step of the classical fourth-order method, and its last slope."""
    theta, k1 = at.theta, at.gradient
    _, k2 = yield theta.sub(k1, alpha=h / 2)
    _, k3 = yield theta.sub(k2, alpha=h / 2)
    _, k4 = yield theta.sub(k3, alpha=h)
    slope = (k2 + k3).mul_(2).add_(k1).add_(k4)
    end = yield from evaluated(h, theta.sub(slope, alpha=h / 6))
    return end, k4


def crossing(
    at: Iterate, beyond: Candidate, threshold: float, added: tuple[float, float] = (0.0, 0.0)
) -> Asking[Candidate]:
    """The point of a step where the loss has just reached the threshold.

    Within the step θ follows the cubic polynomial that has the step's ends and their gradients.
    The loss falls along the flow, so the point is found by the Illinois variant of regula falsi in
    the logarithm of the loss. ``added`` is what is added to the loss at the ends, and evenly
    between them.
    """
    goal = math.log(threshold * (1 - CROSSING_RTOL / 2))
    low, at_low = 0.0, math.log(at.loss + added[0]) - goal
    high, at_high = 1.0, _log(beyond.loss + added[1]) - goal
    best, level = beyond, beyond.loss + added[1]
    for _ in range(CROSSING_TRIES):
        if threshold * (1 - CROSSING_RTOL) <= level <= threshold:
            break
        share = low + (high - low) * min(max(at_low / (at_low - at_high), 0.02), 0.98)
        tried = yield from evaluated(share * beyond.h, _within(at, beyond, share))
        there = tried.loss + added[0] + share * (added[1] - added[0])
        value = _log(there) - goal
        if there <= threshold:
            best, level = tried, there
            high, at_high, at_low = share, value, at_low / 2
        else:
            low, at_low, at_high = share, value, at_high / 2
    return best


def evaluated(h: float, theta: Tensor) -> Asking[Candidate]:
    """θ at the end of a step of length h, with its loss and gradient."""
    loss, gradient = yield theta
    return Candidate(h, theta, loss, gradient)


def answered(asking: Sequence[tuple[Objective, Asking[Result]]]) -> list[Result]:
    """What computations return whose questions are answered, those of all at once as they come.

    Each has its own objective, of one problem, which counts its gradients.
    """
    results: dict[int, Result] = {}
    asked: dict[int, Tensor] = {}

    def go_on(row: int, answer: tuple[float, Tensor] | None) -> None:
        try:
            asked[row] = asking[row][1].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            results[row] = end.value

    for row in range(len(asking)):
        go_on(row, None)
    while asked:
        rows, thetas = list(asked), list(asked.values())
        asked.clear()
        answers = gradients_at([asking[row][0] for row in rows], thetas)
        for row, answer in zip(rows, answers, strict=True):
            go_on(row, answer)
    return [results[row] for row in range(len(asking))]


def inverse(sharpness: float) -> float:
    """1/S, within bounds."""
    return min(1 / sharpness, LARGEST_STEP) if sharpness > 0 else LARGEST_STEP


def _within(at: Iterate, end: Candidate, share: float) -> Tensor:
    """θ at a fraction of a step: the cubic Hermite interpolant."""
    rest = 1 - share
    point = at.theta.lerp(end.theta, share * share * (3 - 2 * share))
    point.sub_(at.gradient, alpha=end.h * share * rest * rest)
    return point.add_(end.gradient, alpha=end.h * share * share * rest)


def _log(loss: float) -> float:
    return math.log(max(loss, 1e-300))
