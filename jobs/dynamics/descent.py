"""Full-batch gradient descent by an optimiser, at one learning rate or at several together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.dynamics.moves import Moments, corrected, corrects, first_moments, move
from jobs.objective import Objective
from jobs.parameters import stacked
from jobs.recordings import WORTH_BLOCKS
from jobs.spec import GD, Optimizer

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
        optimizer: what makes steps of gradients; the same of all that move together.
        block: steps between two readings; None for what suits the device.
    """

    def __init__(
        self,
        objective: Objective,
        learning_rate: float,
        optimizer: Optimizer = GD,
        block: int | None = None,
    ) -> None:
        super().__init__(objective)
        self.learning_rate = learning_rate
        self.optimizer = optimizer
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
        for row, descent in enumerate(descents):
            kept = broken_at[row] or steps
            if kept < steps:
                point, of_steps = start.only(row).after(kept)
                place, of_row = 0, [loss for (loss,) in of_steps]
            else:
                point, place, of_row = end, row, [loss[row] for loss in losses]
            seen = on_the_way[row].after(of_row)
            ends.append(point.iterate(place, seen))
            descent.objective.count(gradients=done + kept)
        return ends

    def time_at(self, step: int) -> float:
        """The flow's time, in one product: a sum would depend on how the steps came in blocks."""
        return self.optimizer.time_per_step(self.learning_rate) * step


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
    """Where descents stand, a row for each: θ, ∇L(θ) and the moments, and the step before.

    ``steps`` are those that each has made, and ``previous`` has the θ of the step before; of other
    optimisers than GD the gradient there too.
    """

    descents: Sequence[GradientDescent]
    eta: Tensor
    steps: tuple[int, ...]
    thetas: Tensor
    gradients: Tensor
    moments: Moments
    previous: tuple[Tensor, ...]

    @classmethod
    def of(cls, points: Sequence[Iterate], descents: Sequence[GradientDescent]) -> _Points:
        optimizer, thetas = descents[0].optimizer, stacked([at.theta for at in points])
        moments = [at.moments or first_moments(optimizer, at.theta) for at in points]
        return cls(
            descents,
            thetas.new_tensor([[descent.learning_rate] for descent in descents]),
            tuple(at.step for at in points),
            thetas,
            stacked([at.gradient for at in points]),
            tuple(map(stacked, zip(*moments, strict=True))),
            (thetas,),
        )

    def after(self, steps: int) -> tuple[_Points, list[list[float]]]:
        """The points so many steps later, and the losses after each, read all at once."""
        first = self.descents[0]
        objective, optimizer = first.objective, first.optimizer
        arguments = (self._sizes(steps), self.thetas, self.gradients, *self.moments)
        block = functools.partial(_steps, objective, optimizer, steps)
        if steps == first.block > 1:
            found = objective.recordings.call(
                f"a block of {steps} steps",
                block,
                lambda: functools.partial(_steps, objective.apart(), optimizer, steps),
                *arguments,
                worth=WORTH_BLOCKS,
            )
        else:
            found = block(*arguments)
        (thetas, gradients, losses), rest = found[:3], found[3:]
        moments, previous = rest[: len(self.moments)], rest[len(self.moments) :]
        made = tuple(step + steps for step in self.steps)
        end = _Points(self.descents, self.eta, made, thetas, gradients, moments, previous)
        return end, objective.read_losses(losses)

    def _sizes(self, steps: int) -> Tensor:
        """What each of the next steps is multiplied with, shape (steps, K, n)."""
        optimizer = self.descents[0].optimizer
        if not corrects(optimizer):
            return self.eta.expand(steps, -1, -1)
        rates = [descent.learning_rate for descent in self.descents]
        rows = list(zip(rates, self.steps, strict=True))
        each = range(1, steps + 1)
        return self.thetas.new_tensor(
            [[corrected(optimizer, eta, made + t) for eta, made in rows] for t in each]
        )

    def only(self, row: int) -> _Points:
        """One of them."""
        its = slice(row, row + 1)
        return _Points(
            self.descents[its],
            self.eta[its],
            self.steps[its],
            self.thetas[its],
            self.gradients[its],
            tuple(moment[its] for moment in self.moments),
            tuple(tensor[its] for tensor in self.previous),
        )

    def iterate(self, row: int, seen: _Losses) -> Iterate:
        """A point of its own. Of several it gets copies: a view would keep them all in memory."""
        own = Tensor.clone if len(self.thetas) > 1 else (lambda tensor: tensor)
        previous = [own(tensor[row]) for tensor in self.previous]
        step = self.steps[row]
        return Iterate(
            own(self.thetas[row]),
            step,
            self.descents[row].time_at(step),
            previous[0],
            seen.loss,
            own(self.gradients[row]),
            seen.previous,
            seen.rises,
            tuple(own(moment[row]) for moment in self.moments),
            previous[1] if len(previous) > 1 else None,
        )


def _steps(
    objective: Objective,
    optimizer: Optimizer,
    steps: int,
    sizes: Tensor,
    thetas: Tensor,
    gradients: Tensor,
    *moments: Tensor,
) -> tuple[Tensor, ...]:
    """So many steps, at least one: θ and ∇L there, the losses after each, of shape (steps, ·), of
    which nothing is read, the moments, and what :attr:`_Points.previous` has.
    """
    found = []
    for step in range(steps):
        previous = (thetas,) if optimizer == GD else (thetas, gradients)
        moves, moments = move(optimizer, sizes[step], gradients, moments)
        thetas = thetas - moves
        losses, gradients = objective.stacked_gradients(thetas)
        found.append(losses.clone())  # a view may keep the gradients of all steps in memory
    return thetas, gradients, torch.stack(found), *moments, *previous
