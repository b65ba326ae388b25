"""Full-batch gradient descent: θ ← θ − η ∇L(θ), at one learning rate or at several together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.objective import Objective
from jobs.parameters import stacked
from jobs.recordings import WORTH_BLOCKS

BLOCK = {"cpu": 1, "cuda": 16}
"""Steps after which the losses are read, by kind of device. Reading makes the host wait for a GPU,
which then waits for the host; on a CPU it costs nothing."""


class GradientDescent(Stepper):
    """Steps at a constant learning rate η.

    The losses are read after blocks of steps. Where one of them broke the bounds, θ goes back to
    the start of the block and comes forward again to exactly that step; alone, with the same bits.

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

    @classmethod
    def move_together(
        cls, moving: Sequence[tuple[Self, Iterate, Bounds]], until: Callable[[], bool]
    ) -> list[Iterate]:
        """Blocks of steps of all as one computation, until one breaks its bounds.

        One that did so before the end of its block comes to that step by itself. The objective of
        each counts the gradients of the steps that were kept.
        """
        descents = [descent for descent, _, _ in moving]
        longest = min(bounds.steps for _, _, bounds in moving)
        start, done = _Points.of([at for _, at, _ in moving], descents), 0
        on_the_way = [_Losses(at.loss, at.previous_loss, at.loss_rises) for _, at, _ in moving]
        while True:
            steps = min(descents[0].block, longest - done)
            end, losses = start.after(steps)
            broken_at = [
                next((n for n, loss in enumerate(of_row, 1) if bounds.broken_by(loss)), None)
                for (_, _, bounds), of_row in zip(moving, zip(*losses, strict=True), strict=True)
            ]
            if any(broken_at) or done + steps == longest or until():
                break
            start, done = end, done + steps
            on_the_way = [
                before.after(of_row)
                for before, of_row in zip(on_the_way, zip(*losses, strict=True), strict=True)
            ]
        ends = []
        for row, (descent, (_, at, _)) in enumerate(zip(descents, moving, strict=True)):
            kept = broken_at[row] or steps
            if kept < steps:
                point, of_steps = start.only(row).after(kept)
                place, of_row = 0, [loss for (loss,) in of_steps]
            else:
                point, place, of_row = end, row, [loss[row] for loss in losses]
            seen = on_the_way[row].after(of_row)
            ends.append(point.iterate(place, at.step + done + kept, seen))
            descent.objective.count(gradients=done + kept)
        return ends

    def time_at(self, step: int) -> float:
        """η · step, in one product: a sum would depend on how the steps came in blocks."""
        return self.learning_rate * step


@dataclass(frozen=True)
class _Losses:
    """The loss where a descent stands, the one before, and how many steps raised it so far."""

    loss: float
    previous: float
    rises: int

    def after(self, losses: Sequence[float]) -> _Losses:
        """The same after steps that ended at these losses."""
        before, rises = [self.loss, *losses], self.rises
        for earlier, later in itertools.pairwise(before):
            rises += later > earlier
        return _Losses(before[-1], before[-2], rises)


@dataclass(frozen=True)
class _Points:
    """Where descents stand, a row for each: θ and ∇L(θ), and the θ of the step before."""

    descents: Sequence[GradientDescent]
    eta: Tensor
    thetas: Tensor
    gradients: Tensor
    previous: Tensor

    @classmethod
    def of(cls, points: Sequence[Iterate], descents: Sequence[GradientDescent]) -> _Points:
        thetas = stacked([at.theta for at in points])
        gradients = stacked([at.gradient for at in points])
        eta = thetas.new_tensor([[descent.learning_rate] for descent in descents])
        return cls(descents, eta, thetas, gradients, thetas)

    def after(self, steps: int) -> tuple[_Points, list[list[float]]]:
        """The points so many steps later, and the losses after each, read all at once."""
        objective, arguments = self.descents[0].objective, (self.eta, self.thetas, self.gradients)
        block = functools.partial(_steps, objective, steps)
        if steps == self.descents[0].block > 1:
            previous, thetas, gradients, losses = objective.recordings.call(
                f"a block of {steps} steps",
                block,
                lambda: functools.partial(_steps, objective.apart(), steps),
                *arguments,
                worth=WORTH_BLOCKS,
            )
        else:
            previous, thetas, gradients, losses = block(*arguments)
        end = _Points(self.descents, self.eta, thetas, gradients, previous)
        return end, objective.read_losses(losses)

    def only(self, row: int) -> _Points:
        """One of them."""
        of_row = slice(row, row + 1)
        tensors = (self.eta, self.thetas, self.gradients, self.previous)
        return _Points(self.descents[of_row], *(tensor[of_row] for tensor in tensors))

    def iterate(self, row: int, step: int, seen: _Losses) -> Iterate:
        """A point of its own. Of several it gets copies: a view would keep them all in memory."""
        tensors = (self.thetas[row], self.previous[row], self.gradients[row])
        if len(self.thetas) > 1:
            tensors = (tensors[0].clone(), tensors[1].clone(), tensors[2].clone())
        theta, previous, gradient = tensors
        return Iterate(
            theta,
            step,
            self.descents[row].time_at(step),
            previous,
            seen.loss,
            gradient,
            seen.previous,
            seen.rises,
        )


def _steps(
    objective: Objective, steps: int, eta: Tensor, thetas: Tensor, gradients: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """So many steps, at least one: the θ before the last, θ and ∇L there, and the losses after
    each, of shape (steps, ·), of which nothing is read.
    """
    found = []
    for _ in range(steps):
        previous, thetas = thetas, thetas - eta * gradients
        losses, gradients = objective.stacked_gradients(thetas)
        found.append(losses.clone())  # a view may keep the gradients of all steps in memory
    return previous, thetas, gradients, torch.stack(found)
