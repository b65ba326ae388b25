"""What GD and the integrators of the flow share: θ moves in steps, each from its own gradient."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor

from jobs.objective import Objective


class Stepper(ABC):
    """Moves θ step by step; the gradient at θ is evaluated once and kept for the step."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._loss = math.nan
        self._gradient: Tensor | None = None

    @property
    def evaluated(self) -> bool:
        """Whether loss and gradient at the current θ are at hand."""
        return self._gradient is not None

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
    def step(self, theta: Tensor, threshold: float) -> float:
        """Move θ in place by one step from where it was evaluated; the time that passed.

        ``threshold`` is the next loss threshold, where a step of the flow ends if it gets there.
        """

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ."""
        return {}

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        self._gradient = None
