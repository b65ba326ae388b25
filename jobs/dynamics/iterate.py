"""What GD and the integrators of the flow share: θ moves in steps, each from its own gradient."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from jobs.objective import Objective


@dataclass(frozen=True)
class Bounds:
    """Until when θ may move without being looked at.

    ``threshold`` is the next loss threshold and ``divergence`` the loss above which a trial has
    diverged; ``steps`` bounds the number of steps.
    """

    threshold: float
    divergence: float
    steps: int

    def broken_by(self, loss: float) -> bool:
        """Whether a loss has reached the threshold, or shows divergence."""
        return loss <= self.threshold or not loss <= self.divergence


@dataclass(frozen=True)
class Move:
    """Where θ came to, in how many steps and how much time."""

    theta: Tensor
    steps: int
    time: float


class Stepper(ABC):
    """Moves θ step by step; the gradient at θ is evaluated once and kept for the step.

    ``previous`` is the iterate before θ, of methods for which it is of interest.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._loss = math.nan
        self._gradient: Tensor | None = None
        self.previous: Tensor | None = None

    @property
    def evaluated(self) -> bool:
        """Whether loss and gradient at the current θ are at hand."""
        return self._gradient is not None

    @property
    def gradient(self) -> Tensor:
        """∇L where θ was evaluated."""
        assert self._gradient is not None
        return self._gradient

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return False

    def evaluate(self, theta: Tensor) -> float:
        """L(θ); its gradient is kept for the step."""
        if self._gradient is None:
            self._loss, self._gradient = self._objective.gradient(theta)
        return self._loss

    def see_sharpness(self, sharpness: float) -> None:  # noqa: B027 (GD has no use for it)
        """Take in a measurement of S at the current θ."""

    @abstractmethod
    def move(self, theta: Tensor, bounds: Bounds) -> Move:
        """Move θ, from where it was evaluated, by steps that stay within the bounds.

        The move ends at the first step that breaks them.
        """

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {}

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        self._gradient = None
