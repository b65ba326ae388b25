"""What GD and the integrators of the flow share: iterates, and steps from one to another."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from jobs.objective import Objective


@dataclass(frozen=True, eq=False)
class Iterate:
    """A point of a trajectory: θ of shape (P,) after ``step`` updates, at ``time``.

    ``previous`` is the iterate before θ, of methods for which it is of interest, and
    ``previous_loss`` L there. ``loss_rises`` counts the steps so far that ended at a larger loss.
    ``loss`` and ``gradient`` are L(θ) and ∇L(θ), NaN and empty until they have been evaluated.
    ``moments`` are what an optimiser remembers of earlier gradients, each of shape (P,), empty
    before the first step, and ``previous_gradient`` is ∇L at ``previous``; None of GD, whose last
    step tells it.

    Of a central flow, ``oscillation`` is tr X/η, by which the loss of GD is larger on average, and
    ``at_edge`` in how many directions GD oscillates; ``ended`` says why it cannot go on from here.
    """

    theta: Tensor
    step: int = 0
    time: float = 0.0
    previous: Tensor | None = None
    loss: float = math.nan
    gradient: Tensor = field(default_factory=lambda: torch.empty(0))
    previous_loss: float = math.nan
    loss_rises: int = 0
    moments: tuple[Tensor, ...] = ()
    previous_gradient: Tensor | None = None
    oscillation: float = 0.0
    at_edge: int | None = None
    ended: str | None = None

    @property
    def average_loss(self) -> float:
        """The loss that is compared with thresholds: L(θ), and on a central flow tr X/η more."""
        return self.loss + self.oscillation

    @property
    def is_evaluated(self) -> bool:
        """Whether loss and gradient are known."""
        return len(self.gradient) > 0

    def evaluated(self, objective: Objective) -> Iterate:
        """The same point with loss and gradient: itself where it has them."""
        if self.is_evaluated:
            return self
        loss, gradient = objective.gradient(self.theta)
        return dataclasses.replace(self, loss=loss, gradient=gradient)


@dataclass(frozen=True)
class Bounds:
    """How far θ may move without being observed.

    ``threshold`` is the next loss threshold and ``divergence`` the loss above which a trial has
    diverged; ``steps`` bounds the number of steps.
    """

    threshold: float
    divergence: float
    steps: int

    def broken_by(self, loss: float) -> bool:
        """Whether a loss has reached the threshold, or shows divergence."""
        return loss <= self.threshold or not loss <= self.divergence


class Stepper(ABC):
    """Moves an iterate step by step; keeps what steers the steps, and nothing of a point."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    def wants_sharpness(self) -> bool:
        """Whether S must be measured before the next step."""
        return False

    def see_sharpness(self, sharpness: float) -> None:  # noqa: B027 (GD has no use for it)
        """Take in a measurement of S at the current θ."""

    def move(self, at: Iterate, bounds: Bounds) -> Iterate:
        """The evaluated iterate after steps that stay within the bounds, from an evaluated one.

        The move ends at the first step that breaks them, or before.
        """
        (end,) = self.move_together([(self, at, bounds)], lambda: True)
        return end

    @classmethod
    @abstractmethod
    def move_together(
        cls, moving: Sequence[tuple[Self, Iterate, Bounds]], until: Callable[[], bool]
    ) -> list[Iterate]:
        """Where several come, each by its own stepper.

        Args:
            moving: the steppers, where each stands, and its bounds.
            until: where the moves are long, they may end early once this is true.
        """

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides the iterate."""
        return {}

    @property
    def vectors(self) -> Tensor | None:
        """What a checkpoint must keep besides: shape (k, P), None where there is nothing."""
        return None

    def restore(  # noqa: B027 (GD has no state)
        self, state: dict[str, float], vectors: Tensor | None = None
    ) -> None:
        """Continue from what :meth:`state` and :attr:`vectors` gave."""
