"""The central flow: the path that gradient descent at a learning rate η follows on average.

Below the edge of stability it is the gradient flow. Where eigenvalues of the Hessian are at 2/η, GD
oscillates along their eigenvectors U, and the covariance U X Uᵀ of the oscillation pushes θ towards
lower curvature: dθ/dt = −[∇L + ½ ∇⟨H, U X Uᵀ⟩], with the X ⪰ 0 that keeps them from rising above
2/η: 0 ⪯ X ⟂ (2/η) I − UᵀHU ⪰ 0 (Cohen, Damian, Talwalkar, Kolter and Lee, "Understanding
optimization in deep learning with central flows", ICLR 2025).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from jobs.curvature.hessian import Hessian
from jobs.curvature.leading import Leading, eigenpairs_above
from jobs.dynamics.edge import BAND, Edge, NotAtEdgeError, Push
from jobs.dynamics.flows import RungeKuttaChebyshev2
from jobs.dynamics.integrator import CROSSING_RTOL, Asking, Candidate, answered, crossing
from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.objective import Objective

DRIFT = 0.004
"""Of 2/η: how far from what was expected the eigenvalues at the edge should end a step."""

OVERSHOOT = 0.02
"""Of 2/η: a step after which S is further above it, and rose by half of that, was too long."""

SHORTEST = 0.25
"""Of η: a step this short is taken whatever it does to the eigenvalues."""

CROSSING_TRIES = 5
"""Points of a step at which X is solved for, until the loss meets its threshold."""


class CentralFlow(Stepper):
    """Follows the central flow in steps as long as accuracy allows, many η where θ moves slowly.

    A step measures the eigenpairs near 2/η and their slopes (:class:`~jobs.dynamics.edge.Edge`)
    once, and solves for X. With the push of this X held constant it is a step of the stabilised
    method of the gradient flow (:class:`~jobs.dynamics.flows.RungeKuttaChebyshev2`), whose error is
    controlled as there. Its length follows how far the eigenvalues end from where they were
    expected. It is of first order in the length of the steps, for X is constant in each.

    The loss that is compared with thresholds is that of GD on average, L + tr X/η.

    Args:
        objective: L.
        learning_rate: η.
        rtol: the residual asked of the eigenpairs, relative to the operator norm.
        step_length: a constant length of the steps, in units of η, for tests; None lets it follow.
    """

    def __init__(
        self,
        objective: Objective,
        learning_rate: float,
        rtol: float,
        *,
        step_length: float | None = None,
    ) -> None:
        super().__init__(objective)
        self.learning_rate, self._rtol, self._constant = learning_rate, rtol, step_length
        self._flow = RungeKuttaChebyshev2(objective)
        self._h = learning_rate * (step_length or 1.0)
        self._leading: Leading | None = None
        self._edge: Edge | None = None

    @classmethod
    def move_together(
        cls, moving: Sequence[tuple[Self, Iterate, Bounds]], until: Callable[[], bool]
    ) -> list[Iterate]:
        """A step of each, with the gradients of all at once; the eigenpairs of each by itself.

        A step ends where the average loss reaches the threshold if it does.
        """
        return answered([(flow.objective, flow._move(at, bounds)) for flow, at, bounds in moving])

    @property
    def vectors(self) -> Tensor | None:
        """The leading eigenvectors where it stands, shape (k, P); None before the first step."""
        return None if self._leading is None else self._leading.vectors

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep besides the iterate and the :attr:`vectors`."""
        own = {"length": self._h}
        if self._leading is not None:
            own |= {"near": self._leading.above}
            own |= {f"eigenvalue {n}": value for n, value in enumerate(self._leading.values)}
        return {**self._flow.state(), **own}

    def restore(self, state: dict[str, float], vectors: Tensor | None = None) -> None:
        """Continue from what :meth:`state` and :attr:`vectors` gave."""
        self._flow.restore(state)
        self._h, self._edge = state["length"], None
        if vectors is not None:
            values = tuple(state[f"eigenvalue {n}"] for n in range(len(vectors)))
            self._leading = Leading(values, vectors, int(state["near"]))

    def _move(self, at: Iterate, bounds: Bounds) -> Asking[Iterate]:
        try:
            return (yield from self._step(at, bounds))
        except (NotAtEdgeError, FloatingPointError) as error:
            return dataclasses.replace(at, ended=str(error))

    def _step(self, at: Iterate, bounds: Bounds) -> Asking[Iterate]:
        edge = self._edge_at(at)
        self._flow.see_sharpness(max(edge.leading.values[0], 0.0))
        above = edge.leading.values[0] / edge.limit - 1
        h = self._h
        while True:
            push = edge.push(self.objective, at.gradient, h)
            taken = yield from self._taken(at, push, h)
            if not math.isfinite(taken.loss):
                return Iterate(
                    taken.theta, at.step + 1, at.time + taken.h, None, taken.loss, taken.gradient
                )
            leading = self._measured(taken.theta, edge.leading.vectors, at.step + 1)
            rise = leading.values[0] / edge.limit - 1
            too_far = rise > OVERSHOOT and rise - above > OVERSHOOT / 2
            if self._constant or not too_far or taken.h <= SHORTEST * self.learning_rate:
                break
            h = taken.h / 2
        if not self._constant:
            self._h = self._next_length(h, taken.h, edge, push, leading)
        end = self._arrived(at, taken, leading)
        if at.average_loss > bounds.threshold > end.average_loss:
            end = yield from self._crossing(at, push, taken, end, bounds.threshold)
        self._flow.advance(end.time - at.time)
        return end

    def _edge_at(self, at: Iterate) -> Edge:
        """The edge where the last step ended. After a checkpoint it is found again, uncounted."""
        if self._edge is not None:
            return self._edge
        if self._leading is None:
            self._leading = self._measured(at.theta, None, at.step)
            objective = self.objective
        else:
            objective = copy.copy(self.objective)
        return Edge.measured(objective, at.theta, self.learning_rate, self._leading)

    def _measured(self, theta: Tensor, start: Tensor | None, number: int) -> Leading:
        return eigenpairs_above(
            Hessian(self.objective, theta).products,
            start,
            (1 - BAND) * 2 / self.learning_rate,
            like=theta,
            rtol=self._rtol,
            number=number,
            agree=self.objective.agree,
        )

    def _arrived(self, at: Iterate, taken: Candidate, leading: Leading) -> Iterate:
        """The iterate at the end of a step, from where the next one begins."""
        self._leading = leading
        edge = self._edge = Edge.measured(self.objective, taken.theta, self.learning_rate, leading)
        push = edge.push(self.objective, taken.gradient, self._h)
        return Iterate(
            taken.theta,
            at.step + 1,
            at.time + taken.h,
            loss=taken.loss,
            gradient=taken.gradient,
            oscillation=float(push.covariance.trace()) / self.learning_rate,
            at_edge=push.rank,
        )

    def _taken(self, at: Iterate, push: Push, h: float) -> Asking[Candidate]:
        """A step of the gradient flow on L(θ) + ⟨force, θ⟩, with what L alone has at its end."""
        force, origin = push.force, at.theta
        pushed = Iterate(
            at.theta, at.step, at.time, loss=at.loss, gradient=at.gradient + push.force
        )
        asking = self._flow.take(pushed, h)
        theta = next(asking)
        while True:
            loss, gradient = yield theta
            raised = loss + float(torch.dot(force.double(), (theta - origin).double()))
            try:
                theta = asking.send((raised, gradient + force))
            except StopIteration as stop:
                end: Candidate = stop.value
                return Candidate(end.h, end.theta, loss, gradient)

    def _crossing(
        self, at: Iterate, push: Push, taken: Candidate, end: Iterate, threshold: float
    ) -> Asking[Iterate]:
        """The point of a step where the average loss has just reached the threshold.

        Within the step the oscillation is taken to change evenly, and is then solved for.
        """
        before = dataclasses.replace(at, gradient=at.gradient + push.force)
        for _ in range(CROSSING_TRIES):
            if end.average_loss >= threshold * (1 - 10 * CROSSING_RTOL):
                break
            beyond = dataclasses.replace(taken, gradient=taken.gradient + push.force)
            found = yield from crossing(
                before, beyond, threshold, (at.oscillation, end.oscillation)
            )
            if found is beyond:
                break
            taken = found
            end = self._arrived(at, taken, self._measured(taken.theta, self.vectors, at.step + 1))
        return end

    def _next_length(
        self, asked: float, taken: float, edge: Edge, push: Push, ahead: Leading
    ) -> float:
        """The length of the next step, by where the eigenvalues at the edge were expected."""
        if not ahead.above:
            return 2 * taken
        count = min(len(push.expected), ahead.above)
        miss = (
            max((abs(push.expected[n] - ahead.values[n]) for n in range(count)), default=0.0)
            / edge.limit
            * (taken / asked)
        )
        factor = min(max(math.sqrt(DRIFT / max(miss, 1e-12)), 0.5), 1.5)
        return max(min(asked, 1.5 * taken) * factor, SHORTEST * self.learning_rate)
