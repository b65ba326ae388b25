"""Full-batch gradient descent: θ ← θ − η ∇L(θ)."""

from __future__ import annotations

import torch

from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.objective import Objective

BLOCK = {"cpu": 1, "cuda": 16}
"""Steps after which the losses are read, by kind of device. Reading makes the host wait for a GPU,
which then waits for the host; on a CPU it costs nothing."""


class GradientDescent(Stepper):
    """Steps at a constant learning rate η.

    The losses are read after blocks of steps. Where one of them broke the bounds, θ goes back to
    the start of the block and comes forward again to exactly that step, with the same bits.

    Args:
        objective: L.
        learning_rate: η.
        block: steps between two readings; None for what suits the device.
    """

    def __init__(
        self, objective: Objective, learning_rate: float, block: int | None = None
    ) -> None:
        super().__init__(objective)
        self.learning_rate = learning_rate
        self.block = block or BLOCK[objective.inputs.device.type]

    def move(self, at: Iterate, bounds: Bounds) -> Iterate:
        """A block of steps, ended at the one that broke the bounds.

        The objective counts the gradients of the steps that were kept.
        """
        steps, before = min(self.block, bounds.steps), self.objective.gradients
        end, losses = self._descend(at, steps)
        broken = [number for number, loss in enumerate(losses, 1) if bounds.broken_by(loss)]
        if broken and broken[0] < steps:
            end, _ = self._descend(at, broken[0])
            self.objective.gradients = before + broken[0]
        return end

    def time_at(self, step: int) -> float:
        """η · step, in one product: a sum would depend on how the steps came in blocks."""
        return self.learning_rate * step

    def _descend(self, at: Iterate, steps: int) -> tuple[Iterate, list[float]]:
        """The iterate so many steps later, and the losses after each, read all at once."""
        size, tails = self.objective.layout.size, []
        previous, theta, gradient = at.previous, at.theta, at.gradient
        for _ in range(steps):
            previous, theta = theta, theta.sub(gradient, alpha=self.learning_rate)
            packed = self.objective.packed_gradient(theta)
            gradient = packed[:size]
            tails.append(packed[size:].clone())
        losses = self.objective.read_losses(torch.stack(tails))
        step = at.step + steps
        end = Iterate(theta, step, self.time_at(step), previous, losses[-1], gradient)
        return end, losses
