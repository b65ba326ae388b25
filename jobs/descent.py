"""Full-batch gradient descent: θ ← θ − η ∇L(θ)."""

from __future__ import annotations

from torch import Tensor

from jobs.objective import Objective
from jobs.stepper import Stepper


class GradientDescent(Stepper):
    """One step at a constant learning rate η."""

    def __init__(self, objective: Objective, learning_rate: float) -> None:
        super().__init__(objective)
        self._learning_rate = learning_rate

    def step(self, theta: Tensor, threshold: float) -> float:
        """Move θ in place from where it was evaluated; returns the time that passed, η.

        A step of GD is what it is, wherever the next loss threshold lies.
        """
        assert self._gradient is not None
        theta.sub_(self._gradient, alpha=self._learning_rate)
        self._gradient = None
        return self._learning_rate
