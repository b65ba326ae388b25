"""Full-batch gradient descent: θ ← θ − η ∇L(θ)."""

from __future__ import annotations

from torch import Tensor

from jobs.objective import Objective


class GradientDescent:
    """One step at a constant learning rate η."""

    wants_sharpness = False

    def __init__(self, objective: Objective, learning_rate: float) -> None:
        self._objective, self._learning_rate = objective, learning_rate
        self._gradient: Tensor | None = None
        self._loss = 0.0

    @property
    def evaluated(self) -> bool:
        """Whether loss and gradient at the current θ are at hand."""
        return self._gradient is not None

    def evaluate(self, theta: Tensor) -> float:
        """L(θ); its gradient is kept for the step."""
        if self._gradient is None:
            self._loss, self._gradient = self._objective.gradient(theta)
        return self._loss

    def step(self, theta: Tensor, threshold: float) -> float:
        """Move θ in place from where it was evaluated; returns the time that passed, η.

        A step of GD is what it is, wherever the next loss threshold lies.
        """
        assert self._gradient is not None
        theta.sub_(self._gradient, alpha=self._learning_rate)
        self._gradient = None
        return self._learning_rate

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides θ: nothing."""
        return {}

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        self._gradient = None
