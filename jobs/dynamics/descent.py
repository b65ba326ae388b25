"""Full-batch gradient descent: θ ← θ − η ∇L(θ)."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.dynamics.iterate import Bounds, Move, Stepper
from jobs.objective import Objective

BLOCK = {"cpu": 1, "cuda": 16}
"""Steps between two looks at the loss, by kind of device. A look makes the host wait for a GPU,
which then waits for the host; on a CPU it costs nothing."""


class GradientDescent(Stepper):
    """Steps at a constant learning rate η.

    The loss is looked at after blocks of steps. Where one of them broke the bounds, θ goes back to
    the start of the block and comes forward again to exactly that step, with the same bits.

    Args:
        objective: L.
        learning_rate: η.
        block: steps between two looks; None for what suits the device.
    """

    def __init__(
        self, objective: Objective, learning_rate: float, block: int | None = None
    ) -> None:
        super().__init__(objective)
        self.learning_rate = learning_rate
        self.block = block or BLOCK[objective.inputs.device.type]

    def move(self, theta: Tensor, bounds: Bounds) -> Move:
        """A block of steps, ended at the one that broke the bounds; its last point is evaluated.

        ``gradients`` counts the steps that were kept.
        """
        steps = min(self.block, bounds.steps)
        before, gradient = self._objective.gradients, self._gradient
        end, losses = self._descend(theta, steps)
        broken = [number for number, loss in enumerate(losses, 1) if bounds.broken_by(loss)]
        if broken and broken[0] < steps:
            steps, self._gradient = broken[0], gradient
            end, losses = self._descend(theta, steps)
            self._objective.gradients = before + steps
        self._loss = losses[-1]
        return Move(end, steps, steps * self.learning_rate)

    @property
    def objective(self) -> Objective:
        """L."""
        return self._objective

    def take(
        self, previous: Tensor | None, loss: float, gradient: Tensor, evaluations: int
    ) -> None:
        """Take in what was computed elsewhere: the last iterate, and loss and gradient at θ.

        ``evaluations`` of the gradient were needed for it.
        """
        self.previous, self._loss, self._gradient = previous, loss, gradient
        self._objective.gradients += evaluations

    def _descend(self, theta: Tensor, steps: int) -> tuple[Tensor, list[float]]:
        """θ after so many steps, and the losses after each; they are read all at once."""
        size, tails = self._objective.layout.size, []
        for _ in range(steps):
            assert self._gradient is not None
            self.previous = theta
            theta = theta.sub(self._gradient, alpha=self.learning_rate)
            packed = self._objective.packed_gradient(theta)
            self._gradient = packed[:size]
            tails.append(packed[size:].clone())
        return theta, self._objective.read_losses(torch.stack(tails))
