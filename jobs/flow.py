"""The gradient flow dθ/dt = −∇L(θ), integrated numerically."""

from __future__ import annotations

from torch import Tensor

from jobs.objective import Objective

LARGEST_STEP = 1e3
"""Bounds h where the loss is almost flat (S near 0), in units of time."""

LOSS_RISE = 1e-4
"""The flow never raises the loss. A step that raises it by more than this fraction, which float32
rounding cannot do, was too long and is taken again with half its length."""

STEADY, MOVED = 0.05, 0.10
"""The time between two measurements of S doubles when S changed by less than the first fraction,
and halves when it changed by more than the second."""


class RungeKutta4:
    """The classical fourth-order method with step h = 1/S, S the sharpness (Cohen et al. 2021).

    Its region of stability on the real axis reaches h S ≈ 2.785, so that h = 1/S leaves room for S
    to grow between measurements. S is measured again after at most ``measure_every`` steps, sooner
    while it changes fast.
    """

    def __init__(self, objective: Objective, measure_every: int) -> None:
        self._objective, self._measure_every = objective, measure_every
        self._loss = 0.0
        self._gradient: Tensor | None = None
        self._sharpness: float | None = None
        self._interval, self._remaining = 1, 0

    @property
    def evaluated(self) -> bool:
        """Whether loss and gradient at the current θ are at hand."""
        return self._gradient is not None

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return self._remaining == 0

    def evaluate(self, theta: Tensor) -> float:
        """L(θ); its gradient is kept for the step."""
        if self._gradient is None:
            self._loss, self._gradient = self._objective.gradient(theta)
        return self._loss

    def see_sharpness(self, sharpness: float) -> None:
        """Set h = 1/S from a measurement at the current θ."""
        if self._sharpness is not None:
            change = abs(sharpness - self._sharpness) / max(sharpness, self._sharpness, 1e-300)
            if change < STEADY:
                self._interval = min(2 * self._interval, self._measure_every)
            elif change > MOVED:
                self._interval = max(self._interval // 2, 1)
        self._sharpness = sharpness
        self._remaining = self._interval

    def step(self, theta: Tensor) -> float:
        """Move θ in place by one step; returns its length h in units of time."""
        assert self._gradient is not None
        assert self._sharpness is not None
        h = min(1 / self._sharpness, LARGEST_STEP) if self._sharpness > 0 else LARGEST_STEP
        start, k1 = theta.clone(), self._gradient
        while True:
            _, k2 = self._objective.gradient(start.sub(k1, alpha=h / 2))
            _, k3 = self._objective.gradient(start.sub(k2, alpha=h / 2))
            _, k4 = self._objective.gradient(start.sub(k3, alpha=h))
            slope = (k2 + k3).mul_(2).add_(k1).add_(k4)
            theta.copy_(start).sub_(slope, alpha=h / 6)
            loss, gradient = self._objective.gradient(theta)
            if loss <= self._loss * (1 + LOSS_RISE) or h * self._sharpness < 1e-3:
                break
            h, self._remaining = h / 2, 1
        self._loss, self._gradient = loss, gradient
        self._remaining -= 1
        return h

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {
            "sharpness": -1.0 if self._sharpness is None else self._sharpness,
            "interval": self._interval,
            "remaining": self._remaining,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        self._sharpness = None if state["sharpness"] < 0 else state["sharpness"]
        self._interval, self._remaining = int(state["interval"]), int(state["remaining"])
