"""How far gradient descent is from the gradient flow at equal time."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from torch import Tensor

from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds
from jobs.objective import Objective
from jobs.parameters import l2_norm
from jobs.spec import Protocol

ANYWHERE = Bounds(threshold=-math.inf, divergence=math.inf, steps=1)


@dataclass(frozen=True, kw_only=True)
class FlowState:
    """All that a reference needs to go on: the ends of its last step, and its integrator's state.

    ``theta`` is where the step ended, at ``time``, and ``previous`` where it began, both of shape
    (P,). ``eigenvectors``, shape (k, P), are those of the last measurement of the sharpness, which
    was number ``since_audit`` after one that started cold.
    """

    theta: Tensor
    previous: Tensor
    eigenvectors: Tensor | None
    since_audit: int
    time: float
    previous_time: float
    method: dict[str, float]


class FlowReference:
    """The gradient flow from θ0, which keeps up with gradient descent.

    It takes the steps that it would take without being asked, so that where it is found at some
    time depends on θ0 and the protocol alone, not on when it was asked before. Between two steps,
    a part of a step is taken from the first of them.

    Args:
        objective: L; what the flow evaluates is not counted there.
        theta0: where GD began, shape (P,).
        protocol: the flow's method, and how it measures the sharpness.
    """

    def __init__(self, objective: Objective, theta0: Tensor, protocol: Protocol) -> None:
        self._objective = copy.copy(objective)
        self._method = METHODS[protocol.flow_method](self._objective)
        self._meter = SharpnessMeter(self._objective, protocol.sharpness_rtol)
        self._theta = self._previous = theta0
        self._time = self._previous_time = 0.0
        self._gradient: Tensor | None = None  # at the previous point

    def follow(self, time: float) -> None:
        """Go on until a step has reached a time."""
        while self._time < time:
            self._method.evaluate(self._theta)
            if self._method.wants_sharpness:
                self._method.see_sharpness(self._meter.measure(self._theta).sharpness)
            gradient = self._method.gradient
            moved = self._method.move(self._theta, ANYWHERE)
            self._previous, self._gradient, self._previous_time = self._theta, gradient, self._time
            self._theta, self._time = moved.theta, self._time + moved.time

    def at(self, time: float) -> Tensor:
        """θ of the flow at a time, shape (P,).

        Raises:
            ValueError: the flow has gone on from there.
        """
        self.follow(time)
        if time == self._time:
            return self._theta
        if time < self._previous_time:
            raise ValueError(
                f"time is {time}; it must be at least {self._previous_time}, where the flow's last "
                "step began"
            )
        if self._gradient is None:
            self._gradient = self._objective.gradient(self._previous)[1]
        return self._method.part(self._previous, self._gradient, time - self._previous_time)

    def distance(self, theta: Tensor, time: float) -> float:
        """‖θ − θ_flow(t)‖₂."""
        return l2_norm(theta - self.at(time))

    def state(self) -> FlowState:
        """What a checkpoint must keep."""
        since_audit, eigenvectors = self._meter.state()
        return FlowState(
            theta=self._theta,
            previous=self._previous,
            eigenvectors=eigenvectors,
            since_audit=since_audit,
            time=self._time,
            previous_time=self._previous_time,
            method=self._method.state(),
        )

    def restore(self, state: FlowState) -> None:
        """Take up the state that :meth:`state` gave, on the device of this flow."""
        self._theta, self._previous, self._gradient = state.theta, state.previous, None
        self._time, self._previous_time = state.time, state.previous_time
        self._meter.restore(state.since_audit, state.eigenvectors)
        self._method.restore(state.method)
